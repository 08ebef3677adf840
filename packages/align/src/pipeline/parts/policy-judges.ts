import { type GivenPrinciple, givenBefore } from "@tenet/data";
import type { LanguageModel } from "@tenet/lm";
import {
  constitutionalReward,
  constitutionTerm,
  type JudgeTerm,
  type PolicyTrainingSettings,
  type PreferenceScorer,
  preferenceReward,
  type Reward,
  type RewardRequest,
  rewardFrom,
  rewardOf,
} from "@tenet/train";
import type { Memo } from "../../ask.ts";
import { type Constitution, checkReward, runChecks } from "../../constitution/index.ts";
import { ratingQuestion } from "../../evaluate/index.ts";
import {
  type Critic,
  constitutionScore,
  criticOf,
  type JudgedRater,
  judgedRater,
  judgeReplies,
  type PanelOptions,
  type ReplyVerdict,
  raterOf,
  violationProbability,
} from "../../reward/index.ts";

/*
 * Who judges a policy's replies while it learns: the parts of its reward, and what a constraint bounds.
 */

/** Which of the recipe's models a policy's training asks. */
export function judgesAsked(policy: PolicyTrainingSettings): readonly ("critic" | "labeller")[] {
  if (!("reward" in policy)) return [];
  const { weight, by } = constitutionTerm(policy.reward);
  const critic = (weight > 0 && by !== "checks") || constraintOf(policy)?.cost === "critic";
  return [...(critic ? (["critic"] as const) : []), ...(ratingOf(policy) ? (["labeller"] as const) : [])];
}

/** Whether the constitution is a part of what a policy is told. */
export function heedsConstitution(policy: PolicyTrainingSettings): boolean {
  if (!("reward" in policy)) return false;
  const cost = constraintOf(policy)?.cost;
  return (
    constitutionTerm(policy.reward).weight > 0 || ratesByPrinciples(policy) || cost === "checks" || cost === "critic"
  );
}

/** Whether replies are rated by principles. */
export function ratesByPrinciples(policy: PolicyTrainingSettings): boolean {
  return ratingOf(policy)?.principles !== undefined;
}

/** How replies are rated, where they are and a weight is given. */
export function ratingOf(policy: PolicyTrainingSettings): JudgeTerm | undefined {
  return "reward" in policy && policy.reward.judge && policy.reward.judge.weight > 0 ? policy.reward.judge : undefined;
}

/** A policy's constraint, where its algorithm can have one and it has. */
export function constraintOf(policy: PolicyTrainingSettings | undefined) {
  return policy !== undefined && "constraint" in policy ? policy.constraint : undefined;
}

/** What a policy imitates beside its own loss, where its algorithm can and a weight is given. */
export function imitatesOf(policy: PolicyTrainingSettings) {
  return "imitate" in policy && policy.imitate && policy.imitate.weight > 0 ? policy.imitate : undefined;
}

/** What a policy avoids, likewise. */
export function avoidsOf(policy: PolicyTrainingSettings) {
  return "avoid" in policy && policy.avoid && policy.avoid.weight > 0 ? policy.avoid : undefined;
}

export interface JudgesOptions {
  readonly constitution: Constitution;
  readonly seed: number;
  /** The preference model, where it is rewarded by. */
  readonly preference?: PreferenceScorer | undefined;
  /** The principles that it is shown beside a reply, where it is shown some. */
  readonly given?: ((request: RewardRequest) => readonly GivenPrinciple[]) | undefined;
  /** The cost model, where its score is bounded. */
  readonly cost?: PreferenceScorer | undefined;
  /** The models that are asked, what tells each from another, and whether it runs here. */
  readonly asked: Readonly<Partial<Record<"critic" | "labeller", AskedJudge>>>;
  readonly memo: Memo;
}

interface AskedJudge {
  readonly model: LanguageModel;
  readonly identity: string;
  readonly local: boolean;
}

/** The reward of a policy's settings, and the cost that its constraint bounds. Errors: RewardError as `rewardFrom` has it. */
export function judgesOf(
  policy: PolicyTrainingSettings,
  options: JudgesOptions,
): { readonly reward?: Reward; readonly cost?: Reward } {
  if (!("reward" in policy)) return {};
  const { constitution, seed, preference, given, asked, memo } = options;
  const { reward: settings } = policy;
  const { by, principles } = constitutionTerm(settings);
  const critic = asked.critic && criticOf({ ...asked.critic, critic: asked.critic.model, seed, memo });
  const panel = (own: Pick<PanelOptions, "by" | "principles">, asker: number, of: (verdict: ReplyVerdict) => Said) =>
    panelReward({ constitution, seed, ...own }, critic, asker, of);
  const rate = asked.labeller && raterFor(settings.judge, asked.labeller, options);
  const cost = constraintOf(policy)?.cost;
  return {
    reward: rewardFrom(settings, {
      preference:
        preference && preferenceReward(preference, given && ((request) => givenBefore(request.prompt, given(request)))),
      constitution:
        by === "checks"
          ? constitutionalReward((request) => checkReward(constitution, runChecks(constitution, request)))
          : rewardOf("constitution", panel({ by, principles }, askers.reward, scoreOf)),
      judge:
        rate &&
        rewardOf("judge", (requests, call) => rate(requests, { round: roundOf(requests), asker: askers.rater }, call)),
    }),
    ...(cost === "model" && { cost: rewardOf("model", costScores(options.cost!)) }),
    ...((cost === "checks" || cost === "critic") && {
      cost: rewardOf("violations", panel({ by: cost, principles: "all" }, askers.cost, violationOf)),
    }),
  };
}

/** Who rates replies: in words of our own, or in a judge's format and by principles where settings say so. */
function raterFor(
  term: JudgeTerm | undefined,
  { model: rater, identity, local }: AskedJudge,
  { constitution, seed, memo }: JudgesOptions,
): JudgedRater {
  const options = { rater, identity, local, memo };
  const { asking, principles } = term ?? {};
  if (asking !== undefined || principles !== undefined)
    return judgedRater(options, { asking, principles, constitution, seed });
  const general = raterOf({ ...options, question: ratingQuestion });
  return (replies, batch, call) => general.answers(replies, batch, call);
}

/** Who asks in a round: their answers have places of their own. */
const askers = { reward: 0, cost: 1, rater: 2 } as const;

type Said = number | { readonly unanswered: string };
type Judge = Parameters<typeof rewardOf>[1];

function panelReward(
  options: PanelOptions,
  critic: Critic | undefined,
  asker: number,
  of: (verdict: ReplyVerdict) => Said,
): Judge {
  return async (requests, call) =>
    (await judgeReplies(requests, options, critic, { round: roundOf(requests), asker }, call)).map(of);
}

/** R_const of a verdict. Where no check applies, nothing being known, it is 0, as of checks alone. */
function scoreOf(verdict: ReplyVerdict): Said {
  return "breaches" in verdict ? (constitutionScore(verdict.breaches) ?? 0) : verdict;
}

function violationOf(verdict: ReplyVerdict): Said {
  return "breaches" in verdict ? violationProbability(verdict.breaches) : verdict;
}

function costScores(model: PreferenceScorer): Judge {
  return (requests, call) =>
    model.score(
      requests.map(({ prompt, response, finished }) => ({ prompt, response, cut: !finished })),
      call,
    );
}

/** The round of sampling that all of a batch are of. */
function roundOf([first]: readonly RewardRequest[]): number {
  return first?.iteration ?? -1;
}
