import { peer, tenet } from "../contestants/index.ts";
import type { Bench } from "../harness.ts";
import { ppoTask } from "../tasks.ts";

export const ppoIteration: Bench = {
  name: "ppo-iteration",
  summary:
    "32 prompts × 64 tokens: rollout, four scorings, 4 epochs of 4 updates, LoRA r = 16 on all projections, SmolLM2-135M-Instruct",
  unit: "tokens/s",
  weights: true,
  measure: "rate",
  devices: true,
  rounds: { fewest: 3, warmup: 1 },
  prepare: ppoTask,
  ours: tenet("ppo-iteration.ts"),
  peers: [peer("trl-rloo", "ppo_iteration_trl.py", { only: "cpu" }), peer("peft-ppo", "ppo_iteration_peft.py")],
};
