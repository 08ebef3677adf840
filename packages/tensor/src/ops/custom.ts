import { GradientError } from "../errors.ts";
import { op } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { fill } from "./source.ts";

export interface Backward {
  /** Gradients by the outputs; zeros where the loss does not depend on one. */
  readonly dys: readonly Tensor[];
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly saved: readonly Tensor[];
}

export interface WithGradient {
  readonly outputs: readonly Tensor[];
  /** Further tensors the gradient uses. It must reach them through its argument: a checkpointed block makes them anew. */
  readonly saved?: readonly Tensor[];
  /** Gradients by the inputs, in their order; null where zero. */
  gradient(pass: Backward): readonly (Tensor | null)[];
}

interface CustomAttrs {
  readonly outputs: number;
  readonly inputs: number;
  gradient(pass: Backward): readonly (Tensor | null)[];
}

const boundary = op<CustomAttrs, "customGradient">("customGradient", {
  infer: (all, { outputs }) => all.slice(0, outputs),
  lower: (_g, all, { outputs }) => all.slice(0, outputs),
  grad({ dys, x, ys, attrs }) {
    const first = attrs.outputs;
    const last = first + attrs.inputs;
    const dxs = attrs.gradient({
      dys: dys.map((dy, i) => dy ?? fill(ys[i]!.shape, 0, ys[i]!.dtype)),
      inputs: x.slice(first, last),
      outputs: x.slice(0, first),
      saved: x.slice(last),
    });
    if (dxs.length !== attrs.inputs)
      throw new GradientError(`customGradient: the gradient gives ${dxs.length} tensors for ${attrs.inputs} inputs`);
    return [...ys.map(() => null), ...dxs, ...x.slice(last).map(() => null)];
  },
});

export { boundary as customGradientOp };

/**
 * Outputs computed by `build`, whose gradient is what `build` says and not what its ops would give. Everything a
 * gradient is wanted for must be among the inputs.
 */
export function customGradient(
  inputs: readonly Tensor[],
  build: (...inputs: Tensor[]) => WithGradient,
): readonly Tensor[] {
  const { outputs, saved = [], gradient } = build(...inputs);
  const attrs = { outputs: outputs.length, inputs: inputs.length, gradient };
  return boundary.apply([...outputs, ...inputs, ...saved], attrs);
}
