import { tenet } from "../contestants/index.ts";
import type { Bench } from "../harness.ts";
import { reviseTask } from "../tasks.ts";

export const revise: Bench = {
  name: "revise",
  // One at a time: in a full batch the processor has no room left for guesses.
  summary: "8 replies of 112 tokens that mostly repeat their prompts, one after the other, SmolLM2-135M-Instruct",
  unit: "tokens/s",
  measure: "rate",
  weights: true,
  prepare: reviseTask,
  ours: tenet("decode.ts", "tenet", ["--one-by-one"]),
  peers: [tenet("decode.ts", "no-drafts", ["--one-by-one", "--no-drafts"])],
};
