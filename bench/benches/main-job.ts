import { peer, tenet } from "../contestants/index.ts";
import type { Bench } from "../harness.ts";
import { mainJobTask } from "../main-job-task.ts";

/** TENET_BENCH_SHARE asks for a part of the prompts, as 0.25. */
const share = Number(process.env.TENET_BENCH_SHARE || 1);

export const mainJob: Bench = {
  name: "main-job",
  summary: `bench/main-job/recipe.yaml${share === 1 ? ", whole" : `, ${share} of its prompts`}: both halves and the scorecard`,
  unit: "s",
  weights: true,
  measure: "seconds",
  rounds: { fewest: 1, warmup: 0 },
  prepare: () => mainJobTask(share),
  ours: tenet("main-job.ts"),
  peers: [peer("trl", "main_job_trl.py")],
};
