import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OnnxFile } from "@tenet/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { failure } from "../../test/checkpoint/build.ts";
import { randomAdapter } from "../../test/gguf/adapter.ts";
import { shapes } from "../../test/gguf/shapes.ts";
import { largestDifference } from "../../test/golden/families.ts";
import { writeTinyModel } from "../../test/tiny-model.ts";
import { adapterFactors, type Factors } from "../adapter/index.ts";
import { CheckpointError, openCheckpoint } from "../checkpoint/index.ts";
import { exportGguf } from "../gguf/index.ts";
import type { Prompt } from "../language-model/index.ts";
import { type LocalModel, openLocalModel } from "../local/index.ts";
import { proveExport } from "../proof/index.ts";
import { exportOnnx, type OnnxWriteType, onnxFaults, onnxNames, onnxWriteTypes, openOnnxRuntime } from "./index.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-onnx-"));
});
afterAll(() => rm(folder, { recursive: true }));

const prompts: Prompt[] = [
  [{ role: "user", content: "Hello there" }],
  [
    { role: "system", content: "Be brief." },
    { role: "user", content: "12 × 34?\n\nNaïve 🌊" },
  ],
];

let count = 0;
const tiny = (config: Record<string, unknown> = {}) => writeTinyModel(join(folder, `model-${count++}`), { config });

async function exported(from: string, type: OnnxWriteType = "F32", adapter?: Factors) {
  const into = join(folder, `export-${count++}`);
  const checkpoint = await openCheckpoint(from);
  const { notices } = await exportOnnx(checkpoint, into, { type, ...(adapter && { adapter }) }).finally(() =>
    checkpoint.close(),
  );
  return { into, notices };
}

async function proof(into: string, of: string | LocalModel, type: OnnxWriteType = "F32") {
  const model = typeof of === "string" ? await openLocalModel(of, { device: "cpu", cacheDir: folder }) : of;
  const runtime = await openOnnxRuntime(into, type);
  const found = await proveExport({ model, prompts, runtime, type, maxTokens: 12 });
  await runtime.close();
  if (typeof of === "string") await model.close();
  return found;
}

async function faults(into: string, from: string, type: OnnxWriteType = "F32", adapter?: Factors) {
  const checkpoint = await openCheckpoint(from);
  return onnxFaults(into, { checkpoint, type, ...(adapter && { adapter }) }).finally(() => checkpoint.close());
}

describe("a model written as ONNX", () => {
  const more = {
    "mistral, window": { model_type: "mistral", sliding_window: 8 },
    "llama, dynamic scaling": { rope_scaling: { rope_type: "dynamic", factor: 2 } },
  };
  it.each(Object.entries({ ...shapes, ...more }))(
    "%s: the same prompts, log-probabilities and replies in ONNX Runtime",
    async (_, config) => {
      const from = await tiny(config);
      const { into } = await exported(from);
      expect(await faults(into, from)).toEqual([]);
      const found = await proof(into, from);
      expect(found).toMatchObject({ runtime: "ONNX Runtime", prompts: 2, samePrompts: 2, faults: [] });
      expect(found.tokens).toBeGreaterThan(8);
      expect(found.largest).toBeLessThan(1e-3);
      for (const { before, after } of found.replies) expect(after).toBe(before);
    },
  );

  it.each(onnxWriteTypes)("%s: the numbers of the GGUF file of this type", async (type) => {
    const from = await tiny({
      hidden_size: 64,
      intermediate_size: 96,
      head_dim: 16,
      tie_word_embeddings: type === "Q4_0",
    });
    const { into } = await exported(from, type);
    const gguf = join(folder, `${count++}.gguf`);
    const checkpoint = await openCheckpoint(from);
    await exportGguf(checkpoint, gguf, { type }).finally(() => checkpoint.close());
    const found = await proof(into, gguf, type);
    expect(found).toMatchObject({ samePrompts: 2, faults: [] });
    expect(found.largest).toBeLessThan(1e-3);
  });

  it("has the inputs, outputs and files that transformers.js looks for", async () => {
    const from = await tiny();
    const { into } = await exported(from, "Q8_0");
    const file = await OnnxFile.open(join(into, "onnx", "model_quantized.onnx"));
    const layers = [0, 1].flatMap((layer) => ["key", "value"].map((part) => `${layer}.${part}`));
    expect([...file.inputs].sort()).toEqual(
      ["attention_mask", "input_ids", ...layers.map((name) => `past_key_values.${name}`), "position_ids"].sort(),
    );
    expect([...file.outputs].sort()).toEqual(["logits", ...layers.map((name) => `present.${name}`)].sort());
    await file.close();
    const json = async (name: string) => JSON.parse(await readFile(join(into, name), "utf8"));
    expect((await json("config.json"))["transformers.js_config"]).toEqual({
      dtype: "q8",
      use_external_data_format: { "model_quantized.onnx": 1 },
    });
    expect(await json("generation_config.json")).toMatchObject({ eos_token_id: [256, 258] });
    expect((await json("tokenizer_config.json")).chat_template).toContain("<|im_start|>");
    expect(Object.keys(await json("tokenizer.json"))).toContain("model");
  });

  it("gives rows of a batch, padded on the left, what each gives alone", async () => {
    const { into } = await exported(await tiny({ model_type: "mistral", sliding_window: 6 }));
    const file = await OnnxFile.open(join(into, "onnx", "model.onnx"));
    const empty = { data: new Float32Array(0) };
    const cache = (rows: number) =>
      Object.fromEntries(
        file.inputs
          .filter((name) => name.startsWith("past"))
          .map((name) => [name, { ...empty, shape: [rows, 2, 0, 8] }]),
      );
    const texts = [
      [60, 61, 62, 63, 64, 65, 66, 67, 68, 69],
      [70, 71, 72, 73],
    ];
    const last = async (rows: readonly (readonly number[])[]) => {
      const longest = Math.max(...rows.map((row) => row.length));
      const padded = (value: (row: readonly number[], i: number) => number) =>
        rows.flatMap((row) =>
          Array.from({ length: longest }, (_, at) => {
            const i = at - (longest - row.length);
            return i < 0 ? 0 : value(row, i);
          }),
        );
      const shape = [rows.length, longest];
      const { logits } = await file.run({
        ...cache(rows.length),
        input_ids: { data: padded((row, i) => row[i]!), shape },
        attention_mask: { data: padded(() => 1), shape },
        position_ids: { data: padded((_, i) => i), shape },
      });
      const [, , vocabulary] = logits!.shape as [number, number, number];
      return rows.map((_, row) =>
        logits!.data.subarray(((row + 1) * longest - 1) * vocabulary, (row + 1) * longest * vocabulary),
      );
    };
    const together = await last(texts);
    for (const [i, text] of texts.entries()) {
      const [alone] = await last([text]);
      expect(largestDifference(together[i]!, alone!)).toBeLessThan(1e-4);
    }
    await file.close();
  });

  it("has the adapter in its weights, and tells another one", async () => {
    const from = await tiny();
    const checkpoint = await openCheckpoint(from);
    const [own, other] = [randomAdapter(checkpoint.config, 1), randomAdapter(checkpoint.config, 2)];
    await checkpoint.close();
    const { into } = await exported(from, "F32", own);
    expect(await faults(into, from, "F32", own)).toEqual([]);
    for (const wrong of [other, undefined])
      expect((await faults(into, from, "F32", wrong)).join()).toMatch(
        /14 of 16 matrices are not those of the checkpoint/,
      );
    const base = await openLocalModel(from, { device: "cpu", cacheDir: folder });
    const adapted = await base.withAdapter({ id: "adapter", ...adapterFactors(own) });
    const found = await proof(into, adapted as LocalModel);
    expect(found.faults).toEqual([]);
    expect(found.largest).toBeLessThan(1e-3);
    expect((await proof(into, base)).largest).toBeGreaterThan(1e-3);
    await base.close();
  });

  it("says where one graph cannot do as the engine does", async () => {
    const { notices } = await exported(await tiny({ rope_scaling: { rope_type: "dynamic", factor: 2 } }));
    expect(notices).toEqual([expect.stringMatching(/texts end at 2048 tokens/)]);
  });
});

describe("the proof of an ONNX export", () => {
  const edited = async (into: string, name: string, change: (json: Record<string, unknown>) => void) => {
    const path = join(into, name);
    const json = JSON.parse(await readFile(path, "utf8"));
    change(json);
    await writeFile(path, JSON.stringify(json));
  };

  it("finds a wrong template", async () => {
    const from = await tiny();
    const { into } = await exported(from);
    await edited(into, "tokenizer_config.json", (json) => {
      json.chat_template = (json.chat_template as string).replace("{{ m.role }}\n", "{{ m.role }} ");
    });
    expect((await proof(into, from)).faults.join()).toMatch(
      /prompt 1 becomes other tokens .* in ONNX Runtime; so do 1 more/s,
    );
  });

  it("finds a dropped stop token, which the template alone would still tell", async () => {
    const from = await tiny();
    const { into } = await exported(from);
    await edited(into, "generation_config.json", (json) => {
      json.eos_token_id = [256];
    });
    expect((await proof(into, from)).faults.join()).toMatch(
      /replies do not end at "<\|im_end\|>" \(token 258\) in ONNX Runtime/,
    );
  });

  it("finds other weights by what they say", async () => {
    const from = await tiny();
    const { into } = await exported(await writeTinyModel(join(folder, "other"), { seed: 2 }));
    expect((await faults(into, from)).join()).toMatch(/16 of 16 matrices/);
    expect((await proof(into, from)).faults.join()).toMatch(/log-probabilities differ by up to \d/);
  });

  it.each(["model.onnx", "model.onnx_data"])("finds a truncated %s", async (name) => {
    const from = await tiny();
    const { into } = await exported(from);
    const path = join(into, "onnx", name);
    await truncate(path, (await readFile(path)).length - 70_000 * Number(name.endsWith("_data")) - 64);
    expect(await faults(into, from)).not.toEqual([]);
    expect(await failure(openOnnxRuntime(into, "F32"))).toBeInstanceOf(CheckpointError);
  });

  it("says which file is missing", async () => {
    const from = await tiny();
    const { into } = await exported(from);
    await rm(join(into, "onnx", "model.onnx_data"));
    expect((await failure(faults(into, from))).message).toMatch(/model\.onnx_data: expected a file of the export/);
    expect(onnxNames.F32.file).toBe("model.onnx");
  });
});
