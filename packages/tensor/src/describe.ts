import { dimValue, formatShape, numel } from "./dims.ts";
import { nodesBehind } from "./grad.ts";
import type { AttrsOf } from "./ops/index.ts";
import { Tensor } from "./tensor.ts";

type Named = Readonly<Record<string, Tensor | readonly Tensor[] | Readonly<Record<string, Tensor>>>>;

/** The graph behind some tensors as text: a line a node, outputs last. */
export function describe(outputs: Named): string {
  const named = Object.entries(outputs).flatMap(([key, group]) =>
    group instanceof Tensor
      ? [[key, group] as const]
      : Object.entries(group as Record<string, Tensor>).map(([name, t]) => [`${key}.${name}`, t] as const),
  );
  const names = new Map<Tensor, string>();
  const lines = nodesBehind(named.map(([, t]) => t)).map((node, n) => {
    const results = node.outputs.map((y, i) => {
      names.set(y, node.outputs.length === 1 ? `%${n}` : `%${n}.${i}`);
      return `${names.get(y)}: ${y}`;
    });
    const operands = [...node.inputs.map((x) => names.get(x)!), ...formatAttrs(node.attrs)];
    const block = node.block ? `  # block ${node.block.id}` : "";
    return `${results.join(", ")} = ${node.op.name}(${operands.join(", ")})${block}`;
  });
  return [...lines, ...named.map(([key, t]) => `${key} = ${names.get(t)}`)].join("\n");
}

function formatAttrs(attrs: unknown): string[] {
  if (attrs === undefined) return [];
  return Object.entries(attrs as Record<string, unknown>).flatMap(([key, value]) => {
    if (value === undefined || typeof value === "function" || key === "source") return [];
    if (ArrayBuffer.isView(value)) return [`${key}=<${(value as Float32Array).length} values>`];
    return [`${key}=${Array.isArray(value) ? formatShape(value) : value}`];
  });
}

/** Floating-point operations of the matrix products behind some tensors, a multiply–add counting as two. */
export function matmulFlops(outputs: readonly Tensor[], symbols: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const node of nodesBehind(outputs)) {
    if (node.op.name !== "matmul" && node.op.name !== "addMatmul") continue;
    const a = node.inputs[node.op.name === "matmul" ? 0 : 1]!;
    const { transA } = node.attrs as AttrsOf<"matmul">;
    sum += 2 * dimValue(numel(node.outputs[0]!.shape), symbols) * dimValue(a.dim(transA ? -2 : -1), symbols);
  }
  return sum;
}
