import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  EngineClient,
  EngineMemoryError,
  EngineRefusedError,
  EngineRestartedError,
  enginePython,
  startEngine,
} from "@tenet/engine";
import { writeTinyModel } from "@tenet/fixtures";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { weightsFingerprint } from "./fingerprint.ts";
import { openSelfTest, type SelfTest } from "./self-test/index.ts";
import { trainings } from "./self-test/trainings.ts";

const found = enginePython();
const missing = "missing" in found ? found.missing : undefined;
if (missing) console.log(`skipped: the Python engine is not tested: ${missing}`);

describe.skipIf(missing)("the engine in Python, as one process", () => {
  let folder: string;
  let test: SelfTest;
  let engine: Awaited<ReturnType<typeof startEngine>>;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tenet-python-engine-"));
    const path = await writeTinyModel(join(folder, "model"));
    engine = await startEngine((found as { python: string }).python, { model: path });
    test = await openSelfTest({ model: path, folder, engine: engine.client });
  }, 300_000);
  afterAll(async () => {
    await engine?.close();
    await test?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it("says what it is", async () => {
    const { hidden_size, num_hidden_layers, vocab_size } = test.here.config;
    const health = await engine.client.health();
    expect(health).toMatchObject({ wanted: 1, model: { hidden_size, num_hidden_layers, vocab_size } });
    const weights = await weightsFingerprint(test.here.id);
    expect(health.workers).toEqual([expect.objectContaining({ rank: 0, pid: engine.pid, device: "cpu", weights })]);
  });

  it.each(Object.keys(trainings))(
    "learns as the local trainer: %s",
    async (name) => {
      const found = await test.compare(name);
      console.log(JSON.stringify(found));
      expect(found.equal).toBe(true);
      expect((await engine.client.health()).adapters).toEqual({});
    },
    300_000,
  );

  it.skipIf(spawnSync("prlimit", ["--version"]).status !== 0)(
    "says where a micro-batch does not fit",
    async () => {
      const { python } = found as { python: string };
      const small = await startEngine(python, { model: test.here.id });
      try {
        const lora = { r: 1, lora_alpha: 1, target_modules: ["q_proj"], use_rslora: false };
        const factors = Object.fromEntries(
          [0, 1].flatMap((layer) => {
            const path = `model.layers.${layer}.self_attn.q_proj`;
            const { hidden_size: hidden } = test.here.config;
            return [
              [`${path}.lora_A.weight`, { shape: [1, hidden], data: new Float32Array(hidden) }],
              [`${path}.lora_B.weight`, { shape: [hidden, 1], data: new Float32Array(hidden) }],
            ];
          }),
        );
        await small.client.call("put", { name: "a", lora, trainable: true }, factors);
        const sequences = (count: number, length: number) => {
          const ones = (n: number, value: number) => ({ shape: [n], data: new Int32Array(n).fill(value) });
          const tokens = ones(count * length, 65);
          return { tokens, lengths: ones(count, length), chosen: ones(count, 0), chosenLengths: ones(count, 1) };
        };
        const asked = { name: "a", wanted: ["logprobs" as const], microBatchTokens: 2 ** 20 };
        await small.client.call("forward", asked, sequences(1, 16));
        const used = /VmSize:\s+(\d+)/.exec(await readFile(`/proc/${small.pid}/status`, "utf8"))![1];
        expect(spawnSync("prlimit", ["--pid", String(small.pid), `--as=${1024 * Number(used) + 5e7}`]).status).toBe(0);
        const failed = small.client.call("forward", asked, sequences(512, 1024));
        await expect(failed).rejects.toThrow(EngineMemoryError);
        await expect(failed).rejects.toThrow(/a micro-batch of 1048576 tokens does not fit/);
      } finally {
        await small.close();
      }
    },
    300_000,
  );

  it("refuses a wrong token, a request that the schema does not know, and an adapter of another model", async () => {
    const stranger = new EngineClient({ address: engine.client.address, token: "another" });
    await expect(stranger.health()).rejects.toThrow(EngineRefusedError);
    await expect(stranger.call("drop", { name: "a" })).rejects.toThrow(/another token/);
    await expect(engine.client.call("get", { name: "a", more: 1 } as never)).rejects.toThrow(/more/);
    // It was put before the engine was started again, as far as anybody can know.
    const unknown = engine.client.call("get", { name: "nobody" });
    await expect(unknown).rejects.toThrow(EngineRestartedError);
    await expect(unknown).rejects.toThrow(/no adapter nobody/);
    const lora = { r: 2, lora_alpha: 4, target_modules: ["q_proj"], use_rslora: false };
    await expect(engine.client.call("put", { name: "a", lora, trainable: true }, {})).rejects.toThrow(
      /not this model's: without .*q_proj/,
    );
  });
});
