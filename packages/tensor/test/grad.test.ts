import { describe, expect, it } from "vitest";
import { nodesBehind } from "../src/grad.ts";
import {
  after,
  constant,
  customGradient,
  fill,
  GradientError,
  grad,
  input,
  logSigmoid,
  maximum,
  minimum,
  pow,
  rmsNorm,
  rotary,
  scalar,
  silu,
  softmax,
  stopGradient,
  type Tensor,
  tanh,
  topK,
  vjp,
  where,
} from "../src/index.ts";
import { closeTo, differences, matrix, run, values, vector } from "./values.ts";

describe("grad", () => {
  const x = input("x", "float32", [3]);
  const feeds = { x: vector(0.5, -1, 2) };

  it("follows composites: the loss of a small network by each of its parameters", async () => {
    const [data, w1, w2] = [
      input("data", "float32", [4, 3]),
      input("w1", "float32", [3, 5]),
      input("w2", "float32", [5]),
    ];
    const hidden = silu(data.matmul(w1));
    const loss = logSigmoid(rmsNorm(hidden, w2).sum(-1)).mean().neg();
    const gradients = grad(loss, { w1, w2, data });
    const fed = {
      data: matrix(4, 3, (i) => Math.sin(i)),
      w1: matrix(3, 5, (i) => Math.cos(1.7 * i)),
      w2: vector(1, 0.5, -0.5, 2, 1.5),
    };
    for (const name of ["data", "w1", "w2"] as const)
      closeTo(values([gradients[name]], fed)[0]!, differences(loss, name, fed), 1e-7);
    await run(gradients, fed);
  });

  it("takes gradients by intermediate tensors and by the scalar itself", () => {
    const square = x.square();
    const loss = square.mul(3).sum();
    closeTo(values(grad(loss, [square]), feeds)[0]!, [3, 3, 3]);
    closeTo(values(grad(loss, [loss]), feeds)[0]!, [1]);
    const [bySquare, byX] = values(grad(loss, [square, x]), feeds);
    closeTo(bySquare!, [3, 3, 3]);
    closeTo(byX!, [3, -6, 12]);
  });

  it("adds up what reaches a tensor on several ways", () => {
    const loss = x.mul(x).add(x.exp()).sub(x).sum();
    closeTo(
      values(grad(loss, [x]), feeds)[0]!,
      [0.5, -1, 2].map((v) => 2 * v + Math.exp(v) - 1),
    );
  });

  it("answers in the form it was asked: a list for a list, a record for a record", () => {
    const loss = x.sum();
    expect(grad(loss, [x])).toHaveLength(1);
    expect(Object.keys(grad(loss, { weight: x }))).toEqual(["weight"]);
  });

  it("gives zeros for what the loss does not depend on", async () => {
    const unused = input("unused", "float32", [2, 2]);
    const gradients = grad(x.sum(), { unused });
    expect(gradients.unused.shape).toEqual([2, 2]);
    closeTo(values([gradients.unused], {})[0]!, [0, 0, 0, 0]);
    const throughIndices = topK(x, 2).indices.cast("float32").sum();
    closeTo(values(grad(throughIndices, [x]), feeds)[0]!, [0, 0, 0]);
  });

  it("shares the gradient of a maximum among equals", () => {
    const loss = x.max();
    closeTo(values(grad(loss, [x]), { x: vector(2, 1, 2) })[0]!, [0.5, 0, 0.5]);
    const y = input("y", "float32", [3]);
    const tied = maximum(x, y).add(minimum(x, y).mul(10)).sum();
    closeTo(values(grad(tied, [x, y]), { x: vector(1, 2, 3), y: vector(1, 5, 0) }).flat(), [5.5, 10, 1, 5.5, 1, 10]);
    const larger = where(y.cast("bool"), x, y).sum();
    closeTo(values(grad(larger, [x, y]), { x: vector(1, 2, 3), y: vector(0, 1, 0) }).flat(), [0, 1, 0, 1, 0, 1]);
  });
});

describe("vjp", () => {
  it("weighs several outputs of any shape", () => {
    const x = input("x", "float32", [3]);
    const outputs = [x.square(), x.sum(), x.exp()];
    const cotangents = [constant(Float32Array.of(1, 2, 3), [3]), scalar(10), constant(Float32Array.of(0, 0, 1), [3])];
    const at = [0.5, -1, 2];
    const [dx] = values(vjp(outputs, cotangents, [x]), { x: vector(...at) });
    closeTo(
      dx!,
      at.map((v, i) => 2 * v * (i + 1) + 10 + (i === 2 ? Math.exp(v) : 0)),
    );
  });

  it("counts an output twice that is given twice, and one that is behind another", () => {
    const x = input("x", "float32", [2]);
    const y = x.mul(3);
    const one = fill([2], 1);
    const [dx, dy] = values(vjp([y, y, y.square()], [one, one, one], [x, y]), { x: vector(1, 2) });
    closeTo(dy!, [2 + 6, 2 + 12]);
    closeTo(dx!, [24, 42]);
  });

  it("uses only those outputs of a node that have a gradient", () => {
    const x = input("x", "float32", [4]);
    const { values: top } = topK(x, 2);
    const [dx] = values(vjp([top], [constant(Float32Array.of(5, 7), [2])], [x]), { x: vector(3, 9, 1, 4) });
    closeTo(dx!, [0, 5, 0, 7]);
  });
});

describe("stopGradient", () => {
  it("cuts one way and leaves the others", () => {
    const x = input("x", "float32", [2]);
    const loss = stopGradient(x.exp()).mul(x).sum();
    closeTo(values(grad(loss, [x]), { x: vector(0, 1) })[0]!, [1, Math.E]);
  });

  it("makes no gradient graph where nothing reaches the targets", () => {
    const x = input("x", "float32", [2]);
    const [dx] = grad(stopGradient(x.exp()).sum(), [x]);
    expect(nodesBehind([dx!]).map((node) => node.op.name)).toEqual(["fill"]);
  });
});

describe("gradients of gradients", () => {
  const x = input("x", "float32", [3]);
  const feeds = { x: vector(0.5, -1, 2) };
  const at = [0.5, -1, 2];

  it("of a power, a hyperbolic tangent, a product of both", () => {
    const second = (f: (x: Tensor) => Tensor) => grad(grad(f(x).sum(), [x])[0]!.sum(), [x])[0]!;
    closeTo(
      values([second((t) => pow(t, 3))], feeds)[0]!,
      at.map((v) => 6 * v),
    );
    closeTo(
      values([second(tanh)], feeds)[0]!,
      at.map((v) => -2 * Math.tanh(v) * (1 - Math.tanh(v) ** 2)),
    );
    closeTo(
      values([second((t) => t.mul(t.exp()))], feeds)[0]!,
      at.map((v) => (v + 2) * Math.exp(v)),
    );
  });

  it("of a softmax: a Hessian row by row, symmetric", async () => {
    const loss = softmax(x).square().sum();
    const [gradient] = grad(loss, [x]);
    const rows = [0, 1, 2].map((i) => grad(gradient!.slice(0, i, i + 1).sum(), [x])[0]!);
    const hessian = values(rows, feeds);
    hessian.forEach((row, i) => {
      const column = hessian.map((other) => other[i]!);
      closeTo(row, column);
      closeTo(row, differences(gradient!.slice(0, i, i + 1).sum(), "x", feeds), 1e-7);
    });
    await run({ row: rows[1]! }, feeds);
  });

  it("third derivatives", () => {
    let y = pow(x, 4).sum();
    for (let order = 0; order < 3; order++) y = grad(y, [x])[0]!.sum();
    closeTo(values([y], feeds)[0]!, [24 * (0.5 - 1 + 2)]);
  });
});

describe("customGradient", () => {
  const x = input("x", "float32", [3]);
  const feeds = { x: vector(0.5, -1, 2) };

  it("replaces the gradient of what it wraps, and the values not", async () => {
    const [y] = customGradient([x], (a) => ({ outputs: [a.square()], gradient: ({ dys }) => [dys[0]!.mul(7)] }));
    const results = await run({ y: y!, dx: grad(y!.sum(), [x])[0]! }, feeds);
    closeTo(results.y!, [0.25, 1, 4]);
    closeTo(results.dx!, [7, 7, 7]);
  });

  it("hands inputs, outputs, saved tensors and zeros for unused outputs to its rule", () => {
    const [y] = customGradient([x, x.mul(2)], (a, b) => {
      const kept = a.exp();
      return {
        outputs: [a.add(b), b.square()],
        saved: [kept],
        gradient: ({ dys, inputs, outputs, saved }) => [
          dys[0]!.mul(saved[0]!).add(dys[1]!.add(1)),
          outputs[1]!.mul(inputs[0]!),
        ],
      };
    });
    // The rule says eˣ + 1 by the first input and (2x)²·x by the second, which is 2x.
    closeTo(
      values(grad(y!.sum(), [x]), feeds)[0]!,
      [0.5, -1, 2].map((v) => Math.exp(v) + 1 + 2 * 4 * v ** 3),
    );
  });

  it("may say null for zero, and must say something for every input", () => {
    const nothing = customGradient([x], (a) => ({ outputs: [a.exp()], gradient: () => [null] }))[0]!;
    closeTo(values(grad(nothing.sum(), [x]), feeds)[0]!, [0, 0, 0]);
    const short = customGradient([x, x], (a, b) => ({ outputs: [a.add(b)], gradient: ({ dys }) => [dys[0]!] }))[0]!;
    expect(() => grad(short.sum(), [x])).toThrow(/customGradient: the gradient gives 1 tensors for 2 inputs/);
  });

  it("rejects a gradient of another shape", () => {
    const [y] = customGradient([x], (a) => ({ outputs: [a.exp()], gradient: ({ dys }) => [dys[0]!.sum()] }));
    expect(() => grad(y!.sum(), [x])).toThrow(/customGradient: the gradient rule gives float32\[\] for input/);
  });
});

describe("after", () => {
  it("keeps values and gradients of any shape and type", async () => {
    const x = input("x", "float32", [2, 0]);
    const y = input("y", "float32", []);
    const z = input("z", "float32", [3]);
    const feeds = {
      x: { shape: [2, 0], data: new Float64Array(0) },
      y: { shape: [], data: Float64Array.of(4) },
      z: vector(1, 2, 3),
    };
    const held = after(z.mul(2), x, y, z.cast("int32"), y.cast("bool"));
    const results = await run({ held, late: after(y, z), none: after(x, y), dz: grad(held.sum(), [z])[0]! }, feeds);
    expect(results).toEqual({ held: [2, 4, 6], late: [4], none: [], dz: [2, 2, 2] });
    expect(after(z)).toBe(z);
  });

  it("gives what it waits for no gradient", () => {
    const y = input("y", "float32", []);
    const z = input("z", "float32", [3]);
    closeTo(values(grad(after(z, y).sum(), [y]), {})[0]!, [0]);
  });
});

describe("errors", () => {
  const x = input("x", "float32", [3]);
  const n = input("n", "int32", [3]);
  const here = /grad\.test\.ts:\d+:\d+/;

  it("rejects what is no scalar, no float, or no cotangent of its output", () => {
    expect(() => grad(x, [x])).toThrow(GradientError);
    expect(() => grad(x, [x])).toThrow(/expected a float scalar, got float32\[3\]/);
    expect(() => grad(n.sum(), [x])).toThrow(/expected a float scalar, got int32\[\]/);
    expect(() => grad(x.sum(), [n])).toThrow(/cannot differentiate by int32\[3\]/);
    expect(() => vjp([x], [], [x])).toThrow(/output 0 is float32\[3\], its cotangent missing/);
    expect(() => vjp([x], [scalar(1)], [x])).toThrow(/its cotangent float32\[\]/);
    expect(() => vjp([x], [n], [x])).toThrow(/its cotangent int32\[3\]/);
    expect(() => vjp([n], [n], [x])).toThrow(/output 0 is int32\[3\]; only floats/);
  });

  it("names the caller's line", () => {
    expect(() => grad(x, [x])).toThrow(here);
    expect(() => grad(x.sum(), [n])).toThrow(here);
    expect(() => vjp([x], [scalar(1)], [x])).toThrow(here);
  });

  it("says which op has no gradient", () => {
    const angles = input("angles", "float32", [1, 2, 2]);
    const heads = input("heads", "float32", [1, 1, 2, 4]);
    const turned = rotary(heads, angles.exp(), angles).sum();
    expect(() => grad(turned, [angles])).toThrow(/rotary has no gradient by its angles/);
    expect(() => grad(turned, [heads])).not.toThrow();
    const fixed = rotary(heads, stopGradient(angles.exp()), stopGradient(angles)).sum();
    expect(() => grad(fixed, [angles, heads])).not.toThrow();
  });
});
