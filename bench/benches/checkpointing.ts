import { tenet } from "../contestants/index.ts";
import type { Bench } from "../harness.ts";
import { trainStepTask } from "../random-model.ts";

export const checkpointing: Bench = {
  name: "checkpointing",
  summary: "train-step with activations computed anew in the backward pass: its time and its peak of memory",
  unit: "s/step",
  measure: "seconds",
  devices: true,
  prepare: trainStepTask,
  ours: tenet("train-step.ts", "tenet", ["--checkpointing"]),
  peers: [tenet("train-step.ts", "without")],
};
