import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeTinyModel } from "@tenet/fixtures";
import { openLocalModel } from "@tenet/lm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openLocalTrainer } from "./local-trainer.ts";
import { activationBytes, fittingTokens, type TrainingShape } from "./memory.ts";
import { completionSequence, type Item } from "./packing.ts";

let folder: string;
let base: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-memory-"));
  base = await writeTinyModel(join(folder, "base"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function withShape(use: (shape: TrainingShape) => void): Promise<void> {
  const model = await openLocalModel(base, { device: "cpu", cacheDir: folder });
  use({ model, tuning: { lora: { rank: 4, alpha: 8 } }, tokens: 1024 });
  await model.close();
}

describe("what a training holds at once", () => {
  it("grows with the tokens computed at once, and less with checkpoints of activations", () =>
    withShape((shape) => {
      const at = (tokens: number) => activationBytes({ ...shape, tokens });
      // Beside what grows there are the merged matrices.
      expect((at(2048) - at(1024)) / (at(1024) - at(512))).toBeCloseTo(2, 1);
      expect(activationBytes({ ...shape, checkpointing: true })).toBeLessThan(at(1024) / 2);
    }));

  it("fits a budget in halves of what was asked for", () =>
    withShape((shape) => {
      const at = (tokens: number) => activationBytes({ ...shape, tokens });
      expect(fittingTokens(shape, at(1024), 1)).toBe(1024);
      expect(fittingTokens(shape, at(1024) - 1, 1)).toBe(512);
      expect(fittingTokens(shape, at(256), 1)).toBe(256);
      expect(() => fittingTokens(shape, at(256), 300)).toThrow(/300 tokens at once takes \d+ bytes .*memory budget is/);
      expect(() => fittingTokens(shape, 1000, 1)).toThrow(/Raise it, set activationCheckpointing: true/);
    }));
});

describe("a model's memory budget", () => {
  const items: Item[] = Array.from({ length: 12 }, (_, i) => ({
    sequences: [
      completionSequence(
        [65 + i, 66, 67],
        Int32Array.from({ length: 40 }, (_, k) => 70 + ((i + k) % 20)),
        {
          weight: new Float32Array(40).fill(1 / 480),
        },
      ),
    ],
  }));

  async function trained(memoryBudget: number | undefined) {
    const budget = memoryBudget === undefined ? {} : { memoryBudget };
    const model = await openLocalModel(base, { device: "cpu", cacheDir: folder, ...budget });
    const trainer = await openLocalTrainer({
      ...{ model, tuning: { lora: { rank: 4, alpha: 8 } }, seed: 1, expected: [items] },
      optimizer: {
        ...({ learningRate: 1e-2, schedule: "constant", warmupSteps: 0, steps: 10 } as const),
        ...({ betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 } as const),
      },
    });
    const objective = trainer.objective((graph) => ({
      loss: graph.tokens().logprobs.mul(graph.value("weight")).sum().neg(),
    }));
    const batches = trainer.pack(items).length;
    const { loss } = await objective.accumulate(items);
    const gradient = Float32Array.from(trainer.gradient());
    await trainer.close();
    await model.close();
    return { batches, loss, gradient };
  }

  it("bounds a training too: the same update in more pieces", async () => {
    const whole = await trained(undefined);
    let tight = 0;
    await withShape((shape) => {
      tight = activationBytes({ ...shape, tokens: 128 });
    });
    const pieces = await trained(tight);
    expect(whole.batches).toBe(1);
    expect(pieces.batches).toBeGreaterThan(3);
    expect(pieces.loss).toBeCloseTo(whole.loss, 5);
    pieces.gradient.forEach((value, i) => {
      expect(Math.abs(value - whole.gradient[i]!)).toBeLessThan(1e-5);
    });
    await expect(trained(10_000)).rejects.toThrow(/the memory budget is 10000/);
  });
});
