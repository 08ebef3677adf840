import type { Message } from "@tenet/lm";

/** A response to be judged. */
export interface RewardRequest {
  /** Id of the prompt's row. */
  readonly id: string;
  readonly prompt: readonly Message[];
  /** The prompt's category, where it has one. */
  readonly category?: string | undefined;
  /** What a person sees: without reasoning. */
  readonly response: string;
  /** Whether the response ended by itself; false where it was cut off at the limit of tokens. */
  readonly finished: boolean;
  /** Tokens of the response; of reasoning none. */
  readonly length: number;
  /** The round of sampling that it is of, from 0; −1 − n of a look at the model after n of them; absent outside of training. */
  readonly iteration?: number | undefined;
}

/** What a response is worth. */
export interface Scored {
  /** R(x, y), what training sees. */
  readonly reward: number;
  /** What it is made of, before weights: each is reported as a metric of its own. */
  readonly parts: Readonly<Record<string, number>>;
}

/** Nobody knows what a response is worth: a judge did not answer. There is no number here, so that none can be taken for one. */
export interface Unanswered {
  /** Why. */
  readonly unanswered: string;
  /** What other judges said of it. */
  readonly parts: Readonly<Record<string, number>>;
}

export type Rewarded = Scored | Unanswered;

/** Whether a response was judged. */
export function isScored(rewarded: Rewarded): rewarded is Scored {
  return "reward" in rewarded;
}

export interface RewardCall {
  readonly signal?: AbortSignal | undefined;
}

/** Judges responses: a preference model, a constitution's checks, a critic, a function, or several of them joined. */
export interface Reward {
  /** A number for each request, or why there is none, in their order. */
  score(requests: readonly RewardRequest[], call?: RewardCall): Promise<Rewarded[]>;
}

/** A reward is not a number that can be learned from, or its settings ask for what is not there. */
export class RewardError extends Error {
  override readonly name = "RewardError";
}

/** What a judge says of one response: a number, or why it has none. */
export type Said = number | { readonly unanswered: string };

/**
 * A reward with one part: a function from responses to numbers, in their order; of those it cannot judge, to the reason.
 * @throws RewardError (from `score`) when a number is missing or not finite
 * @example
 * const brief = rewardOf("brief", (requests) => requests.map(({ length }) => -length));
 */
export function rewardOf(
  name: string,
  judge: (requests: readonly RewardRequest[], call: RewardCall) => readonly Said[] | Promise<readonly Said[]>,
): Reward {
  return {
    async score(requests, call = {}) {
      if (requests.length === 0) return [];
      const numbers = await judge(requests, call);
      return requests.map(({ id }, i): Rewarded => {
        const reward = numbers[i];
        if (typeof reward === "object") return { unanswered: `${name}: ${reward.unanswered}`, parts: {} };
        if (reward === undefined || !Number.isFinite(reward))
          throw new RewardError(
            `the reward "${name}" of a response to prompt ${id}: expected a finite number, got ${reward}. Training on it would spoil every weight; look at what "${name}" does with this response.`,
          );
        return { reward, parts: { [name]: reward } };
      });
    },
  };
}

/** What a trained preference model offers: r(x, y) of replies to conversations. */
export interface PreferenceScorer {
  score(
    rows: readonly { readonly prompt: readonly Message[]; readonly response: string; readonly cut?: boolean }[],
    call?: RewardCall,
  ): Promise<readonly number[]>;
}

/**
 * R_pref: the preference model's score. Part `preference`. METHODS §4.
 * @param shown the conversation as the model is shown it, where that is more than the prompt
 */
export function preferenceReward(
  model: PreferenceScorer,
  shown: (request: RewardRequest) => readonly Message[] = ({ prompt }) => prompt,
): Reward {
  return rewardOf("preference", (requests, call) =>
    model.score(
      requests.map((request) => {
        const { response, finished } = request;
        return { prompt: shown(request), response, cut: !finished };
      }),
      call,
    ),
  );
}

/**
 * R_const ∈ [−1, 1]: how far a response keeps to the constitution, by its checks, a critic, or both. Part `constitution`.
 * A number outside the interval is a RewardError. METHODS §6.
 */
export function constitutionalReward(
  judge: (request: RewardRequest, call: RewardCall) => number | Promise<number>,
): Reward {
  return rewardOf("constitution", async (requests, call) => {
    const numbers: number[] = [];
    for (const request of requests) {
      call.signal?.throwIfAborted();
      const number = await judge(request, call);
      if (number < -1 || number > 1)
        throw new RewardError(
          `the constitutional reward of a response to prompt ${request.id}: expected a number from -1 to 1, got ${number}`,
        );
      numbers.push(number);
    }
    return numbers;
  });
}
