import { wilson } from "@tenet/data";

/** How surely a change is to be shown: the usual 80 %. */
const wantedPower = 0.8;

/** 97.5 % point of the normal distribution. */
const z = 1.959963984540054;

/**
 * The smallest fall of a rate that so many held-out prompts show four times in five, by the 95 % interval of paired replies that
 * the scorecard takes (`rateDifference`).
 *
 * Two replies to one prompt are taken as independent; those of two checkpoints of one run agree more often, and then less can be
 * shown. Where even a fall to 0 is not shown that often there is none. Source: the normal approximation of the power of Bonett and Price's (2012) interval,
 * whose adjustment the scorecard's bootstrap uses.
 * @param prompts held-out prompts
 * @param before the rate that falls, from 0 to 1
 * @example
 * leastChange(94, 0.5)!.toFixed(2); // "0.20"
 */
export function leastChange(prompts: number, before: number): number | undefined {
  if (power(prompts, before, before) < wantedPower) return undefined;
  let [low, high] = [0, before];
  for (let i = 0; i < 40; i++) {
    const middle = (low + high) / 2;
    if (power(prompts, before, middle) < wantedPower) low = middle;
    else high = middle;
  }
  return high;
}

/** How often the interval of a fall by `change` lies wholly below zero. */
function power(n: number, before: number, change: number): number {
  const after = before - change;
  const better = before * (1 - after);
  const worse = after * (1 - before);
  // Bonett and Price: one imagined pair that got better and one that got worse.
  const [b, c] = [(n * better + 1) / (n + 2), (n * worse + 1) / (n + 2)];
  const error = Math.sqrt((b + c - (b - c) ** 2) / (n + 2));
  const spread = Math.sqrt(n * (better + worse - change ** 2)) / (n + 2);
  const margin = (n * change) / (n + 2) - z * error;
  return spread === 0 ? Number(margin > 0) : normal(margin / spread);
}

/** Φ(x), to 1e-7: Abramowitz and Stegun (1964), 7.1.26. */
function normal(x: number): number {
  const t = 1 / (1 + (0.3275911 * Math.abs(x)) / Math.SQRT2);
  const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const tail = 0.5 * series * Math.exp((-x * x) / 2);
  return x > 0 ? 1 - tail : tail;
}

/** How often a signal is right that is not to be refused for want of pairs: our choice, and no measurement. */
const usefulAccuracy = 0.7;

/**
 * How often a signal that is right this often clears a gate that tests it on so many pairs: exact, the binomial probability of every
 * count whose Wilson interval lies above chance. Pairs are taken as independent: of several of one prompt give the effective number.
 * @param pairs whose answer is known and that were not learnt from; whole
 * @example
 * gatePower(48, { accuracy: 0.7, chance: 0.5 }).toFixed(2); // "0.84"
 */
export function gatePower(
  pairs: number,
  { accuracy, chance }: { readonly accuracy: number; readonly chance: number },
): number {
  const clears = (right: number) => pairs > 0 && wilson(right, pairs).interval[0] > chance;
  if (!clears(pairs)) return 0;
  if (accuracy >= 1) return 1;
  const least = firstOf(pairs, clears);
  // ln of the probability of no right answer; each further one by the ratio of neighbours.
  let logProbability = pairs * Math.log(1 - accuracy);
  const odds = Math.log(accuracy / (1 - accuracy));
  let power = 0;
  for (let right = 0; right <= pairs; right++) {
    if (right >= least) power += Math.exp(logProbability);
    logProbability += Math.log((pairs - right) / (right + 1)) + odds;
  }
  return Math.min(1, power);
}

/**
 * The least number of pairs from which on such a signal clears the gate four times in five; undefined where it takes more than 5,000. Since
 * counts are whole, power falls a little with single pairs more: fewer than these may do, and the next one not.
 */
export function leastPairs(signal: { readonly accuracy: number; readonly chance: number }): number | undefined {
  if (signal.accuracy <= signal.chance) return undefined;
  const does = (pairs: number) => gatePower(pairs, signal) >= wantedPower;
  // Power falls where one more pair needs one more right answer, which it does at least once in so many.
  const period = Math.ceil(1 / Math.max(signal.chance, leastChanceLooked)) + 1;
  const keepsDoing = (pairs: number) => {
    for (let more = 0; more < period; more++) if (!does(pairs + more)) return false;
    return true;
  };
  if (!keepsDoing(mostPairs)) return undefined;
  let most = 1;
  while (most < mostPairs && !keepsDoing(most)) most = Math.min(2 * most, mostPairs);
  const near = firstOf(most, keepsDoing);
  // The falls are not quite of one size.
  let least = near;
  for (let pairs = Math.max(1, near - 3 * period); pairs < near + 9 * period; pairs++)
    if (!does(pairs)) least = pairs + 1;
  return least;
}

/** The first whole number up to `most`, of which it holds, from which on something holds. */
function firstOf(most: number, holds: (number: number) => boolean): number {
  let [low, high] = [0, most];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return high;
}

const mostPairs = 5000;

/** Below it a signal that is right more often than not clears the gate on a handful of pairs. */
const leastChanceLooked = 0.02;

/** That a gate which is given so many pairs often refuses what is good for something. */
export interface FewPairs {
  readonly text: string;
  /** How many would do; undefined where none would, or none that is looked for. */
  readonly least: number | undefined;
}

/**
 * Undefined where they are enough.
 * @param counted what they are worth where several are of one prompt: the effective number
 */
export function fewPairs(
  pairs: number,
  { chance, counted = pairs }: { readonly chance: number; readonly counted?: number },
): FewPairs | undefined {
  const signal = { accuracy: usefulAccuracy, chance };
  const worth = Math.round(counted);
  const power = gatePower(worth, signal);
  if (power >= wantedPower) return undefined;
  const least = leastPairs(signal);
  const takes =
    usefulAccuracy <= chance
      ? "no number of pairs would do"
      : `it takes ${least ?? `more than ${mostPairs.toLocaleString("en")}`}${worth < pairs ? " of as many prompts" : ""} to do so four times in five`;
  const on = `${pairs} ${pairs === 1 ? "pair" : "pairs"}${worth < pairs ? `, which count for ${worth} since pairs of one prompt count for less,` : ""}`;
  const text = `on ${on} a preference model that is right on ${usefulAccuracy} of all is shown to be above chance (${chance}) in ${(100 * power).toFixed(0)} % of tests; ${takes}`;
  return { text, least };
}
