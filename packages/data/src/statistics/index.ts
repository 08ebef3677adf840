export { cohenKappa, krippendorffAlpha } from "./agreement.ts";
export { jackknife, type LeaveOneOut } from "./jackknife.ts";
export { bradleyTerry, elo, type Game, type RatingOptions } from "./rating.ts";
export {
  type BootstrapOptions,
  bootstrap,
  bootstrapEach,
  type Calibration,
  calibration,
  type Estimate,
  effectiveSize,
  type Forecast,
  groupBy,
  type Interval,
  logSumExp,
  mean,
  type Observation,
  type PairedObservation,
  type Points,
  pearson,
  pointsRate,
  quantile,
  rate,
  rateDifference,
  spearman,
  wilson,
} from "./statistics.ts";
