import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile, constant, input, int8Matmul, type Tensor, weight } from "../src/index.ts";

/** Where weights come from: in the graph, from a file mapped into it, or fed with each run. */
const places: Record<string, (values: Int8Array, shape: [number, number], folder: string) => Promise<Tensor>> = {
  "in the graph": async (values, shape) => constant(values, shape),
  "in a file": async (values, shape, folder) => {
    const path = join(folder, "weights");
    await writeFile(path, values);
    return weight("w", shape, { path, offset: 0 }, "int8");
  },
  "in memory": async (data, shape) => weight("w", shape, { data }, "int8"),
};

/** Weights and, in steps of 1/64 of which 127 are the largest magnitude, rows. */
const patterns: readonly ((i: number) => number)[] = [
  () => 127,
  () => -127,
  (i) => (i % 2 ? -127 : 127),
  (i) => (i % 4 < 2 ? 127 : -127),
  (i) => (i % 2 ? 0 : 127),
];

/**
 * The largest sums that 8 bits can make: rows are 255 and 1 once they are unsigned. Kernels of processors without VNNI
 * add two products of an unsigned and a signed byte in 16 bits, which hold 32,767 where 2 · 255 · 127 is 64,770.
 */
describe.each(Object.keys(places))("8-bit products at their extremes, with weights %s", (place) => {
  // One row has kernels of its own; widths that 4, 16 and 32 do not divide have remainders.
  const sizes = [1, 5].flatMap((rows) => [7, 64, 147, 576].map((inner) => ({ rows, inner })));

  it.each([...sizes, { rows: 40, inner: 576 }])("are exact for $rows rows of $inner", async ({ rows, inner }) => {
    const columns = 2 * patterns.length;
    const x = Float32Array.from({ length: rows * inner }, (_, at) => {
      return patterns[Math.floor(at / inner) % patterns.length]!(at % inner) / 64;
    });
    const w = Int8Array.from({ length: inner * columns }, (_, at) => {
      return patterns[at % patterns.length]!(Math.floor(at / columns));
    });
    const folder = await mkdtemp(join(tmpdir(), "tenet-int8-"));
    try {
      const weights = await places[place]!(w, [inner, columns], folder);
      const scales = constant(new Float32Array(columns).fill(1), [columns]);
      const program = await compile(() => ({ y: int8Matmul(input("x", "float32", ["rows", inner]), weights, scales) }));
      const { y } = await program.run({ x: { data: x, shape: [rows, inner] } });
      await program.dispose();
      const expected = Float32Array.from({ length: rows * columns }, (_, at) => {
        const [row, column] = [Math.floor(at / columns), at % columns];
        let sum = 0;
        for (let i = 0; i < inner; i++) sum += x[row * inner + i]! * w[i * columns + column]!;
        return sum;
      });
      // What is left is the rounding of the rows' steps.
      (y.data as Float32Array).forEach((value, at) => {
        expect(Math.abs(value - expected[at]!), `${value} for ${expected[at]}`).toBeLessThan(0.02);
      });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
