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
