import { formatShape, sameShape } from "../dims.ts";
import { GradientError } from "../errors.ts";
import { type Op, op, reject, requireFloat, requireSameType } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { broadcastTo } from "./shape.ts";

const rotation: Op<{ inverse: boolean }, "rotary"> = op<{ inverse: boolean }, "rotary">("rotary", {
  infer([x, cos, sin]) {
    requireFloat(x!);
    requireSameType(x!, cos!, sin!);
    const size = x!.shape[3];
    if (x!.rank !== 4 || typeof size !== "number" || size % 2 !== 0)
      reject("expected [batch, heads, time, size] with an even size");
    const angles = [x!.shape[0]!, x!.shape[2]!, (size as number) / 2];
    for (const table of [cos!, sin!])
      if (!sameShape(table.shape, angles))
        reject(`expected cosines and sines of shape ${formatShape(angles)}, got ${formatShape(table.shape)}`);
    return x!;
  },
  lower(g, [x, cos, sin], { inverse }, node) {
    const { dtype, shape } = node.inputs[0]!;
    const sines = inverse ? g.call("Neg", [sin!]) : sin!;
    if ((g.device === "cpu" || g.device === "cuda") && dtype === "float32")
      return g.call("RotaryEmbedding", [x!, cos!, sines], { interleaved: 0 });
    const half = (shape[3] as number) / 2;
    const part = (from: number, to: number) => g.call("Slice", [x!, g.int64([from]), g.int64([to]), g.int64([3])]);
    const heads = (table: string) => g.call("Unsqueeze", [table, g.int64([1])]);
    const [a, b, c, s] = [part(0, half), part(half, 2 * half), heads(cos!), heads(sines)];
    const left = g.call("Sub", [g.call("Mul", [a, c]), g.call("Mul", [b, s])]);
    const right = g.call("Add", [g.call("Mul", [b, c]), g.call("Mul", [a, s])]);
    return g.call("Concat", [left, right], { axis: 3 });
  },
  // A rotation's transpose is the rotation back.
  grad({ dy, x: [, cos, sin], attrs, needs }) {
    if (needs[1] || needs[2]) throw new GradientError("rotary has no gradient by its angles: they are data");
    return [rotation.one([dy, cos!, sin!], { inverse: !attrs.inverse }), null, null];
  },
});

export { rotation as rotaryOp };

/**
 * Rotary position embedding, half-split as in Llama checkpoints of Hugging Face:
 * (a, b) → (a·cos − b·sin, b·cos + a·sin) for the two halves of the last axis.
 * x [batch, heads, time, size]; cos, sin [batch or 1, time, size / 2].
 * Source: RoFormer (arXiv 2104.09864), eq. 34. @throws ShapeError
 */
export function rotary(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
  const angles = (table: Tensor) =>
    table.rank === 3 && table.shape[0] === 1 && x.rank === 4
      ? broadcastTo(table, [x.shape[0]!, ...table.shape.slice(1)])
      : table;
  return rotation.one([x, angles(cos), angles(sin)], { inverse: false });
}
