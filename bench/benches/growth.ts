import { tenet } from "../contestants/index.ts";
import type { Bench } from "../harness.ts";

/** TENET_BENCH_ITEMS asks for other numbers. */
const prompts = Number(process.env.TENET_BENCH_ITEMS || 256);
const at = (times: number, name?: string) => tenet("growth.ts", name, [`--times=${times}`]);

/** A ratio of 1: eight times the prompts take eight times as long. */
export const growth: Bench = {
  name: "growth",
  summary: `the supervised half on a tiny model: ${8 * prompts} prompts against ${prompts}, ${2 * prompts} and ${4 * prompts}`,
  unit: "prompts/s",
  measure: "rate",
  sizes: true,
  prepare: async () => ({ prompts }),
  ours: at(8),
  peers: [at(1, "1 ×"), at(2, "2 ×"), at(4, "4 ×")],
};
