import { peer, tenet } from "../contestants/index.ts";
import type { Bench } from "../harness.ts";
import { sftTask } from "../sft-task.ts";

export const sftEpoch: Bench = {
  name: "sft-epoch",
  summary:
    "an epoch of 48 examples of mixed length in updates of 16, LoRA r = 16 on all projections, SmolLM2-135M-Instruct",
  unit: "tokens/s",
  weights: true,
  measure: "rate",
  prepare: sftTask,
  ours: tenet("sft-epoch.ts"),
  peers: [
    peer("trl", "sft_epoch_trl.py", { only: "cpu" }),
    peer("trl-padding-free", "sft_epoch_trl.py", { args: ["--padding-free"], only: "cpu" }),
  ],
};
