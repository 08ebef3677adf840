import { describe, expect, it } from "vitest";
import {
  compile,
  constant,
  type DType,
  fromHalf,
  gather,
  gatherAlong,
  gelu,
  geluTanh,
  grad,
  input,
  layerNorm,
  logSigmoid,
  logSoftmax,
  logSumExp,
  matmul,
  rmsNorm,
  scatterAdd,
  sigmoid,
  silu,
  softmax,
  softplus,
  sort,
  type Tensor,
  tanh,
  toHalf,
  weight,
  where,
} from "../src/index.ts";
import { evaluate } from "./reference.ts";

/** From tiny to 10⁴, both signs. */
const magnitudes = [0, 1e-6, 1e-3, 0.1, 0.5, 1, 2, 5, 8, 10, 15, 17, 18, 20, 30, 50, 80, 88, 90, 104, 1e3, 1e4];
const wide = Float32Array.from([...magnitudes, ...magnitudes.map((m) => -m)]);

async function errors(outputs: Record<string, Tensor>, feeds: Record<string, Float32Array>, shape: number[]) {
  const program = await compile(() => outputs, { threads: 1 });
  const fed = Object.fromEntries(program.inputs.map(({ name }) => [name, { shape, data: feeds[name]! }]));
  const results = await program.run(fed);
  await program.dispose();
  const exact = Object.entries(feeds).map(([name, data]) => [name, { shape, data: Float64Array.from(data) }]);
  const expected = evaluate(Object.values(outputs), Object.fromEntries(exact));
  return Object.keys(outputs).map((key, i) => ({ key, got: [...results[key]!.data], want: [...expected[i]!.data] }));
}

function check(found: Awaited<ReturnType<typeof errors>>, relative: number, absolute: number): void {
  for (const { key, got, want } of found)
    want.forEach((value, i) => {
      const off = Math.abs(got[i]! - value);
      expect(off <= relative * Math.abs(value) + absolute, `${key}[${i}] is ${got[i]}, expected ${value}`).toBe(true);
    });
}

describe("values up to ±10⁴ in float32", () => {
  const x = input("x", "float32", [wide.length]);

  const elementwise = { sigmoid, softplus, logSigmoid, tanh, silu, gelu, geluTanh };
  for (const [name, f] of Object.entries(elementwise))
    it(name, async () => {
      const y = f(x);
      const [dx] = grad(y.sum(), [x]);
      check(await errors({ y, dx: dx! }, { x: wide }, [wide.length]), 2e-6, 2e-6);
    });

  // Rows whose largest element stands alone, is shared, or is nearly matched.
  const rows = Float32Array.from([1e4, -1e4, 0, 5, 1e4, 1e4, 1e4, 1e4, -1e4, -9999, -1e4, -9998, 0, 0.5, 1, 88]);
  const m = input("m", "float32", [4, 4]);
  const alongRows = { softmax, logSoftmax, logSumExp: (t: Tensor) => logSumExp(t) };
  for (const [name, f] of Object.entries(alongRows))
    it(name, async () => {
      const y = f(m);
      // One element of each row alone: sums over the row would hide its errors.
      const [dm] = grad((y.rank === 2 ? y.slice(1, 1, 2) : y).sum(), [m]);
      check(await errors({ y, dm: dm! }, { m: rows }, [4, 4]), 2e-6, 2e-6);
    });
});

describe("float16 by way of the CPU's own kernels or of casts around them", () => {
  const shape = [3, 4];
  const a = Float32Array.from({ length: 12 }, (_, i) => Math.fround(Math.sin(3 * i)));
  const x = input("x", "float32", shape);
  const through = (f: (h: Tensor) => Tensor): Tensor => f(x.cast("float16")).cast("float32");
  const ops: Record<string, (h: Tensor) => Tensor> = {
    add: (h) => h.add(h),
    mul: (h) => h.mul(h).sub(1),
    div: (h) => h.div(h.add(2)),
    exp: (h) => h.exp(),
    sigmoid,
    silu,
    gelu,
    tanh,
    softmax: (h) => softmax(h),
    logSoftmax: (h) => logSoftmax(h),
    sum: (h) => h.sum(-1),
    mean: (h) => h.mean(0),
    max: (h) => h.max(-1),
    matmul: (h) => matmul(h, h, { transB: true, alpha: 0.5 }),
    rmsNorm: (h) => rmsNorm(h, h.slice(0, 0, 1).reshape([4])),
    layerNorm: (h) => layerNorm(h, h.slice(0, 0, 1).reshape([4]), h.slice(0, 1, 2).reshape([4])),
    where: (h) => where(h.cast("bool"), h, 2),
    pad: (h) => h.transpose().reshape([2, 6]).slice(1, 1, 5),
    sort: (h) => sort(h).values,
    gather: (h) => gather(h, constant(Int32Array.of(2, 0, 2), [3])),
    gatherAlong: (h) => gatherAlong(h, constant(Int32Array.of(2, 0, 2), [3, 1])),
    scatterAdd: (h) => scatterAdd(h, constant(Int32Array.of(2, 2, 0), [3]), h),
  };

  for (const [name, f] of Object.entries(ops))
    it(name, async () => {
      const y = through(f);
      const gradients = Object.fromEntries(grad(y.sum(), [x]).map((dx) => ["dx", dx]));
      // Half precision has 11 bits; a few roundings add up.
      check(await errors({ y, ...gradients }, { x: a }, shape), 4e-3, 4e-3);
    });

  // Also where JavaScript has a Float16Array, which the runtime takes for something else.
  it("is fed, held and fetched as bit patterns", async () => {
    // A view with something before and after it.
    const patterns = (values: number[]) => Uint16Array.from([9, ...values, 9], toHalf).subarray(1, -1);
    const h = input("h", "float16" satisfies DType, ["n"]);
    const held = weight("held", [3], { data: patterns([1, 2, 3]) }, "float16");
    const inGraph = constant(patterns([0.5, 0.25, 0.125]), [3]);
    const program = await compile(() => ({
      y: h.mul(2),
      sums: [inGraph.add(1), held.add(1)],
      empty: h.slice(0, 0, 0),
    }));
    const { y, sums, empty } = await program.run({ h: { data: patterns([1, -0.5, 1024]), shape: [3] } });
    const [fromGraph, fromMemory] = sums;
    for (const { data } of [y, fromGraph!, fromMemory!, empty]) expect(data).toBeInstanceOf(Uint16Array);
    expect(Array.from(y.data, fromHalf)).toEqual([2, -1, 2048]);
    expect(Array.from(fromGraph!.data, fromHalf)).toEqual([1.5, 1.25, 1.125]);
    expect(Array.from(fromMemory!.data, fromHalf)).toEqual([2, 3, 4]);
    expect(empty.data).toHaveLength(0);
    await expect(program.run({ h: 1 })).rejects.toThrow(/float16; feed its 16-bit pattern/);
    await program.dispose();
  });
});
