import { describe, expect, it } from "vitest";
import { nodesBehind } from "../src/grad.ts";
import {
  checkpoint,
  customGradient,
  describe as dump,
  grad,
  input,
  matmul,
  pow,
  rmsNorm,
  silu,
  type Tensor,
  tanh,
} from "../src/index.ts";
import type { Node } from "../src/op.ts";
import { closeTo, differences, matrix, run, values, vector } from "./values.ts";

describe("checkpoint", () => {
  const x = input("x", "float32", [2, 3]);
  const w = input("w", "float32", [3, 3]);
  const gain = input("gain", "float32", [3]);
  const feeds = {
    x: matrix(2, 3, (i) => Math.sin(i + 1)),
    w: matrix(3, 3, (i) => Math.cos(2 * i)),
    gain: vector(1, 0.5, 2),
  };
  const plain = (t: Tensor) => rmsNorm(silu(matmul(t, w)), gain).add(t);

  /** Nodes of the blocks behind a tensor. */
  const inside = (y: Tensor): Node[] => nodesBehind([y]).filter((node) => node.block);

  /**
   * The block's nodes a gradient graph uses. Its outputs may be used, being kept; anything else of it that is used
   * would be kept for the backward pass.
   */
  function held(loss: Tensor, kept: readonly Tensor[], gradients: readonly Tensor[]): string[] {
    const forward = new Set(nodesBehind([loss]));
    const own = new Set(inside(loss));
    const outputs = new Set(kept.map((t) => t.node));
    const used = new Set<Node>();
    const stack = gradients.map((t) => t.node);
    const seen = new Set<Node>();
    for (let node = stack.pop(); node; node = stack.pop()) {
      if (seen.has(node)) continue;
      seen.add(node);
      if (own.has(node)) {
        // A constant made in the block costs nothing to keep.
        if (!outputs.has(node) && node.inputs.length > 0) used.add(node);
        continue;
      }
      if (forward.has(node)) continue;
      for (const t of node.inputs) stack.push(t.node);
    }
    return [...used].map((node) => node.op.name);
  }

  it("changes no gradient, of captured parameters neither", async () => {
    const blocked = checkpoint(() => plain(x));
    const [losses, blockedLosses] = [plain(x), blocked].map((y) => y.square().sum()) as [Tensor, Tensor];
    const targets = [x, w, gain];
    const [without, within] = [grad(losses, targets), grad(blockedLosses, targets)];
    closeTo(values(within, feeds).flat(), values(without, feeds).flat(), 1e-12);
    closeTo(values([within[1]!], feeds)[0]!, differences(losses, "w", feeds), 1e-7);
    await run({ dx: within[0]!, dw: within[1]!, dgain: within[2]! }, feeds);
  });

  it("computes its inside again, after the gradient has arrived, and holds on to nothing of it", () => {
    const y = checkpoint(() => plain(x));
    const loss = y.square().sum();
    const gradients = grad(loss, [x, w, gain]);
    expect(held(loss, [y], gradients)).toEqual([]);
    const count = (name: string) => nodesBehind(gradients).filter((node) => node.op.name === name).length;
    expect(inside(loss).filter((node) => node.op.name === "silu")).toHaveLength(1);
    // Once forward (for the loss's gradient, which needs y), once again.
    expect(count("silu")).toBe(2);
    const again = nodesBehind(gradients).find((node) => node.op.name === "silu" && !node.block)!;
    expect(nodesBehind(again.outputs).map((node) => node.op.name)).toContain("after");
  });

  it("would be caught holding on to its inside", () => {
    const loss = plain(x).square().sum();
    const kept = checkpoint(() => silu(matmul(x, w)));
    // Leaks an inner tensor into the gradient graph by name.
    expect(held(kept.sum(), [kept], [kept.node.inputs[0]!.mul(2)])).toEqual(["matmul"]);
    expect(inside(loss)).toEqual([]);
  });

  it("chains: a block's input is another's output", () => {
    const stack = (wrap: (build: () => Tensor) => Tensor) => {
      const first = wrap(() => plain(x));
      const second = wrap(() => plain(first));
      return { kept: [first, second], loss: second.square().sum() };
    };
    const [without, within] = [stack((build) => build()), stack(checkpoint)];
    const expected = values(grad(without.loss, [x, w, gain]), feeds);
    const gradients = grad(within.loss, [x, w, gain]);
    closeTo(values(gradients, feeds).flat(), expected.flat(), 1e-12);
    expect(held(within.loss, within.kept, gradients)).toEqual([]);
  });

  it("nested: the inner block belongs to the outer one", () => {
    const build = () => plain(checkpoint(() => plain(x)));
    const y = checkpoint(build);
    const loss = y.square().sum();
    expect(new Set(inside(loss).map((node) => node.block)).size).toBe(1);
    const gradients = grad(loss, [x, w, gain]);
    const expected = values(grad(plain(plain(x)).square().sum(), [x, w, gain]), feeds);
    closeTo(values(gradients, feeds).flat(), expected.flat(), 1e-12);
    expect(held(loss, [y], gradients)).toEqual([]);
  });

  it("several outputs, one of them used outside", () => {
    const { a, b } = checkpoint(() => {
      const product = matmul(x, w);
      return { a: product.exp(), b: tanh(product) };
    });
    const loss = a.mul(b).sum();
    const product = matmul(x, w);
    const expected = values(grad(product.exp().mul(tanh(product)).sum(), [x, w]), feeds);
    const gradients = grad(loss, [x, w]);
    closeTo(values(gradients, feeds).flat(), expected.flat(), 1e-12);
    expect(held(loss, [a, b], gradients)).toEqual([]);
  });

  it("makes a customGradient's saved tensors, inputs and outputs anew", async () => {
    const cube = (t: Tensor) =>
      customGradient([t], (a) => {
        const square = a.square();
        return {
          outputs: [square.mul(a)],
          saved: [square],
          gradient: ({ dys, saved, inputs, outputs }) => [
            // 3a², put together from all three.
            dys[0]!.mul(saved[0]!.add(inputs[0]!.square()).add(outputs[0]!.div(inputs[0]!))),
          ],
        };
      })[0]!;
    const y = checkpoint(() => tanh(cube(matmul(x, w))));
    const loss = y.sum();
    const gradients = grad(loss, [x, w]);
    expect(held(loss, [y], gradients)).toEqual([]);
    const expected = values(grad(tanh(pow(matmul(x, w), 3)).sum(), [x, w]), feeds);
    closeTo(values(gradients, feeds).flat(), expected.flat(), 1e-9);
    await run({ dx: gradients[0]!, dw: gradients[1]! }, feeds);
  });

  it("gradients by a tensor inside a block", () => {
    let hidden!: Tensor;
    const y = checkpoint(() => {
      hidden = matmul(x, w);
      return hidden.square();
    });
    const expected = values([hidden.mul(2)], feeds)[0]!;
    closeTo(values(grad(y.sum(), [hidden]), feeds)[0]!, expected, 1e-12);
  });

  it("second derivatives through a block", () => {
    const curvature = (wrap: (build: () => Tensor) => Tensor) => {
      const loss = wrap(() => tanh(matmul(x, w))).sum();
      return grad(grad(loss, [x])[0]!.square().sum(), [x, w]);
    };
    const expected = values(
      curvature((build) => build()),
      feeds,
    );
    closeTo(values(curvature(checkpoint), feeds).flat(), expected.flat(), 1e-12);
  });

  it("ends when building it fails", () => {
    expect(() => checkpoint(() => matmul(x, gain))).toThrow();
    expect(x.exp().node.block).toBeUndefined();
  });

  it("is named in the dump", () => {
    const y = checkpoint(() => x.exp());
    expect(dump({ y })).toMatch(/exp\(%0\) {2}# block \d+/);
  });
});
