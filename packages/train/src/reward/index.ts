export { answeredPlaces } from "./answers.ts";
export { type JudgeFormatName, judgeAskingFields, judgeFormatNames } from "./asking.ts";
export { type Penalties, penalised, type RewardTerm, weightedSum } from "./combine.ts";
export {
  constitutionalReward,
  isScored,
  type PreferenceScorer,
  preferenceReward,
  type Reward,
  type RewardCall,
  RewardError,
  type Rewarded,
  type RewardRequest,
  rewardOf,
  type Said,
  type Scored,
  type Unanswered,
} from "./reward.ts";
export { type ServeRewardOptions, serveReward } from "./serve.ts";
export {
  constitutionTerm,
  type GivenRewardSettings,
  givenRewardSchema,
  type JudgeTerm,
  mostUnanswered,
  type RewardSettings,
  type RewardSources,
  rewardFrom,
  rewardSettingsSchema,
  weightedTerms,
} from "./settings.ts";
