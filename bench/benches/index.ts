import type { Bench } from "../harness.ts";
import { checkpointing } from "./checkpointing.ts";
import { decode, decodeNucleus, decodeOne } from "./decode.ts";
import { gemm } from "./gemm.ts";
import { growth } from "./growth.ts";
import { mainJob } from "./main-job.ts";
import { ppoIteration } from "./ppo-iteration.ts";
import { revise } from "./revise.ts";
import { score } from "./score.ts";
import { sftEpoch } from "./sft-epoch.ts";
import { store } from "./store.ts";
import { trainStep } from "./train-step.ts";

/** Every bench, in the order in which they are listed. */
export const benches: readonly Bench[] = [
  trainStep,
  checkpointing,
  decode,
  decodeNucleus,
  decodeOne,
  revise,
  score,
  sftEpoch,
  ppoIteration,
  mainJob,
  store,
  growth,
  gemm,
];
