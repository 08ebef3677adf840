import { totalmem } from "node:os";
import { numel } from "@tenet/tensor";
import type { ModelConfig } from "../checkpoint/index.ts";
import { headName, weightShapes } from "../decoder/index.ts";
import { bytesPerPosition, cacheShape } from "./cache.ts";
import type { WeightFormat } from "./quantize.ts";

/** Samples decoded together where nothing else is said. */
export const usualSlots = 128;
/** Those of a served run: fewer, so that a row may become longer than the first requests are. */
export const liveSlots = 64;
/** Bytes of keys and values that are kept from one batch to the next, at most. */
export const mostSpare = 2 ** 29;

export interface Speaking {
  /** Replies wanted. */
  readonly replies: number;
  /** Tokens of prompt and reply together. */
  readonly positions: number;
  readonly weights?: WeightFormat | undefined;
  /** `LocalOptions.memoryBudget`. */
  readonly memoryBudget?: number | undefined;
}

const float32 = 4;

/**
 * Bytes that keys and values of replies may take where nothing is said: a quarter of the machine's memory, or of what a container is given.
 * Not a share of what is free just now: how many replies are decoded together decides how their log-probabilities round, and a run that is
 * gone on with shall have the bits of one that was not cut.
 */
export function usualBudget(): number {
  // 0, and sums beyond the machine's, mean that there is no limit.
  return Math.min(totalmem(), process.constrainedMemory() || totalmem()) / 4;
}

/** Bytes of the file that a model's weights are mapped from; none of them is there twice. */
export function weightBytes(config: ModelConfig): number {
  return float32 * Object.values(weightShapes(config)).reduce((sum, shape) => sum + numel(shape), 0);
}

/**
 * What a model holds beside its mapped weights, in bytes, on a processor, while it decodes: matrices as the runtime arranges them for few rows, and stays with;
 * keys and values; logits. Counted, and held against measurements in docs/performance.md.
 */
export function speakingBytes(
  config: ModelConfig,
  { replies, positions, weights = "float32", memoryBudget = usualBudget() }: Speaking,
): { readonly matrices: number; readonly cache: number; readonly logits: number } {
  const perRow = Math.ceil(positions / 64) * 64 * bytesPerPosition(cacheShape(config));
  const rows = Math.min(replies, usualSlots, Math.max(1, Math.floor(memoryBudget / perRow)));
  // In 8 bits the file of bytes is mapped, and arranged anew, beside that of float32; 4 bits are used as they lie.
  const perWeight = { float32, int8: 2, int4: 0.75 }[weights];
  return {
    matrices: perWeight * products(config),
    cache: rows * perRow,
    logits: 2 * rows * config.vocab_size * float32,
  };
}

/** Weights that rows are multiplied with: all matrices, the output head among them. */
function products(config: ModelConfig): number {
  const shapes = weightShapes(config);
  const matrices = Object.entries(shapes).filter(
    ([name, shape]) => shape.length === 2 && name !== "model.embed_tokens.weight",
  );
  const tied = headName(config) === "model.embed_tokens.weight" ? numel(shapes["model.embed_tokens.weight"]!) : 0;
  return matrices.reduce((sum, [, shape]) => sum + numel(shape), tied);
}
