import { isScored, type Reward, type RewardCall, type Rewarded, type RewardRequest } from "./reward.ts";

/** Callers' requests that are judged together. */
interface Waiting {
  readonly requests: readonly RewardRequest[];
  readonly signal: AbortSignal | undefined;
  readonly resolve: (rewarded: Rewarded[]) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A reward for many callers at once: what comes while it judges, or within `milliseconds` of the first, is judged together, `most` responses at a
 * time. Where that fails each caller's own are judged alone, so that one's mistake is nobody else's. Errors: as the reward's, each caller's own.
 */
export function together(
  reward: Reward,
  { most = 64, milliseconds = 5 }: { readonly most?: number; readonly milliseconds?: number } = {},
): Reward {
  const queue: Waiting[] = [];
  let working = false;
  const work = async () => {
    working = true;
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    while (queue.length > 0) {
      const batch: Waiting[] = [queue.shift()!];
      for (let count = batch[0]!.requests.length; queue.length > 0; count += batch.at(-1)!.requests.length) {
        if (count + queue[0]!.requests.length > most) break;
        batch.push(queue.shift()!);
      }
      await judge(batch.filter(stillThere));
    }
    working = false;
  };
  const stillThere = ({ signal, reject }: Waiting) => {
    if (signal?.aborted) reject(signal.reason);
    return !signal?.aborted;
  };
  const judge = async (batch: readonly Waiting[]) => {
    // Those of one caller end with it; of several nobody is waited for alone.
    const call = batch.length === 1 && batch[0]!.signal ? { signal: batch[0]!.signal } : {};
    try {
      const found = await reward.score(
        batch.flatMap(({ requests }) => requests),
        call,
      );
      let at = 0;
      for (const { requests, resolve } of batch) {
        resolve(found.slice(at, at + requests.length));
        at += requests.length;
      }
    } catch (error) {
      if (batch.length === 1) batch[0]!.reject(error);
      else for (const one of batch) await judge([one]);
    }
  };
  return {
    score(requests, { signal }: RewardCall = {}) {
      if (requests.length === 0) return Promise.resolve([]);
      return new Promise((resolve, reject) => {
        queue.push({ requests, signal, resolve, reject });
        if (!working) void work();
      });
    },
  };
}

/** Responses by whether they were judged: for those who cannot do with less than all. */
export function unanswered(rewarded: readonly Rewarded[]): string[] {
  return rewarded.flatMap((one, i) => (isScored(one) ? [] : [`response ${i + 1}: ${one.unanswered}`]));
}
