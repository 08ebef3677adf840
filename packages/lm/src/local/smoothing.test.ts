import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compile, input, int8Matmul, weight } from "@tenet/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeTinyModel } from "../../test/tiny-model.ts";
import { openCheckpoint } from "../checkpoint/index.ts";
import { openText } from "../text/index.ts";
import { quantizeInt8 } from "./quantize.ts";
import { channelSizes, modulesByInput, smoothingFactors } from "./smoothing.ts";
import { mappedWeights } from "./weights.ts";

describe("factors of channels", () => {
  const sizes = Float32Array.of(10, 40, 900, 0.5);
  const w = Float32Array.of(0.5, -0.25, 0.1, 0, -1, 0.5, 0.05, 2); // [2, 4]

  it("are √(size / largest weight), to an eighth of an octave", () => {
    const peaks = [1, 0.5, 0.1, 2];
    smoothingFactors(sizes, [w]).forEach((factor, i) => {
      const off = Math.log2(factor) - Math.log2(Math.sqrt(sizes[i]! / peaks[i]!));
      // The last size is below a hundredth of the mean, and taken for that.
      const raised = i === 3 ? Math.log2(Math.sqrt(950.5 / 4 / 100 / 0.5)) : 0;
      expect(Math.abs(off - raised)).toBeLessThan(1 / 8 + 1e-6);
    });
  });

  it("are those of all matrices that take the input, and of none where nothing is known", () => {
    const half = [w.slice(0, 4), w.slice(4)];
    expect(smoothingFactors(sizes, half)).toEqual(smoothingFactors(sizes, [w]));
    expect(smoothingFactors(new Float32Array(2), [new Float32Array(2)])).toEqual(Float32Array.of(1, 1));
  });

  it("are the same on processors that round sizes differently", () => {
    const otherwise = sizes.map((size, i) => size * (1 + (i - 1.5) * 1e-6));
    expect(smoothingFactors(otherwise, [w])).toEqual(smoothingFactors(sizes, [w]));
  });

  it("keep a channel a thousand times as large from costing the others their digits", async () => {
    const [rows, width, out] = [24, 32, 16];
    const noise = (at: number) => Math.sin(12.9898 * at + 78.233 * (at % 7)); // in −1 … 1
    const x = Float32Array.from({ length: rows * width }, (_, at) => noise(at) * (at % width === 5 ? 1000 : 1));
    const w = Float32Array.from({ length: out * width }, (_, at) => noise(at + 1e4) * (at % width === 5 ? 0.001 : 1));
    const off = async (factors: Float32Array) => {
      const { values, scales } = quantizeInt8(
        w.map((value, at) => value * factors[at % width]!),
        [out, width],
      );
      const program = await compile(() => {
        const matrix = weight("w", [width, out], { data: values as Int8Array }, "int8");
        return { y: int8Matmul(input("x", "float32", [rows, width]), matrix, weight("s", [out], { data: scales })) };
      });
      const divided = x.map((value, at) => value / factors[at % width]!);
      const { y } = await program.run({ x: { data: divided, shape: [rows, width] } });
      await program.dispose();
      let squares = 0;
      for (let row = 0; row < rows; row++)
        for (let column = 0; column < out; column++) {
          let exact = 0;
          for (let i = 0; i < width; i++) exact += x[row * width + i]! * w[column * width + i]!;
          squares += ((y.data as Float32Array)[row * out + column]! - exact) ** 2;
        }
      return Math.sqrt(squares / (rows * out));
    };
    const sizes = Float32Array.from({ length: width }, (_, i) => (i === 5 ? 1000 : 1));
    const [before, after] = [await off(new Float32Array(width).fill(1)), await off(smoothingFactors(sizes, [w]))];
    expect(before).toBeGreaterThan(1);
    expect(after).toBeLessThan(before / 40);
  });
});

describe("sizes of channels", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tenet-smoothing-"));
    await writeTinyModel(folder);
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("are of every input, and of the first layer what its normed embeddings have", async () => {
    const checkpoint = await openCheckpoint(folder);
    const weights = await mappedWeights(checkpoint, folder);
    const text = await openText(checkpoint);
    const read: number[][] = [];
    const { config } = checkpoint;
    const sizes = await channelSizes(config, (name) => weights.get(name)!, {
      ...text,
      encode: (sample, options) => {
        read.push(text.encode(sample, options));
        return read.at(-1)!;
      },
    });
    expect([...sizes.keys()].sort()).toEqual(
      modulesByInput(config)
        .map(([first]) => first)
        .sort(),
    );
    const tokens = read.flat();
    const time = Math.min(128, config.max_position_embeddings);
    const seen = tokens.slice(0, Math.floor(tokens.length / time) * time);
    expect(seen.length).toBeGreaterThan(500);
    const [embeddings, gain] = [
      await checkpoint.read("model.embed_tokens.weight"),
      await checkpoint.read("model.layers.0.input_layernorm.weight"),
    ];
    const width = config.hidden_size;
    const fourth = new Float64Array(width);
    for (const token of seen) {
      const row = Float64Array.from(embeddings.subarray(token * width, (token + 1) * width));
      const rms = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0) / width + config.rms_norm_eps);
      row.forEach((value, i) => {
        fourth[i]! += ((value / rms) * gain[i]!) ** 4 / seen.length;
      });
    }
    const first = sizes.get("model.layers.0.self_attn.q_proj")!;
    fourth.forEach((value, i) => {
      expect(Math.abs(first[i]! / value ** 0.25 - 1)).toBeLessThan(1e-5);
    });
    await checkpoint.close();
  });
});
