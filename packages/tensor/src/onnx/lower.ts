import type { Node } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import type { GraphBuilder, Value } from "./builder.ts";

/** Adds nodes to an ONNX graph, inputs before what uses them, and notes which of its values stands for each of their tensors. */
export function lowerNodes(g: GraphBuilder, nodes: readonly Node[], values: Map<Tensor, Value>): void {
  for (const node of nodes) {
    const lowered = node.op.lower(
      g,
      node.inputs.map((x) => values.get(x)!),
      node.attrs,
      node,
    );
    const made = typeof lowered === "string" ? [lowered] : lowered;
    node.outputs.forEach((y, i) => void values.set(y, made[i]!));
  }
}
