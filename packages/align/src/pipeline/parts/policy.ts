import type { ExampleRow, OpinionRow, PreferenceRow, PromptRow } from "@tenet/data";
import {
  keptAsNow,
  openPreferenceModel,
  policySettingsSchema,
  type SelectionOptions,
  sharesPrompts,
  trainingPlan,
  trainPolicy,
} from "@tenet/train";
import { askedHash, constitutionHash } from "../../constitution/index.ts";
import { sycophancyProbe } from "../../evaluate/index.ts";
import { withAlarms } from "../alarms.ts";
import type { PartContext } from "../context.ts";
import { type Expectation, nothing, type Size } from "../expectation.ts";
import { heardByPolicy } from "../heard.ts";
import { deviceOf } from "../models.ts";
import { type Recipe, rewardsPreference } from "../recipe.ts";
import { reasons } from "../rules/reasoning.ts";
import { asking } from "../sizes.ts";
import { type Stage, trainingStage } from "../stages/index.ts";
import { localSource, type ModelValue, preferenceSource, type Report, type StoredRows } from "../values.ts";
import { type GateReport, goesWithout } from "./gates.ts";
import { shownBeside } from "./given.ts";
import { avoidsOf, heedsConstitution, imitatesOf, judgesAsked, judgesOf, ratesByPrinciples } from "./policy-judges.ts";
import { everyOf, selectionOf, watchedOn } from "./validation.ts";
import { judgeRequests } from "./verdicts.ts";

/** Reinforcement learning (or DPO, or best of n) from a reward. Of the parts, its inputs are those that the algorithm learns from. METHODS §5. */
export function policyStage(
  context: PartContext,
  part: {
    readonly name: string;
    readonly base: Stage<ModelValue>;
    /** Whether that is what the run began with. */
    readonly untrained: boolean;
    readonly prompts: Stage<StoredRows<PromptRow>>;
    readonly pairs: Stage<StoredRows<PreferenceRow>>;
    readonly preferenceModel: Stage<ModelValue>;
    /** What the preference model has to pass before a policy is optimised against it. */
    readonly gate: Stage<Report<GateReport>>;
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
    /** What it is asked besides where it is watched. */
    readonly opinions?: Stage<StoredRows<OpinionRow>> | undefined;
  },
): Stage<ModelValue> {
  const { recipe, constitution, options } = context;
  const { name, base, prompts, pairs, preferenceModel, gate, reference, validation, examples, flagged, costModel } =
    part;
  const settings = policySettingsSchema.parse(recipe.policy);
  const asked = Object.fromEntries(judgesAsked(settings).map((role) => [role, part.judges[role]]));
  const watched = watchedOn(context, validation);
  const given = rewardsPreference(settings) ? shownBeside(context) : undefined;
  // What checks alone say of a reply is no question that anybody is asked.
  const hash = given || asked.critic || ratesByPrinciples(settings) ? askedHash : constitutionHash;
  const inputs: PolicyInputs = {
    ...(settings.algorithm === "dpo" ? { pairs } : { prompts }),
    ...(rewardsPreference(settings) && { preferenceModel }),
    ...(reference && { reference }),
    ...(examples && { examples }),
    ...(flagged && { flagged }),
    ...(costModel && { costModel }),
    ...watched?.inputs,
    ...(watched && part.opinions && { opinions: part.opinions }),
  };
  // Several replies are learnt from behind one prompt: an iteration's, or those of a pair.
  const shares = sharesPrompts(settings) || settings.algorithm === "dpo";
  const unwatched = shares ? 3 : settings.algorithm === "best-of-n" ? 2 : 1;
  return trainingStage({
    name,
    title: `reinforcement learning (${settings.algorithm})`,
    kind: "policy",
    // Since 2 best of n learns no end behind a reply that was cut, and replies to one prompt compute it once; of those, since 3, or 4 where it is
    // watched, the prompt's gradients are added in order: before, they were added by several threads at once, and differed from run to
    // run. Since 3 what is watched keeps no checkpoint that pays for fewer violations with what it may not.
    version: !watched ? unwatched : shares ? 4 : 3,
    ...(watched &&
      !shares && { before: { version: unwatched, same: (report) => keptAsNow(report, { imitating: false }) } }),
    seed: recipe.seed,
    inputs,
    models: asked,
    // A model that never violates has nothing to avoid.
    mayBeEmpty: ["flagged"],
    base,
    behind: [...(rewardsPreference(settings) ? [gate] : []), ...(part.gates ?? [])],
    settings: [
      settings,
      given || heedsConstitution(settings) ? hash(constitution) : null,
      ...(watched ? [watched.settings] : []),
      // It was of reasoning too.
      ...(penalisesLength(settings) && reasons(recipe) ? ["length of the reply alone"] : []),
    ],
    without: ({ value }) =>
      rewardsPreference(settings) && goesWithout(recipe, value(gate).value) ? ["preferenceModel"] : [],
    expect(sized) {
      const { asked: sampled = [], ...learnt } = policyWork(settings, {
        base,
        prompts: () => sized(prompts),
        pairs: () => sized(pairs),
      });
      const times = looks(settings, everyOf(recipe));
      const probed = watched && part.opinions;
      const seen = [
        ...(watched?.asked(sized, base, times) ?? []),
        // Each question at most with and without the view.
        ...(probed ? [asking("policy", base, 2 * sized(probed).rows * times, sized(probed).tokens, 0)] : []),
      ];
      const looked = seen.length > 0 ? sized(validation!).rows * times : 0;
      const judged = judgeRequests(context, { settings, judges: part.judges, prompts: () => sized(prompts), looked });
      return { ...nothing, ...learnt, trainedBy: settings.algorithm, asked: [...sampled, ...seen, ...judged] };
    },
    train: async function* (learnt, { base: source, folder, models, signal, emit, speakers, memo, value }) {
      const model = await models.trainable(source.reference);
      const heard = learnt.preferenceModel ? settings : withoutPreference(settings);
      const judge = learnt.preferenceModel && preferenceSource(learnt.preferenceModel).adapter;
      const costed = learnt.costModel && preferenceSource(learnt.costModel).adapter;
      const open = (adapter: string | undefined) =>
        adapter === undefined
          ? undefined
          : openPreferenceModel(model, adapter, { ...deviceOf(options), shareBeginnings: sharesPrompts(settings) });
      const scorer = await open(judge);
      const cost = await open(costed);
      try {
        const judges = judgesOf(heard, {
          ...{ constitution, seed: recipe.seed, preference: scorer, given, cost, memo },
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
          settings: heard,
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
          selection:
            learnt.validation &&
            selectionOf(context, [...learnt.validation.rows()], {
              independent: !heardByPolicy(recipe).has("checks"),
              ...(part.untrained && { mayPay: "untrained" }),
              ...(learnt.opinions && { probe: probeOf([...learnt.opinions.rows()]) }),
            }),
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

/** What a policy is asked besides while it learns. */
const probeOf =
  (opinions: readonly OpinionRow[]): NonNullable<SelectionOptions["probe"]> =>
  (model, signal) =>
    sycophancyProbe(opinions, model, signal);

/** The same policy rewarded by all but the preference model. */
function withoutPreference(policy: PolicyTraining): PolicyTraining {
  if (!("reward" in policy) || policy.reward.preference === 0) return policy;
  return { ...policy, reward: { ...policy.reward, preference: 0, shape: "linear" } } as PolicyTraining;
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
): Pick<Expectation, "asked" | "trainingTokens" | "training"> {
  const sampled = (replies: number, maxTokens: number) => [
    asking("policy", base, replies, of.prompts().tokens, maxTokens),
  ];
  // Beside the algorithm's own loss each further term has a program.
  const learning = 1 + (imitatesOf(policy) ? 1 : 0) + (avoidsOf(policy) ? 1 : 0);
  switch (policy.algorithm) {
    case "dpo": {
      const pairs = of.pairs();
      const pair = Math.min(pairs.tokens + pairs.prompt, 2 * policy.maxLength);
      return {
        trainingTokens: policy.epochs * pairs.rows * pair,
        training: trainingPlan(policy, {
          ...{ learning, looking: 1, networks: 1, sequencesPerItem: 2, updateTokens: policy.batchSize * pair },
        }),
      };
    }
    case "best-of-n": {
      const { n, maxTokens, supervised } = policy;
      const prompts = of.prompts();
      const example = prompts.tokens + maxTokens;
      return {
        asked: sampled(prompts.rows * n, maxTokens),
        trainingTokens: prompts.rows * example * supervised.epochs,
        training: trainingPlan(supervised, {
          ...{ learning, looking: 0, networks: 1, updateTokens: supervised.batchSize * example },
        }),
      };
    }
    default: {
      const { iterations, promptsPerIteration, samplesPerPrompt, maxTokens } = policy;
      const atOnce = promptsPerIteration * samplesPerPrompt;
      const own = policy.algorithm === "ppo" ? valueNetworks(policy) : 0;
      return {
        asked: sampled(iterations * atOnce, maxTokens),
        trainingTokens: replyTokens(policy, iterations * atOnce),
        training: trainingPlan(policy, {
          ...{ learning, looking: 1, networks: 1 + own, shareBeginnings: sharesPrompts(policy) },
          updateTokens: Math.ceil(atOnce / policy.minibatches) * (of.prompts().tokens + maxTokens),
        }),
      };
    }
  }
}

/** Networks that estimate values, beside the policy. */
function valueNetworks({ value, constraint }: Extract<PolicyTraining, { algorithm: "ppo" }>): number {
  return (value.trunk === "shared" ? 0 : 1) + (constraint ? 1 : 0);
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
  readonly opinions?: Stage<StoredRows<OpinionRow>>;
};

function penalisesLength(policy: NonNullable<Recipe["policy"]>): boolean {
  return "reward" in policy && policy.reward.lengthPenalty > 0;
}
