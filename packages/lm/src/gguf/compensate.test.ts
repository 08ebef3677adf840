import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compile, input, matmul, type Tensor } from "@tenet/tensor";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { writeTinyModel } from "../../test/tiny-model.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint/index.ts";
import { adaptedProjection, decoder, modulePath, type Projection } from "../decoder/index.ts";
import { mappedWeights } from "../local/weights.ts";
import { exportOnnx } from "../onnx/export.ts";
import { onnxFaults } from "../onnx/proof.ts";
import { Carries, compensatedBlocks, InputFactor } from "./compensate.ts";
import { decoded, rounded } from "./encode.ts";
import { exportGguf } from "./export.ts";
import { weightFaults } from "./faults.ts";
import { layerInputs } from "./layer-inputs.ts";

vi.setConfig({ testTimeout: 120_000 });

const golden = JSON.parse(readFileSync(new URL("compensate.golden.json", import.meta.url), "utf8"));
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text, "base64"));
const floatsOf = (text: string) => new Float32Array(bytesOf(text).buffer);

describe("rounding with the inputs in view", () => {
  const [w, moments] = [floatsOf(golden.w), floatsOf(golden.moments)];
  const round = async (factor: InputFactor) => {
    const carries = new Carries({});
    return factor.round(w, carries.of(golden.shape)).finally(() => carries.dispose());
  };

  /** How far outputs move: Σ (w − ŵ)·H·(w − ŵ)ᵀ over rows, H with the hundredth of its mean diagonal that is added to it. */
  const moved = (after: Float32Array) => {
    const [rows, width] = golden.shape as [number, number];
    let trace = 0;
    for (let i = 0; i < width; i++) trace += moments[i * width + i]!;
    let sum = 0;
    for (let row = 0; row < rows; row++)
      for (let i = 0; i < width; i++)
        for (let j = 0; j < width; j++) {
          const h = moments[i * width + j]! + (i === j ? (0.01 * trace) / width : 0);
          sum += (w[row * width + i]! - after[row * width + i]!) * h * (w[row * width + j]! - after[row * width + j]!);
        }
    return sum;
  };

  it("gives what GPTQ's own algorithm gives in NumPy", async () => {
    const bytes = await round(new InputFactor(moments));
    const wanted = bytesOf(golden.bytes);
    // Sums in another order may tip a number that stands between two levels.
    const other = bytes.filter((byte, i) => byte !== wanted[i]).length;
    expect(other).toBeLessThanOrEqual(0.005 * wanted.length);
    const after = decoded(bytes, "Q4_0");
    expect(moved(after) / golden.moved.compensated).toBeCloseTo(1, 2);
    expect(moved(rounded(w, "Q4_0")) / golden.moved.plain).toBeCloseTo(1, 5);
    expect(golden.moved.compensated).toBeLessThan(0.5 * golden.moved.plain);
  });

  it("leaves a block of nothing as it is, and moves nothing where inputs never spoke", async () => {
    const after = decoded(await round(new InputFactor(moments)), "Q4_0");
    expect(after.subarray(4 * 160 + 32, 4 * 160 + 64).some((value) => Math.abs(value) > 0.05)).toBe(false);
    const silent = decoded(await round(new InputFactor(new Float32Array(moments.length))), "Q4_0");
    const off = (values: Float32Array) => values.reduce((sum, value, i) => sum + (value - w[i]!) ** 2, 0);
    expect(off(silent)).toBeLessThanOrEqual(off(rounded(w, "Q4_0")));
  });
});

describe("a model's matrices in Q4_0", () => {
  let folder: string;
  let checkpoint: Checkpoint;
  const texts = Array.from({ length: 9 }, (_, text) =>
    Array.from({ length: 31 + 17 * text }, (_, i) => (7 * i * (text + 3) + ((i * i) % 11)) % 256),
  );
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tenet-compensate-"));
    const model = await writeTinyModel(join(folder, "model"), {
      config: { model_type: "qwen3", hidden_size: 64, intermediate_size: 96, head_dim: 16 },
    });
    checkpoint = await openCheckpoint(model);
  });
  afterAll(async () => {
    await checkpoint.close();
    await rm(folder, { recursive: true });
  });

  it("see the inputs that the whole model gives them, layer by layer", async () => {
    const { config } = checkpoint;
    const all = texts.flat();
    const [rows, time] = [Math.floor(all.length / 256), 256];
    expect(rows).toBeGreaterThan(2);
    const seen = all.slice(0, rows * time);
    const owner = texts.flatMap((text, i) => text.map(() => i)).slice(0, seen.length);
    const places: number[] = [];
    owner.forEach((text, at) => {
      places.push(at % time === 0 || text !== owner[at - 1] ? 0 : places[at - 1]! + 1);
    });
    const weights = await mappedWeights(checkpoint, folder);
    const weight = (name: string) => weights.get(name)!;
    const plain = adaptedProjection(config, weight, undefined);
    const program = await compile(() => {
      const moments: Record<string, Tensor> = {};
      decoder(input("tokens", "int32", [rows, time]), {
        ...{ config, weight, maxPositions: time },
        segments: input("segments", "int32", [rows, time]),
        positions: input("positions", "int32", [rows, time]),
        project(x, layer, names) {
          moments[modulePath(layer, names[0]!)] = matmul(x, x, { transA: true });
          return plain(x, layer, names);
        },
      });
      return moments;
    });
    const fed = (data: number[]) => ({ data: Int32Array.from(data), shape: [rows, time] });
    const wanted = await program.run({ tokens: fed(seen), segments: fed(owner), positions: fed(places) });
    await program.dispose();
    let compared = 0;
    for await (const { layer, moments } of layerInputs(config, { weight: checkpoint.read, texts }))
      for (const [name, found] of moments as ReadonlyMap<Projection, Float32Array>) {
        const { data } = wanted[modulePath(layer, name)]!;
        const largest = Math.max(...(data as Float32Array).map(Math.abs));
        found.forEach((value, i) => {
          if (!(Math.abs(value - data[i]!) <= 1e-5 * largest)) expect({ layer, name, i, value }).toEqual(data[i]);
        });
        compared++;
      }
    expect(compared).toBe(4 * config.num_hidden_layers);
  });

  it("are in the files number for number, and are no others' to a proof", async () => {
    const compensated = await compensatedBlocks(checkpoint, { texts });
    // Values stay in Q8_0.
    expect([...compensated.keys()].filter((name) => name.includes("layers.1.")).length).toBe(6);
    expect([...compensated.keys()].some((name) => name.includes("v_proj"))).toBe(false);
    const again = await compensatedBlocks(checkpoint, { texts });
    for (const [name, bytes] of compensated) expect(Buffer.from(bytes).equals(again.get(name)!), name).toBe(true);

    const path = join(folder, "model.gguf");
    await exportGguf(checkpoint, path, { type: "Q4_0", compensated });
    const written = await openCheckpoint(path);
    for (const [name, bytes] of compensated) expect(await written.read(name), name).toEqual(decoded(bytes, "Q4_0"));
    expect(await weightFaults(written, { checkpoint, type: "Q4_0", compensated })).toEqual([]);
    expect(await weightFaults(written, { checkpoint, type: "Q4_0" })).toEqual([
      expect.stringMatching(/^12 of \d+ weights are not those of the checkpoint/),
    ]);
    await written.close();

    const onnx = join(folder, "onnx");
    await exportOnnx(checkpoint, onnx, { type: "Q4_0", compensated });
    expect(await onnxFaults(onnx, { checkpoint, type: "Q4_0", compensated })).toEqual([]);
    expect(await onnxFaults(onnx, { checkpoint, type: "Q4_0" })).toEqual([
      expect.stringMatching(/^12 of \d+ matrices/),
    ]);
  });

  it("are refused where their inputs are no numbers", async () => {
    const broken = {
      ...checkpoint,
      read: async (name: string) => {
        const values = await checkpoint.read(name);
        return name.includes("layers.0.mlp.down_proj") ? values.fill(Number.NaN) : values;
      },
    } as Checkpoint;
    await expect(compensatedBlocks(broken, { texts })).rejects.toThrow(/the inputs of .*layers\.1.*finite numbers/s);
    expect(() => new InputFactor(Float32Array.of(1, 9, 9, 1))).toThrow(/expected second moments, found a pivot/);
  });

  it("are rounded number for number where texts are too short to tell", async () => {
    expect((await compensatedBlocks(checkpoint, { texts: texts.slice(0, 2) })).size).toBe(0);
  });

  it("are left to the writer's refusal where the type cannot hold them", async () => {
    const huge = {
      ...checkpoint,
      read: async (name: string) => {
        const values = await checkpoint.read(name);
        return name.includes("layers.1.self_attn.o_proj") ? values.map((value) => value * 1e8) : values;
      },
    } as Checkpoint;
    const compensated = await compensatedBlocks(huge, { texts });
    expect(compensated.has("model.layers.1.self_attn.o_proj.weight")).toBe(false);
    await expect(exportGguf(huge, join(folder, "huge.gguf"), { type: "Q4_0", compensated })).rejects.toThrow(
      /numbers that Q4_0 can hold/,
    );
  });
});
