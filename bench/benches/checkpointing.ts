import { tenet } from "../contestants/index.ts";
import type { Bench } from "../harness.ts";

export const checkpointing: Bench = {
  name: "checkpointing",
  summary: "train-step with activations computed anew in the backward pass: its time and its peak of memory",
  unit: "s/step",
  measure: "seconds",
  ours: tenet("train-step.ts", "tenet", ["--checkpointing"]),
  peers: [tenet("train-step.ts", "without")],
};
