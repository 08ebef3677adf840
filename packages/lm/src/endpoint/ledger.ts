import { BudgetError } from "../language-model/errors.ts";
import { noUsage, type Usage, type UsageTotals } from "../language-model/types.ts";
import type { EndpointSettings } from "./settings.ts";

/** Tokens and money that are gone. */
export interface Spent extends Usage {
  /** Absent where no price applies. */
  dollars?: number | undefined;
}

/** Counts what was used and says when the budget is spent. */
export interface Ledger {
  readonly totals: UsageTotals;
  /** Throws BudgetError when nothing more may be spent. Called right before every call goes out. */
  admit(): void;
  /** Books one reply. */
  book(usage: Usage & { estimated: boolean }): void;
  /** Counts towards the budget, and towards nothing else, what was spent before: by an earlier process of the same run. */
  charge(spent: Spent): void;
  /** Accounts of their own under the same budget: what is booked there is booked here too. */
  part(): Ledger;
  /** Counts something that was noticed and lived with. */
  notice(notice: string): void;
  /** What was used up to now. */
  usage(): UsageTotals;
}

/**
 * The accounts of one endpoint. A reply is booked when it has come whole, and one that cannot be used by what came of it; the budget is checked
 * before each call, so it can be overshot by the calls under way at that moment and by nothing that is known of else.
 */
export function createLedger({ price, budget }: Pick<EndpointSettings, "price" | "budget">): Ledger {
  const earlier = { tokens: 0, usd: 0 };
  const accounts = (whole?: Ledger): Ledger => {
    const totals: UsageTotals = { ...noUsage(), ...(price && { costUsd: 0 }) };
    const notices: Record<string, number> = {};
    const ledger: Ledger = {
      totals,
      admit() {
        if (whole) return whole.admit();
        const tokens = earlier.tokens + totals.promptTokens + totals.completionTokens;
        const usd = earlier.usd + (totals.costUsd ?? 0);
        const spent = (limit: string, sum: string) =>
          new BudgetError(`the budget of ${limit} is spent (${sum}); to go on behind it, raise it`, { tokens, usd });
        if (budget?.tokens !== undefined && tokens >= budget.tokens)
          throw spent(`${budget.tokens} tokens`, `${tokens}`);
        if (budget?.usd !== undefined && usd >= budget.usd) throw spent(`${budget.usd} USD`, usd.toFixed(4));
      },
      book(usage) {
        const { promptTokens, completionTokens, estimated } = usage;
        totals.promptTokens += promptTokens;
        totals.completionTokens += completionTokens;
        if (estimated) totals.estimated++;
        if (price)
          totals.costUsd = (totals.promptTokens * price.prompt + totals.completionTokens * price.completion) / 1e6;
        whole?.book(usage);
      },
      charge({ promptTokens, completionTokens, dollars = 0 }) {
        earlier.tokens += promptTokens + completionTokens;
        earlier.usd += dollars;
      },
      notice(notice) {
        notices[notice] = (notices[notice] ?? 0) + 1;
        whole?.notice(notice);
      },
      usage: () => ({ ...totals, ...(Object.keys(notices).length > 0 && { notices: { ...notices } }) }),
      part: () => accounts(whole ?? ledger),
    };
    return ledger;
  };
  return accounts();
}
