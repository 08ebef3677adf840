import { CheckpointError, quote } from "../checkpoint/errors.ts";
import type { ModelConfig } from "../checkpoint/index.ts";
import { MERGE } from "./config.ts";

const UNCHANGED =
  "Embeddings are saved beside the factors when they were trained, when tokens were added, or by chance: if they were not changed, save the adapter again with save_embedding_layers=False.";

/** What adapters may carry beside the factors of matrices, by names without PEFT's prefix, the telling ones first. */
const MORE: readonly [pattern: RegExp, what: string, fix: string][] = [
  [/\.lora_magnitude_vector(\.|$)/, "magnitudes of DoRA", MERGE],
  [/\.lora_embedding_[AB]$/, "factors of the embeddings", MERGE],
  [/(^|\.)embed_tokens\.lora_/, "factors of the embeddings", MERGE],
  [/^lm_head\.lora_/, "factors of the output head", MERGE],
  [/(^|\.)embed_tokens\./, "the embeddings", `${MERGE} ${UNCHANGED}`],
  [/^lm_head\./, "the output head", `${MERGE} ${UNCHANGED}`],
  [/\.lora_[AB]\.bias$/, "biases of the factors (lora_bias)", MERGE],
  [/_proj\.bias$/, "trained biases", MERGE],
  [/^model\.(?!.*\.lora_)/, "a module trained whole (modules_to_save)", MERGE],
];

/**
 * Refuses an adapter that is more than factors of matrices and a scalar head; `found` has names without PEFT's prefix.
 * @throws CheckpointError that says what it carries, and how it can be used all the same
 */
export function refuseMore(
  found: ReadonlyMap<string, readonly number[]>,
  { vocab_size: rows }: ModelConfig,
  file: string,
): void {
  for (const [pattern, what, fix] of MORE) {
    const [name, shape] = [...found].find(([name]) => pattern.test(name)) ?? [];
    if (name === undefined || shape === undefined) continue;
    const table = what === "the embeddings" || what === "the output head";
    const resized = table && shape[0] !== rows ? `, where the model has ${rows} rows: its vocabulary was resized` : "";
    const found_ = `${what} (${quote(name)}, ${quote([...shape])}${resized})`;
    throw new CheckpointError({ file, expected: "LoRA factors alone", found: found_, fix });
  }
}
