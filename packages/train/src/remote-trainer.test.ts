import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EngineClient, EngineMemoryError, EngineRefusedError, EngineRestartedError } from "@tenet/engine";
import { writeTinyModel } from "@tenet/fixtures";
import { type LocalModel, openLocalModel } from "@tenet/lm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { engineServer } from "../test/engine-server.ts";
import { openTrainer, speakerOf } from "./open-trainer.ts";
import { engineModel } from "./remote-trainer.ts";
import { resuming } from "./resuming.ts";
import { finish } from "./self-test/distance.ts";
import { openSelfTest, type SelfTest } from "./self-test/index.ts";
import { trainings } from "./self-test/trainings.ts";
import type { RemoteModel } from "./trainer.ts";

const token = "a token of this test";
let folder: string;
let model: LocalModel;
let server: Awaited<ReturnType<typeof engineServer>>;
let test: SelfTest;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-remote-"));
  const path = await writeTinyModel(join(folder, "model"));
  model = await openLocalModel(path, { device: "cpu", threads: 1, cacheDir: folder });
  server = await engineServer(model, token);
  const engine = new EngineClient({ address: server.address, token });
  test = await openSelfTest({ model: path, folder, engine });
});
afterAll(async () => {
  server.close();
  await test.close();
  await model.close();
  await rm(folder, { recursive: true });
});

/** The same model behind the engine, which speaks where the test runs. */
function remote(client = new EngineClient({ address: server.address, token })): RemoteModel {
  const { id, config, text } = model;
  return engineModel({
    ...{ id, config, text, engine: client },
    speak: (adapter) => speakerOf(model, adapter),
  });
}

describe("a trainer that computes elsewhere", () => {
  it.each(Object.keys(trainings))(
    "learns as the local one: %s",
    async (name) => {
      const before = server.asked.length;
      const apart = await test.compare(name);
      expect(apart.equal, JSON.stringify(apart)).toBe(true);
      if (apart.gradNorm !== undefined) expect(apart.gradNorm).toBeLessThan(1e-3);
      // The local trainer's own bits depend on how a batch is cut; apart from that the two are one.
      expect(server.adapters.size).toBe(0);
      // What is differentiated is asked to be kept, and nothing else.
      const own = server.asked.slice(before).filter(({ verb }) => verb === "forward" || verb === "backward");
      own.forEach(({ verb, name: adapter, keep }, i) => {
        const next = own[i + 1];
        if (verb === "forward") expect(next?.verb === "backward" && next.name === adapter).toBe(keep);
      });
      expect(own.some(({ keep }) => keep)).toBe(true);
    },
    300_000,
  );

  it("goes on from its checkpoint, to the same bytes, where the engine was started again, and on this machine from the engine's", async () => {
    const name = "sft";
    const whole = await test.train(name, remote(), "whole");
    const into = join(folder, "killed");
    await rm(into, { recursive: true, force: true });
    server.failures.clear();
    const restarts: string[] = [];
    const calls = server.asked.length;
    for (const [behind, status] of [
      [5, 409],
      [14, 409],
      [20, 507],
    ] as const)
      server.failures.set(calls + behind, status);
    const own = remote();
    const killed = await finish(
      resuming(() => trainings[name]!(own, into, test.start), { onRestart: ({ message }) => restarts.push(message) }),
    );
    server.failures.clear();
    expect(restarts).toHaveLength(3);
    expect(restarts[2]).toContain("microBatchTokens is halved");
    const bytes = (path: string) => readFile(join(path, "adapter_model.safetensors"));
    expect((await bytes(killed.path)).equals(await bytes(whole.path))).toBe(true);
  }, 300_000);

  it("halves its micro-batches once where they do not fit, and then says what can be done", async () => {
    const calls = server.asked.length;
    for (const behind of [5, 10, 11, 12, 13, 14]) server.failures.set(calls + behind, 507);
    const into = join(folder, "too large");
    const own = remote();
    const failed = finish(resuming(() => trainings.sft!(own, into, test.start)));
    await expect(failed).rejects.toThrow(EngineMemoryError);
    await expect(failed).rejects.toThrow(
      /halved already: set microBatchTokens lower, shard the base \(engine\.shard\)/,
    );
    server.failures.clear();
  });

  it("gives up after too many restarts, and says what became of the last", async () => {
    let starts = 0;
    const failing = async function* (): AsyncGenerator<number, never> {
      yield starts++;
      throw new EngineRestartedError("the group was started again");
    };
    const all = async () => {
      for await (const _ of resuming(failing, { most: 2 }));
    };
    await expect(all()).rejects.toThrow("the group was started again");
    expect(starts).toBe(3);
  });

  it("refuses what an engine does not do, and a wrong token", async () => {
    const optimizer = {
      ...({ learningRate: 1e-2, schedule: "constant", warmupSteps: 0, steps: 10 } as const),
      ...({ betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 } as const),
    };
    await expect(openTrainer({ model: remote(), tuning: {}, optimizer, seed: 1 })).rejects.toThrow(/"lora", not "all"/);
    const tuning = { lora: { rank: 2, alpha: 4 } };
    const trainer = await openTrainer({ model: remote(), tuning, optimizer, seed: 1 });
    const hidden = trainer.objective((graph) => ({ loss: graph.hidden.sum() }));
    await expect(hidden.evaluate([])).rejects.toThrow(/hidden states stay there/);
    await expect(trainer.update()).rejects.toThrow(/nothing was accumulated/);
    await trainer.close();
    const stranger = remote(new EngineClient({ address: server.address, token: "another" }));
    await expect(openTrainer({ model: stranger, tuning, optimizer, seed: 1 })).rejects.toThrow(EngineRefusedError);
  });
});
