export { bradleyTerry, elo, type Game, type RatingOptions } from "./rating.ts";
export {
  type BootstrapOptions,
  bootstrap,
  type Calibration,
  calibration,
  type Estimate,
  type Forecast,
  type Interval,
  type Observation,
  type PairedObservation,
  pearson,
  rate,
  rateDifference,
  spearman,
  wilson,
} from "./statistics.ts";
