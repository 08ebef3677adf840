import { type ChainRow, type ExampleRow, mix, type PreferenceRow, type PromptRow, type ResponseRow } from "@tenet/data";
import { requireConversations, textFindings } from "@tenet/lm";
import {
  endOfReply,
  openPreferenceModel,
  policySettingsSchema,
  preferenceSettingsSchema,
  sftSettingsSchema,
  trainPolicy,
  trainPreference,
  trainSft,
} from "@tenet/train";
import { constitutionHash } from "../constitution/index.ts";
import {
  critiqueAndRevise,
  critiqueDependsOn,
  deliberate,
  deliberateDependsOn,
  dialogueDependsOn,
  dialogues,
  examplesDependsOn,
  examplesFromChains,
  examplesFromResponses,
  respond,
  respondDependsOn,
} from "../feedback/index.ts";
import { withAlarms } from "./alarms.ts";
import type { PartContext } from "./context.ts";
import { endpointSettings } from "./endpoint-identity.ts";
import { type Expectation, nothing, type Size } from "./expectation.ts";
import type { ReadFile } from "./files.ts";
import { modelFingerprint, type PoolOptions } from "./models.ts";
import { heedsConstitution, judgesAsked, judgesOf } from "./policy-judges.ts";
import { type Recipe, type RoleReference, rewardsPreference } from "./recipe.ts";
import { asking, lengthOf, mean, perMessage, size, sizes, together } from "./sizes.ts";
import {
  itemStage,
  modelStage,
  rowsStage,
  type SizeOf,
  type Stage,
  type StageContext,
  trainingStage,
} from "./stages.ts";
import { canWatch, everyOf, selectionOf, watchRequests, watchSettings } from "./validation.ts";
import { type LocalSource, type ModelValue, modelValue, type StoredRows } from "./values.ts";
import { judgeRequests } from "./verdicts.ts";

/*
 * The parts that arrangements are made of: each turns what a recipe says about one step into a stage. They hold no order;
 * who comes after whom is the arrangement's business.
 */

/** A model that the recipe names; whether conversations can be given to it, and learnt, is found out before the run begins. */
export function roleStage(
  name: string,
  reference: RoleReference,
  options: PoolOptions,
  { trained = false }: { readonly trained?: boolean } = {},
): Stage<ModelValue> {
  const source = roleSource(reference);
  const open = async ({ store }: Pick<StageContext, "store">) =>
    modelValue(source, await modelFingerprint(source, options, store.runs()));
  const player = reference;
  if (source.type === "endpoint") return modelStage(name, `the ${name}`, open, { endpoint: source, player });
  const check: Stage["check"] = async ({ models, emit }) => {
    const text = await models.text(source.reference);
    requireConversations(text);
    if (trained) endOfReply(text);
    for (const finding of textFindings(text))
      emit({ type: "message", level: "info", message: `the ${name} ${source.reference}: ${finding}` });
  };
  return modelStage(name, `the ${name}`, open, { check, player });
}

function roleSource(reference: RoleReference): ModelValue["source"] {
  if (typeof reference === "string") return { type: "local", reference };
  if ("endpoint" in reference) return { type: "endpoint", settings: endpointSettings(reference) };
  const { model, adapter } = reference;
  return { type: "local", reference: model, ...(adapter === undefined ? {} : { adapter }) };
}

type Sampling = NonNullable<Parameters<typeof respond>[1]["sampling"]> & { readonly maxTokens: number };

/** Replies of a model to prompts. */
export function responsesStage(
  { recipe: { seed } }: PartContext,
  part: {
    readonly name: string;
    readonly title: string;
    readonly prompts: Stage<StoredRows<PromptRow>>;
    readonly model: Stage<ModelValue>;
    readonly sampling: Sampling;
    readonly system?: string | undefined;
  },
): Stage<StoredRows<ResponseRow>> {
  const { name, title, prompts, model, sampling, system } = part;
  const options = { sampling, system, seed };
  return itemStage<PromptRow, ResponseRow>({
    name,
    title,
    kind: "respond",
    version: 1,
    seed,
    over: prompts,
    models: { generator: model },
    expect: (sized) => repliesTo(sized(prompts), { model, sampling, before: size(system) }),
    dependsOn: (row) => respondDependsOn(row, options),
    run: (rows, { generator }, call) => respond(rows, { ...options, generator: generator! }, call),
  });
}

/** Prompts that are gone on with as dialogues. */
export function dialoguesStage(
  { recipe, personas }: PartContext,
  part: {
    readonly name: string;
    readonly prompts: Stage<StoredRows<PromptRow>>;
    readonly assistant: Stage<ModelValue>;
    readonly person: Stage<ModelValue>;
  },
): Stage<StoredRows<PromptRow>> {
  const { name, prompts, assistant, person } = part;
  const { seed } = recipe;
  const { personas: _, ...settings } = recipe.prompts.dialogue!;
  const options = { settings, personas, seed };
  return itemStage<PromptRow, PromptRow>({
    name,
    title: "dialogues between two models",
    kind: "dialogues",
    version: 1,
    seed,
    expect(sized) {
      const { rows, tokens } = sized(prompts);
      const { turns, share, sampling } = settings;
      const [held, further] = [rows * share, turns - 1];
      // The conversation grows by two replies with each turn.
      const read = tokens + further * sampling.maxTokens;
      const card = mean(personas.map(size)) + perMessage;
      const asked = [
        asking("assistant", assistant, held * further, read, sampling.maxTokens),
        asking("person", person, held * further, read + card, sampling.maxTokens),
      ];
      const all = rows + held * further;
      return { rows: all, tokens: read, prompt: read, asked };
    },
    over: prompts,
    models: { assistant, person },
    dependsOn: (row) => dialogueDependsOn(row, options),
    run: (rows, models, call) =>
      dialogues(rows, { ...options, assistant: models.assistant!, person: models.person! }, call),
  });
}

/** What replies of a model to prompts come to, and take. `before`: tokens that are read beside the prompt. */
export function repliesTo(
  { rows, tokens }: Size,
  { model, sampling, before }: { readonly model: Stage; readonly sampling: Sampling; readonly before: number },
): Expectation {
  const { maxTokens, n = 1 } = sampling;
  const replies = rows * n;
  return {
    rows: replies,
    tokens: tokens + maxTokens,
    prompt: tokens,
    asked: [asking("generator", model, replies, tokens + before, maxTokens)],
  };
}

/** Critique–revision chains behind first responses. METHODS §2. */
export function chainsStage(
  context: PartContext,
  part: {
    readonly name: string;
    readonly responses: Stage<StoredRows<ResponseRow>>;
    readonly critic: Stage<ModelValue>;
    readonly reviser: Stage<ModelValue>;
  },
): Stage<StoredRows<ChainRow>> {
  const { recipe, constitution, demonstrations } = context;
  const { seed, supervised } = recipe;
  const { name, responses, critic, reviser } = part;
  const options = { ...supervised.critique, rounds: supervised.revisions, constitution, demonstrations, seed };
  return itemStage<ResponseRow, ChainRow>({
    name,
    title: "critique and revision",
    kind: "critique-revision",
    version: 1,
    seed,
    over: responses,
    expect: (sized) => expectedChains(context, sized(responses), { critic, reviser }),
    // Who is not asked does not count: another critic redoes nothing where the checks write the critiques.
    models: { ...(options.critiques === "model" && { critic }), reviser },
    dependsOn: (row) => critiqueDependsOn(row, options),
    run: (rows, models, call) => {
      const speakers = { critic: models.critic ?? models.reviser!, reviser: models.reviser! };
      return critiqueAndRevise(rows, { ...options, ...speakers }, call);
    },
  });
}

/** What critics and revisers are asked for replies of some size. */
function expectedChains(
  { recipe: { supervised }, constitution: { principles }, demonstrations }: PartContext,
  { rows, tokens, prompt }: Size,
  { critic, reviser }: { readonly critic: Stage; readonly reviser: Stage },
): Expectation {
  const { revisions: rounds, critique: settings } = supervised;
  const shown = demonstrations.reduce(
    (sum, { prompt: asked, principles: _, ...texts }) => sum + lengthOf(asked) + sizes(texts),
    0,
  );
  const critiqueRequest = mean(principles.map((principle) => size(principle.critiqueRequest)));
  const revisionRequest = mean(principles.map((principle) => size(principle.revisionRequest)));
  const reply = Math.max(tokens - prompt, settings.revision.maxTokens);
  const read = prompt + reply + shown + size(settings.system) + perMessage * 2;
  const critiqued = settings.critiques === "model";
  const written = settings.critique.maxTokens;
  const critique = asking("critic", critic, rows * rounds, read + critiqueRequest, written);
  const revision = asking(
    "reviser",
    reviser,
    rows * rounds * settings.candidates,
    read + (critiqued ? critiqueRequest + written : 0) + revisionRequest,
    settings.revision.maxTokens,
  );
  const asked = rounds === 0 ? [] : critiqued ? [critique, revision] : [revision];
  return { rows, prompt, tokens: prompt + settings.revision.maxTokens, asked };
}

/** What is learnt of chains. */
export function examplesStage(
  { recipe: { supervised, seed }, constitution }: PartContext,
  name: string,
  chains: Stage<StoredRows<ChainRow>>,
): Stage<StoredRows<ExampleRow>> {
  const options = {
    ...supervised.examples,
    constitution,
    ...(supervised.deliberate?.by === "checks" && { deliberate: supervised.deliberate }),
  };
  return itemStage<ChainRow, ExampleRow>({
    name,
    title: "examples from the chains",
    kind: "examples",
    version: 1,
    seed,
    over: chains,
    expect: (sized) => {
      const { rows, tokens, prompt } = sized(chains);
      const each = options.from === "every-revision" ? Math.max(1, supervised.revisions) : 1;
      const critique = options.from === "critique-and-revision" ? supervised.critique.critique.maxTokens : 0;
      return { rows: rows * each, tokens: tokens + critique, prompt };
    },
    dependsOn: (row) => examplesDependsOn(row, options),
    run: (rows) => examplesFromChains(rows, options),
  });
}

/** Replies behind reasoning that cites the principles a model was shown. */
export function deliberationStage(
  { recipe: { seed, supervised }, constitution }: PartContext,
  part: {
    readonly name: string;
    readonly prompts: Stage<StoredRows<PromptRow>>;
    readonly generator: Stage<ModelValue>;
    readonly critic: Stage<ModelValue>;
  },
): Stage<StoredRows<ExampleRow>> {
  const { name, prompts, generator, critic } = part;
  const settings = supervised.deliberate!;
  const options = { settings, constitution, seed };
  return itemStage<PromptRow, ExampleRow>({
    name,
    title: "reasoned replies",
    kind: "deliberate",
    version: 1,
    seed,
    expect(sized) {
      const { rows, tokens } = sized(prompts);
      const shown = settings.principles * (mean(constitution.principles.map(({ text }) => size(text))) + perMessage);
      const { maxTokens } = settings.sampling;
      const written = rows * settings.samples;
      const asked = [asking("generator", generator, written, tokens + shown, maxTokens)];
      if (settings.keep) {
        const { readings, asking: reading } = settings.keep;
        const verdict = reading.format === "d-rlaif" ? 0 : reading.maxTokens;
        asked.push(asking("critic", critic, written * readings, tokens + shown + maxTokens, verdict));
      }
      return { rows: written, tokens: tokens + maxTokens, prompt: tokens, asked };
    },
    over: prompts,
    // Who is not asked does not count.
    models: { generator, ...(settings.keep && { critic }) },
    dependsOn: (row) => deliberateDependsOn(row, options),
    run: (rows, models, call) => {
      const speaker = models.generator!;
      return deliberate(rows, { ...options, generator: speaker, critic: models.critic ?? speaker }, call);
    },
  });
}

/** The file of what keeps a model helpful: examples, or prompts that a model answers itself. */
export function helpfulFile({ recipe }: PartContext, file: ReadFile) {
  const { replies, sampling: _, ratio: __, ...reference } = recipe.supervised.helpful!;
  return replies === "file"
    ? { examples: file({ name: "helpful", title: "helpful examples", reference, as: "examples" }) }
    : { prompts: file({ name: "helpful prompts", title: "helpful prompts", reference, as: "prompts" }) };
}

/** Examples that keep the model what it was: a file's, or its own replies to a file's prompts. METHODS §2. */
export function helpfulStage(
  context: PartContext,
  part: { readonly name: string; readonly model: Stage<ModelValue>; readonly file: ReadFile },
): Stage<StoredRows<ExampleRow>> {
  const { name, model, file } = part;
  const { sampling } = context.recipe.supervised.helpful!;
  const { examples, prompts } = helpfulFile(context, file);
  if (examples) return examples;
  const responses = responsesStage(context, {
    name: `${name} replies`,
    title: "the model's own helpful replies",
    prompts,
    model,
    sampling,
  });
  return itemStage<ResponseRow, ExampleRow>({
    name,
    title: "examples from helpful replies",
    kind: "examples-of-replies",
    version: 2,
    seed: context.recipe.seed,
    over: responses,
    dependsOn: () => null,
    run: (rows) => examplesFromResponses(rows),
  });
}

/** One dataset of several, at ratios, in an order drawn from the seed. */
export function mixStage<Row extends { readonly id: string; readonly origin: { readonly parents: readonly string[] } }>(
  { recipe: { seed } }: PartContext,
  name: string,
  sources: readonly { readonly name: string; readonly rows: Stage<StoredRows<Row>>; readonly ratio?: number }[],
): Stage<StoredRows<Row>> {
  return rowsStage<Row>({
    name,
    title: `mixture of ${sources.map((source) => source.name).join(" and ")}`,
    kind: "mix",
    version: 1,
    seed,
    inputs: sources.map(({ rows }) => rows),
    settings: () => sources.map(({ name: source, ratio }) => [source, ratio ?? null]),
    expect(sized) {
      const there = sources.map(({ rows, ratio }) => ({ ...sized(rows), ratio }));
      // The source that runs out first bounds a mixture with ratios; the first is expected to.
      const most = ({ rows, ratio }: (typeof there)[number]) =>
        ratio === undefined ? rows : Math.min(rows, Math.round((there[0]!.rows * ratio) / (there[0]!.ratio ?? 1)));
      return together(there.map((one) => ({ ...one, taken: most(one) })));
    },
    *make(context) {
      const { rows } = mix(
        sources.map(({ name: source, rows: stage, ratio }) => ({
          name: source,
          rows: [...context.value(stage).rows()],
          ...(ratio === undefined ? {} : { ratio }),
        })),
        { seed },
      );
      for (const row of rows) yield { row };
    },
  });
}

/** Fine-tuning on examples. */
export function supervisedStage(
  context: PartContext,
  part: {
    readonly name: string;
    readonly base: Stage<ModelValue>;
    readonly examples: Stage<StoredRows<ExampleRow>>;
    readonly validation?: Stage<StoredRows<PromptRow>> | undefined;
  },
): Stage<ModelValue> {
  const { recipe, options } = context;
  const { name, base, examples } = part;
  const settings = sftSettingsSchema.parse(pick(recipe.supervised, sftSettingsSchema.shape));
  // Of all weights there is no adapter to speak with while they are trained.
  const watched = settings.weights === "lora" ? watchedOn(context, part.validation) : undefined;
  return trainingStage({
    name,
    title: "supervised fine-tuning",
    kind: "sft",
    version: 1,
    seed: recipe.seed,
    inputs: { examples, ...watched?.inputs } as {
      examples: typeof examples;
      validation?: Stage<StoredRows<PromptRow>>;
    },
    base,
    settings: watched ? [settings, watched.settings] : settings,
    expect(sized) {
      const { rows, tokens, prompt } = sized(examples);
      const trainingTokens = settings.epochs * rows * Math.min(tokens, settings.maxLength);
      return { rows, tokens, prompt, asked: watched?.asked(sized, base, settings.epochs + 1) ?? [], trainingTokens };
    },
    train: async function* (inputs, { base: source, folder, models, signal }) {
      const model = await models.base(source.reference);
      return yield* trainSft({
        model,
        rows: [...inputs.examples.rows()],
        settings,
        seed: recipe.seed,
        folder,
        from: source.adapter,
        selection: inputs.validation && selectionOf(context, [...inputs.validation.rows()]),
        signal,
        ...deviceOf(options),
      });
    },
  });
}

/** What a training that is watched depends on besides; nothing where no program can tell which of its checkpoints is better. */
function watchedOn(context: PartContext, validation: Stage<StoredRows<PromptRow>> | undefined) {
  if (validation === undefined || !canWatch(context)) return undefined;
  return {
    inputs: { validation },
    settings: watchSettings(context),
    asked: (sized: SizeOf, base: Stage, times: number) => [
      watchRequests(context, { base, validation: sized(validation), times }),
    ],
  };
}

/** A preference model: rankings first where there are any, then the labelled pairs. METHODS §4. */
export function preferenceModelStage(
  { recipe: { preferenceModel, seed }, options }: PartContext,
  part: {
    readonly name: string;
    readonly base: Stage<ModelValue>;
    readonly pairs: Stage<StoredRows<PreferenceRow>>;
    /** Pairs to test it on; without them it is tested on a share of its own. */
    readonly held?: Stage<StoredRows<PreferenceRow>> | undefined;
    readonly rankings?: Stage<StoredRows<PreferenceRow>> | undefined;
  },
): Stage<ModelValue> {
  const { name, base, pairs, held, rankings } = part;
  const settings = preferenceSettingsSchema.parse(pick(preferenceModel ?? {}, preferenceSettingsSchema.shape));
  return trainingStage({
    name,
    title: "preference model",
    kind: "preference-model",
    version: 1,
    seed,
    inputs: { pairs, ...(held && { held }), ...(rankings && { rankings }) } as Record<"pairs", typeof pairs> &
      Partial<Record<"held" | "rankings", typeof pairs>>,
    mayBeEmpty: ["held"],
    base,
    settings,
    expect(sized) {
      const of = sized(pairs);
      // Training reads the prompt behind both replies.
      const layout = (pair: Size) => Math.min(pair.tokens + pair.prompt, 2 * settings.maxLength);
      const first = rankings ? settings.pretraining.epochs * sized(rankings).rows * layout(sized(rankings)) : 0;
      return { ...of, trainingTokens: first + settings.epochs * of.rows * layout(of) };
    },
    train: async function* (inputs, { base: source, folder, models, signal }) {
      const model = await models.base(source.reference);
      const { path, report } = yield* trainPreference({
        model,
        rows: [...inputs.pairs.rows()],
        ...(inputs.held && { validation: [...inputs.held.rows()] }),
        ...(inputs.rankings && { pretraining: [...inputs.rankings.rows()] }),
        settings,
        seed,
        folder,
        from: source.adapter,
        signal,
        ...deviceOf(options),
      });
      return { kind: "adapter", path, report };
    },
  });
}

/** Reinforcement learning (or DPO, or best of n) from a reward. Of the parts, its inputs are those that the algorithm learns from. METHODS §5. */
export function policyStage(
  context: PartContext,
  part: {
    readonly name: string;
    readonly base: Stage<ModelValue>;
    readonly prompts: Stage<StoredRows<PromptRow>>;
    readonly pairs: Stage<StoredRows<PreferenceRow>>;
    readonly preferenceModel: Stage<ModelValue>;
    /** What the preference model has to pass before a policy is optimised against it. */
    readonly gate: Stage;
    /** What the policy is held to, where that is not the base. */
    readonly reference?: Stage<ModelValue> | undefined;
    /** Who may be asked while it learns. */
    readonly judges: Readonly<Record<"critic" | "labeller", Stage<ModelValue>>>;
    /** What `imitate` learns and `avoid` unlearns, and what a constraint on a cost model bounds. */
    readonly examples?: Stage<StoredRows<ExampleRow>> | undefined;
    readonly flagged?: Stage<StoredRows<ExampleRow>> | undefined;
    readonly costModel?: Stage<ModelValue> | undefined;
    /** What else has to be passed before. */
    readonly gates?: readonly Stage[];
    readonly validation?: Stage<StoredRows<PromptRow>> | undefined;
  },
): Stage<ModelValue> {
  const { recipe, constitution, options } = context;
  const { name, base, prompts, pairs, preferenceModel, gate, reference, validation, examples, flagged, costModel } =
    part;
  const settings = policySettingsSchema.parse(recipe.policy);
  const asked = Object.fromEntries(judgesAsked(settings).map((role) => [role, part.judges[role]]));
  const watched = watchedOn(context, validation);
  const inputs: PolicyInputs = {
    ...(settings.algorithm === "dpo" ? { pairs } : { prompts }),
    ...(rewardsPreference(settings) && { preferenceModel }),
    ...(reference && { reference }),
    ...(examples && { examples }),
    ...(flagged && { flagged }),
    ...(costModel && { costModel }),
    ...watched?.inputs,
  };
  return trainingStage({
    name,
    title: `reinforcement learning (${settings.algorithm})`,
    kind: "policy",
    version: 1,
    seed: recipe.seed,
    inputs,
    models: asked,
    // A model that never violates has nothing to avoid.
    mayBeEmpty: ["flagged"],
    base,
    behind: [...(rewardsPreference(settings) ? [gate] : []), ...(part.gates ?? [])],
    settings: [
      settings,
      heedsConstitution(settings) ? constitutionHash(constitution) : null,
      ...(watched ? [watched.settings] : []),
    ],
    expect(sized) {
      const { asked: sampled = [], ...learnt } = policyWork(settings, {
        base,
        prompts: () => sized(prompts),
        pairs: () => sized(pairs),
      });
      const times = looks(settings, everyOf(recipe));
      const seen = watched?.asked(sized, base, times) ?? [];
      const looked = seen.length > 0 ? sized(validation!).rows * times : 0;
      const judged = judgeRequests(context, { settings, judges: part.judges, prompts: () => sized(prompts), looked });
      return { ...nothing, ...learnt, trainedBy: settings.algorithm, asked: [...sampled, ...seen, ...judged] };
    },
    train: async function* (learnt, { base: source, folder, models, signal, emit, speakers, memo, value }) {
      const model = await models.base(source.reference);
      const judge = learnt.preferenceModel && preferenceSource(learnt.preferenceModel).adapter;
      const costed = learnt.costModel && preferenceSource(learnt.costModel).adapter;
      const open = (adapter: string | undefined) =>
        adapter === undefined ? undefined : openPreferenceModel(model, adapter, deviceOf(options));
      const scorer = await open(judge);
      const cost = await open(costed);
      try {
        const judges = judgesOf(settings, {
          ...{ constitution, seed: recipe.seed, preference: scorer, cost, memo },
          asked: Object.fromEntries(
            Object.entries(asked).map(([role, stage]) => {
              const { hash, source } = value(stage);
              return [role, { model: speakers[role]!, identity: hash, local: source.type === "local" }];
            }),
          ),
        });
        const flagged = learnt.flagged && [...learnt.flagged.rows()];
        if (flagged?.length === 0)
          emit({
            ...{ type: "message", stage: name, level: "warning" },
            message: "no reply of the pairs violates: there is nothing to avoid, and policy.avoid does nothing",
          });
        const training = trainPolicy({
          model,
          settings,
          seed: recipe.seed,
          folder,
          from: source.adapter,
          prompts: learnt.prompts && [...learnt.prompts.rows()],
          rows: learnt.pairs && [...learnt.pairs.rows()],
          ...judges,
          reference: learnt.reference && { adapter: localSource(learnt.reference).adapter },
          examples: learnt.examples && [...learnt.examples.rows()],
          flagged,
          valueFrom: judge,
          costValueFrom: costed,
          selection: learnt.validation && selectionOf(context, [...learnt.validation.rows()], { leastVariety: 0.5 }),
          signal,
          ...deviceOf(options),
        });
        return yield* withAlarms(training, { emit }, name);
      } finally {
        await scorer?.close();
        await cost?.close();
      }
    },
  });
}

/** Tokens of replies, gone through in every pass. */
export function replyTokens({ maxTokens, epochs }: { maxTokens: number; epochs: number }, replies: number): number {
  return replies * maxTokens * epochs;
}

/** How often a policy in training is looked at, its start included. */
function looks(policy: PolicyTraining, every: number): number {
  if (policy.algorithm === "best-of-n") return policy.supervised.epochs + 1;
  return 1 + (policy.algorithm === "dpo" ? policy.epochs : Math.ceil(policy.iterations / every));
}

/** What an algorithm samples and learns from. */
function policyWork(
  policy: PolicyTraining,
  { base, ...of }: { readonly base: Stage; readonly prompts: () => Size; readonly pairs: () => Size },
): Pick<Expectation, "asked" | "trainingTokens"> {
  const sampled = (replies: number, maxTokens: number) => [
    asking("policy", base, replies, of.prompts().tokens, maxTokens),
  ];
  switch (policy.algorithm) {
    case "dpo": {
      const pairs = of.pairs();
      const pair = Math.min(pairs.tokens + pairs.prompt, 2 * policy.maxLength);
      return { trainingTokens: policy.epochs * pairs.rows * pair };
    }
    case "best-of-n": {
      const { n, maxTokens, supervised } = policy;
      const prompts = of.prompts();
      const trainingTokens = prompts.rows * (prompts.tokens + maxTokens) * supervised.epochs;
      return { asked: sampled(prompts.rows * n, maxTokens), trainingTokens };
    }
    default: {
      const { iterations, promptsPerIteration, samplesPerPrompt, maxTokens } = policy;
      const replies = iterations * promptsPerIteration * samplesPerPrompt;
      return { asked: sampled(replies, maxTokens), trainingTokens: replyTokens(policy, replies) };
    }
  }
}

type PolicyTraining = NonNullable<Recipe["policy"]>;

/** What a policy may learn from. */
type PolicyInputs = {
  readonly prompts?: Stage<StoredRows<PromptRow>>;
  readonly pairs?: Stage<StoredRows<PreferenceRow>>;
  readonly preferenceModel?: Stage<ModelValue>;
  readonly reference?: Stage<ModelValue>;
  readonly examples?: Stage<StoredRows<ExampleRow>>;
  readonly flagged?: Stage<StoredRows<ExampleRow>>;
  readonly costModel?: Stage<ModelValue>;
  readonly validation?: Stage<StoredRows<PromptRow>>;
};

function localSource({ source }: ModelValue): LocalSource {
  if (source.type !== "local") throw new TypeError("a policy is held to a model of this machine");
  return source;
}

/** Where a preference model lies. */
export function preferenceSource({ source }: ModelValue): Required<LocalSource> {
  if (source.type !== "local" || source.adapter === undefined) throw new TypeError("a preference model is an adapter");
  return { ...source, adapter: source.adapter };
}

/** What programs beside the pool's models are opened with. */
export function deviceOf({ device, threads }: PoolOptions) {
  return { ...(device === undefined ? {} : { device }), ...(threads === undefined ? {} : { threads }) };
}

/** The fields of a value that a shape has. */
export function pick(value: object, shape: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([key]) => key in shape));
}
