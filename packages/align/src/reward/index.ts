export { AskedOnce, type AskedOnceOptions, type Batch } from "./asked-once.ts";
export {
  type Critic,
  type CriticOptions,
  criticOf,
  judgeReplies,
  type PanelOptions,
  panelDependsOn,
  type Reply,
} from "./critic.ts";
export { type Answered, principlesFor } from "./given.ts";
export {
  type JudgedRater,
  type JudgedRatingOptions,
  judgedRater,
  type RaterOptions,
  raterOf,
} from "./rating.ts";
export {
  type Breach,
  breachesByChecks,
  constitutionScore,
  type ReplyVerdict,
  violationProbability,
  worst,
} from "./verdict.ts";
