import { type Dim, formatShape, type Shape } from "../dims.ts";
import { GradientError } from "../errors.ts";
import { op, reject } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { cast } from "./elementwise.ts";
import { addMatmul, matmul } from "./matmul.ts";
import { concat, expandDims, reshape } from "./shape.ts";

function requireMatrix(x: Tensor, inner: number): void {
  if (x.dtype !== "float32" || x.rank !== 2 || x.dim(1) !== inner)
    reject(`expected float32 [rows, ${inner}] beside these weights, got ${x}`);
}

function requireShape(what: string, x: Tensor, dtype: Tensor["dtype"], shape: Shape): void {
  if (x.dtype !== dtype || formatShape(x.shape) !== formatShape(shape))
    reject(`expected ${what} ${dtype}${formatShape(shape)}, got ${x}`);
}

function needsNoWeightGradient(needs: readonly boolean[]): void {
  if (needs.slice(1).some(Boolean)) throw new GradientError("quantised weights are frozen: they have no gradient");
}

const eightBits = op<undefined, "int8Matmul">("int8Matmul", {
  infer([x, w, scales]) {
    if (w!.rank !== 2 || w!.shape.some((dim) => typeof dim !== "number" || dim === 0))
      reject(`expected weights of static sizes [in, out], got ${w}`);
    const [inner, columns] = w!.shape as [number, number];
    requireMatrix(x!, inner);
    requireShape("weights", w!, "int8", w!.shape);
    requireShape("scales", scales!, "float32", [columns]);
    return { dtype: "float32", shape: [x!.dim(0), columns] };
  },
  lower(g, [x, w, scales], _attrs, node) {
    // MatMulIntegerToFloat is of ONNX Runtime's CPU; elsewhere memory is saved but not time.
    if (g.device !== "cpu") {
      const wide = g.call("Cast", [w!], { to: g.elementType("float32") });
      return g.call("Mul", [g.call("MatMul", [x!, wide]), scales!]);
    }
    // The step of a row of zeros is 0, and so is what it is multiplied by in the end, whatever was made of 0/0.
    const peaks = g.call("ReduceMax", [g.call("Abs", [x!]), g.int64([1])], { keepdims: 1 });
    const steps = g.call("Mul", [peaks, g.scalar("float32", 1 / 127)]);
    // The kernel is fast for unsigned rows times signed weights: rows are shifted by 128, which it takes back.
    const middle = g.scalar("uint8", 128);
    const [count, inner] = node.inputs[0]!.shape as [Dim, number];
    const zeros = g.expand(middle, "uint8", [count, 1]);
    const rows = g.call("QuantizeLinear", [x!, steps, zeros], { axis: 1, block_size: inner });
    const operands = [rows, w!, g.scalar("float32", 1), scales!, middle];
    // On processors without VNNI that kernel's sums overflow. Of weights in the graph the runtime mends it (byte-products.ts);
    // others are made unsigned here, shifted by 128 too.
    if (!g.isConstant(w!)) {
      const shifted = g.call("Add", [g.call("Cast", [w!], { to: g.elementType("int32") }), g.scalar("int32", 128)]);
      operands[1] = g.call("Cast", [shifted], { to: g.elementType("uint8") });
      operands.push(middle);
    }
    return g.call("Mul", [g.call("com.microsoft.MatMulIntegerToFloat", operands), steps]);
  },
  // As of the product with the weights as they stand for: rounding of rows is passed over ("straight through").
  grad({ dy, x: [, w, scales], needs }) {
    needsNoWeightGradient(needs);
    return [matmul(dy.mul(scales!), w!.cast("float32"), { transB: true }), null, null];
  },
});

export { eightBits as int8MatmulOp };

/**
 * x · W with W[i, j] = w[i, j] · scales[j] in 8 bits, and on the CPU each row of x rounded to 8 bits too: to 1/127 of its
 * largest magnitude. x float32 [rows, in], w int8 [in, out], scales float32 [out] → float32 [rows, out].
 * A row's result does not depend on other rows. Source: LLM.int8() (arXiv 2208.07339), §2.1, "vector-wise".
 * @throws ShapeError
 */
export function int8Matmul(x: Tensor, w: Tensor, scales: Tensor): Tensor {
  return eightBits.one([x, w, scales], undefined);
}

/** Weights of a row of the matrix that share a scale and an offset in `int4Matmul`. */
export const int4Block = 32;

/** The level that stands for a block's offset. */
const middleLevel = 8;

const fourBits = op<undefined, "int4Matmul">("int4Matmul", {
  infer([x, w, scales]) {
    if (w!.rank !== 3 || w!.shape.some((dim) => typeof dim !== "number" || dim === 0) || w!.dim(2) !== int4Block / 2)
      reject(`expected weights of static sizes [out, in / ${int4Block}, ${int4Block / 2}], got ${w}`);
    const [columns, blocks] = w!.shape as [number, number];
    requireMatrix(x!, blocks * int4Block);
    requireShape("weights", w!, "uint8", w!.shape);
    requireShape("scales", scales!, "float32", [columns * blocks]);
    return { dtype: "float32", shape: [x!.dim(0), columns] };
  },
  lower(g, operands, _attrs, node) {
    const [columns, blocks] = node.inputs[1]!.shape as [number, number];
    // Rows in 8 bits, in blocks like the weights.
    const attributes = { bits: 4, block_size: int4Block, accuracy_level: 4 };
    return g.call("com.microsoft.MatMulNBits", operands, { N: columns, K: blocks * int4Block, ...attributes });
  },
  grad({ dy, x: [, w, scales], needs }) {
    needsNoWeightGradient(needs);
    return [matmul(dy, int4Values(w!, scales!)), null, null];
  },
});

export { fourBits as int4MatmulOp };

/**
 * x · Wᵀ with W in 4 bits, blocks of 32 along a row of W having a scale and an offset: W[j, i] = (w − 8) · scale + offset.
 * On the CPU rows of x are rounded to 8 bits in blocks of 32, but for the offsets, which meet the blocks' sums as they are.
 * x float32 [rows, in], w uint8 [out, in / 32, 16] (the lower half of a byte first), scales float32 [out · in / 32],
 * offsets float32 [out, in / 32] → float32 [rows, out].
 * Source: ONNX Runtime's MatMulNBits. @throws ShapeError
 */
export function int4Matmul(x: Tensor, w: Tensor, scales: Tensor, offsets: Tensor): Tensor {
  const y = fourBits.one([x, w, scales], undefined);
  const sums = reshape(x, [x.dim(0), w.dim(1), int4Block]).sum(-1);
  return addMatmul(y, sums, offsets, { transB: true });
}

/** The matrix that 4-bit weights stand for, offsets left out: [out, in]. */
function int4Values(w: Tensor, scales: Tensor): Tensor {
  const [columns, blocks] = w.shape as [number, number, number];
  const bytes = cast(w, "int32");
  const upper = bytes.div(16);
  const levels = concat([expandDims(bytes.sub(upper.mul(16)), 3), expandDims(upper, 3)], 3).cast("float32");
  const values = reshape(levels.sub(middleLevel), [columns * blocks, int4Block]).mul(expandDims(scales, 1));
  return reshape(values, [columns, blocks * int4Block]);
}
