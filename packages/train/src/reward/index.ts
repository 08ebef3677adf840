export { type Penalties, penalised, type RewardTerm, weightedSum } from "./combine.ts";
export {
  constitutionalReward,
  type PreferenceScorer,
  preferenceReward,
  type Reward,
  type RewardCall,
  RewardError,
  type Rewarded,
  type RewardRequest,
  rewardOf,
} from "./reward.ts";
export { type RewardSettings, type RewardSources, rewardFrom, rewardSettingsSchema } from "./settings.ts";
