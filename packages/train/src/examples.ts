import type { Hash } from "node:crypto";
import type { ExampleRow } from "@tenet/data";
import { encodeReply, unlessRefused } from "./encode.ts";
import type { TrainableModel } from "./forward.ts";
import { completionSequence, type Item } from "./packing.ts";

/** An example as the trainer takes it. */
export interface Example {
  readonly item: Item;
  readonly tokens: number;
  /** Tokens under the loss. */
  readonly supervised: number;
  /** Of each of them. */
  readonly weight: number;
  /** Whether the completion was cut at the limit of tokens. */
  readonly cut: boolean;
}

export interface ExampleSettings {
  /** Tokens of prompt and completion, at most. */
  readonly maxLength: number;
  /** What becomes of longer ones. A prompt that leaves no room is always set aside. */
  readonly tooLong: "aside" | "truncate";
}

/** Encodes examples; those that cannot be used go to `aside` with the reason. */
export function encodeExamples(
  rows: readonly ExampleRow[],
  model: Pick<TrainableModel, "text" | "config">,
  { maxLength, tooLong }: ExampleSettings,
  aside: { id: string; reason: string }[],
): Example[] {
  const longest = Math.min(maxLength, model.config.max_position_embeddings);
  return rows.flatMap((row): Example[] => {
    const reject = (reason: string) => {
      aside.push({ id: row.id, reason });
      return [];
    };
    if (row.weight === 0) return reject("its weight is 0");
    const encoded = unlessRefused(() => encodeReply(model.text, row.prompt, row.completion, row));
    if ("refused" in encoded) return reject(encoded.refused);
    const { prompt, completion } = encoded.value;
    const length = prompt.length + completion.length;
    if (length > longest && (tooLong === "aside" || prompt.length >= longest))
      return reject(`prompt and completion have ${prompt.length} + ${completion.length} tokens, more than ${longest}`);
    const kept = completion.slice(0, longest - prompt.length);
    const tokens = prompt.length + kept.length;
    return [
      {
        item: { sequences: [completionSequence(prompt, kept)] },
        ...{ tokens, supervised: kept.length, weight: row.weight, cut: kept.length < completion.length },
      },
    ];
  });
}

/** Examples as one batch: beside each token of a completion its share of a weighted mean over all of them, `weight`. */
export function weightedItems(examples: readonly Example[]): Item[] {
  const total = examples.reduce((sum, { supervised, weight }) => sum + supervised * weight, 0);
  return examples.map(({ item, supervised, weight }): Item => {
    const [sequence] = item.sequences;
    const each = new Float32Array(supervised).fill(weight / total);
    return { sequences: [{ ...sequence!, values: { weight: each } }] };
  });
}

/** Adds what examples are to training to a digest. */
export function digestExamples(rows: readonly ExampleRow[], digest: Hash): void {
  for (const { prompt, completion, weight, cut } of rows)
    digest.update(JSON.stringify([prompt, completion, weight, ...(cut ? [cut] : [])]));
}
