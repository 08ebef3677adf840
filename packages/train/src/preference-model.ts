import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadAdapter, type Message, SCORE_WEIGHT } from "@tenet/lm";
import type { DeviceName } from "@tenet/tensor";
import { z } from "zod";
import { encodeReply } from "./encode.ts";
import type { Forward, TrainableModel } from "./forward.ts";
import { openForward } from "./open-trainer.ts";
import type { Item, Sequence } from "./packing.ts";

/** What stands beside a preference model's adapter. */
const companionSchema = z.strictObject({
  /** Scores are (r − mean) / deviation: mean 0 and deviation 1 over replies of the training set. */
  normalisation: z.strictObject({ mean: z.number(), deviation: z.number().positive() }),
});
const companionFile = "preference.json";

export type Normalisation = z.output<typeof companionSchema>["normalisation"];

/** A reply to be scored. */
export interface ScoreRow {
  readonly prompt: readonly Message[];
  readonly response: string;
  /** Whether the limit of tokens cut it: it is then scored without an end. */
  readonly cut?: boolean | undefined;
}

/** A trained preference model: r(x, y) of any reply. */
export interface PreferenceModel {
  /**
   * Scores replies, in their order. Higher is preferred; σ of a difference is the probability that one is preferred to the
   * other, in units of `scale` (1 unless scores are normalised).
   * Errors: PreferenceModelError for a reply longer than the model's context, those of `encodeReply`, the signal's reason.
   */
  score(rows: readonly ScoreRow[], call?: { readonly signal?: AbortSignal | undefined }): Promise<number[]>;
  /** What r was divided by: r(y₁) − r(y₂) is `scale` times the difference of their scores. */
  readonly scale: number;
  /** Frees its programs; the base stays open. */
  close(): Promise<void>;
}

export interface PreferenceModelOptions {
  /** Tokens computed at once. */
  readonly microBatchTokens?: number;
  /** Whether replies scored together compute once what they begin with. The same but for rounding. Default false. */
  readonly shareBeginnings?: boolean;
  readonly device?: DeviceName | "auto";
  readonly threads?: number;
}

/** A folder holds no preference model, or it is asked for what it cannot score. */
export class PreferenceModelError extends Error {
  override readonly name = "PreferenceModelError";
}

/** Replies encoded and packed together: bounds how much waits in memory. */
const window = 256;

/**
 * Opens a preference model on a base that is open already: factors and scalar head are inputs of a forward-only program, so it costs
 * their memory and that of its activations, not a second base. Of a model whose weights are elsewhere the scores are computed there.
 * Errors: CheckpointError where the adapter does not fit the base, PreferenceModelError where it has no scalar head.
 */
export async function openPreferenceModel(
  model: TrainableModel,
  folder: string,
  options: PreferenceModelOptions = {},
): Promise<PreferenceModel> {
  const { lora, parameters } = await loadAdapter(folder, model.config);
  if (!parameters.ranges.some(({ name }) => name === SCORE_WEIGHT))
    throw new PreferenceModelError(`${folder} is an adapter without a scalar head: expected a preference model`);
  const { mean, deviation } = await readNormalisation(folder);
  const longest = model.config.max_position_embeddings;
  const layout = { model, tuning: { lora, head: true }, ...options };
  const forward = await openForward(layout, parameters, (graph) => ({ scores: graph.scores() }));
  return {
    scale: deviation,
    async score(rows, { signal } = {}) {
      const scores: number[] = [];
      for (let start = 0; start < rows.length; start += window) {
        signal?.throwIfAborted();
        const items = rows.slice(start, start + window).map(({ prompt, response, cut }, i): Item => {
          const sequence = replySequence(model, prompt, response, { cut });
          if (sequence.tokens.length > longest)
            throw new PreferenceModelError(
              `reply ${start + i} has ${sequence.tokens.length} tokens with its prompt; the model's context is ${longest}`,
            );
          return { sequences: [sequence] };
        });
        for (const raw of await rawScores(forward, items)) scores.push((raw[0]! - mean) / deviation);
      }
      return scores;
    },
    close: () => forward.close(),
  };
}

/** A reply behind its prompt, looked at at its last real token: the one that ends its turn, unless it was cut. */
export function replySequence(
  model: Pick<TrainableModel, "text">,
  prompt: readonly Message[],
  response: string,
  form: { readonly cut?: boolean | undefined } = {},
): Sequence {
  const encoded = encodeReply(model.text, prompt, response, form);
  const tokens = [...encoded.prompt, ...encoded.completion];
  return { tokens, chosen: [tokens.length - 1] };
}

/** r(x, y) of every item's sequences, under a program that gives `scores`. */
export async function rawScores(forward: Forward, items: readonly Item[]): Promise<number[][]> {
  const result: number[][] = [];
  for (let start = 0; start < items.length; start += window) {
    const { scores } = await forward.run(items.slice(start, start + window));
    for (const item of scores!) result.push(item.map((places) => places[0]!));
  }
  return result;
}

/** Writes the normalisation into a preference model's folder. */
export async function saveNormalisation(folder: string, normalisation: Normalisation): Promise<void> {
  await writeFile(join(folder, companionFile), `${JSON.stringify({ normalisation }, null, 2)}\n`);
}

/** What a preference model's scores are normalised by; nothing where its folder does not say. */
export async function readNormalisation(folder: string): Promise<Normalisation> {
  const path = join(folder, companionFile);
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    // A preference model of someone else's has none.
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (text === undefined) return { mean: 0, deviation: 1 };
  try {
    return companionSchema.parse(JSON.parse(text)).normalisation;
  } catch (cause) {
    throw new PreferenceModelError(
      `${path}: expected {"normalisation": {"mean": number, "deviation": number above 0}}; write the model again, or remove the file for scores as they are`,
      { cause },
    );
  }
}
