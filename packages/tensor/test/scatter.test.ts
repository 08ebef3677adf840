import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile, fill, gather, grad, input, mul, type Program, scatterAdd, sum, type Tensor } from "../src/index.ts";

/*
 * Rows that are named many times receive every update, in every run: a kernel whose threads add to a row at once loses some of them.
 */

const [rows, updates, width] = [64, 4096, 576];
const runs = 25;

/** Half of the updates go to one row, the others to all in turn. */
const places = Int32Array.from({ length: updates }, (_, i) => (i % 2 === 0 ? 3 : (i >> 1) % rows));
const times = Float32Array.from({ length: rows }, (_, row) => places.filter((place) => place === row).length);
const counted = Float32Array.from({ length: rows * width }, (_, at) => times[Math.floor(at / width)]!);

describe.each<[string, () => { y: Tensor }]>([
  ["sums", () => ({ y: scatterAdd(fill([rows, width], 0, "float32"), at(), ones()) })],
  [
    "gradients of what was looked up",
    () => {
      const table = input("table", "float32", [rows, width]);
      const loss = sum(mul(gather(table, at()), ones()));
      return { y: grad(loss, [table])[0]! };
    },
  ],
])("%s of rows named many times", (_, build) => {
  let program: Program<{ y: Tensor }>;
  beforeAll(async () => {
    program = await compile(build, { threads: 4 });
  });
  afterAll(() => program.dispose());

  it("are whole in every run", async () => {
    const feeds = {
      at: { data: places, shape: [updates] },
      ones: { data: new Float32Array(updates * width).fill(1), shape: [updates, width] },
      table: { data: new Float32Array(rows * width), shape: [rows, width] },
    };
    const wanted = Object.fromEntries(
      Object.entries(feeds).filter(([name]) => program.inputs.some((one) => one.name === name)),
    );
    for (let run = 0; run < runs; run++) {
      const { y } = await program.run(wanted);
      expect(Buffer.from((y.data as Float32Array).buffer).equals(Buffer.from(counted.buffer)), `run ${run}`).toBe(true);
    }
  });
});

function at(): Tensor {
  return input("at", "int32", [updates]);
}

function ones(): Tensor {
  return input("ones", "float32", [updates, width]);
}
