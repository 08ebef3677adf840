import { tenet } from "../contestants/index.ts";
import type { Bench } from "../harness.ts";

/** TENET_BENCH_ITEMS asks for fewer. */
const items = Number(process.env.TENET_BENCH_ITEMS || 1_000_000);

export const store: Bench = {
  name: "store",
  summary: `${items.toLocaleString("en")} items appended by 1000, the process killed half-way, resumed, and read back`,
  unit: "items/s",
  measure: "rate",
  prepare: async () => ({ items }),
  ours: tenet("store.ts"),
  peers: [tenet("store.ts", "jsonl", ["--jsonl"])],
};
