import type { LanguageModel } from "@tenet/lm";

/** What a model was asked for through a meter. */
export interface Metered {
  promptTokens: number;
  completionTokens: number;
  calls: number;
  /** In which at least one call was under way. */
  seconds: number;
  dollars?: number;
}

/** A model, and what has passed through it since that was last written down. */
export interface Meter {
  readonly model: LanguageModel;
  /** Tokens, replies and scorings, and the time that calls took. */
  spent(): Metered;
  /** What was noticed since the meter was put up, and how often. */
  noticed(): ReadonlyMap<string, number>;
  /** What `spent` gave is written down: it counts anew from there. Called before anything else passes through. */
  written(): void;
}

/** The same model under the name that rows are to have, with a meter. */
export function metered(model: LanguageModel, id: string): Meter {
  let before = model.usage();
  const { notices: old = {} } = before;
  let under = 0;
  let began = 0;
  let seconds = 0;
  async function* timed<Result>(results: AsyncIterable<Result>): AsyncGenerator<Result> {
    if (under++ === 0) began = performance.now();
    try {
      yield* results;
    } finally {
      if (--under === 0) seconds += (performance.now() - began) / 1000;
    }
  }
  return {
    model: {
      id,
      capabilities: (options) => model.capabilities(options),
      generate: (requests, options) => timed(model.generate(requests, options)),
      score: (requests, options) => timed(model.score(requests, options)),
      usage: () => model.usage(),
      close: () => model.close(),
    },
    written() {
      before = model.usage();
      began = performance.now();
      seconds = 0;
    },
    noticed() {
      const counts = Object.entries(model.usage().notices ?? {});
      return new Map(
        counts
          .map(([notice, count]): [string, number] => [notice, count - (old[notice] ?? 0)])
          .filter(([, count]) => count > 0),
      );
    },
    spent() {
      const now = model.usage();
      const running = under > 0 ? (performance.now() - began) / 1000 : 0;
      return {
        promptTokens: now.promptTokens - before.promptTokens,
        completionTokens: now.completionTokens - before.completionTokens,
        calls: now.completions + now.scored - before.completions - before.scored,
        seconds: seconds + running,
        ...(now.costUsd === undefined ? {} : { dollars: now.costUsd - (before.costUsd ?? 0) }),
      };
    },
  };
}
