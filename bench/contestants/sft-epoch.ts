// Supervised fine-tuning through `trainSft`: a round is an epoch. --weights says how the frozen base is held.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ExampleRow, rowId, trainSft } from "@tenet/align";
import { openLocalModel } from "@tenet/lm";
import { serveContestant } from "../contestant.ts";
import type { SftTask } from "../sft-task.ts";
import { trainingWeights } from "../training-weights.ts";

await serveContestant({
  build: async ({ threads, task }) => {
    const { model: path, examples, batchSize, epochs } = task as SftTask;
    const model = await openLocalModel(path, { threads, device: "cpu", ...trainingWeights() });
    const folder = mkdtempSync(join(tmpdir(), "tenet-bench-"));
    process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
    const rows = examples.map(({ prompt, completion }): ExampleRow => {
      return { id: rowId("example", prompt, completion), origin: { parents: [] }, prompt, completion, weight: 1 };
    });
    const steps = Math.ceil(examples.length / batchSize);
    const settings = { epochs, batchSize, learningRate: 1e-4, maxLength: 512, microBatchTokens: 2048 };
    // Checkpoints are the other's to leave out, too.
    const run = trainSft({ model, rows, settings: { ...settings, checkpointEvery: 1e6 }, seed: 1, folder, threads });
    let tokens = 0;
    return {
      round: async () => {
        const before = tokens;
        let loss = 0;
        for (let step = 0; step < steps; step++) {
          const { value, done } = await run.next();
          if (done) throw new Error(`the ${epochs} epochs are over`);
          tokens = value.metrics.num_tokens!;
          loss += value.metrics.loss! / steps;
        }
        return { work: tokens - before, loss };
      },
    };
  },
});
