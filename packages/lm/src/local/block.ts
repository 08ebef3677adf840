import type { Feeds, TensorData, TypedData } from "@tenet/tensor";
import { inverseTemperature, type SamplingOptions } from "../language-model/index.ts";
import { notRun } from "./block-graph.ts";
import { mostCandidates } from "./draw.ts";

/*
 * Decoding several steps in one call of the runtime. On a graphics processor keys and values would otherwise travel there and back with
 * every token: 46 kB a position of SmolLM2-135M, hundreds of megabytes a step, where its products take a fraction of a millisecond.
 */

/** How many steps of decoding a call of the graph may have. */
export interface BlockLimits {
  /** At most, whatever else; 1 decodes step by step. */
  readonly steps: number;
}

/** Where replies wait for a free row: one that ended keeps its row until the block is over. */
const whileWaiting = 32;
/** Where someone reads along, or requests come at any time. */
const whileWatched = 8;

/** A row of a block of decoding steps. */
export interface BlockRow {
  /** The token drawn last, whose keys and values are not in the cache yet. */
  readonly last: number;
  /** Tokens that the reply may still have. */
  readonly left: number;
  /** Steps before which no end of text is drawn. */
  readonly barring: number;
  readonly sampling: SamplingOptions;
  /** The random number of a step. */
  uniform(step: number): number;
}

/** What a block drew: of each row the tokens, as far as the graph could tell them. */
export interface BlockAnswers {
  /** The token of a step and its log-probability; undefined where the graph could not tell. */
  at(row: number, step: number): { readonly token: number; readonly logprob: number } | undefined;
}

/**
 * Whether a block's graph can sample so. It knows temperature, top-k, nucleus, min-p, tokens that must not end, and the drawn token's own
 * log-probability; what else there is (penalties, the likeliest tokens beside the drawn one) is decoded step by step.
 */
export function fitsBlock({ repetitionPenalty, logprobs, topK }: SamplingOptions): boolean {
  return repetitionPenalty === 1 && (logprobs ?? 0) === 0 && topK <= mostCandidates;
}

/** Steps of the next block: no more than the longest reply has left. */
export function blockSteps(
  rows: readonly BlockRow[],
  { steps }: BlockLimits,
  { waiting, watched }: { readonly waiting: boolean; readonly watched: boolean },
): number {
  const most = Math.max(...rows.map(({ left }) => left));
  return Math.min(steps, most, waiting ? whileWaiting : most, watched ? whileWatched : most);
}

/** Feeds of a block but for positions, keys and values; and whether it takes the graph with filters. */
export function blockFeeds(rows: readonly BlockRow[], steps: number): { feeds: Feeds; filtered: boolean } {
  const filtered = rows.some(({ sampling }) => filters(sampling));
  const vector = (data: TypedData): TensorData => ({ data, shape: [data.length] });
  const integers = (of: (row: BlockRow) => number) => vector(Int32Array.from(rows, of));
  const doubles = (of: (row: BlockRow) => number) => vector(Float64Array.from(rows, of));
  const greedy = (row: BlockRow) => row.sampling.temperature === 0;
  const uniform = Float64Array.from({ length: steps * rows.length }, (_, i) => {
    const row = rows[i % rows.length]!;
    // The last number below 1, times a sum, may round to the sum itself.
    return greedy(row) ? 0 : Math.min(row.uniform(Math.floor(i / rows.length)), 1 - 2 ** -52);
  });
  const feeds = {
    tokens: integers(({ last }) => last),
    left: integers(({ left }) => left),
    barring: integers(({ barring }) => barring),
    uniform: { data: uniform, shape: [steps, rows.length] },
    scale: doubles((row) => (greedy(row) ? 1 : inverseTemperature(row.sampling.temperature))),
    greedy: vector(Uint8Array.from(rows, (row) => Number(greedy(row)))),
    ...(filtered && {
      topP: doubles((row) => (greedy(row) ? 1 : row.sampling.topP)),
      topK: integers((row) => (greedy(row) ? 0 : row.sampling.topK)),
      minP: doubles((row) => (greedy(row) ? 0 : row.sampling.minP)),
    }),
  };
  return { feeds, filtered };
}

function filters({ temperature, topP, topK, minP }: SamplingOptions): boolean {
  return temperature > 0 && (topP < 1 || topK > 0 || minP > 0);
}

/** Reads what a block gave. */
export function blockAnswers(rows: number, out: { tokens: TensorData; logprobs: TensorData }): BlockAnswers {
  return {
    at(row, step) {
      const token = out.tokens.data[step * rows + row]!;
      if (token === notRun) throw new Error(`step ${step} of a block was not run, though row ${row} needs it`);
      return token < 0 ? undefined : { token, logprob: out.logprobs.data[step * rows + row]! };
    },
  };
}
