import type { UsageTotals } from "@tenet/lm";

/** What a role used: the difference of `LanguageModel.usage()` before and after, and the time it took. */
export interface RoleUsage {
  readonly usage: Pick<UsageTotals, "promptTokens" | "completionTokens" | "costUsd">;
  readonly seconds: number;
}

export interface LabelCost {
  readonly role: string;
  readonly tokens: number;
  readonly seconds: number;
  /** Dollars by the configured prices; absent where no price applies, as for a local model. */
  readonly usd?: number;
}

export interface LabelCosts {
  readonly labels: number;
  /** Per label, by role. */
  readonly roles: LabelCost[];
  /** Per label, all roles together; `usd` is there only when every role has a price. */
  readonly total: LabelCost;
  /** What a human label costs, in dollars. */
  readonly human: { readonly low: number; readonly high: number };
}

/** Dollars of one human label (METHODS §3). */
export const humanLabelUsd = { low: 1, high: 10 } as const;

/**
 * Tokens, seconds and dollars per label for every role, beside a human label's price.
 *
 * Errors: RangeError for no labels, since nothing can be told per label then.
 *
 * @example
 * const labeller = { usage: { promptTokens: 900, completionTokens: 100, costUsd: 0.002 }, seconds: 5 };
 * labelCosts({ labeller }, 10).total.tokens; // 100
 */
export function labelCosts(roles: Readonly<Record<string, RoleUsage>>, labels: number): LabelCosts {
  if (!(labels > 0)) throw new RangeError(`the cost per label of ${labels} labels: expected at least one label`);
  const each = Object.entries(roles).map(
    ([role, { usage, seconds }]): LabelCost => ({
      role,
      tokens: (usage.promptTokens + usage.completionTokens) / labels,
      seconds: seconds / labels,
      ...(usage.costUsd === undefined ? {} : { usd: usage.costUsd / labels }),
    }),
  );
  const priced = each.length > 0 && each.every(({ usd }) => usd !== undefined);
  const total = {
    role: "total",
    tokens: each.reduce((sum, { tokens }) => sum + tokens, 0),
    seconds: each.reduce((sum, { seconds }) => sum + seconds, 0),
    ...(priced ? { usd: each.reduce((sum, { usd }) => sum + usd!, 0) } : {}),
  };
  return { labels, roles: each, total, human: humanLabelUsd };
}

/** The usage between two readings of `LanguageModel.usage()`. */
export function usageSince(before: UsageTotals, after: UsageTotals): RoleUsage["usage"] {
  return {
    promptTokens: after.promptTokens - before.promptTokens,
    completionTokens: after.completionTokens - before.completionTokens,
    ...(after.costUsd === undefined ? {} : { costUsd: after.costUsd - (before.costUsd ?? 0) }),
  };
}
