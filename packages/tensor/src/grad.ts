import type { Block } from "./checkpoint.ts";
import { sameShape } from "./dims.ts";
import { callerLine, GradientError } from "./errors.ts";
import type { Node } from "./op.ts";
import { isFloat } from "./op.ts";
import { after } from "./ops/shape.ts";
import { fill, scalar } from "./ops/source.ts";
import type { Tensor } from "./tensor.ts";

/**
 * Gradients of a scalar by tensors it was computed from (reverse mode), as tensors of the same shapes. A tensor the
 * scalar does not depend on has gradient zero.
 * @throws GradientError when `y` is no float scalar or an op on the way has no gradient
 */
export function grad(y: Tensor, wrt: readonly Tensor[]): Tensor[];
export function grad<K extends string>(y: Tensor, wrt: Readonly<Record<K, Tensor>>): Record<K, Tensor>;
export function grad(y: Tensor, wrt: readonly Tensor[] | Readonly<Record<string, Tensor>>) {
  if (y.rank !== 0 || !isFloat(y))
    throw new GradientError(`grad: expected a float scalar, got ${y}; reduce it or use vjp()\n  at ${callerLine()}`);
  const targets = Object.values(wrt);
  const gradients = vjp([y], [scalar(1, y.dtype)], targets);
  if (Array.isArray(wrt)) return gradients;
  return Object.fromEntries(Object.keys(wrt).map((key, i) => [key, gradients[i]!]));
}

/**
 * Vector–Jacobian product: Σᵢ cotangentsᵢ · ∂outputsᵢ/∂wrt, for outputs of any shape.
 * @throws GradientError when a cotangent does not have its output's shape or an op on the way has no gradient
 */
export function vjp(outputs: readonly Tensor[], cotangents: readonly Tensor[], wrt: readonly Tensor[]): Tensor[] {
  outputs.forEach((y, i) => {
    const dy = cotangents[i];
    if (!isFloat(y))
      throw new GradientError(`vjp: output ${i} is ${y}; only floats have gradients\n  at ${callerLine()}`);
    if (!dy || dy.dtype !== y.dtype || !sameShape(dy.shape, y.shape))
      throw new GradientError(
        `vjp: output ${i} is ${y}, its cotangent ${dy ?? "missing"}; expected one of the same type and shape\n  at ${callerLine()}`,
      );
  });
  for (const x of wrt)
    if (!isFloat(x))
      throw new GradientError(`cannot differentiate by ${x}; only floats have gradients\n  at ${callerLine()}`);

  const targets = new Set(wrt);
  const nodes = nodesBehind(outputs);
  const dependent = dependents(nodes, targets);
  const collected = new Map<Tensor, Tensor>();
  const accumulate = (x: Tensor, dx: Tensor) => {
    const before = collected.get(x);
    collected.set(x, before ? before.add(dx) : dx);
  };
  for (const [i, y] of outputs.entries()) accumulate(y, cotangents[i]!);

  const recomputations = new Map<Block, (t: Tensor) => Tensor>();
  // Gradients by targets lead nowhere, so a scheduler may leave them, and all they hold on to, to the very end. Each
  // is tied in front of the next step of the backward pass.
  let loose: Tensor[] = [];
  for (const node of nodes.reverse()) {
    if (!node.inputs.some((x) => dependent.has(x))) continue;
    let dys = node.outputs.map((y) => collected.get(y));
    const first = dys.findIndex((dy) => dy !== undefined);
    if (first < 0) continue;
    if (loose.length > 0) {
      dys = dys.with(first, after(dys[first]!, ...loose));
      loose = [];
    }
    const seen = node.block ? recompute(recomputations, node.block, dys[first]!) : (t: Tensor) => t;
    const ys = node.outputs.map(seen);
    const dxs = node.op.grad({
      dy: dys[0] ?? fill(node.outputs[0]!.shape, 0, node.outputs[0]!.dtype),
      dys,
      x: node.inputs.map(seen),
      y: ys[0]!,
      ys,
      attrs: node.attrs,
      needs: node.inputs.map((x) => dependent.has(x)),
    });
    node.inputs.forEach((x, i) => {
      const dx = dxs[i];
      if (!dx || !dependent.has(x)) return;
      if (!sameShape(dx.shape, x.shape) || dx.dtype !== x.dtype)
        throw new GradientError(`${node.op.name}: the gradient rule gives ${dx} for input ${i}, which is ${x}`);
      accumulate(x, dx);
      if (targets.has(x)) loose.push(dx);
    });
  }
  return wrt.map((x) => collected.get(x) ?? fill(x.shape, 0, x.dtype));
}

/** Every node the tensors are computed from, in the order they were made: inputs before what uses them. */
export function nodesBehind(outputs: readonly Tensor[]): Node[] {
  const found = new Map<number, Node>();
  const stack = outputs.map((y) => y.node);
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (found.has(node.id)) continue;
    found.set(node.id, node);
    for (const x of node.inputs) stack.push(x.node);
  }
  return [...found.values()].sort((a, b) => a.id - b.id);
}

/** Tensors that are computed from a target, and the targets. */
function dependents(nodes: readonly Node[], targets: ReadonlySet<Tensor>): Set<Tensor> {
  const found = new Set(targets);
  for (const node of nodes)
    if (node.op.name !== "stopGradient" && node.inputs.some((x) => found.has(x)))
      for (const y of node.outputs) if (isFloat(y)) found.add(y);
  return found;
}

/**
 * How the backward pass sees the tensors of a checkpointed block: computed a second time from what enters the block,
 * not before `dy`, the first gradient to reach it.
 */
function recompute(known: Map<Block, (t: Tensor) => Tensor>, block: Block, dy: Tensor): (t: Tensor) => Tensor {
  const existing = known.get(block);
  if (existing) return existing;
  const copies = new Map<Tensor, Tensor>();
  const copy = (t: Tensor): Tensor => {
    if (t.node.block !== block) return t;
    const done = copies.get(t);
    if (done) return done;
    const inputs = t.node.inputs.map(copy);
    // A node fed only from outside the block is where the second pass begins.
    const begins = inputs.length > 0 && inputs.every((x, i) => x === t.node.inputs[i]);
    if (begins) inputs[0] = after(inputs[0]!, dy);
    const outputs = inputs.length > 0 ? t.node.op.apply(inputs, t.node.attrs) : t.node.outputs;
    t.node.outputs.forEach((y, i) => void copies.set(y, outputs[i]!));
    return copies.get(t)!;
  };
  known.set(block, copy);
  return copy;
}
