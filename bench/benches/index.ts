import type { Bench } from "../harness.ts";
import { gemm } from "./gemm.ts";
import { trainStep } from "./train-step.ts";

/** Every bench, in the order in which they are listed. */
export const benches: readonly Bench[] = [trainStep, gemm];
