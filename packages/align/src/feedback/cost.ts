/** What a role used to label, or to be made fit for it. */
export interface RoleUsage {
  readonly role: string;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly seconds: number;
  /** Absent where no price applies, as for a local model whose machine has none. */
  readonly usd?: number | undefined;
}

export interface LabelCost {
  readonly role: string;
  readonly tokens: number;
  readonly seconds: number;
  readonly usd?: number;
}

export interface LabelCosts {
  readonly labels: number;
  /** Per label, by role. */
  readonly roles: LabelCost[];
  /** Per label, all roles together; `usd` is there only where every role has a price. */
  readonly total: LabelCost;
  /** Dollars that were spent before the first label: a judge's training, and the audit; absent where something has no price. */
  readonly fixedUsd?: number;
  /**
   * From how many labels on the machine's come cheaper than people's, n = F/(h − m), at people's highest and lowest price; null where they
   * never do. Absent where the machine has no price.
   */
  readonly breakEven?: { readonly atHigh: number | null; readonly atLow: number | null };
}

/**
 * Tokens, seconds and dollars per label for every role, and from how many labels on they are cheaper than people's at `humanUsd` each, low
 * and high. METHODS §3.
 *
 * Errors: RangeError for no labels, since nothing can be told per label then.
 *
 * @example
 * const labeller = { role: "labeller", promptTokens: 900, completionTokens: 100, seconds: 5, usd: 2 };
 * const audit = { role: "audit", promptTokens: 90, completionTokens: 10, seconds: 1, usd: 9.8 };
 * labelCosts({ labels: 10, roles: [labeller], fixed: [audit], humanUsd: [1, 10] }).breakEven; // { atHigh: 1, atLow: 13 }
 */
export function labelCosts({
  labels,
  roles,
  fixed = [],
  humanUsd: [low, high],
}: {
  readonly labels: number;
  readonly roles: readonly RoleUsage[];
  readonly fixed?: readonly RoleUsage[];
  readonly humanUsd: readonly [number, number];
}): LabelCosts {
  if (!(labels > 0)) throw new RangeError(`the cost per label of ${labels} labels: expected at least one label`);
  const each = roles.map(({ role, promptTokens, completionTokens, seconds, usd }): LabelCost => {
    const tokens = (promptTokens + completionTokens) / labels;
    return { role, tokens, seconds: seconds / labels, ...(usd === undefined ? {} : { usd: usd / labels }) };
  });
  const usd = each.length === 0 ? undefined : sumOf(each.map((one) => one.usd));
  const total = {
    role: "total",
    tokens: each.reduce((sum, { tokens }) => sum + tokens, 0),
    seconds: each.reduce((sum, { seconds }) => sum + seconds, 0),
    ...(usd === undefined ? {} : { usd }),
  };
  const fixedUsd = sumOf(fixed.map((one) => one.usd));
  const from = (human: number, price: number, before: number) =>
    human > price ? Math.max(1, Math.ceil(before / (human - price))) : null;
  const breakEven =
    usd === undefined || fixedUsd === undefined
      ? {}
      : { breakEven: { atHigh: from(high, usd, fixedUsd), atLow: from(low, usd, fixedUsd) } };
  return { labels, roles: each, total, ...(fixedUsd === undefined ? {} : { fixedUsd }), ...breakEven };
}

/** Undefined where one of them is not known. */
function sumOf(values: readonly (number | undefined)[]): number | undefined {
  return values.reduce((sum, value) => (sum === undefined || value === undefined ? undefined : sum + value), 0);
}
