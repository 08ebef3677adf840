import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EngineClient, EngineRefusedError, EngineRestartedError, enginePython } from "@tenet/engine";
import { writeTinyModel } from "@tenet/fixtures";
import { type LocalModel, openLocalModel } from "@tenet/lm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { distance, headedAdapter, trained, trainings } from "../test/equality.ts";
import { startEngine } from "../test/python-engine.ts";
import { weightsFingerprint } from "./fingerprint.ts";
import { speakerOf } from "./open-trainer.ts";
import { engineModel } from "./remote-trainer.ts";

const found = enginePython();
const missing = "missing" in found ? found.missing : undefined;
if (missing) console.log(`skipped: the Python engine is not tested: ${missing}`);

/** Bounds of a statement about equality: per update a loss, and the adapter at the end. */
const bounds = { loss: 1e-4, adapter: 1e-3 };

describe.skipIf(missing)("the engine in Python, as one process", () => {
  let folder: string;
  let model: LocalModel;
  let start: string;
  let engine: Awaited<ReturnType<typeof startEngine>>;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tenet-python-engine-"));
    const path = await writeTinyModel(join(folder, "model"));
    model = await openLocalModel(path, { device: "cpu", threads: 1, cacheDir: folder });
    start = await headedAdapter(model, folder);
    engine = await startEngine((found as { python: string }).python, { model: path });
  }, 300_000);
  afterAll(async () => {
    await engine?.close();
    await model?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it("says what it is", async () => {
    const { hidden_size, num_hidden_layers, vocab_size } = model.config;
    const health = await engine.client.health();
    expect(health).toMatchObject({ wanted: 1, model: { hidden_size, num_hidden_layers, vocab_size } });
    const weights = await weightsFingerprint(model.id);
    expect(health.workers).toEqual([expect.objectContaining({ rank: 0, pid: engine.pid, device: "cpu", weights })]);
  });

  it.each(Object.keys(trainings))(
    "learns as the local trainer: %s",
    async (name) => {
      const { id, config, text } = model;
      const remote = engineModel({
        ...{ id, config, text, engine: engine.client },
        speak: (adapter) => speakerOf(model, adapter),
      });
      const here = await trained(name, model, join(folder, `${name}-here`), start);
      const there = await trained(name, remote, join(folder, `${name}-there`), start);
      const apart = await distance(model, here, there);
      console.log(
        `${name}: ${JSON.stringify(apart)}, ${here.seconds.toFixed(1)} s here, ${there.seconds.toFixed(1)} s there`,
      );
      expect(there.events).toHaveLength(here.events.length);
      expect(apart.loss).toBeLessThan(bounds.loss);
      expect(apart.adapter).toBeLessThan(bounds.adapter);
      expect((await engine.client.health()).adapters).toEqual({});
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
