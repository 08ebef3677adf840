import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { failure } from "../../test/checkpoint/build.ts";
import { randomAdapter } from "../../test/gguf/adapter.ts";
import { shapes } from "../../test/gguf/shapes.ts";
import { writeTinyModel } from "../../test/tiny-model.ts";
import { adapterFactors, type Factors } from "../adapter/index.ts";
import { type Checkpoint, CheckpointError, openCheckpoint } from "../checkpoint/index.ts";
import type { Prompt } from "../language-model/index.ts";
import { type LocalModel, openLocalModel } from "../local/index.ts";
import { ownRuntime, proveExport, startLlamaServer } from "../proof/index.ts";
import { exportGguf } from "./export.ts";
import { exportGgufAdapter, ggufAdapterFaults, weightFaults } from "./index.ts";

let folder: string;
let source: string;
let checkpoint: Checkpoint;
let model: LocalModel;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-proof-"));
  source = await writeTinyModel(join(folder, "model"));
  checkpoint = await openCheckpoint(source);
  model = await openLocalModel(source, { device: "cpu", cacheDir: folder });
});
afterAll(async () => {
  await model?.close();
  await checkpoint?.close();
  await rm(folder, { recursive: true });
});

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
  const again = await openLocalModel(path, { device: "cpu", cacheDir: folder });
  const runtime = ownRuntime(again);
  return proveExport({ model: of, prompts, runtime, type: "F32", maxTokens: 8 }).finally(() => runtime.close());
}

async function weights(path: string, options: { adapter?: Factors } = {}) {
  const again = await openCheckpoint(path);
  return weightFaults(again, { checkpoint, type: "F32", ...options }).finally(() => again.close());
}

/** The same model with another `tokenizer_config.json` or config. */
async function changed(change: (config: Record<string, unknown>) => void): Promise<string> {
  const other = await writeTinyModel(join(folder, `changed-${files++}`));
  const path = join(other, "tokenizer_config.json");
  const config = JSON.parse(await readFile(path, "utf8"));
  change(config);
  await writeFile(path, JSON.stringify(config));
  return other;
}

describe("the proof of an export", () => {
  it("finds nothing in one that is as it should be, and says how far it looked", async () => {
    const path = await exported();
    expect(await weights(path)).toEqual([]);
    const found = await proof(path);
    expect(found).toMatchObject({ runtime: "Tenet", prompts: 2, samePrompts: 2, faults: [] });
    expect(found.tokens).toBeGreaterThan(4);
    expect(found.largest).toBeLessThan(1e-3);
  });

  it("finds a wrong template", async () => {
    const path = await exported(
      await changed((config) => {
        config.chat_template = (config.chat_template as string).replace("{{ m.role }}\n", "{{ m.role }} ");
      }),
    );
    const { samePrompts, faults } = await proof(path);
    expect(samePrompts).toBe(0);
    expect(faults.join()).toMatch(
      /prompt 1 becomes other tokens from token \d+ on: ".*" before, ".*" in Tenet; so do 1 more/s,
    );
  });

  it("finds a dropped stop token", async () => {
    const path = await exported(
      await changed((config) => {
        config.chat_template =
          "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
      }),
    );
    expect((await proof(path)).faults.join()).toMatch(/replies do not end at "<\|im_end\|>" \(token 258\) in Tenet/);
  });

  it("finds a swapped adapter, however small, by the weights", async () => {
    const path = await exported(source, { adapter: adapter(1), type: "F32" });
    expect(await weights(path, { adapter: adapter(1) })).toEqual([]);
    for (const other of [{ adapter: adapter(2) }, {}])
      expect((await weights(path, other)).join()).toMatch(/14 of \d+ weights are not those of the checkpoint/);
  });

  it("finds other weights by what they say", async () => {
    const path = await exported(await writeTinyModel(join(folder, "other"), { seed: 2 }));
    expect((await proof(path)).faults.join()).toMatch(/log-probabilities differ by up to \d/);
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
});

/*
 * llama.cpp itself, where this is set:
 *
 *   TENET_LLAMA_SERVER  its server, llama-server
 */
const program = process.env.TENET_LLAMA_SERVER;

describe.skipIf(!program)("llama.cpp's server", () => {
  const inLlama = async (path: string, of: LocalModel, lora?: string) => {
    const runtime = await startLlamaServer({ program: program!, model: path, context: 512, ...(lora && { lora }) });
    return proveExport({ model: of, prompts, runtime, type: "F32" }).finally(() => runtime.close());
  };

  it.each(Object.entries(shapes))(
    "%s: the same prompts, log-probabilities and ends",
    async (name, config) => {
      const from = await writeTinyModel(join(folder, `shape-${files++}`), { config });
      const own = await openLocalModel(from, { device: "cpu", cacheDir: folder });
      const found = await inLlama(await exported(from), own).finally(() => own.close());
      console.log(name, found);
      expect(found).toMatchObject({ runtime: "llama.cpp", samePrompts: 2, faults: [] });
      expect(found.tokens).toBeGreaterThan(4);
      expect(found.largest).toBeLessThan(1e-2);
    },
    120_000,
  );

  it("runs an adapter beside its base as the engine does, and as it runs the merged", async () => {
    const factors = adapter(1, 1);
    const own = await model.withAdapter({ id: "adapter", ...adapterFactors(factors) });
    const lora = join(folder, "lora.gguf");
    await exportGgufAdapter(factors, lora, { config: checkpoint.config });
    const [beside, merged] = [
      await inLlama(await exported(), own, lora),
      await inLlama(await exported(source, { adapter: factors }), own),
    ];
    for (const found of [beside, merged]) {
      expect(found).toMatchObject({ samePrompts: 2, faults: [] });
      expect(found.largest).toBeLessThan(1e-2);
    }
    expect((await inLlama(await exported(), own)).faults.join()).toMatch(/log-probabilities differ/);
  }, 240_000);
});
