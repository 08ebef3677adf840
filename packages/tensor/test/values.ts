import { expect } from "vitest";
import { compile, type Tensor } from "../src/index.ts";
import { evaluate, type Values } from "./reference.ts";

export type Feeds = Record<string, Values>;

export function vector(...data: number[]): Values {
  return { shape: [data.length], data: Float64Array.from(data) };
}

export function matrix(rows: number, columns: number, at: (i: number) => number): Values {
  return { shape: [rows, columns], data: Float64Array.from({ length: rows * columns }, (_, i) => at(i)) };
}

/** Values in float64. */
export function values(tensors: readonly Tensor[], feeds: Feeds): number[][] {
  return evaluate(tensors, feeds).map(({ data }) => [...data]);
}

/** Values on ONNX Runtime, which must also agree with the reference. */
export async function run(outputs: Readonly<Record<string, Tensor>>, feeds: Feeds): Promise<Record<string, number[]>> {
  const program = await compile(() => outputs, { threads: 1 });
  const fed = program.inputs.map(({ name, dtype }) => {
    const { shape, data } = feeds[name]!;
    return [name, { shape, data: dtype === "int32" ? Int32Array.from(data) : Float32Array.from(data) }] as const;
  });
  const results = await program.run(Object.fromEntries(fed));
  await program.dispose();
  const expected = values(Object.values(outputs), feeds);
  return Object.fromEntries(
    Object.keys(outputs).map((key, i) => {
      const got = [...results[key]!.data];
      closeTo(got, expected[i]!, 1e-5);
      return [key, got];
    }),
  );
}

export function closeTo(got: readonly number[], want: readonly number[], tolerance = 1e-9): void {
  expect(got.length).toBe(want.length);
  want.forEach((value, i) => {
    expect(Math.abs(got[i]! - value), `element ${i}: ${got[i]}, expected ${value}`).toBeLessThanOrEqual(
      tolerance * Math.max(1, Math.abs(value)),
    );
  });
}

/** Central differences of a scalar by an input. */
export function differences(loss: Tensor, name: string, feeds: Feeds, step = 1e-5): number[] {
  const { shape, data } = feeds[name]!;
  const at = (i: number, delta: number) =>
    values([loss], { ...feeds, [name]: { shape, data: data.map((v, j) => (i === j ? v + delta : v)) } })[0]![0]!;
  return [...data].map((_, i) => (at(i, step) - at(i, -step)) / (2 * step));
}
