import { describe, expect, it } from "vitest";
import {
  after,
  argMax,
  broadcastTo,
  compile,
  concat,
  dimMul,
  dimSub,
  fill,
  flattenRows,
  gather,
  grad,
  input,
  iota,
  logSoftmax,
  logSumExp,
  matmul,
  oneHot,
  pad,
  reshape,
  rmsNorm,
  sizeOf,
  softmax,
  sort,
  split,
  type Tensor,
} from "../src/index.ts";
import { evaluate, type Values } from "./reference.ts";
import { closeTo } from "./values.ts";

type Feeds = Record<string, Values & { integer?: boolean }>;

function filled(shape: number[], at: (i: number) => number): Values {
  return { shape, data: Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.fround(at(i))) };
}

function whole(shape: number[], at: (i: number) => number): Values & { integer: boolean } {
  return { ...filled(shape, at), integer: true };
}

/** Compiles once and compares with the reference at each size. */
async function sameAtEverySize(
  outputs: Record<string, Tensor>,
  sizes: readonly Feeds[],
  tolerance = 1e-5,
): Promise<Record<string, readonly number[]>[]> {
  const program = await compile(() => outputs, { threads: 1 });
  const seen: Record<string, readonly number[]>[] = [];
  for (const feeds of sizes) {
    const fed = Object.entries(feeds).map(([name, { shape, data, integer }]) => [
      name,
      { shape, data: integer ? Int32Array.from(data) : Float32Array.from(data) },
    ]);
    const results = await program.run(Object.fromEntries(fed));
    const expected = evaluate(Object.values(outputs), feeds);
    Object.keys(outputs).forEach((key, i) => {
      const { shape, data } = results[key]!;
      expect(shape, key).toEqual(expected[i]!.shape);
      closeTo([...data], [...expected[i]!.data], tolerance);
    });
    seen.push(Object.fromEntries(Object.entries(results).map(([key, { shape }]) => [key, shape])));
  }
  await program.dispose();
  return seen;
}

describe("one session, several sizes", () => {
  it("a language model's head: shifted targets, merged rows, a masked mean", async () => {
    const tokens = input("tokens", "int32", ["rows", "time"]);
    const table = input("table", "float32", [7, 4]);
    const gain = input("gain", "float32", [4]);
    // [rows, time, 4] → the last position has no target.
    const hidden = rmsNorm(gather(table, tokens), gain).slice(1, 0, -1);
    const logits = matmul(flattenRows(hidden), table, { transB: true });
    expect(logits.shape).toEqual(["-rows+rows*time", 7]);
    const targets = reshape(tokens.slice(1, 1), [-1]);
    expect(targets.shape).toEqual(["-rows+rows*time"]);
    const chosen = logSoftmax(logits).mul(oneHot(targets, 7)).sum(-1);
    const loss = chosen.mean().neg();
    const perRow = reshape(chosen, ["rows", -1]);
    expect(perRow.shape).toEqual(["rows", "time-1"]);
    const gradients = grad(loss, { table, gain });
    const sizes = [
      [2, 3],
      [1, 2],
      [4, 9],
    ].map(([rows, time]) => ({
      tokens: whole([rows!, time!], (i) => (i * 5 + 1) % 7),
      table: filled([7, 4], (i) => Math.sin(3 * i)),
      gain: filled([4], (i) => 1 + i / 4),
    }));
    await sameAtEverySize({ loss, perRow, ...gradients }, sizes);
  });

  it("extents that are sums and products of names", async () => {
    const cached = input("cached", "float32", ["rows", "past", 2]);
    const fresh = input("fresh", "float32", ["rows", "time", 2]);
    const both = concat([cached, fresh], 1);
    expect(both.shape).toEqual(["rows", "past+time", 2]);
    const [front, back] = split(both, 1, ["past", "time"]);
    const tail = both.slice(1, dimSub("past+time", "time"));
    const merged = reshape(both, ["rows", -1]);
    expect(merged.shape).toEqual(["rows", "2*past+2*time"]);
    const framed = pad(fresh, 1, "past", 1);
    expect(framed.shape).toEqual(["rows", "past+time+1", 2]);
    const positions = iota(dimMul("rows", "time"));
    const spread = broadcastTo(fill([1], 3), ["past"]);
    const loss = both.square().mean(1).sum().add(framed.exp().sum()).add(back!.mul(tail).sum());
    const gradients = grad(loss, { dCached: cached, dFresh: fresh });
    const count = sizeOf(dimMul("rows", dimSub("past", "time")), "float32");
    const sizes = [
      [2, 3, 1],
      [1, 0, 2],
      [3, 4, 4],
      [2, 1, 5],
    ].map(([rows, past, time]) => ({
      cached: filled([rows!, past!, 2], (i) => Math.cos(i)),
      fresh: filled([rows!, time!, 2], (i) => Math.sin(i + 1)),
    }));
    const outputs = { both, front: front!, back: back!, tail, merged, framed, positions, spread, loss, count };
    const shapes = await sameAtEverySize({ ...outputs, ...gradients }, sizes);
    expect(shapes[1]).toMatchObject({ both: [1, 2, 2], front: [1, 0, 2], spread: [0], merged: [1, 4], positions: [2] });
  });

  it("attention with a cache, the empty one included", async () => {
    const q = input("q", "float32", ["rows", 2, "time", 4]);
    const keys = input("keys", "float32", ["rows", 2, "past", 4]);
    const k = input("k", "float32", ["rows", 2, "time", 4]);
    const scores = concat(
      [matmul(q, keys, { transB: true, alpha: 0.5 }), matmul(q, k, { transB: true, alpha: 0.5 })],
      -1,
    );
    const weights = softmax(scores);
    // The keys stand for the values too.
    const old = matmul(weights.slice(-1, 0, "past"), keys);
    const y = old.add(matmul(weights.slice(-1, "past"), k));
    const gradients = grad(y.square().sum(), { dq: q, dk: k, dKeys: keys });
    const sizes = [
      [1, 3, 2],
      [3, 0, 5],
      [2, 0, 3],
      [2, 4, 1],
      [0, 2, 2],
    ].map(([rows, past, time]) => ({
      q: filled([rows!, 2, time!, 4], (i) => Math.sin(i)),
      keys: filled([rows!, 2, past!, 4], (i) => Math.cos(i)),
      k: filled([rows!, 2, time!, 4], (i) => Math.cos(3 * i)),
    }));
    await sameAtEverySize({ old, y, ...gradients }, sizes);
  });

  it("sums over nothing are 0, whatever lay in the memory", async () => {
    const a = input("a", "float32", ["rows", 3, "inner"]);
    const b = input("b", "float32", ["rows", 5, "inner"]);
    const noise = input("noise", "float32", ["rows", 3, 5]);
    // A tensor of the result's size is filled and given back just before the product.
    let start = a;
    const products: Record<string, Tensor> = {};
    for (let i = 0; i < 8; i++) {
      start = after(start, noise.add(i).exp().sum());
      products[`y${i}`] = matmul(start, b, { transB: true, alpha: i + 1 });
    }
    const sizes = [0, 2, 0].map((inner) => ({
      a: filled([4, 3, inner], (i) => Math.sin(i)),
      b: filled([4, 5, inner], (i) => Math.cos(i)),
      noise: filled([4, 3, 5], () => 1),
    }));
    await sameAtEverySize(products, sizes);
  });

  it("reductions and order over a named axis, empty rows included", async () => {
    const x = input("x", "float32", ["rows", "time"]);
    const { values, indices } = sort(x, { descending: true });
    const outputs = {
      mean: x.mean(-1),
      most: x.max(-1),
      best: argMax(x),
      total: logSumExp(x),
      values,
      indices,
      sum: x.sum(),
    };
    const gradients = grad(outputs.mean.mul(outputs.most).add(outputs.total).sum(), { dx: x });
    const sizes = [
      [2, 3],
      [1, 1],
      [0, 4],
      [5, 2],
    ].map(([rows, time]) => ({ x: filled([rows!, time!], (i) => Math.sin(7 * i)) }));
    const shapes = await sameAtEverySize({ ...outputs, ...gradients }, sizes);
    expect(shapes[2]).toMatchObject({ mean: [0], best: [0], values: [0, 4], indices: [0, 4], dx: [0, 4] });
  });

  it("shapes that merge two names and part again", async () => {
    const x = input("x", "float32", ["rows", "heads", "time"]);
    const merged = reshape(x, [dimMul("rows", "heads"), "time"]);
    const parted = reshape(merged, ["rows", -1, "time"]);
    expect(parted.shape).toEqual(["rows", "heads", "time"]);
    const swapped = reshape(x.transpose([0, 2, 1]), ["rows", -1]);
    expect(swapped.shape).toEqual(["rows", "heads*time"]);
    const dx = grad(merged.mul(merged).sum().add(swapped.exp().sum()), { dx: x });
    const sizes = [
      [1, 2, 3],
      [2, 1, 4],
      [2, 0, 3],
      [0, 2, 2],
    ].map((shape) => ({ x: filled(shape, (i) => Math.sin(i)) }));
    await sameAtEverySize({ merged, parted, swapped, ...dx }, sizes);
  });
});

it("counts the work of its products at given sizes", async () => {
  const x = input("x", "float32", ["rows", 3]);
  const program = await compile(() => ({ y: matmul(x, matmul(x, x, { transA: true })) }));
  expect(program.flops({ rows: 5 })).toBe(2 * 3 * 3 * 5 + 2 * 5 * 3 * 3);
  await program.dispose();
});
