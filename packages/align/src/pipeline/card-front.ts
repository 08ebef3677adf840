import type { Scorecard } from "../evaluate/index.ts";
import type { WrittenWeights } from "./export-proof.ts";

/** What the head of a model's card says, for the hub to read. */
export interface CardFront {
  readonly name: string;
  /** An SPDX name. */
  readonly licence?: string | undefined;
  /** The hub's name of the base, or of the model that it took the place of. */
  readonly base?: string | undefined;
  readonly weights: readonly Pick<WrittenWeights, "part" | "type">[];
  /** Figures of the checkpoint, where there is a scorecard. */
  readonly scorecard?: Scorecard | undefined;
  readonly checkpoint: string;
  readonly reinforced: boolean;
}

/**
 * A card's metadata in the hub's fields; what is not known is left out.
 * Source: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
 */
export function cardFront({ name, licence, base, weights, scorecard, checkpoint, reinforced }: CardFront): object {
  const results = scorecard && figuresFor(scorecard, checkpoint);
  return {
    ...(licence && { license: licence.toLowerCase() }),
    ...(base && { base_model: base, ...(weights.length > 0 && { base_model_relation: relationOf(weights) }) }),
    ...(weights.length > 0 && { library_name: libraryOf(weights) }),
    pipeline_tag: "text-generation",
    ...(results && results.metrics.length > 0 && { "model-index": [{ name, results: [results] }] }),
    tags: ["constitutional-ai", ...(reinforced ? ["rlaif"] : []), "tenet"],
  };
}

/** What the weights are to their base: of several, what most programs load. */
function relationOf(weights: CardFront["weights"]): "finetune" | "quantized" | "adapter" {
  const whole = weights.filter(({ part }) => part !== "adapter" && part !== "gguf-adapter");
  if (whole.some(({ part }) => part === "merged")) return "finetune";
  if (whole.some(({ type }) => type.startsWith("Q"))) return "quantized";
  return weights.length > whole.length ? "adapter" : "finetune";
}

const libraries: Record<WrittenWeights["part"], string> = {
  merged: "transformers",
  adapter: "peft",
  gguf: "gguf",
  "gguf-adapter": "gguf",
  onnx: "transformers.js",
};

/** What loads the weights: of several, the part that stands first above. */
function libraryOf(weights: CardFront["weights"]): string {
  const written = new Set(weights.map(({ part }) => part));
  return Object.entries(libraries).find(([part]) => written.has(part as WrittenWeights["part"]))![1];
}

/** A checkpoint's figures. */
function figuresFor({ rows, metrics, heldOut }: Scorecard, checkpoint: string) {
  const own = rows.filter((row) => row.checkpoint === checkpoint && Number.isFinite(row.value));
  return {
    task: { type: "text-generation" },
    dataset: { name: `held-out prompts of the run (${heldOut.prompts})`, type: "held-out" },
    metrics: own.map(({ metric, value }) => {
      return { type: metric, name: metrics.find(({ name }) => name === metric)?.label ?? metric, value };
    }),
  };
}
