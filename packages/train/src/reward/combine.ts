import { isScored, type Reward, type Rewarded, type RewardRequest } from "./reward.ts";

/** One reward of several, and what it counts for. */
export interface RewardTerm {
  readonly reward: Reward;
  readonly weight: number;
  /** Shape before weighting; `sigmoid` bounds a preference model's score to (0, 1). Default `linear`. */
  readonly shape?: "linear" | "sigmoid" | undefined;
}

/**
 * Several rewards as one: R = Σ wᵢ·Rᵢ, or wᵢ·σ(Rᵢ) where a term says so. Parts keep their names and raw values. Where one of them has no
 * answer the sum has none.
 *
 * Two terms, preference and constitution, are METHODS §6's multi-objective R = w_pref·R_pref + w_const·R_const; with the first
 * one's shape `sigmoid` and weight 1 they are its shaped R = σ(r) + λ·R_const.
 * @example
 * const length = rewardOf("length", (requests) => requests.map((request) => request.length));
 * const half = weightedSum([{ reward: length, weight: 0.5 }]);
 */
export function weightedSum(terms: readonly RewardTerm[]): Reward {
  return {
    async score(requests, call) {
      // Judges behind a network work while others compute.
      const scored = await Promise.all(terms.map(({ reward }) => reward.score(requests, call)));
      return requests.map((_, i): Rewarded => {
        let reward = 0;
        let parts: Record<string, number> = {};
        const reasons: string[] = [];
        terms.forEach(({ weight, shape }, k) => {
          const one = scored[k]![i]!;
          parts = { ...parts, ...one.parts };
          if (isScored(one)) reward += weight * (shape === "sigmoid" ? sigmoid(one.reward) : one.reward);
          else reasons.push(one.unanswered);
        });
        return reasons.length > 0 ? { unanswered: reasons.join("; "), parts } : { reward, parts };
      });
    },
  };
}

export interface Penalties {
  /** Subtracted where a response was cut off instead of ending. */
  readonly missingEnd: number;
  /** Subtracted for each token of a response; reasoning before it costs nothing. */
  readonly perToken: number;
}

/**
 * A reward less what a response's form costs: −missingEnd where it has no end token, −perToken for each of its tokens.
 * Parts `missing_end` (0 or 1) and `length` (tokens) are added. METHODS §5.
 */
export function penalised(reward: Reward, { missingEnd, perToken }: Penalties): Reward {
  const cost = ({ finished, length }: RewardRequest) => (finished ? 0 : missingEnd) + perToken * length;
  return {
    async score(requests, call) {
      const scored = await reward.score(requests, call);
      return scored.map((one, i) => {
        const request = requests[i]!;
        const form = { missing_end: request.finished ? 0 : 1, length: request.length };
        const parts = { ...one.parts, ...form };
        return isScored(one) ? { reward: one.reward - cost(request), parts } : { ...one, parts };
      });
    },
  };
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
