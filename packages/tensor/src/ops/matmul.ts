import {
  broadcastShapes,
  type Dim,
  dimDiv,
  dimMul,
  dimTerms,
  formatShape,
  numel,
  type Shape,
  sameShape,
} from "../dims.ts";
import { float, type GraphBuilder, type Value } from "../onnx/builder.ts";
import { type Node, op, reject, requireFloat, requireSameType } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { sumTo } from "./reduce.ts";
import { reshape, transpose } from "./shape.ts";

export interface MatmulOptions {
  /** Exchange the last two axes of the left operand. */
  readonly transA?: boolean;
  /** Exchange the last two axes of the right operand. */
  readonly transB?: boolean;
  /** Scale of the product; 1 when not given. */
  readonly alpha?: number;
}

type MatmulAttrs = Required<MatmulOptions>;

/** Rows and columns of a matrix operand as it enters the product. */
function matrixDims(x: Tensor, transposed: boolean): [Dim, Dim] {
  return transposed ? [x.dim(-1), x.dim(-2)] : [x.dim(-2), x.dim(-1)];
}

const product = op<MatmulAttrs, "matmul">("matmul", {
  infer([a, b], { transA, transB }) {
    requireFloat(a!, b!);
    requireSameType(a!, b!);
    if (a!.rank < 2 || b!.rank < 2) reject("expected operands of rank ≥ 2");
    const [rows, inner] = matrixDims(a!, transA);
    const [innerB, columns] = matrixDims(b!, transB);
    const t = (transposed: boolean) => (transposed ? "ᵀ" : "");
    if (inner !== innerB)
      reject(
        `inner dimensions differ: ${formatShape(a!.shape)}${t(transA)} · ${formatShape(b!.shape)}${t(transB)} contracts ${inner} with ${innerB}`,
      );
    const batch =
      broadcastShapes(a!.shape.slice(0, -2), b!.shape.slice(0, -2)) ??
      reject(`batch dimensions of ${formatShape(a!.shape)} and ${formatShape(b!.shape)} do not broadcast together`);
    return { dtype: a!.dtype, shape: [...batch, rows, columns] };
  },
  lower(g, operands, { transA }, node) {
    const { dtype, shape } = node.outputs[0]!;
    const inner = node.inputs[0]!.dim(transA ? -2 : -1);
    const zero = g.scalar(dtype, 0);
    if (inner === 0 || shape.includes(0)) return g.expand(zero, dtype, shape);
    if (leavesRubbish(node, inner)) {
      const some = g.call("Greater", [g.dims([inner]), g.int64([0])]);
      return g.call("Where", [some, multiply(g, operands, node), zero]);
    }
    return multiply(g, operands, node);
  },
  // Y = αAB: dA = α·dY·Bᵀ, dB = α·Aᵀ·dY, each stored the way its operand is.
  grad({ dy, x: [a, b], attrs: { transA, transB, alpha }, needs }) {
    const da = () =>
      transA ? matmul(b!, dy, { transA: transB, transB: true, alpha }) : matmul(dy, b!, { transB: !transB, alpha });
    const db = () => {
      // A matrix shared by a batch sums over the batch: one product over flattened rows does both.
      const [left, right] = b!.rank === 2 && !transA ? [flattenRows(a!), flattenRows(dy)] : [a!, dy];
      return transB
        ? matmul(right, left, { transA: true, transB: transA, alpha })
        : matmul(left, right, { transA: !transA, alpha });
    };
    return [needs[0] ? sumTo(da(), a!.shape) : null, needs[1] ? sumTo(db(), b!.shape) : null];
  },
});

export { product as matmulOp };

function multiply(g: GraphBuilder, operands: readonly Value[], node: Node<MatmulAttrs>): Value {
  const { transA, transB, alpha } = node.attrs;
  const { dtype } = node.outputs[0]!;
  const a = spread(g, operands, node.inputs, 0, false);
  const b = spread(g, operands, node.inputs, 1, !transA);
  if (!transA && !transB && alpha === 1) return g.call("MatMul", [a.value, b.value]);
  // FusedMatMul takes scale and transposes into the kernel; it exists for float32 on the CPU and CUDA only.
  if ((g.device === "cpu" || g.device === "cuda") && dtype === "float32")
    return g.call("com.microsoft.FusedMatMul", [a.value, b.value], {
      transA: transA ? 1 : 0,
      transB: transB ? 1 : 0,
      alpha: float(alpha),
    });
  const swapped = ({ value, rank }: Operand, transposed: boolean) =>
    transposed ? g.call("Transpose", [value], { perm: swapLast(rank) }) : value;
  const result = g.call("MatMul", [swapped(a, transA), swapped(b, transB)]);
  return alpha === 1 ? result : g.call("Mul", [result, g.scalar(dtype, alpha)]);
}

/**
 * Whether a contraction over nothing, which is 0, may come out as rubbish: where an operand is transposed ONNX Runtime
 * then clears only the first matrix of a batch. A static extent is known not to be empty, and often the result is empty
 * with a symbolic one (attention within one sequence); what is left are gradients by what was cached and the like.
 */
function leavesRubbish({ inputs: [, b], outputs: [y], attrs }: Node<MatmulAttrs>, inner: Dim): boolean {
  const { transA, transB } = attrs;
  const oneMatrix = b!.rank === 2 && !transA;
  if (typeof inner === "number" || !(transA || transB) || oneMatrix || y!.shape.slice(0, -2).every((dim) => dim === 1))
    return false;
  // A sum of sizes is 0 when each of them is.
  const terms = dimTerms(inner);
  const emptiesResult = terms.some(([, names]) => dimDiv(numel(y!.shape), names.reduce<Dim>(dimMul, 1)) !== undefined);
  return !(emptiesResult && terms.every(([k]) => k > 0));
}

interface Operand {
  readonly value: Value;
  readonly rank: number;
}

/**
 * An operand as the product takes it. A symbolic batch may turn out empty, and ONNX Runtime repeats nothing zero times
 * but one matrix to the right of a plain batch: a batch of one is taken off such a matrix, all else is repeated beforehand.
 */
function spread(
  g: GraphBuilder,
  operands: readonly Value[],
  inputs: readonly Tensor[],
  which: 0 | 1,
  mayBeLone: boolean,
): Operand {
  const [value, own, other] = [operands[which]!, inputs[which]!.shape, inputs[1 - which]!.shape];
  const batch = (shape: Shape) => shape.slice(0, -2);
  const matrix = own.slice(-2);
  if (mayBeLone && own.length <= other.length && batch(own).every((dim) => dim === 1))
    return {
      value:
        own.length === 2 ? value : g.call("Reshape", [value, g.dims(matrix, { oneUnknown: true })], { allowzero: 1 }),
      rank: 2,
    };
  const both = broadcastShapes(batch(own), batch(other))!;
  const repeated = both.some((dim, i) => typeof dim === "string" && dim !== own[i - both.length + own.length - 2]);
  if (!repeated) return { value, rank: own.length };
  return { value: g.expand(value, inputs[which]!.dtype, [...both, ...matrix]), rank: both.length + 2 };
}

function swapLast(rank: number): number[] {
  return Array.from({ length: rank }, (_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i));
}

/** [..., columns] → [rows, columns]. */
export function flattenRows(x: Tensor): Tensor {
  return x.rank === 2 ? x : reshape(x, [numel(x.shape.slice(0, -1)), x.dim(-1)]);
}

/**
 * alpha · A · B over the last two axes; leading axes are a batch and broadcast.
 * A [..., m, k] · B [..., k, n] → [..., m, n], A or B stored transposed on request.
 * @throws ShapeError
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transA = false, transB = false, alpha = 1 } = options;
  return product.one([a, b], { transA, transB, alpha });
}

const accumulate = op<MatmulAttrs, "addMatmul">("addMatmul", {
  infer([c, a, b], { transA, transB }) {
    requireFloat(c!, a!, b!);
    requireSameType(c!, a!, b!);
    if (a!.rank !== 2 || b!.rank !== 2) reject("expected matrices (rank 2)");
    const [rows, inner] = matrixDims(a!, transA);
    const [innerB, columns] = matrixDims(b!, transB);
    if (inner !== innerB) reject(`inner dimensions differ: ${inner} and ${innerB}`);
    const shape: Shape = [rows, columns];
    if (!sameShape(broadcastShapes(c!.shape, shape) ?? [], shape))
      reject(`the summand ${c} does not broadcast to the product's shape ${formatShape(shape)}`);
    return { dtype: a!.dtype, shape };
  },
  lower: (g, [c, a, b], { transA, transB, alpha }) =>
    g.call("Gemm", [a!, b!, c!], { transA: transA ? 1 : 0, transB: transB ? 1 : 0, alpha: float(alpha) }),
  grad({ dy, x: [c, a, b], attrs, needs }) {
    const [da, db] = product.grad({ dy, dys: [dy], x: [a!, b!], y: dy, ys: [dy], attrs, needs: needs.slice(1) });
    return [needs[0] ? sumTo(dy, c!.shape) : null, da!, db!];
  },
});

export { accumulate as addMatmulOp };

/**
 * C + alpha · A · B for matrices, accumulated inside the product's kernel.
 * C broadcasts to [m, n]; A [m, k], B [k, n], stored transposed on request.
 * @throws ShapeError
 */
export function addMatmul(c: Tensor, a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transA = false, transB = false, alpha = 1 } = options;
  return accumulate.one([c, a, b], { transA, transB, alpha });
}

/** Matrix transpose over the last two axes. */
export function transposeMatrix(x: Tensor): Tensor {
  return transpose(x, swapLast(x.rank));
}
