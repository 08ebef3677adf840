import { describe, expect, it } from "vitest";
import { type CardFront, cardFront } from "./card-front.ts";

/** The fields of the hub's specification, and of its guide to cards, that a card of a model may have. */
const fields = new Set([
  ...["language", "license", "license_name", "license_link", "library_name", "tags", "datasets", "metrics"],
  ...["base_model", "base_model_relation", "new_version", "pipeline_tag", "model-index", "co2_eq_emissions"],
]);

const scorecard = {
  rows: [
    { checkpoint: "rl", metric: "violations", value: 0.1, interval: [0, 0.2], n: 20 },
    { checkpoint: "rl", metric: "nothing", value: Number.NaN, interval: [null, null], n: 0 },
    { checkpoint: "sl", metric: "violations", value: 0.3, interval: [0, 0.5], n: 20 },
  ],
  metrics: [{ name: "violations", label: "Violations" }],
  heldOut: { prompts: 20 },
} as unknown as NonNullable<CardFront["scorecard"]>;

const card = (weights: CardFront["weights"], more: Partial<CardFront> = {}) =>
  cardFront({ name: "desk", base: "someone/base", weights, checkpoint: "rl", reinforced: true, ...more });

describe("a card's metadata", () => {
  it.each<[string, CardFront["weights"], string, string]>([
    ["an adapter", [{ part: "adapter", type: "F32" }], "adapter", "peft"],
    ["an adapter for llama.cpp", [{ part: "gguf-adapter", type: "F32" }], "adapter", "gguf"],
    ["merged weights", [{ part: "merged", type: "BF16" }], "finetune", "transformers"],
    ["a whole GGUF file", [{ part: "gguf", type: "F16" }], "finetune", "gguf"],
    ["a quantised GGUF file", [{ part: "gguf", type: "Q4_K" }], "quantized", "gguf"],
    ["ONNX in float32", [{ part: "onnx", type: "F32" }], "finetune", "transformers.js"],
    ["quantised ONNX", [{ part: "onnx", type: "Q8_0" }], "quantized", "transformers.js"],
    [
      "an adapter beside quantised ONNX",
      [
        { part: "adapter", type: "F32" },
        { part: "onnx", type: "Q4_0" },
      ],
      "quantized",
      "peft",
    ],
    [
      "merged weights beside a quantised file",
      [
        { part: "merged", type: "BF16" },
        { part: "gguf", type: "Q8_0" },
      ],
      "finetune",
      "transformers",
    ],
  ])("calls %s by the hub's words", (_, weights, relation, library) => {
    expect(card(weights)).toMatchObject({ base_model_relation: relation, library_name: library });
  });

  it("has fields of the hub's specification alone, and figures in its form", () => {
    const front = card([{ part: "merged", type: "BF16" }], { licence: "Apache-2.0", scorecard });
    for (const field of Object.keys(front)) expect(fields).toContain(field);
    expect(front).toMatchObject({
      license: "apache-2.0",
      pipeline_tag: "text-generation",
      tags: ["constitutional-ai", "rlaif", "tenet"],
      "model-index": [
        {
          name: "desk",
          results: [
            {
              task: { type: "text-generation" },
              dataset: { type: "held-out", name: expect.stringContaining("20") },
              metrics: [{ type: "violations", name: "Violations", value: 0.1 }],
            },
          ],
        },
      ],
    });
  });

  it("leaves out what is not known", () => {
    const front = card([], { base: undefined, scorecard: { ...scorecard, rows: [] }, reinforced: false });
    expect(Object.keys(front)).toEqual(["pipeline_tag", "tags"]);
    expect(card([])).toEqual({ base_model: "someone/base", ...front, tags: ["constitutional-ai", "rlaif", "tenet"] });
  });
});
