import { runInThisContext } from "node:vm";
import { describe, expect, it } from "vitest";
import {
  abs,
  addMatmul,
  and,
  argMax,
  broadcastTo,
  clip,
  compile,
  concat,
  constant,
  cumulativeSum,
  expandDims,
  FeedError,
  flip,
  gather,
  gatherAlong,
  input,
  layerNorm,
  logSoftmax,
  logSumExp,
  matmul,
  maximum,
  not,
  pad,
  pow,
  reshape,
  rmsNorm,
  rotary,
  ShapeError,
  scatterAdd,
  scatterAddAlong,
  sizeOf,
  slice,
  softmax,
  sort,
  split,
  type Tensor,
  TensorError,
  topK,
  transpose,
  weight,
  where,
} from "../src/index.ts";

const x = input("x", "float32", [2, 3]);
const y = input("y", "float32", ["rows", 4]);
const n = input("n", "int32", [2, 3]);
const b = input("b", "bool", [2, 3]);
const h = input("h", "float16", [2, 3]);
const s = input("s", "float32", []);
const empty = input("empty", "float32", [2, 0]);

/** What is wrong, by op: a call and what its message must say. */
const mistakes: Record<string, [() => unknown, RegExp][]> = {
  elementwise: [
    [() => x.add(y), /^add\(float32\[2, 3\], float32\[rows, 4\]\): shapes \[2, 3\] and \[rows, 4\] do not broadcast/],
    [() => x.mul(n), /^mul\(float32\[2, 3\], int32\[2, 3\]\): operands must have one type; cast\(\) one of them/],
    [() => maximum(x, h), /^maximum\(.*one type/],
    [() => n.exp(), /^exp\(int32\[2, 3\]\): expected float32 or float16 or float64 operands, got int32/],
    [() => abs(b), /^abs\(bool\[2, 3\]\): expected float32 or float16 or float64 or int32 operands, got bool/],
    [() => and(x, x), /^and\(.*expected bool operands, got float32/],
    [() => not(n), /^not\(.*expected bool operands, got int32/],
    [() => pow(n, 2), /^power\(int32\[2, 3\]\): expected floats/],
    [() => clip(x, { min: 1, max: 0 }), /^clip\(.*expected min ≤ max, got 1 and 0/],
    [() => clip(x, { min: Number.NaN }), /^clip\(.*expected min ≤ max/],
    [() => where(x, x, x), /^where\(.*expected a bool condition, got float32/],
    [() => where(b, x, n), /^where\(.*one type/],
    [() => where(b, x, y), /^where\(.*do not broadcast/],
  ],
  reductions: [
    [() => x.sum(2), /^sum\(float32\[2, 3\]\): axis 2 does not exist; expected -2 … 1/],
    [() => x.sum([0, -3]), /^sum\(.*axis -3 does not exist/],
    [() => x.sum(0.5), /^sum\(.*axis 0.5 does not exist/],
    [() => s.sum(0), /^sum\(float32\[\]\): a scalar has no axes/],
    [() => b.sum(), /^sum\(bool\[2, 3\]\): expected numbers, got bool; cast\(\) them/],
    [() => n.mean(), /^mean\(int32\[2, 3\]\): expected floats/],
    [() => empty.mean(-1), /^mean\(float32\[2, 0\]\): axis 1 is empty; the result is undefined/],
    [() => empty.max(), /^max\(float32\[2, 0\]\): axis 1 is empty/],
    [() => b.max(), /^max\(bool\[2, 3\]\): expected numbers/],
    [() => logSumExp(empty), /^max\(float32\[2, 0\]\): axis 1 is empty/],
    [() => argMax(empty), /^argMax\(float32\[2, 0\]\): axis 1 is empty/],
    [() => argMax(b), /^argMax\(.*expected numbers/],
    [() => argMax(x, 2), /^argMax\(.*axis 2 does not exist/],
    [() => cumulativeSum(x, 5), /^cumulativeSum\(.*axis 5 does not exist/],
    [() => cumulativeSum(h), /^cumulativeSum\(float16\[2, 3\]\): expected int32 or float32 operand, got float16/],
  ],
  products: [
    [() => matmul(x, x), /^matmul\(.*inner dimensions differ: \[2, 3\] · \[2, 3\] contracts 3 with 2/],
    [() => matmul(x, x, { transA: true, transB: true }), /\[2, 3\]ᵀ · \[2, 3\]ᵀ contracts 2 with 3/],
    [() => matmul(x, s), /^matmul\(.*expected operands of rank ≥ 2/],
    [() => matmul(n, n), /^matmul\(.*expected floats, got int32/],
    [() => matmul(x, h), /^matmul\(.*one type/],
    [
      () => matmul(input("p", "float32", [2, 5, 5]), input("q", "float32", [3, 5, 5])),
      /^matmul\(.*batch dimensions of \[2, 5, 5\] and \[3, 5, 5\] do not broadcast together/,
    ],
    [() => addMatmul(y, x, x, { transB: true }), /^addMatmul\(.*summand float32\[rows, 4\] does not broadcast/],
    [() => addMatmul(s, x, x), /^addMatmul\(.*inner dimensions differ: 3 and 2/],
    [() => addMatmul(s, s, x), /^addMatmul\(.*expected matrices/],
  ],
  norms: [
    [() => softmax(x, 2), /^softmax\(.*axis 2 does not exist/],
    [() => softmax(x, -3), /^softmax\(.*axis -3 does not exist/],
    [() => softmax(n), /^softmax\(.*expected floats/],
    [() => logSoftmax(s), /^logSoftmax\(float32\[\]\): a scalar has no axes/],
    [() => rmsNorm(x, s), /^rmsNorm\(.*expected a vector of the last axis' size 3, got \[\]/],
    [() => rmsNorm(s, s), /^rmsNorm\(.*expected a rank of at least 1/],
    [() => rmsNorm(empty, input("g", "float32", [0])), /^rmsNorm\(.*the last axis is empty/],
    [() => layerNorm(x, x.slice(0, 0, 1).reshape([3]), s), /^layerNorm\(.*last axis' size 3, got \[\]/],
    [() => rotary(x, x, x), /^rotary\(.*expected \[batch, heads, time, size\] with an even size/],
    [() => rotary(s, s, s), /^rotary\(.*expected \[batch, heads, time, size\]/],
    [
      () => rotary(input("r", "float32", [1, 1, 2, 4]), x, x),
      /^rotary\(.*expected cosines and sines of shape \[1, 2, 2\], got \[2, 3\]/,
    ],
  ],
  layout: [
    [() => reshape(x, [4]), /^reshape\(float32\[2, 3\]\): cannot hold 6 elements in the shape \[4\]/],
    [() => reshape(y, [-1, 8]), /^reshape\(.*one −1 that can be worked out, got \[-1, 8\]/],
    [() => reshape(x, [-1, -1]), /^reshape\(.*one −1/],
    [() => reshape(x, [-2, -3]), /^reshape\(.*expected sizes, names or one −1/],
    [() => reshape(x, [1.5, 4]), /^reshape\(.*expected sizes, names or one −1/],
    [() => reshape(y, ["rows", "columns"]), /^reshape\(.*cannot hold 4\*rows elements in the shape \[rows, columns\]/],
    [() => expandDims(x, 4), /^expandDims\(float32\[2, 3\]\): axis 4 does not exist/],
    [() => transpose(x, [0, 0]), /^transpose\(.*expected a permutation of 0 … 1, got \[0,0\]/],
    [() => broadcastTo(x, [3]), /^broadcastTo\(float32\[2, 3\]\): does not broadcast to \[3\]/],
    [() => slice(x, 2, 0), /^slice\(float32\[2, 3\]\): axis 2 does not exist/],
    [() => slice(x, -3, 0), /^slice\(.*axis -3 does not exist/],
    [() => slice(x, 1, 0, 4), /^slice\(.*end 4 is outside 0 … 3 of axis 1/],
    [() => slice(x, 1, 2, 1), /^slice\(.*end 1 lies before start 2/],
    [() => slice(x, 1, 0, 3, 0), /^slice\(.*expected a step of at least 1, got 0/],
    [() => slice(y, 0, 0, "rows", 2), /^slice\(.*a step of 2 needs a static extent, got rows/],
    [() => split(x, 1, [1, 1]), /^split\(float32\[2, 3\]\): sizes 1 \+ 1 are not those of axis 1/],
    [() => concat([]), /^concat\(\): expected at least one tensor/],
    [() => concat([x, y]), /^concat\(.*shapes differ off axis 0: \[2, 3\] and \[rows, 4\]/],
    [() => concat([x, n]), /^concat\(.*one type/],
    [() => concat([x, x], 2), /^concat\(.*axis 2 does not exist/],
    [() => pad(x, 0, -1, 0), /^pad\(.*expected padding of at least 0, got -1/],
    [() => pad(x, -3, 1, 1), /^pad\(.*axis -3 does not exist/],
    [() => flip(x, 3), /^flip\(.*axis 3 does not exist/],
  ],
  indexing: [
    [() => gather(x, x), /^gather\(.*expected int32 indices, got float32/],
    [() => gather(x, n, -4), /^gather\(.*axis -4 does not exist/],
    [() => gather(s, n), /^gather\(.*a scalar has no axes/],
    [() => gatherAlong(y, n), /^gatherAlong\(.*indices \[2, 3\] must match \[rows, 4\] off axis 1/],
    [() => scatterAdd(x, n, x), /^scatterAdd\(.*expected updates of shape \[2, 3, 3\], got \[2, 3\]/],
    [() => scatterAdd(x, n, n), /^scatterAdd\(.*one type/],
    [() => scatterAdd(b, n.slice(0, 0, 1).reshape([3]), b), /^scatterAdd\(.*expected numbers, got bool/],
    [() => scatterAddAlong(x, n, y), /^scatterAddAlong\(.*must have one shape/],
    [() => topK(x, 4), /^topK\(float32\[2, 3\]\): expected 0 ≤ k ≤ 3, got 4/],
    [() => topK(b, 1), /^topK\(.*expected numbers, got bool/],
    [() => sort(x, { axis: 2 }), /^topK\(.*axis 2 does not exist/],
  ],
};

for (const [family, list] of Object.entries(mistakes))
  describe(family, () => {
    it.each(list.map(([call, message]) => [message.source, call, message] as const))("%s", (_, call, message) => {
      const error = thrownBy(call);
      expect(error).toBeInstanceOf(ShapeError);
      expect(error.message).toMatch(message);
      expect(error.message).toMatch(/\n {2}at .*errors\.test\.ts:\d+:\d+$/);
    });
  });

function thrownBy(call: () => unknown): Error {
  try {
    call();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
}

it("names the very line, of a method's caller too", () => {
  const before = new Error().stack ?? "";
  const direct = thrownBy(() => matmul(x, x)).message;
  const method = thrownBy(() => x.matmul(x)).message;
  const composite = thrownBy(() => logSumExp(x, 7)).message;
  const axis = thrownBy(() => x.dim(7)).message;
  const line = (text: string) => Number(/errors\.test\.ts:(\d+):/.exec(text)?.[1]);
  expect([direct, method, composite, axis].map((text) => line(text) - line(before))).toEqual([1, 2, 3, 4]);
});

it.each(["/a folder/my (copy)/program.js", "file:///a%20folder/my%20(copy)/program.js"])(
  "reads frames of %s",
  (filename) => {
    const program: (t: Tensor) => Tensor = runInThisContext("\n  (t) => t.matmul(t)", { filename });
    expect(thrownBy(() => program(x)).message).toMatch(/\n {2}at \/a folder\/my \(copy\)\/program\.js:2:12$/);
  },
);

describe("what enters a graph", () => {
  it("needs as many values as its shape says", () => {
    expect(() => constant(Float32Array.of(1, 2), [3])).toThrow(/a constant of shape \[3\] needs 3 values, got 2/);
    expect(() => weight("w", [2, 2], { data: new Float32Array(3) })).toThrow(/weight "w" of shape \[2,2\] needs 4/);
  });

  it("has sizes or names for dimensions", () => {
    for (const dim of [-1, 1.5, Number.NaN, "", "2", "rows*2", "rows+1"])
      expect(() => input("x", "float32", [dim])).toThrow(/input "x": expected sizes or names as dimensions/);
  });

  it("says whose fault it is", () => {
    expect(() => input("x", "float32", [-1])).toThrow(/errors\.test\.ts:\d+:\d+/);
    expect(() => constant(Float32Array.of(1), [2])).toThrow(/errors\.test\.ts:\d+:\d+/);
    expect(() => weight("w", [2], { data: new Float32Array(3) })).toThrow(/errors\.test\.ts:\d+:\d+/);
  });

  it("has one name each", async () => {
    const twice = compile(() => ({ y: input("x", "float32", [1]).add(input("x", "float32", [1])) }));
    await expect(twice).rejects.toThrow(/two inputs are named "x"/);
  });

  it("settles every symbol that is used", async () => {
    const lost = compile(() => ({ y: x.mul(sizeOf("rows", "float32")) }));
    await expect(lost).rejects.toThrow(/the dimension "rows" belongs to no input of the graph/);
  });
});

describe("feeds", () => {
  const program = compile(() => {
    const a = input("a", "float32", ["rows", "columns"]);
    const c = input("c", "int32", ["rows"]);
    const d = input("d", "float32", [2]);
    return { y: a.sum(-1).add(c.cast("float32")).sum().add(d.sum()) };
  });
  const feeds = {
    a: { shape: [2, 3], data: new Float32Array(6).fill(1) },
    c: { shape: [2], data: Int32Array.of(5, 6) },
    d: Float32Array.of(1, 2),
  };

  it("are taken when they fit", async () => {
    expect([...(await (await program).run(feeds)).y.data]).toEqual([20]);
  });

  it.each([
    ["one is missing", { a: feeds.a, c: feeds.c }, /the input "d" \(float32\[2\]\) was not fed/],
    ["one is unknown", { ...feeds, e: 1 }, /the graph has no input "e"; it takes a, c, d/],
    [
      "two contradict each other",
      { ...feeds, c: { shape: [3], data: new Int32Array(3) } },
      /"c" is int32\[rows\], got shape \[3\] where rows = 2, columns = 3/,
    ],
    [
      "a size is another",
      { ...feeds, d: { shape: [3], data: new Float32Array(3) } },
      /"d" is float32\[2\], got shape \[3\]/,
    ],
    [
      "a rank is another",
      { ...feeds, c: { shape: [2, 1], data: new Int32Array(2) } },
      /"c" is int32\[rows\], got shape/,
    ],
    [
      "a type is another",
      { ...feeds, c: { shape: [2], data: new Float32Array(2) } },
      /takes a Int32Array, got Float32Array/,
    ],
    [
      "there are too few values",
      { ...feeds, a: { shape: [2, 3], data: new Float32Array(5) } },
      /needs 6 values, got 5/,
    ],
    [
      "a shape is not given",
      { ...feeds, c: Int32Array.of(1, 2) },
      /"c" has symbolic dimensions \[rows\]; feed \{ data, shape \}/,
    ],
  ])("are refused when %s", async (_, wrong, message) => {
    const run = (await program).run(wrong);
    await expect(run).rejects.toThrow(FeedError);
    await expect(run).rejects.toThrow(message);
  });
});

it("every error is a TensorError", () => {
  expect(thrownBy(() => x.matmul(x))).toBeInstanceOf(TensorError);
  expect(new FeedError("x")).toBeInstanceOf(TensorError);
  expect(new FeedError("x").name).toBe("FeedError");
});
