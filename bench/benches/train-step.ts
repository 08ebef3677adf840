import { peer, tenet } from "../contestants/index.ts";
import type { Bench } from "../harness.ts";

export const trainStep: Bench = {
  name: "train-step",
  summary: "LoRA r = 16 on all projections, SmolLM2-135M, batch 8 × 256: forward + backward + AdamW",
  unit: "s/step",
  measure: "seconds",
  ours: tenet("train-step.ts"),
  peers: [peer("pytorch", "train_step_torch.py"), peer("trl", "train_step_trl.py")],
};
