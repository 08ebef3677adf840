import { type ChainRow, type ExampleRow, mix, type PreferenceRow, type PromptRow, type ResponseRow } from "@tenet/data";
import { requireConversations, textFindings } from "@tenet/lm";
import {
  constitutionalReward,
  endOfReply,
  openPreferenceModel,
  policySettingsSchema,
  preferenceReward,
  preferenceSettingsSchema,
  rewardFrom,
  sftSettingsSchema,
  trainPolicy,
  trainPreference,
  trainSft,
} from "@tenet/train";
import { checkReward, constitutionHash, runChecks } from "../constitution/index.ts";
import {
  critiqueAndRevise,
  critiqueDependsOn,
  examplesDependsOn,
  examplesFromChains,
  examplesFromResponses,
  respond,
  respondDependsOn,
} from "../feedback/index.ts";
import { withAlarms } from "./alarms.ts";
import type { PartContext } from "./context.ts";
import { endpointSettings } from "./endpoint-identity.ts";
import { fileStage } from "./files.ts";
import { modelFingerprint, type PoolOptions } from "./models.ts";
import { type RoleReference, rewardsPreference } from "./recipe.ts";
import { itemStage, modelStage, rowsStage, type Stage, type StageContext, trainingStage } from "./stages.ts";
import { canWatch, selectionOf, watchSettings } from "./validation.ts";
import { type LocalSource, type ModelValue, modelValue, type StoredRows } from "./values.ts";

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
  if (source.type === "endpoint") return modelStage(name, `the ${name}`, open, { endpoint: source });
  const check: Stage["check"] = async ({ models, emit }) => {
    const text = await models.text(source.reference);
    requireConversations(text);
    if (trained) endOfReply(text);
    for (const finding of textFindings(text))
      emit({ type: "message", level: "info", message: `the ${name} ${source.reference}: ${finding}` });
  };
  return modelStage(name, `the ${name}`, open, { check });
}

function roleSource(reference: RoleReference): ModelValue["source"] {
  if (typeof reference === "string") return { type: "local", reference };
  if ("endpoint" in reference) return { type: "endpoint", settings: endpointSettings(reference) };
  const { model, adapter } = reference;
  return { type: "local", reference: model, ...(adapter === undefined ? {} : { adapter }) };
}

/** Replies of a model to prompts. */
export function responsesStage(
  { recipe: { seed } }: PartContext,
  part: {
    readonly name: string;
    readonly title: string;
    readonly prompts: Stage<StoredRows<PromptRow>>;
    readonly model: Stage<ModelValue>;
    readonly sampling: NonNullable<Parameters<typeof respond>[1]["sampling"]>;
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
    over: prompts,
    models: { generator: model },
    dependsOn: (row) => respondDependsOn(row, options),
    run: (rows, { generator }, call) => respond(rows, { ...options, generator: generator! }, call),
  });
}

/** Critique–revision chains behind first responses. METHODS §2. */
export function chainsStage(
  { recipe: { seed, supervised }, constitution, demonstrations }: PartContext,
  part: {
    readonly name: string;
    readonly responses: Stage<StoredRows<ResponseRow>>;
    readonly critic: Stage<ModelValue>;
    readonly reviser: Stage<ModelValue>;
  },
): Stage<StoredRows<ChainRow>> {
  const { name, responses, critic, reviser } = part;
  const options = { ...supervised.critique, rounds: supervised.revisions, constitution, demonstrations, seed };
  return itemStage<ResponseRow, ChainRow>({
    name,
    title: "critique and revision",
    kind: "critique-revision",
    version: 1,
    over: responses,
    // Who is not asked does not count: another critic redoes nothing where the checks write the critiques.
    models: { ...(options.critiques === "model" && { critic }), reviser },
    dependsOn: (row) => critiqueDependsOn(row, options),
    run: (rows, models, call) => {
      const speakers = { critic: models.critic ?? models.reviser!, reviser: models.reviser! };
      return critiqueAndRevise(rows, { ...options, ...speakers }, call);
    },
  });
}

/** What is learnt of chains. */
export function examplesStage(
  { recipe: { supervised }, constitution }: PartContext,
  name: string,
  chains: Stage<StoredRows<ChainRow>>,
): Stage<StoredRows<ExampleRow>> {
  const options = { ...supervised.examples, constitution };
  return itemStage<ChainRow, ExampleRow>({
    name,
    title: "examples from the chains",
    kind: "examples",
    version: 1,
    over: chains,
    dependsOn: (row) => examplesDependsOn(row, options),
    run: (rows) => examplesFromChains(rows, options),
  });
}

/** Examples that keep the model what it was: a file's, or its own replies to a file's prompts. METHODS §2. */
export function helpfulStage(
  context: PartContext,
  part: { readonly name: string; readonly model: Stage<ModelValue> },
): Stage<StoredRows<ExampleRow>> {
  const { name, model } = part;
  const { replies, sampling, ratio: _, ...file } = context.recipe.supervised.helpful!;
  if (replies === "file") return fileStage(name, "helpful examples", file, "examples");
  const responses = responsesStage(context, {
    name: `${name} replies`,
    title: "the model's own helpful replies",
    prompts: fileStage(`${name} prompts`, "helpful prompts", file, "prompts"),
    model,
    sampling,
  });
  return itemStage<ResponseRow, ExampleRow>({
    name,
    title: "examples from helpful replies",
    kind: "examples-of-replies",
    version: 2,
    over: responses,
    dependsOn: () => null,
    run: (rows) => examplesFromResponses(rows),
  });
}

/** One dataset of several, at ratios, in an order drawn from the seed. */
export function mixStage<Row extends { readonly id: string; readonly origin: { readonly parents: readonly string[] } }>(
  name: string,
  sources: readonly { readonly name: string; readonly rows: Stage<StoredRows<Row>>; readonly ratio?: number }[],
): Stage<StoredRows<Row>> {
  return rowsStage<Row>({
    name,
    title: `mixture of ${sources.map((source) => source.name).join(" and ")}`,
    kind: "mix",
    version: 1,
    inputs: sources.map(({ rows }) => rows),
    settings: () => sources.map(({ name: source, ratio }) => [source, ratio ?? null]),
    *make(context) {
      const { rows } = mix(
        sources.map(({ name: source, rows: stage, ratio }) => ({
          name: source,
          rows: [...context.value(stage).rows()],
          ...(ratio === undefined ? {} : { ratio }),
        })),
        { seed: context.seed },
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
    inputs: { examples, ...watched?.inputs } as {
      examples: typeof examples;
      validation?: Stage<StoredRows<PromptRow>>;
    },
    base,
    settings: watched ? [settings, watched.settings] : settings,
    train: async function* (inputs, { base: source, folder, models, seed, signal }) {
      const model = await models.base(source.reference);
      return yield* trainSft({
        model,
        rows: [...inputs.examples.rows()],
        settings,
        seed,
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
  return { inputs: { validation }, settings: watchSettings(context) };
}

/** A preference model: rankings first where there are any, then the labelled pairs. METHODS §4. */
export function preferenceModelStage(
  { recipe: { preferenceModel }, options }: PartContext,
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
    inputs: { pairs, ...(held && { held }), ...(rankings && { rankings }) } as Record<"pairs", typeof pairs> &
      Partial<Record<"held" | "rankings", typeof pairs>>,
    mayBeEmpty: ["held"],
    base,
    settings,
    train: async function* (inputs, { base: source, folder, models, seed, signal }) {
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
    readonly validation?: Stage<StoredRows<PromptRow>> | undefined;
  },
): Stage<ModelValue> {
  const { recipe, constitution, options } = context;
  const { name, base, prompts, pairs, preferenceModel, gate, validation } = part;
  const settings = policySettingsSchema.parse(recipe.policy);
  const judged = "reward" in settings && settings.reward.constitution > 0;
  const watched = watchedOn(context, validation);
  const inputs: PolicyInputs = {
    ...(settings.algorithm === "dpo" ? { pairs } : { prompts }),
    ...(rewardsPreference(settings) && { preferenceModel }),
    ...watched?.inputs,
  };
  return trainingStage({
    name,
    title: `reinforcement learning (${settings.algorithm})`,
    kind: "policy",
    version: 1,
    inputs,
    base,
    ...(rewardsPreference(settings) && { behind: [gate] }),
    settings: [settings, judged ? constitutionHash(constitution) : null, ...(watched ? [watched.settings] : [])],
    train: async function* (learnt, { base: source, folder, models, seed, signal, emit }) {
      const model = await models.base(source.reference);
      const judge = learnt.preferenceModel && preferenceSource(learnt.preferenceModel).adapter;
      const scorer = judge === undefined ? undefined : await openPreferenceModel(model, judge, deviceOf(options));
      try {
        const reward =
          "reward" in settings
            ? rewardFrom(settings.reward, {
                preference: scorer && preferenceReward(scorer),
                constitution: constitutionalReward((request) =>
                  checkReward(constitution, runChecks(constitution, request)),
                ),
              })
            : undefined;
        const training = trainPolicy({
          model,
          settings,
          seed,
          folder,
          from: source.adapter,
          prompts: learnt.prompts && [...learnt.prompts.rows()],
          rows: learnt.pairs && [...learnt.pairs.rows()],
          reward,
          valueFrom: judge,
          selection: learnt.validation && selectionOf(context, [...learnt.validation.rows()], { leastVariety: 0.5 }),
          signal,
          ...deviceOf(options),
        });
        return yield* withAlarms(training, { emit }, name);
      } finally {
        await scorer?.close();
      }
    },
  });
}

/** What a policy may learn from. */
type PolicyInputs = {
  readonly prompts?: Stage<StoredRows<PromptRow>>;
  readonly pairs?: Stage<StoredRows<PreferenceRow>>;
  readonly preferenceModel?: Stage<ModelValue>;
  readonly validation?: Stage<StoredRows<PromptRow>>;
};

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
