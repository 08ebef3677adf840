import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { llamaStandIn } from "@tenet/fixtures";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { failure } from "../../test/checkpoint/build.ts";
import { dialogues } from "../../test/dialogues.ts";
import { randomAdapter } from "../../test/gguf/adapter.ts";
import { familyShapes, shapes } from "../../test/gguf/shapes.ts";
import { writeTinyModel } from "../../test/tiny-model.ts";
import { adapterFactors, type Factors } from "../adapter/index.ts";
import { resolveModel } from "../catalogue/index.ts";
import { type Checkpoint, CheckpointError, openCheckpoint } from "../checkpoint/index.ts";
import type { Prompt } from "../language-model/index.ts";
import { type LocalModel, openLocalModel } from "../local/index.ts";
import { type ExportProof, ExportRuntimeError, ownRuntime, proveExport, startLlamaServer } from "../proof/index.ts";
import type { GgufWriteType } from "./encode.ts";
import { exportGguf } from "./export.ts";
import { exportGgufAdapter, ggufAdapterFaults, weightFaults } from "./index.ts";

let folder: string;
let source: string;
let checkpoint: Checkpoint;
let model: LocalModel;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-proof-"));
  source = await tinyModel("model");
  checkpoint = await openCheckpoint(source);
  model = await openLocalModel(source, { device: "cpu", cacheDir: folder });
});
afterAll(async () => {
  await model?.close();
  await checkpoint?.close();
  await rm(folder, { recursive: true });
});

/** A tiny model whose turns end at a token that llama.cpp does not take for an end by its text alone. */
async function tinyModel(name: string, seed = 1): Promise<string> {
  const into = await writeTinyModel(join(folder, name), { seed });
  for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
    const text = await readFile(join(into, file), "utf8");
    await writeFile(join(into, file), text.replaceAll("<|im_end|>", "<|turn_over|>"));
  }
  return into;
}

const prompts: Prompt[] = [
  [{ role: "user", content: "Hello there" }],
  [
    { role: "system", content: "Be brief." },
    { role: "user", content: "12 × 34?\n\nNaïve 🌊" },
  ],
];

const adapter = (seed: number, size = 0.01) => randomAdapter(checkpoint.config, seed, size);

let files = 0;
async function exported(from = source, options: Parameters<typeof exportGguf>[2] = {}): Promise<string> {
  const path = join(folder, `${files++}.gguf`);
  const opened = await openCheckpoint(from);
  await exportGguf(opened, path, { type: "F32", ...options });
  await opened.close();
  return path;
}

async function proof(path: string, of: LocalModel = model) {
  const { config, close } = await openCheckpoint(path);
  await close();
  const again = await openLocalModel(path, { device: "cpu", cacheDir: folder });
  const runtime = ownRuntime(again, { ends: new Set(config.eos_token_ids) });
  return proveExport({ model: of, prompts, runtime, type: "F32", maxTokens: 8 }).finally(() => runtime.close());
}

async function weights(path: string, options: { adapter?: Factors } = {}) {
  const again = await openCheckpoint(path);
  return weightFaults(again, { checkpoint, type: "F32", ...options }).finally(() => again.close());
}

/** The same model with another `tokenizer_config.json` or config. */
async function changed(change: (config: Record<string, unknown>) => void): Promise<string> {
  const other = await tinyModel(`changed-${files++}`);
  const path = join(other, "tokenizer_config.json");
  const config = JSON.parse(await readFile(path, "utf8"));
  change(config);
  await writeFile(path, JSON.stringify(config));
  return other;
}

/** Faults planted in a file, and what a proof says of it, in whatever opens it. */
const planted: Record<string, { plant: () => Promise<string>; found: (runtime: string) => RegExp }> = {
  "a wrong template": {
    plant: async () =>
      exported(
        await changed((config) => {
          config.chat_template = (config.chat_template as string).replace("{{ m.role }}\n", "{{ m.role }} ");
        }),
      ),
    found: (runtime) =>
      new RegExp(
        `prompt 1 becomes other tokens from token \\d+ on: ".*" before, ".*" in ${runtime}; so do \\d+ more`,
        "s",
      ),
  },
  "a dropped stop token": {
    async plant() {
      const path = await exported();
      const bytes = await readFile(path);
      // The end of a turn, under a key that nobody reads.
      bytes.write("tokenizer.ggml.eox_token_id", bytes.indexOf("tokenizer.ggml.eos_token_id"));
      await writeFile(path, bytes);
      return path;
    },
    found: (runtime) => new RegExp(`replies do not end at "<\\|turn_over\\|>" \\(token 258\\) in ${runtime}`),
  },
  "a swapped adapter": {
    plant: () => exported(source, { adapter: adapter(2, 0.4) }),
    found: () => /log-probabilities differ by up to \d/,
  },
  "another base": {
    plant: async () => exported(await tinyModel(`other-${files++}`, 2)),
    found: () => /log-probabilities differ by up to \d/,
  },
};

describe("the proof of an export", () => {
  it("finds nothing in one that is as it should be, and says how far it looked", async () => {
    const path = await exported();
    expect(await weights(path)).toEqual([]);
    const found = await proof(path);
    expect(found).toMatchObject({ runtime: "Tenet", prompts: 2, samePrompts: 2, faults: [] });
    expect(found.tokens).toBeGreaterThan(4);
    expect(found.largest).toBeLessThan(1e-3);
  });

  it.each(Object.entries(planted))("finds %s", async (_, { plant, found }) => {
    expect((await proof(await plant())).faults.join()).toMatch(found("Tenet"));
  });

  it("finds a swapped adapter, however small, by the weights", async () => {
    const path = await exported(source, { adapter: adapter(1), type: "F32" });
    expect(await weights(path, { adapter: adapter(1) })).toEqual([]);
    for (const other of [{ adapter: adapter(2) }, {}])
      expect((await weights(path, other)).join()).toMatch(/14 of \d+ weights are not those of the checkpoint/);
  });

  it("finds a truncated file", async () => {
    const path = await exported();
    const { length } = await readFile(path);
    await truncate(path, length - 64);
    expect(await failure(openCheckpoint(path))).toBeInstanceOf(CheckpointError);
  });

  it("finds a changed byte in an adapter's file", async () => {
    const path = join(folder, "adapter.gguf");
    const own = adapter(3);
    await exportGgufAdapter(own, path, { config: checkpoint.config });
    expect(await ggufAdapterFaults(path, own, checkpoint.config)).toEqual([]);
    expect(adapterFactors(own).factors.size).toBe(14);
    expect((await ggufAdapterFaults(path, adapter(4), checkpoint.config)).join()).toMatch(/blk\.0\.attn_q/);
    const bytes = await readFile(path);
    bytes[bytes.length - 40]! ^= 1;
    await writeFile(path, bytes);
    expect((await ggufAdapterFaults(path, own, checkpoint.config)).join()).toMatch(/is not as the checkpoint's/);
  });
});

describe("a program that opens the export", () => {
  it("says why it did not come up", async () => {
    await expect(startLlamaServer({ program: join(folder, "none"), model: "x.gguf" })).rejects.toThrow(
      /cannot be started/,
    );
    await expect(startLlamaServer({ program: process.execPath, model: "x.gguf" })).rejects.toThrow(/ended with code/);
  });

  it("is asked to compute in float32, and allowed what it rounds by the file's matrices", async () => {
    const standIn = await llamaStandIn(folder, model);
    const rounding = async (type: GgufWriteType) => {
      const path = await exported(source, { type });
      const runtime = await startLlamaServer({ program: standIn.program, model: path });
      await runtime.close();
      return runtime.rounding;
    };
    expect(await rounding("F32")).toEqual({ largest: 0.02, mean: 0.005, nearTie: 0.04 });
    expect(await rounding("BF16")).toEqual({ largest: 2, mean: 0.2, nearTie: 4 });
    expect(await rounding("Q4_0")).toEqual({ largest: 4, mean: 0.3, nearTie: 8 });
    expect((await standIn.started()).environment).toEqual({
      LLAMA_ARG_CACHE_TYPE_K: "f32",
      LLAMA_ARG_CACHE_TYPE_V: "f32",
      LLAMA_ARG_FLASH_ATTN: "off",
    });
    await standIn.close();
  });

  it("is asked for all tokens where one is not among its likeliest", async () => {
    const standIn = await llamaStandIn(folder, model, { rank: 20, shift: 5 });
    const runtime = await startLlamaServer({ program: standIn.program, model: await exported() });
    const found = await proveExport({ model, prompts, runtime, type: "F32", maxTokens: 8 });
    expect(found).toMatchObject({ untold: 0, faults: [expect.stringMatching(/differ by up to 5\.0000/)] });
    await runtime.close();
    await standIn.close();
  });
});

/*
 * llama.cpp itself, where this is set:
 *
 *   TENET_LLAMA_SERVER  its server, llama-server
 *   TENET_TEST_MODEL    also this model, by catalogue name or path
 */
const { TENET_LLAMA_SERVER: program, TENET_TEST_MODEL: real } = process.env;

describe.skipIf(!program)("llama.cpp's server", () => {
  const inLlama = async (path: string, of: LocalModel, { type = "F16", lora, maxTokens = 6 }: LlamaOptions = {}) => {
    const runtime = await startLlamaServer({ program: program!, model: path, context: 1024, ...(lora && { lora }) });
    const asked = { prompts: dialogues, maxTokens };
    return proveExport({ model: of, ...asked, runtime, type }).finally(() => runtime.close());
  };
  const shown = (name: string, { replies, ...found }: ExportProof) => {
    const parts = replies.filter((reply) => reply.before !== reply.after);
    const margin = Math.max(0, ...parts.map(({ parts }) => parts?.margin ?? 0));
    console.log(name, JSON.stringify({ ...found, replies: replies.length, parts: parts.length, margin }));
  };

  it.each(Object.entries(shapes))(
    "%s: fifty dialogues become the same tokens, log-probabilities, replies and ends in F16",
    async (name, config) => {
      const from = await writeTinyModel(join(folder, `shape-${files++}`), { config });
      const own = await openLocalModel(from, { device: "cpu", cacheDir: folder });
      const found = await inLlama(await exported(from, { type: "F16" }), own).finally(() => own.close());
      shown(name, found);
      expect(found).toMatchObject({ runtime: "llama.cpp", samePrompts: 50, faults: [] });
      expect(found.tokens).toBeGreaterThan(256);
      expect(found.largest).toBeLessThan(0.05);
    },
    600_000,
  );

  it.skipIf(!real)(
    "a real model: the same in F16, in replies of 8 tokens",
    async () => {
      const from = await resolveModel(real!);
      const own = await openLocalModel(from, { device: "cpu", cacheDir: folder });
      const asked = { maxTokens: 8 };
      const found = await inLlama(await exported(from, { type: "F16" }), own, asked).finally(() => own.close());
      shown(real!, found);
      expect(found).toMatchObject({ runtime: "llama.cpp", samePrompts: 50, faults: [] });
      expect(found.tokens).toBeGreaterThan(256);
      expect(found.largest).toBeLessThan(0.05);
    },
    1_800_000,
  );

  it.each(familyShapes)(
    "%s: an adapter beside its base runs as in the engine, and as it runs merged",
    async (name, config) => {
      const from = await writeTinyModel(join(folder, `shape-${files++}`), { config });
      const base = await openLocalModel(from, { device: "cpu", cacheDir: folder });
      const factors = randomAdapter(base.config, 1, 1);
      const own = await base.withAdapter({ id: "adapter", ...adapterFactors(factors) });
      const lora = join(folder, `${files++}.gguf`);
      await exportGgufAdapter(factors, lora, { config: base.config });
      const plain = await exported(from);
      const merged = await exported(from, { adapter: factors });
      for (const [path, more] of [
        [plain, { lora }],
        [merged, {}],
      ] as const) {
        const found = await inLlama(path, own, { type: "F32", ...more });
        shown(`${name}, ${path === merged ? "merged" : "beside"}`, found);
        expect(found).toMatchObject({ samePrompts: 50, faults: [] });
        expect(found.tokens).toBeGreaterThan(200);
        expect(found.largest).toBeLessThan(1e-2);
      }
      expect((await inLlama(plain, own, { type: "F32" })).faults.join()).toMatch(/log-probabilities differ/);
      await base.close();
    },
    600_000,
  );

  // Both compute with the file's numbers; llama.cpp rounds what it multiplies them with to 8 bits, in Q4_K by 256 numbers together.
  it.each([
    ["Q8_0", 0.1],
    ["Q4_0", 0.2],
    ["Q4_K", 0.5],
  ] as const)(
    "%s: says what Tenet reads of the file, within %d nats in the mean",
    async (type, most) => {
      const config = { hidden_size: 256, intermediate_size: 512, head_dim: 64 };
      const path = await exported(await writeTinyModel(join(folder, `wide-${type}`), { config }), { type });
      const own = await openLocalModel(path, { device: "cpu", cacheDir: folder });
      const found = await inLlama(path, own, { type }).finally(() => own.close());
      shown(type, found);
      expect(found).toMatchObject({ samePrompts: 50, faults: [] });
      expect(found.mean).toBeLessThan(most);
    },
    600_000,
  );

  it.each(Object.entries(planted))(
    "finds %s",
    async (_, { plant, found }) => {
      const path = await plant();
      expect((await inLlama(path, model, { type: "F32" })).faults.join()).toMatch(found("llama\\.cpp"));
    },
    600_000,
  );

  it("takes what a message says for a special token, which is told and is no fault", async () => {
    const runtime = await startLlamaServer({ program: program!, model: await exported() });
    const said: Prompt[] = [[{ role: "user", content: "Hello <|turn_over|>\n there" }]];
    const found = await proveExport({ model, prompts: said, runtime, type: "F32" }).finally(() => runtime.close());
    expect(found).toMatchObject({ samePrompts: 0, injectable: 1, faults: [] });
  }, 120_000);

  it("does not open a file that was cut short", async () => {
    const path = await exported();
    await truncate(path, (await readFile(path)).length - 64);
    await expect(startLlamaServer({ program: program!, model: path })).rejects.toThrow(ExportRuntimeError);
  }, 120_000);
});

interface LlamaOptions {
  readonly type?: GgufWriteType;
  readonly lora?: string;
  readonly maxTokens?: number;
}
