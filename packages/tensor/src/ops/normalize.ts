import { formatShape, sameShape } from "../dims.ts";
import { float } from "../onnx/builder.ts";
import { fromFront, normalizeAxis, op, reject, requireFloat, requireSameType } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { sumTo } from "./reduce.ts";
import { sizeOf } from "./source.ts";

const softmaxEntry = op<{ axis: number }, "softmax">("softmax", {
  infer([x], { axis }) {
    requireFloat(x!);
    normalizeAxis(axis, x!.rank);
    return x!;
  },
  lower: (g, x, { axis }) => g.call("Softmax", x, { axis }),
  // dx = y·(dy − Σ dy·y)
  grad: ({ dy, y, attrs: { axis } }) => [y.mul(dy.sub(dy.mul(y).sum(axis, { keepDims: true })))],
});

export { softmaxEntry as softmaxOp };

/** exp(x) / Σ exp(x) along an axis. */
export function softmax(x: Tensor, axis = -1): Tensor {
  return softmaxEntry.one([x], { axis: fromFront(axis, x.rank) });
}

const logSoftmaxEntry = op<{ axis: number }, "logSoftmax">("logSoftmax", {
  infer: softmaxEntry.infer,
  lower: (g, x, { axis }) => g.call("LogSoftmax", x, { axis }),
  // dx = dy − exp(y)·Σ dy
  grad: ({ dy, y, attrs: { axis } }) => [dy.sub(y.exp().mul(dy.sum(axis, { keepDims: true })))],
});

export { logSoftmaxEntry as logSoftmaxOp };

/** x − log Σ exp(x) along an axis. */
export function logSoftmax(x: Tensor, axis = -1): Tensor {
  return logSoftmaxEntry.one([x], { axis: fromFront(axis, x.rank) });
}

interface NormAttrs {
  readonly epsilon: number;
}

function requireGain(x: Tensor, ...vectors: readonly Tensor[]): void {
  requireFloat(x);
  requireSameType(x, ...vectors);
  if (x.rank < 1) reject("expected a rank of at least 1");
  if (x.dim(-1) === 0) reject("the last axis is empty; it has no norm");
  for (const v of vectors)
    if (!sameShape(v.shape, [x.dim(-1)]))
      reject(`expected a vector of the last axis' size ${x.dim(-1)}, got ${formatShape(v.shape)}`);
}

const rmsNormEntry = op<NormAttrs, "rmsNorm">("rmsNorm", {
  infer([x, gain]) {
    requireGain(x!, gain!);
    return [x!, { dtype: x!.dtype, shape: [...x!.shape.slice(0, -1), 1] }];
  },
  lower(g, [x, gain], { epsilon }, node) {
    const { dtype } = node.inputs[0]!;
    // These kernels hand out 1/rms beside the result.
    if ((g.device === "cpu" || g.device === "cuda") && dtype === "float32")
      return g.calls("SimplifiedLayerNormalization", [x!, gain!], 2, { axis: -1, epsilon: float(epsilon) });
    const square = g.call("ReduceMean", [g.call("Mul", [x!, x!]), g.int64([-1])], { keepdims: 1 });
    const inverse = g.call("Reciprocal", [g.call("Sqrt", [g.call("Add", [square, g.scalar(dtype, epsilon)])])]);
    return [g.call("Mul", [g.call("Mul", [x!, inverse]), gain!]), inverse];
  },
  // With ρ = 1/rms, t = dy·gain and ρ's own gradient dρ (of a second derivative, else 0):
  // dx = ρ·t − x·ρ³·(mean(t·x) + dρ/d); dgain = Σ dy·x·ρ
  grad({ dy, dys: [, dInverse], x: [x, gain], ys: [, inverse], needs }) {
    const t = dy.mul(gain!);
    const along = t.mul(x!).mean(-1, { keepDims: true });
    const both = dInverse ? along.add(perElement(dInverse, x!)) : along;
    const pull = both.mul(inverse!.square()).mul(inverse!);
    return [
      needs[0] ? t.mul(inverse!).sub(x!.mul(pull)) : null,
      needs[1] ? sumTo(dy.mul(x!.mul(inverse!)), gain!.shape) : null,
    ];
  },
});

/** A gradient of a mean over the last axis of x, as each element's share. */
function perElement(dMean: Tensor, x: Tensor): Tensor {
  const size = x.dim(-1);
  return typeof size === "number" ? dMean.mul(1 / size) : dMean.div(sizeOf(size, x.dtype));
}

export { rmsNormEntry as rmsNormOp };

/** Root mean square norm over the last axis: x / √(mean(x²) + ε) · gain. x [.., d], gain [d]. */
export function rmsNorm(x: Tensor, gain: Tensor, epsilon = 1e-6): Tensor {
  return rmsNormEntry.one([x, gain], { epsilon });
}

const layerNormEntry = op<NormAttrs, "layerNorm">("layerNorm", {
  infer([x, gain, bias]) {
    requireGain(x!, gain!, bias!);
    const moments = { dtype: x!.dtype, shape: [...x!.shape.slice(0, -1), 1] };
    return [x!, moments, moments];
  },
  lower(g, [x, gain, bias], { epsilon }, node) {
    const { dtype } = node.inputs[0]!;
    if (g.device === "cpu" && dtype === "float32")
      return g.calls("LayerNormalization", [x!, gain!, bias!], 3, { axis: -1, epsilon: float(epsilon) });
    const mean = (value: string) => g.call("ReduceMean", [value, g.int64([-1])], { keepdims: 1 });
    const center = mean(x!);
    const centered = g.call("Sub", [x!, center]);
    const variance = g.call("Add", [mean(g.call("Mul", [centered, centered])), g.scalar(dtype, epsilon)]);
    const inverse = g.call("Reciprocal", [g.call("Sqrt", [variance])]);
    const scaled = g.call("Mul", [g.call("Mul", [centered, inverse]), gain!]);
    return [g.call("Add", [scaled, bias!]), center, inverse];
  },
  // With x̂ = (x − μ)·ρ, t = dy·gain and the moments' own gradients dμ, dρ (of a second derivative, else 0):
  // dx = ρ·(t − mean(t) − x̂·(mean(t·x̂) + ρ·dρ/d)) + dμ/d
  grad({ dy, dys: [, dCenter, dInverse], x: [x, gain, bias], ys: [, center, inverse], needs }) {
    const normal = x!.sub(center!).mul(inverse!);
    const t = dy.mul(gain!);
    const mean = (value: Tensor) => value.mean(-1, { keepDims: true });
    const dx = () => {
      const along = mean(t.mul(normal));
      const both = dInverse ? along.add(perElement(dInverse, x!).mul(inverse!)) : along;
      const pulled = t.sub(mean(t)).sub(normal.mul(both)).mul(inverse!);
      return dCenter ? pulled.add(perElement(dCenter, x!)) : pulled;
    };
    return [
      needs[0] ? dx() : null,
      needs[1] ? sumTo(dy.mul(normal), gain!.shape) : null,
      needs[2] ? sumTo(dy, bias!.shape) : null,
    ];
  },
});

export { layerNormEntry as layerNormOp };

/** Layer norm over the last axis: (x − mean) / √(var + ε) · gain + bias. x [.., d], gain and bias [d]. */
export function layerNorm(x: Tensor, gain: Tensor, bias: Tensor, epsilon = 1e-5): Tensor {
  return layerNormEntry.one([x, gain, bias], { epsilon });
}
