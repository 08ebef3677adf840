import { dimValue, numel } from "./dims.ts";
import { nodesBehind } from "./grad.ts";
import { bytesPerElement } from "./onnx/builder.ts";
import type { Tensor } from "./tensor.ts";

/** Ops whose result is their operand in another shape: the runtime gives it no memory of its own. */
const views: ReadonlySet<string> = new Set(["reshape", "stopGradient", "after"]);

/**
 * The most bytes that results of a graph take at once, in the order it is written in: each from when it is computed until it was last
 * used. What is fed, weights and single numbers are not counted, nor what kernels take for themselves.
 * @param symbols sizes of the symbolic dimensions
 */
export function peakBytes(outputs: readonly Tensor[], symbols: Readonly<Record<string, number>>): number {
  const sizes = new Map(Object.entries(symbols));
  const nodes = nodesBehind(outputs);
  const origins = new Map<Tensor, Tensor>();
  const originOf = (t: Tensor) => origins.get(t) ?? t;
  const lastUse = new Map<Tensor, number>();
  nodes.forEach((node, at) => {
    for (const x of node.inputs) lastUse.set(originOf(x), at);
    for (const y of node.outputs) {
      const [x] = node.inputs;
      if (x && views.has(node.op.name)) origins.set(y, originOf(x));
      else lastUse.set(y, at);
    }
  });
  for (const y of outputs) lastUse.set(originOf(y), nodes.length);
  const ending = new Map<number, Tensor[]>();
  for (const [t, at] of lastUse) ending.set(at, [...(ending.get(at) ?? []), t]);
  const bytesOf = (t: Tensor) => {
    const { name } = t.node.op;
    if (name === "input" || name === "constant" || t.rank === 0) return 0;
    return dimValue(numel(t.shape), sizes) * bytesPerElement[t.dtype];
  };
  let [held, most] = [0, 0];
  nodes.forEach((node, at) => {
    for (const y of node.outputs) if (!origins.has(y)) held += bytesOf(y);
    most = Math.max(most, held);
    for (const t of ending.get(at) ?? []) held -= bytesOf(t);
  });
  return most;
}
