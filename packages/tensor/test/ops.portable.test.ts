/*
 * Some ops have a lowering for the CPU's own kernels and one for every other device. Here all graphs are lowered for
 * another device and run on the CPU, so that the second kind is tested on machines that have no such device.
 */
import { vi } from "vitest";
import { opCases } from "./cases/index.ts";
import { testCases } from "./check.ts";

vi.mock("../src/onnx/builder.ts", async (original) => {
  const module = await original<typeof import("../src/onnx/builder.ts")>();
  class GraphBuilder extends module.GraphBuilder {
    constructor(_device: unknown, ...rest: [never, never?]) {
      super("webgpu", ...rest);
    }
  }
  return { ...module, GraphBuilder };
});

testCases("op, lowered for another device", opCases);
