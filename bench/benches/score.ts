import { peer, tenet } from "../contestants/index.ts";
import type { Bench } from "../harness.ts";
import { scoreTask } from "../tasks.ts";

export const score: Bench = {
  name: "score",
  summary:
    "log-probabilities of 2 options behind 64 prompts of 430 tokens, the first 300 shared, SmolLM2-135M-Instruct",
  unit: "prompts/s",
  measure: "rate",
  weights: true,
  prepare: scoreTask,
  ours: tenet("score.ts"),
  peers: [peer("transformers", "score_transformers.py")],
};
