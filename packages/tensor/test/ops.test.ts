/*
 * Every op against float64: ONNX Runtime's values and gradients against a reference executor, gradients against central
 * differences, over generated shapes and attributes. A long run: OP_CASES=200 OP_SEED=7 npx vitest run packages/tensor/test/ops.test.ts
 */
import { describe, expect, it } from "vitest";
import * as custom from "../src/ops/custom.ts";
import * as elementwise from "../src/ops/elementwise.ts";
import * as gather from "../src/ops/gather.ts";
import { ops } from "../src/ops/index.ts";
import * as loop from "../src/ops/loop.ts";
import * as linear from "../src/ops/matmul.ts";
import * as normalize from "../src/ops/normalize.ts";
import * as quantized from "../src/ops/quantized.ts";
import * as reduce from "../src/ops/reduce.ts";
import * as rotary from "../src/ops/rotary.ts";
import * as layout from "../src/ops/shape.ts";
import * as sort from "../src/ops/sort.ts";
import * as source from "../src/ops/source.ts";
import { compositeCases, opCases } from "./cases/index.ts";
import { testCases } from "./check.ts";

testCases("op", opCases);
testCases("made of ops", compositeCases);

describe("the table of ops", () => {
  const modules = {
    custom,
    elementwise,
    gather,
    linear,
    loop,
    normalize,
    quantized,
    reduce,
    rotary,
    layout,
    sort,
    source,
  };
  const isOp = (value: unknown): value is { name: string } =>
    typeof value === "object" && value !== null && ["name", "infer", "lower", "grad", "apply"].every((key) => key in value); // biome-ignore format: one condition

  it("holds every op the modules export, under its own name", () => {
    const exported = Object.values(modules)
      .flatMap((module) => Object.values<unknown>(module))
      .map((value) => (typeof value === "function" && "op" in value ? value.op : value))
      .filter(isOp);
    expect(exported.length).toBeGreaterThanOrEqual(Object.keys(ops).length);
    for (const one of exported) expect(ops[one.name as keyof typeof ops], one.name).toBe(one);
    for (const [key, one] of Object.entries(ops)) expect(one.name).toBe(key);
  });
});
