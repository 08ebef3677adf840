import { BudgetError } from "../language-model/errors.ts";
import { noUsage, type Usage, type UsageTotals } from "../language-model/types.ts";
import type { EndpointSettings } from "./settings.ts";

/** Counts what was used and says when the budget is spent. */
export interface Ledger {
  readonly totals: UsageTotals;
  /** Throws BudgetError when nothing more may be spent. Called right before every call goes out. */
  admit(): void;
  /** Books one reply. */
  book(usage: Usage & { estimated: boolean }): void;
}

/**
 * The accounts of one endpoint. A reply is booked when it has come whole; the budget is checked before each call, so it can
 * be overshot by the calls under way at that moment and by nothing else.
 */
export function createLedger({ price, budget }: Pick<EndpointSettings, "price" | "budget">): Ledger {
  const totals: UsageTotals = { ...noUsage(), ...(price && { costUsd: 0 }) };
  return {
    totals,
    admit() {
      const tokens = totals.promptTokens + totals.completionTokens;
      const usd = totals.costUsd ?? 0;
      if (budget?.tokens !== undefined && tokens >= budget.tokens)
        throw new BudgetError(`the budget of ${budget.tokens} tokens is spent (${tokens})`, { tokens, usd });
      if (budget?.usd !== undefined && usd >= budget.usd)
        throw new BudgetError(`the budget of ${budget.usd} USD is spent (${usd.toFixed(4)})`, { tokens, usd });
    },
    book({ promptTokens, completionTokens, estimated }) {
      totals.promptTokens += promptTokens;
      totals.completionTokens += completionTokens;
      if (estimated) totals.estimated++;
      if (price)
        totals.costUsd = (totals.promptTokens * price.prompt + totals.completionTokens * price.completion) / 1e6;
    },
  };
}
