import type { OpName } from "../../src/ops/index.ts";
import type { OpCases } from "./case.ts";
import { elementwiseCases, elementwiseComposites } from "./elementwise.ts";
import { layoutCases, layoutComposites } from "./layout.ts";
import { linearCases, linearComposites } from "./linear.ts";
import { reduceCases, reduceComposites } from "./reduce.ts";

/** Cases an op: the type makes a missing one a compile error. */
export const opCases: Record<OpName, OpCases> = { ...elementwiseCases, ...reduceCases, ...linearCases, ...layoutCases };

/** Cases of functions that are made of ops. */
export const compositeCases: Record<string, OpCases> = {
  ...elementwiseComposites,
  ...reduceComposites,
  ...linearComposites,
  ...layoutComposites,
};
