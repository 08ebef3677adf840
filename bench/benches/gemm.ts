import { peer, tenet } from "../contestants/index.ts";
import type { Bench } from "../harness.ts";

export const gemm: Bench = {
  name: "gemm",
  summary: "eight float32 products of 2048 × 2048 matrices: the runtime alone",
  unit: "s/round",
  measure: "seconds",
  devices: true,
  ours: tenet("gemm.ts"),
  peers: [peer("pytorch", "gemm_torch.py")],
};
