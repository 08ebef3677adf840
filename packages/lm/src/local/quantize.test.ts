import { readFileSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compile, grad, input, type Tensor } from "@tenet/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeTinyModel } from "../../test/tiny-model.ts";
import { openCheckpoint } from "../checkpoint/index.ts";
import { weightShapes } from "../decoder/index.ts";
import { UsageError } from "../language-model/index.ts";
import { openLocalModel } from "./index.ts";

import { matrixProducts, type Quantized, quantizeInt4, quantizeInt8 } from "./quantize.ts";
import { modulesByInput, smoothingFactors } from "./smoothing.ts";
import { mappedWeights } from "./weights.ts";

interface Golden {
  versions: { torch: string; gguf: string };
  int8: { shape: [number, number]; w: string; scales: string; values: string };
  int4: { shape: [number, number]; w: string };
}
const golden = JSON.parse(readFileSync(new URL("quantize.golden.json", import.meta.url), "utf8")) as Golden;

function bytes(text: string): ArrayBuffer {
  return Uint8Array.from(Buffer.from(text, "base64")).buffer;
}

/** What 8-bit values [in, out] stand for: [out, in]. */
function fromInt8({ values, scales }: Quantized, [out, width]: readonly number[]): Float64Array {
  return Float64Array.from({ length: out! * width! }, (_, at) => {
    const [row, i] = [Math.floor(at / width!), at % width!];
    return values[i * out! + row]! * scales[row]!;
  });
}

function fromInt4({ values, scales, offsets }: Quantized): Float64Array {
  return Float64Array.from({ length: 2 * values.length }, (_, at) => {
    const block = Math.floor(at / 32);
    return (((values[at >> 1]! >> (4 * (at % 2))) & 15) - 8) * scales[block]! + offsets[block]!;
  });
}

/** Sizes of an input's channels of many magnitudes. */
function sizesFor(first: string, weights: ReadonlyMap<string, Tensor>): Float32Array {
  return Float32Array.from({ length: weights.get(`${first}.weight`)!.dim(1) as number }, (_, i) => 1e-4 * 7 ** (i % 5));
}

describe("8 bits", () => {
  const { shape, ...stored } = golden.int8;
  const w = new Float32Array(bytes(stored.w));

  it(`are those of PyTorch ${golden.versions.torch}, bit by bit`, () => {
    const { values, scales } = quantizeInt8(w, shape);
    const expected = new Int8Array(bytes(stored.values));
    const [out, width] = shape;
    const rows = Int8Array.from(expected, (_, at) => values[(at % width) * out + Math.floor(at / width)]!);
    expect(rows).toEqual(expected);
    expect(scales).toEqual(new Float32Array(bytes(stored.scales)));
  });

  it("come back to themselves", () => {
    const once = quantizeInt8(w, shape);
    const again = quantizeInt8(Float32Array.from(fromInt8(once, shape)), shape);
    expect(again.values).toEqual(once.values);
  });
});

describe("4 bits", () => {
  it(`keep what ${golden.versions.gguf} of gguf-py put on a grid of 16 levels`, () => {
    const w = new Float32Array(bytes(golden.int4.w));
    const back = fromInt4(quantizeInt4(w, golden.int4.shape));
    const off = Math.max(...w.map((x, i) => Math.abs(back[i]! - x)));
    expect(off).toBeLessThan(1e-3);
  });

  it("are off by half a level at most, a level being a fifteenth of a block's span", () => {
    const w = Float32Array.from({ length: 128 }, (_, i) => Math.sin(1.7 * i) * (i < 64 ? 0.1 : 3));
    const back = fromInt4(quantizeInt4(w, [2, 64]));
    for (let block = 0; block < 4; block++) {
      const some = w.subarray(32 * block, 32 * block + 32);
      const span = Math.max(...some) - Math.min(...some);
      // The grid that fits best may be coarser; the block as a whole is not worse for it.
      const squares = some.reduce((sum, x, i) => sum + (x - back[32 * block + i]!) ** 2, 0);
      expect(Math.sqrt(squares / 32)).toBeLessThan(span / 30);
    }
  });
});

describe("a model's matrices", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tenet-quantize-"));
    // 48, the width of down_proj, is no multiple of 32.
    await writeTinyModel(folder);
  });
  afterAll(() => rm(folder, { recursive: true }));

  it.each(["int8", "int4"] as const)("multiply in %s as what they stand for", async (format) => {
    const checkpoint = await openCheckpoint(folder);
    const weights = await mappedWeights(checkpoint, folder);
    const sizes = new Map(modulesByInput(checkpoint.config).map(([first]) => [first!, sizesFor(first!, weights)]));
    const product = await matrixProducts(checkpoint, folder, format, weights, { sizes: async () => sizes });
    const attention = ["q_proj", "k_proj", "v_proj"].map((name) => `model.layers.1.self_attn.${name}.weight`);
    for (const name of [...attention, "model.layers.0.mlp.down_proj.weight", "lm_head.weight"]) {
      const [out, width] = weightShapes(checkpoint.config)[name] as [number, number];
      const w = await checkpoint.read(name);
      const four = format === "int4" && name.includes("self_attn");
      const smooth = format === "int8";
      const group = modulesByInput(checkpoint.config).find((paths) => paths.includes(name.replace(".weight", "")));
      const factors = smooth
        ? smoothingFactors(
            sizes.get(group![0]!)!,
            await Promise.all(group!.map((path) => checkpoint.read(`${path}.weight`))),
          )
        : new Float32Array(width).fill(1);
      if (smooth) expect(new Set(factors).size).toBeGreaterThan(3);
      const held = w.map((value, at) => value * factors[at % width]!);
      const stands = four
        ? fromInt4(quantizeInt4(w, [out, width]))
        : fromInt8(quantizeInt8(held, [out, width]), [out, width]);
      // A row of zeros, and two that 8 bits hold exactly, in each block of 32 if need be, once they are divided by the factors.
      const grid = Float32Array.from({ length: 3 * width }, (_, at) =>
        at < width ? 0 : at % (four ? 32 : width) === 0 ? 127 / 64 : ((at * 37) % 255) / 64 - 127 / 64,
      );
      const x = grid.map((value, at) => value * factors[at % width]!);
      const program = await compile(() => ({ y: product(input("x", "float32", ["rows", width]), name) }));
      const { y } = await program.run({ x: { data: x, shape: [3, width] } });
      await program.dispose();
      for (let row = 0; row < 3; row++)
        for (let column = 0; column < out; column++) {
          let expected = 0;
          for (let i = 0; i < width; i++) expected += grid[row * width + i]! * stands[column * width + i]!;
          expect(Math.abs((y.data as Float32Array)[row * out + column]! - expected)).toBeLessThan(2e-5);
        }
    }
    await checkpoint.close();
  });

  it("take gradients back through 8 bits, as what they stand for", async () => {
    const checkpoint = await openCheckpoint(folder);
    const weights = await mappedWeights(checkpoint, folder);
    const sizes = new Map(modulesByInput(checkpoint.config).map(([first]) => [first!, sizesFor(first!, weights)]));
    const product = await matrixProducts(checkpoint, folder, "int8", weights, {
      sizes: async () => sizes,
      gradients: true,
    });
    for (const path of ["model.layers.1.self_attn.k_proj", "model.layers.0.mlp.down_proj"]) {
      const name = `${path}.weight`;
      const shape = weightShapes(checkpoint.config)[name] as [number, number];
      const [out, width] = shape;
      const group = modulesByInput(checkpoint.config).find((paths) => paths.includes(path))!;
      const matrices = await Promise.all(group.map((one) => checkpoint.read(`${one}.weight`)));
      const factors = smoothingFactors(sizes.get(group[0]!)!, matrices);
      const w = await checkpoint.read(name);
      const held = quantizeInt8(
        w.map((value, at) => value * factors[at % width]!),
        shape,
      );
      // Two rows that 8 bits hold exactly once they are multiplied by the scales, and one of zeros.
      const grid = Float32Array.from({ length: 3 * out }, (_, at) =>
        at < out ? 0 : at % out === 0 ? 127 / 64 : ((at * 37) % 255) / 64 - 127 / 64,
      );
      const dy = grid.map((value, at) => value / held.scales[at % out]!);
      const program = await compile(() => {
        const x = input("x", "float32", [3, width]);
        return {
          dx: grad(
            product(x, name)
              .mul(input("dy", "float32", [3, out]))
              .sum(),
            [x],
          ),
        };
      });
      const { dx } = await program.run({ dy });
      await program.dispose();
      for (let row = 0; row < 3; row++)
        for (let i = 0; i < width; i++) {
          let sum = 0;
          for (let column = 0; column < out; column++)
            sum += grid[row * out + column]! * held.values[i * out + column]!;
          const expected = sum / factors[i]!;
          const found = (dx[0]!.data as Float32Array)[row * width + i]!;
          expect(Math.abs(found - expected)).toBeLessThan(1e-5 * Math.max(1, Math.abs(expected)));
        }
    }
    await checkpoint.close();
  });

  it("are written once, and an unknown format is refused", async () => {
    const files = async () => (await readdir(folder)).filter((name) => name.includes(".int8"));
    const open = () => openLocalModel(folder, { device: "cpu", cacheDir: join(folder, "cache"), weights: "int8" });
    await (await open()).close();
    await (await open()).close();
    expect(
      (await readdir(join(folder, "cache", "weights"))).filter((name) => name.endsWith(".int8-smooth")),
    ).toHaveLength(1);
    expect((await files()).some((name) => name.endsWith(".tmp"))).toBe(false);
    const wrong = openLocalModel(folder, { device: "cpu", cacheDir: folder, weights: "int3" as "int4" });
    await expect(wrong).rejects.toThrow(UsageError);
    const untrained = openLocalModel(folder, { device: "cpu", cacheDir: folder, trainedOn: "int4" as "int8" });
    await expect(untrained).rejects.toThrow(/not trained on weights in "int4"; expected float32 or int8/);
  });
});
