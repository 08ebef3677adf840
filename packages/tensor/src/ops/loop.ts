import type { Dim } from "../dims.ts";
import { formatShape, sameShape } from "../dims.ts";
import { GradientError, TensorError } from "../errors.ts";
import { nodesBehind } from "../grad.ts";
import { type Value, valueInfo } from "../onnx/builder.ts";
import { lowerNodes } from "../onnx/lower.ts";
import { type Node, op, reject } from "../op.ts";
import type { Tensor, TensorType } from "../tensor.ts";

const parameter = op<TensorType, "loopParameter">("loopParameter", {
  infer: (_inputs, { dtype, shape }) => ({ dtype, shape }),
  lower: () => {
    throw new TensorError("a loop's step and states have values within its body alone");
  },
  grad: () => [],
});

export { parameter as loopParameterOp };

export interface LoopAttrs {
  readonly steps: Dim;
  /** What the body is written over: the step's number, and the states before the step. */
  readonly parameters: readonly Tensor[];
  /** Whether another step follows, and the states behind the step. */
  readonly results: readonly Tensor[];
}

const repetition = op<LoopAttrs, "loop">("loop", {
  infer(inputs, { parameters, results: [proceed, ...states] }) {
    const types = parameters.slice(1);
    if (proceed!.dtype !== "bool" || proceed!.rank !== 0)
      reject(`expected a bool scalar to say whether to go on, got ${proceed}`);
    if (states.length !== types.length) reject(`expected ${types.length} states behind a step, got ${states.length}`);
    types.forEach((type, i) => {
      for (const state of [inputs[i]!, states[i]!])
        if (state.dtype !== type.dtype || !sameShape(state.shape, type.shape))
          reject(`state ${i} is ${type.dtype}${formatShape(type.shape)} and must stay so, got ${state}`);
    });
    return types.map(({ dtype, shape }) => ({ dtype, shape }));
  },
  lower(g, inputs, { steps, parameters, results }, node) {
    const [step, ...before] = parameters;
    const limit = g.call("Squeeze", [g.dims([steps])]);
    const [count, on] = [g.name(), g.name()];
    const names = before.map(() => g.name());
    const scalarInfo = (name: Value, type: number) => ({ name, type: { tensor_type: { elem_type: type, shape: { dim: [] } } } }); // biome-ignore format: one value
    const infos = [
      scalarInfo(count, g.int64Type),
      valueInfo(on, { dtype: "bool", shape: [] }),
      ...before.map((state, i) => valueInfo(names[i]!, state)),
    ];
    const { body, captured } = bodyOf(parameters, results);
    const values = new Map(captured.map((x, i) => [x, inputs[before.length + i]!]));
    const graph = g.subgraph(`loop ${node.id}`, infos, () => {
      values.set(step!, g.call("Cast", [count], { to: g.elementType("int32") }));
      before.forEach((state, i) => void values.set(state, names[i]!));
      lowerNodes(g, body, values);
      const taken = new Set<Value>();
      return results.map((y) => valueInfo(g.output(values.get(y)!, taken), y));
    });
    const initial = inputs.slice(0, before.length);
    return g.calls("Loop", [limit, g.scalar("bool", 1), ...initial], before.length, { body: { graph } });
  },
  grad: () => {
    throw new GradientError("a loop has no gradient: its steps are not kept");
  },
});

export { repetition as loopOp };

/** The nodes that belong to a body, since they depend on its parameters, and the tensors of outside that they use. */
export function bodyOf(
  parameters: readonly Tensor[],
  results: readonly Tensor[],
): { body: Node[]; captured: Tensor[] } {
  const inside = new Set<Tensor>(parameters);
  const captured = new Set<Tensor>();
  const body: Node[] = [];
  for (const node of nodesBehind(results)) {
    if (!node.inputs.some((x) => inside.has(x))) continue;
    body.push(node);
    for (const y of node.outputs) inside.add(y);
  }
  for (const x of [...body.flatMap(({ inputs }) => inputs), ...results]) if (!inside.has(x)) captured.add(x);
  return { body, captured: [...captured] };
}

export interface LoopStep {
  /** Whether another step follows, bool []. */
  readonly proceed: Tensor;
  /** In the order and of the types that they had before. */
  readonly states: readonly Tensor[];
}

/**
 * Runs a body again and again in one call of a graph, at most `steps` times, and gives the states behind the last one. The body is given the
 * number of the step (int32 []) and the states before it. What it uses of outside, and all that is the same at each step, is computed
 * once. Without a gradient.
 * @throws ShapeError when a state changes its type or shape
 */
export function loop(
  steps: Dim,
  initial: readonly Tensor[],
  body: (step: Tensor, states: readonly Tensor[]) => LoopStep,
): readonly Tensor[] {
  const step = parameter.one([], { dtype: "int32", shape: [] });
  const before = initial.map(({ dtype, shape }) => parameter.one([], { dtype, shape }));
  const { proceed, states } = body(step, before);
  const [parameters, results] = [
    [step, ...before],
    [proceed, ...states],
  ];
  return repetition.apply([...initial, ...bodyOf(parameters, results).captured], { steps, parameters, results });
}
