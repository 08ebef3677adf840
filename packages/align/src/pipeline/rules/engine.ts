import type { Rules } from "./rule.ts";

/** What a cluster can train, and how. */
export const engineRules: Rules = ({ recipe: { engine, supervised, model, inference, training } }) => {
  if (engine === undefined) return [];
  return [
    {
      at: ["supervised", "weights"],
      when: supervised.weights === "all",
      expected: '"lora": an engine trains adapters beside frozen weights',
    },
    {
      at: ["inference", "weights"],
      when: inference?.weights === "int8" && engine.generation !== undefined,
      expected: '"float32", or no engine.generation: its servers speak as they were started',
    },
    {
      at: ["training", "weights"],
      when: training?.weights === "int8",
      expected: '"float32": an engine holds the base as engine.dtype says',
    },
    {
      at: ["model"],
      when: /\.gguf$/i.test(model),
      expected: "a Hugging Face folder of safetensors: that is what an engine's workers read",
    },
    {
      at: ["engine", "shard"],
      when: engine.shard && engine.workers === 1,
      expected: "workers of at least 2 beside it: one worker has nobody to share the base with",
      got: "true and 1 worker",
    },
    {
      at: ["engine", "dtype"],
      when: engine.dtype === "bfloat16" && engine.generation === undefined,
      expected: "generation beside it: here the model would speak in float32, and be trained in bfloat16",
    },
  ];
};
