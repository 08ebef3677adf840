import { peer, tenet } from "../contestants/index.ts";
import type { Bench } from "../harness.ts";
import { trainStepTask } from "../random-model.ts";

/** Of a loss near 11. */
const sameLoss = 1e-3;

export const trainStep: Bench = {
  name: "train-step",
  summary: "LoRA r = 16 on all projections, SmolLM2-135M, batch 8 × 256: forward + backward + AdamW",
  unit: "s/step",
  measure: "seconds",
  devices: true,
  prepare: trainStepTask,
  ours: tenet("train-step.ts"),
  peers: [
    peer("pytorch", "train_step_torch.py", { sameLoss }),
    peer("pytorch-compiled", "train_step_torch.py", { args: ["--compile"], sameLoss, only: "cuda" }),
    peer("pytorch-tf32", "train_step_torch.py", { args: ["--tf32"], sameLoss, only: "cuda" }),
    peer("pytorch-compiled-tf32", "train_step_torch.py", { args: ["--compile", "--tf32"], sameLoss, only: "cuda" }),
    peer("trl", "train_step_trl.py", { only: "cpu" }),
  ],
};
