import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compile, input, ParameterSet } from "@tenet/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { failure } from "../../test/checkpoint/build.ts";
import golden from "../../test/checkpoint/gguf.golden.json" with { type: "json" };
import quants from "../../test/gguf/encode.golden.json" with { type: "json" };
import { shapes } from "../../test/gguf/shapes.ts";
import { graphWeights, largestDifference } from "../../test/golden/families.ts";
import { writeTinyModel } from "../../test/tiny-model.ts";
import { adapterShapes, mergeAdapter } from "../adapter/index.ts";
import { float16Table } from "../checkpoint/floats.ts";
import { PRE_TOKENIZERS } from "../checkpoint/gguf-pretokenizers.ts";
import { tokenizerFromGguf } from "../checkpoint/gguf-tokenizer.ts";
import { type Checkpoint, CheckpointError, openCheckpoint, openGguf } from "../checkpoint/index.ts";
import { Q4_K } from "../checkpoint/quants.ts";
import { decoder, headName, type LoraConfig } from "../decoder/index.ts";
import { openText } from "../text/index.ts";
import { encoders, type GgufWriteType, ggufWriteTypes, rounded } from "./encode.ts";
import { exportGguf } from "./export.ts";
import { exportGgufAdapter } from "./index.ts";
import { preTokenizerName } from "./pre-tokenizer.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-gguf-"));
});
afterAll(() => rm(folder, { recursive: true }));

const tokens = Int32Array.from({ length: 48 }, (_, i) => 32 + ((i * i * 31 + 7) % 95));

async function logitsOf(checkpoint: Checkpoint): Promise<Float32Array> {
  const weight = await graphWeights(checkpoint);
  const { config } = checkpoint;
  const program = await compile(() => {
    const hidden = decoder(input("tokens", "int32", [1, tokens.length]), { config, weight });
    return { logits: hidden.matmul(weight(headName(config)), { transB: true }) };
  });
  const { logits } = await program.run({ tokens });
  await program.dispose();
  return logits.data as Float32Array;
}

async function opened<T>(path: string, use: (checkpoint: Checkpoint) => Promise<T>): Promise<T> {
  const checkpoint = await openCheckpoint(path);
  try {
    return await use(checkpoint);
  } finally {
    await checkpoint.close();
  }
}

let models = 0;
const tiny = (config: Record<string, unknown> = {}) => writeTinyModel(join(folder, `model-${models++}`), { config });
const newPath = () => join(folder, `${models++}.gguf`);

describe("a model written as GGUF", () => {
  it.each(Object.entries(shapes))("%s: gives the logits that it gave, and the same prompts", async (_, config) => {
    const path = newPath();
    await opened(await tiny(config), async (checkpoint) => {
      const { notices } = await exportGguf(checkpoint, path, { type: "F32", name: "tiny" });
      expect(notices).toEqual([]);
      const [before, text] = [await logitsOf(checkpoint), await openText(checkpoint)];
      await opened(path, async (written) => {
        expect(written.format).toBe("gguf");
        const { model_type: _, rope_scaling: __, eos_token_ids: ___, ...settings } = checkpoint.config;
        expect(written.config).toMatchObject({ ...settings, rms_norm_eps: expect.closeTo(settings.rms_norm_eps, 12) });
        // The frequencies of llama3's rule pass through float32 factors; all else is the same numbers.
        const most = written.config.rope_scaling === null ? 0 : 1e-5;
        expect(largestDifference(await logitsOf(written), before)).toBeLessThanOrEqual(most);
        const read = await openText(written);
        const prompt = [{ role: "user" as const, content: "What's 12 × 34?\n\nNaïve…" }];
        expect(read.encodePrompt(prompt)).toEqual(text.encodePrompt(prompt));
        expect(read.endIds).toEqual(text.endIds);
        // What only the template told is said by the file.
        expect(new Set(written.config.eos_token_ids)).toEqual(text.endIds);
        expect(read.traits).toEqual(text.traits);
        expect(written.chatTemplate).toBe(checkpoint.chatTemplate);
      });
    });
  });

  it.each<[GgufWriteType, number]>([
    ["F16", 2 ** -11],
    ["BF16", 2 ** -8],
    ["Q8_0", 1 / 254 + 2 ** -11],
    // The number farthest from 0 is met; one as far on the other side is clipped.
    ["Q4_0", 1 / 8 + 2 ** -11],
    // Levels that fit most numbers best clip those at the ends; factors are rounded to six bits.
    ["Q4_K", 1 / 5],
  ])("%s: each number is as near as the type allows", async (type, share) => {
    const path = newPath();
    const sizes =
      type === "Q4_K" ? { hidden_size: 256, intermediate_size: 288 } : { hidden_size: 64, intermediate_size: 96 };
    await opened(await tiny({ ...sizes, head_dim: 16 }), async (checkpoint) => {
      await exportGguf(checkpoint, path, { type });
      await opened(path, async (written) => {
        const types = new Set([...written.tensors.values()].map(({ dtype }) => dtype));
        expect(types).toEqual(new Set(["F32", type, ...(type.startsWith("Q4") ? ["Q8_0"] : [])]));
        for (const name of checkpoint.tensors.keys()) {
          const [before, after] = [await checkpoint.read(name), await written.read(name)];
          const block = before.length > 256 ? encoders[type].blockSize : before.length;
          for (let at = 0; at < before.length; at += block) {
            const most = Math.max(...before.subarray(at, at + block).map(Math.abs));
            const difference = largestDifference(before.subarray(at, at + block), after.subarray(at, at + block));
            if (!(difference <= most * share + 2 ** -25))
              expect({ name, at, difference }).toEqual({ name, at, most: most * share });
          }
        }
        if (type === "F16")
          expect(largestDifference(await logitsOf(written), await logitsOf(checkpoint))).toBeLessThan(0.2);
      });
    });
  });

  it("has the adapter in its weights, as a merged checkpoint has", async () => {
    await opened(await tiny({ model_type: "qwen2" }), async (checkpoint) => {
      const adapter = randomAdapter(checkpoint, { rank: 4, alpha: 8 });
      const [path, merged] = [newPath(), join(folder, "merged")];
      await exportGguf(checkpoint, path, { type: "F32", adapter });
      await mergeAdapter(checkpoint, { ...adapter, baseModel: undefined }, merged, { dtype: "F32" });
      const logits = await opened(merged, logitsOf);
      expect(largestDifference(await opened(path, logitsOf), logits)).toBe(0);
      expect(largestDifference(await logitsOf(checkpoint), logits)).toBeGreaterThan(0.01);
    });
  });

  it("says what the format cannot: a window becomes the context", async () => {
    const path = newPath();
    const { notices } = await opened(await tiny({ model_type: "mistral", sliding_window: 64 }), (checkpoint) =>
      exportGguf(checkpoint, path),
    );
    expect(notices).toEqual([expect.stringMatching(/looks at 64 tokens: the file's context is 64, not 2048/)]);
    await opened(path, async ({ config }) => expect(config.max_position_embeddings).toBe(64));
  });

  it.each<[string, Record<string, unknown>, RegExp]>([
    [
      "a Qwen 3 with biases",
      { model_type: "qwen3", attention_bias: true },
      /attention_bias: expected a Qwen 3 without/,
    ],
    [
      "llama3's scaling in a Qwen",
      { model_type: "qwen2", rope_scaling: shapes["llama, llama3 scaling"]!.rope_scaling },
      /rope_scaling: expected none, linear or yarn/,
    ],
    [
      "a YaRN that does not round",
      { rope_scaling: { rope_type: "yarn", factor: 2, truncate: false } },
      /truncate: expected true/,
    ],
  ])("refuses %s, and leaves nothing behind", async (_, config, message) => {
    const model = await tiny(config);
    const before = await readdir(folder);
    const error = await opened(model, (checkpoint) => failure(exportGguf(checkpoint, newPath())));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toMatch(message);
    expect(error.fix).toMatch(/merged safetensors/);
    expect(await readdir(folder)).toEqual(before);
  });

  it("refuses numbers that a type cannot hold", async () => {
    await opened(await tiny(), async (checkpoint) => {
      const adapter = randomAdapter(checkpoint, { rank: 2, alpha: 1e7 });
      const error = await failure(exportGguf(checkpoint, newPath(), { adapter }));
      expect(error.message).toMatch(/numbers that F16 can hold/);
      expect(error.fix).toMatch(/F32 or BF16/);
    });
  });
});

function randomAdapter({ config }: Checkpoint, lora: LoraConfig) {
  const parameters = new ParameterSet(adapterShapes(config, lora));
  let state = 7;
  for (const { name } of parameters.ranges) {
    const view = parameters.view(name);
    for (let i = 0; i < view.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      view[i] = (state / 2 ** 32 - 0.5) * 0.4;
    }
  }
  return { lora, parameters };
}

describe("an adapter written as GGUF", () => {
  it("has factors by llama.cpp's names and one alpha, into which every scale is folded", async () => {
    await opened(await tiny(), async (checkpoint) => {
      const modules = {
        "model.layers.0.self_attn.q_proj": { rank: 4, alpha: 8 },
        "model.layers.1.mlp.down_proj": { rank: 2, alpha: 3 },
      };
      const adapter = randomAdapter(checkpoint, { rank: 4, alpha: 8, rslora: true, modules });
      const path = newPath();
      await exportGgufAdapter(adapter, path, { config: checkpoint.config, name: "helpful" });
      const { metadata, tensors } = await readAll(path);
      expect(Object.fromEntries(metadata)).toMatchObject({
        "general.type": "adapter",
        "general.architecture": "llama",
        "adapter.type": "lora",
        "adapter.lora.alpha": 8,
      });
      expect([...tensors.keys()].sort()).toEqual([
        "blk.0.attn_q.weight.lora_a",
        "blk.0.attn_q.weight.lora_b",
        "blk.1.ffn_down.weight.lora_a",
        "blk.1.ffn_down.weight.lora_b",
      ]);
      // What llama.cpp adds, alpha / rank · B·A, is what is trained here, alpha / √rank · B·A.
      const b = adapter.parameters.view("model.layers.1.mlp.down_proj.lora_B.weight");
      const scale = ((3 / Math.sqrt(2)) * 2) / 8;
      const found = tensors.get("blk.1.ffn_down.weight.lora_b")!;
      expect(found.shape).toEqual([32, 2]);
      expect(
        largestDifference(
          found.data,
          b.map((value) => value * scale),
        ),
      ).toBeLessThan(1e-6);
      const q = adapter.parameters.view("model.layers.0.self_attn.q_proj.lora_B.weight");
      // Row 1 of a head in llama.cpp's order is row 4 of 8 in Hugging Face's; alpha / √4 is twice alpha / 4.
      expect([...tensors.get("blk.0.attn_q.weight.lora_b")!.data.subarray(4, 8)]).toEqual([
        ...q.subarray(16, 20).map((value) => value * 2),
      ]);
    });
  });
});

/** A file's header and all its numbers, whatever it is. */
async function readAll(path: string) {
  const { openRanges } = await import("../checkpoint/file.ts");
  const { readGgufHeader } = await import("../checkpoint/gguf-header.ts");
  const { decodeInto } = await import("../checkpoint/decode.ts");
  const file = await openRanges(path);
  try {
    const { metadata, tensors } = await readGgufHeader(file);
    const read = new Map<string, { shape: number[]; data: Float32Array }>();
    for (const [name, info] of tensors) {
      const data = new Float32Array(info.elements);
      await decodeInto({ ...info, file, name }, data);
      read.set(name, { shape: info.shape, data });
    }
    return { metadata, tensors: read };
  } finally {
    await file.close();
  }
}

describe("the names of llama.cpp's ways to cut text", () => {
  it.each(["smollm", "qwen2", "llama-bpe", "smaug-bpe", "tekken", "gpt-4o", "deepseek-llm", "gpt-2", "default"])(
    "%s is found again by cutting texts",
    (name) => {
      const { ignore_merges = false, ...kind } = PRE_TOKENIZERS.get(name)!;
      const tokenizer = { ...kind, model: { type: "BPE", ignore_merges } };
      expect(preTokenizerName({ tokenizer, config: {} })).toBe(name);
    },
  );

  it("finds the published forms of SmolLM2 and Qwen", () => {
    const digits = { type: "Digits", individual_digits: true };
    const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
    const pre_tokenizer = { type: "Sequence", pretokenizers: [digits, bytes] };
    const model = { type: "BPE" };
    expect(preTokenizerName({ tokenizer: { pre_tokenizer, model }, config: {} })).toBe("smollm");
    expect(preTokenizerName({ tokenizer: { pre_tokenizer: bytes, model }, config: {} })).toBe("gpt-2");
  });

  it("says nothing of a way that is none of them", () => {
    const pre_tokenizer = { type: "Split", pattern: { Regex: "a" }, behavior: "Isolated", invert: false };
    expect(preTokenizerName({ tokenizer: { pre_tokenizer, model: {} }, config: {} })).toBeUndefined();
  });
});

describe("a tokenizer that came from GGUF", () => {
  it("goes back into it as the same tokenizer, with the same merges", async () => {
    const { withFile } = await import("../../test/checkpoint/build.ts");
    const path = newPath();
    await withFile(Buffer.from(golden.file, "base64"), async (from) => {
      const [source, before] = [await openCheckpoint(from), await openGguf(from)];
      await exportGguf(source, path, { type: "F32" });
      await source.close();
      const after = await openGguf(path);
      for (const key of ["merges", "pre", "model"])
        expect(after.metadata.get(`tokenizer.ggml.${key}`), key).toEqual(before.metadata.get(`tokenizer.ggml.${key}`));
      expect(tokenizerFromGguf(after.metadata, path)).toEqual(tokenizerFromGguf(before.metadata, from));
      await before.close();
      await after.close();
    });
  });
});

describe("encoders", () => {
  const half = float16Table();
  const values = Float32Array.from(
    new Uint16Array(new Uint8Array(Buffer.from(quants.values, "base64")).buffer),
    (bits) => half[bits]!,
  );

  it("Q4_K: is nearer than one scale for 32 numbers, and meets what lies on its levels", () => {
    const { encode, blockBytes } = encoders.Q4_K;
    const bytes = new Uint8Array(blockBytes);
    // Eight scales and offsets that six bits hold, and every level.
    const exact = Float32Array.from({ length: 256 }, (_, i) => {
      const s = i >> 5;
      return ((s === 7 ? 63 : 9 * s + 1) * ((i * 7) % 16) - 4 * (s === 3 ? 63 : 5 * s)) / 64;
    });
    encode(exact, bytes);
    const back = new Float32Array(256);
    Q4_K.decode(bytes, back, 0, 1);
    expect(largestDifference(back, exact)).toBeLessThan(1e-6);
    let state = 5;
    const random = Float32Array.from({ length: 256 * 16 }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state / 2 ** 32 - 0.5) ** 3;
    });
    const error = (type: "Q4_0" | "Q4_K") =>
      rounded(random, type).reduce((sum, value, i) => sum + (value - random[i]!) ** 2, 0);
    expect(error("Q4_K")).toBeLessThan(0.9 * error("Q4_0"));
    encode(new Float32Array(256), bytes);
    expect([...bytes]).toEqual(new Array(144).fill(0));
  });

  it.each(ggufWriteTypes.filter((type): type is keyof typeof quants.bytes => type !== "Q4_K"))(
    "%s: gives the bytes of llama.cpp's own package",
    (type) => {
      const { blockSize, blockBytes, encode } = encoders[type];
      const bytes = new Uint8Array((values.length / blockSize) * blockBytes);
      encode(values, bytes);
      expect(Buffer.from(bytes).toString("base64")).toBe(quants.bytes[type]);
    },
  );
});
