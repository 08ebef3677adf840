import { cp, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type LlamaStandIn, llamaStandIn, writeTalkingModel } from "@tenet/fixtures";
import {
  adapterShapes,
  type Checkpoint,
  exportGguf,
  exportGgufAdapter,
  exportOnnx,
  loadAdapter,
  mergeAdapter,
  openCheckpoint,
  openLocalModel,
  saveAdapter,
} from "@tenet/lm";
import { ParameterSet } from "@tenet/tensor";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { StoredCheckpoint } from "./checkpoints.ts";
import { type PartProof, proveParts, type WrittenWeights } from "./export-proof.ts";

/*
 * Faults of the kinds that are met where models are served, planted in every part that an export writes: each is found by what
 * `tenet export` does by itself, with no other program at hand. What llama.cpp, transformers and PEFT find of the same faults is in
 * packages/lm/src/gguf/proof.test.ts and packages/lm/src/proof/safetensors.test.ts.
 */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

type Part = WrittenWeights["part"];

let folder: string;
let checkpoint: Checkpoint;
let source: StoredCheckpoint["source"];
/** The run's own adapter, and another of the same shape. */
let own: string;
let other: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-faults-"));
  const model = await writeTalkingModel(join(folder, "model"));
  checkpoint = await openCheckpoint(model);
  [own, other] = [await adapter("own", 1), await adapter("other", 2)];
  source = { type: "local", reference: model, adapter: own };
});
afterAll(async () => {
  await checkpoint?.close();
  await rm(folder, { recursive: true });
});

async function adapter(name: string, seed: number): Promise<string> {
  const { config } = checkpoint;
  const lora = { rank: 2, alpha: 4 };
  const parameters = new ParameterSet(adapterShapes(config, lora));
  let state = seed;
  for (const { name } of parameters.ranges) {
    const values = parameters.view(name);
    for (let i = 0; i < values.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      values[i] = 0.2 * (state / 2 ** 32 - 0.5);
    }
  }
  const into = join(folder, name);
  await saveAdapter(into, { lora, parameters, baseModel: "base", config });
  return into;
}

let count = 0;
/** Writes a part of the checkpoint with an adapter's folder, as an export does. */
const writers: Record<Part, (adapter: string) => Promise<WrittenWeights>> = {
  async adapter(from) {
    const path = join(folder, `adapter-${count++}`);
    await cp(from, path, { recursive: true });
    return { part: "adapter", path, type: "F32", notices: [] };
  },
  async merged(from) {
    const path = join(folder, `merged-${count++}`);
    await mergeAdapter(checkpoint, await loadAdapter(from, checkpoint.config), path, { dtype: "F32" });
    return { part: "merged", path, type: "F32", notices: [] };
  },
  async gguf(from) {
    const path = join(folder, `gguf-${count++}`, "model.gguf");
    await mkdir(dirname(path));
    await exportGguf(checkpoint, path, { type: "F16", adapter: await loadAdapter(from, checkpoint.config) });
    return { part: "gguf", path, type: "F16", notices: [] };
  },
  async "gguf-adapter"(from) {
    const path = join(folder, `adapter-${count++}.gguf`);
    const { config } = checkpoint;
    await exportGgufAdapter(await loadAdapter(from, config), path, { config });
    return { part: "gguf-adapter", path, type: "F32", notices: [] };
  },
  async onnx(from) {
    const path = join(folder, `onnx-${count++}`);
    await exportOnnx(checkpoint, path, { type: "F32", adapter: await loadAdapter(from, checkpoint.config) });
    return { part: "onnx", path, type: "F32", notices: [] };
  },
};

const json = async (path: string, change: (value: Record<string, unknown>) => void) => {
  const value = JSON.parse(await readFile(path, "utf8"));
  change(value);
  await writeFile(path, JSON.stringify(value));
};
const shorten = async (path: string) => truncate(path, (await readFile(path)).length - 64);
/** Another text of the same length in a file's head. */
const patch = (from: string, to: string) => async (path: string) => {
  const bytes = await readFile(path);
  const at = bytes.indexOf(from);
  expect(at).toBeGreaterThan(0);
  bytes.write(to, at);
  await writeFile(path, bytes);
};
const template = (path: string) =>
  json(join(path, "tokenizer_config.json"), (config) => {
    config.chat_template = (config.chat_template as string).replace("{{ m.role }}\n", "{{ m.role }} ");
  });
const stop = (path: string) =>
  json(join(path, "generation_config.json"), (config) => {
    config.eos_token_id = [256];
  });

const [otherTokens, lostStop] = [/prompt 1 becomes other tokens/, /replies do not end at "<\|im_end\|>"/];
const otherWeights = /not those of the checkpoint|is not as the checkpoint's adapter has it/;
const cut = /its files are not those of the checkpoint's adapter|: expected .*, found |it was cut short/s;
const swapped: readonly [string, Part, (path: string) => Promise<void>, RegExp][] = (
  Object.keys(writers) as Part[]
).map((part) => ["a swapped adapter", part, async () => {}, otherWeights]);

const planted: readonly [string, Part, (path: string) => Promise<void>, RegExp][] = [
  ["a wrong template", "merged", template, otherTokens],
  ["a wrong template", "gguf", patch("{{ m.role }}\n", "{{ m.role }} "), otherTokens],
  ["a wrong template", "onnx", template, otherTokens],
  ["a dropped stop token", "merged", stop, lostStop],
  ["a dropped stop token", "gguf", patch("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eox_token_id"), lostStop],
  ["a dropped stop token", "onnx", stop, lostStop],
  ["a truncated file", "adapter", (path) => shorten(join(path, "adapter_model.safetensors")), cut],
  ["a truncated file", "merged", (path) => shorten(join(path, "model.safetensors")), cut],
  ["a truncated file", "gguf", shorten, cut],
  ["a truncated file", "gguf-adapter", shorten, cut],
  ["a truncated file", "onnx", (path) => shorten(join(path, "onnx", "model.onnx_data")), cut],
];

/** What is found of a part, with a `llama-server` at hand where one is named, and of a base of one's own. */
async function proofOf(written: WrittenWeights, { reference = source.reference, llama = "" } = {}): Promise<PartProof> {
  const stored = { id: "rl", label: "RL", steps: ["policy"], source: { ...source, reference } } as StoredCheckpoint;
  const rows = [{ id: "1", prompt: [{ role: "user" as const, content: "Hello there" }] }];
  const evidence = { rows: rows as never, constitution: undefined };
  const environment = llama === "" ? {} : { TENET_LLAMA_SERVER: llama };
  const options = { cacheDir: folder, threads: 1, environment };
  const [proof] = await proveParts([written], stored, evidence, options);
  return proof!;
}
const faultsOf = async (written: WrittenWeights) => (await proofOf(written)).faults.join("\n");

describe("an export", () => {
  it.each(Object.entries(writers))("of %s is found to be as it should be", async (_, write) => {
    expect(await faultsOf(await write(own))).toBe("");
  });

  it.each([...swapped, ...planted])("with %s in %s is found", async (fault, part, plant, found) => {
    const written = await writers[part](fault === "a swapped adapter" ? other : own);
    await plant(written.path);
    expect(await faultsOf(written)).toMatch(found);
  });
});

describe("an adapter for llama.cpp", () => {
  let base: string;
  beforeAll(async () => {
    base = join(folder, "base-Q8_0.gguf");
    await exportGguf(checkpoint, base, { type: "Q8_0" });
  });
  const standIns: LlamaStandIn[] = [];
  afterAll(() => Promise.all(standIns.map((one) => one.close())));
  /** A program that says what a base says under the adapter, but for a shift of its log-probabilities. */
  const saying = async (reference: string, shift: number) => {
    const model = await openLocalModel(reference, { device: "cpu", cacheDir: folder, adapter: own });
    const standIn = await llamaStandIn(folder, model, { shift });
    standIns.push(standIn, { ...standIn, close: () => model.close() });
    return standIn;
  };
  const opened = (argv: readonly string[], name: string) => argv[argv.indexOf(name) + 1];

  it("is told not to be verified where llama.cpp is not at hand", async () => {
    const { runtimes, unverified } = await proofOf(await writers["gguf-adapter"](own));
    expect([runtimes, unverified.join()]).toEqual([[], expect.stringContaining("no llama-server was at hand")]);
  });

  it("is opened there beside its base in float32, and held to what that allows", async () => {
    const written = await writers["gguf-adapter"](own);
    const standIn = await saying(source.reference, 0.002);
    const { runtimes, faults, unverified } = await proofOf(written, { llama: standIn.program });
    expect({ faults, unverified }).toEqual({ faults: [], unverified: [] });
    expect(runtimes).toMatchObject([{ runtime: "llama.cpp, beside base-F32.gguf", prompts: 2, samePrompts: 2 }]);
    expect(runtimes[0]!.tokens).toBeGreaterThan(8);
    const { argv } = await standIn.started();
    expect(opened(argv, "--lora")).toBe(written.path);
    expect(opened(argv, "--model")).toMatch(/base-F32\.gguf$/);
    const other = await saying(source.reference, 0.03);
    expect((await proofOf(written, { llama: other.program })).faults).toEqual([
      expect.stringMatching(
        /differ by up to 0\.0300 .* F32 in llama\.cpp, beside base-F32\.gguf allows 0\.02 and 0\.005$/,
      ),
    ]);
  });

  it("is opened beside the base's own file where that is GGUF, whose products llama.cpp rounds to 8 bits", async () => {
    const written = await writers["gguf-adapter"](own);
    const standIn = await saying(base, 0.15);
    const found = await proofOf(written, { reference: base, llama: standIn.program });
    expect(found).toMatchObject({ faults: [], runtimes: [{ runtime: "llama.cpp, beside base-Q8_0.gguf" }] });
    expect(opened((await standIn.started()).argv, "--model")).toBe(base);
    const other = await saying(base, 0.35);
    expect((await proofOf(written, { reference: base, llama: other.program })).faults).toEqual([
      expect.stringMatching(/by 0\.3500 in the mean; .* allows 4 and 0\.3$/),
    ]);
  });

  // llama.cpp itself, where its server is named.
  const program = process.env.TENET_LLAMA_SERVER;
  it.skipIf(!program)("says in llama.cpp itself what the checkpoint says", async () => {
    for (const reference of [source.reference, base]) {
      const found = await proofOf(await writers["gguf-adapter"](own), { reference, llama: program! });
      console.log(JSON.stringify(found.runtimes));
      expect(found).toMatchObject({ faults: [], unverified: [], runtimes: [{ prompts: 2, injectable: 1 }] });
    }
  });
});
