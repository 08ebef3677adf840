// LoRA r = 16 on all projections of SmolLM2-135M's shapes, random weights, 8 × 256 tokens: forward, backward, AdamW.
// --checkpointing computes activations anew in the backward pass.
import { AdamW } from "@tenet/tensor";
import { device, serveContestant } from "../contestant.ts";
import type { TrainStepTask } from "../random-model.ts";
import { buildTrainStep, trainStepBatch } from "../train-step.ts";

await serveContestant({
  build: async ({ threads, task }) => {
    const { step, parameters } = await buildTrainStep(task as TrainStepTask, {
      checkpointing: process.argv.includes("--checkpointing"),
      device,
      threads,
      ...(process.env.PROFILE ? { profile: process.env.PROFILE } : {}),
    });
    const begin = () => new AdamW(parameters, { learningRate: 1e-4 });
    const untaught = parameters.data.slice();
    let optimizer = begin();
    return {
      flops: step.flops(),
      reset() {
        parameters.data.set(untaught);
        optimizer = begin();
      },
      round: async () => {
        const { loss, gradient } = await step.run({ ...parameters.feeds(), ...trainStepBatch() });
        optimizer.step(gradient.data as Float32Array);
        return { loss: loss.data[0]! };
      },
    };
  },
});
