import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compile, input, logSigmoid, ParameterSet, slice } from "@tenet/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  bytesOf,
  type FamilyGolden,
  graphWeights,
  largestDifference,
  readFamily,
  withCheckpoint,
} from "../../test/golden/families.ts";
import {
  type Checkpoint,
  CheckpointError,
  openCheckpoint,
  openSafetensors,
  writeSafetensors,
} from "../checkpoint/index.ts";
import { decoder, headName, loraFrom, loraShapes, scalarHead } from "../decoder/index.ts";
import {
  type Adapter,
  adapterFactors,
  adapterShapes,
  initialiseAdapter,
  loadAdapter,
  mergeAdapter,
  saveAdapter,
} from "./index.ts";

type Stored = FamilyGolden["tokens"];

interface AdapterGolden {
  family: string;
  causal: { files: Record<string, string>; tokens: Stored; logits: Stored };
  classifier: {
    files: Record<string, string>;
    tokens: Stored;
    lengths: number[];
    scores: Stored;
    loss: number;
    gradients: Record<string, Stored>;
  };
}

const goldenPath = new URL("../../test/golden/adapter.golden.json", import.meta.url);
const golden: AdapterGolden = JSON.parse(await readFile(goldenPath, "utf8"));
const family = await readFamily(golden.family);
const prefix = "base_model.model.";

let home: string;
let fresh = 0;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tenet-adapter-"));
});
afterAll(() => rm(home, { recursive: true }));
const newPath = () => join(home, `${fresh++}`);

/** The folder that PEFT wrote, with changes to its settings. */
async function peftFolder(kind: "causal" | "classifier", changes: Record<string, unknown> = {}): Promise<string> {
  const folder = newPath();
  await mkdir(folder);
  for (const [name, data] of Object.entries(golden[kind].files))
    await writeFile(join(folder, name), Buffer.from(data, "base64"));
  const path = join(folder, "adapter_config.json");
  await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, "utf8")), ...changes }));
  return folder;
}

async function logitsOf(checkpoint: Checkpoint, tokens: Stored, adapter?: Adapter): Promise<Float32Array> {
  const { config } = checkpoint;
  const weight = await graphWeights(checkpoint);
  const program = await compile(() => {
    const lora = adapter && loraFrom(config, adapter.lora, adapter.parameters.tensors);
    const hidden = decoder(input("tokens", "int32", tokens.shape), { config, weight, lora });
    return { logits: hidden.matmul(weight(headName(config)), { transB: true }) };
  });
  const feeds = adapter ? adapter.parameters.feeds() : {};
  const { logits } = await program.run({ ...feeds, tokens: new Int32Array(bytesOf(tokens.data)) });
  await program.dispose();
  return logits.data as Float32Array;
}

const floats = ({ data }: Stored) => new Float32Array(bytesOf(data));

describe("an adapter that PEFT trained", () => {
  it("gives PEFT's logits", () =>
    withCheckpoint(family, async (checkpoint) => {
      const adapter = await loadAdapter(await peftFolder("causal"), checkpoint.config);
      expect(adapter.lora).toEqual({ rank: 4, alpha: 12, targets: ["q_proj", "v_proj", "down_proj"] });
      const logits = await logitsOf(checkpoint, golden.causal.tokens, adapter);
      expect(largestDifference(logits, floats(golden.causal.logits))).toBeLessThanOrEqual(5e-5);
    }));

  it("gives PEFT's scores, loss and gradients under a scalar head", () =>
    withCheckpoint(family, async (checkpoint) => {
      const { config } = checkpoint;
      const expected = golden.classifier;
      const [rows, time] = expected.tokens.shape as [number, number];
      const { lora, parameters } = await loadAdapter(await peftFolder("classifier"), config);
      const weight = await graphWeights(checkpoint);
      const program = await compile(() => {
        const factors = loraFrom(config, lora, parameters.tensors);
        const hidden = decoder(input("tokens", "int32", [rows, time]), { config, weight, lora: factors });
        const scores = scalarHead(hidden, parameters.tensors["score.weight"]!, input("last", "int32", [rows]));
        const [chosen, rejected] = [slice(scores, 0, 0, rows, 2), slice(scores, 0, 1, rows, 2)];
        const loss = logSigmoid(chosen.sub(rejected)).neg().mean();
        return { scores, loss, gradient: parameters.gradient(loss) };
      });
      const tokens = new Int32Array(bytesOf(expected.tokens.data));
      const last = Int32Array.from(expected.lengths, (length, row) => row * time + length - 1);
      const out = await program.run({ ...parameters.feeds(), tokens, last });
      await program.dispose();
      expect(largestDifference(out.scores.data, floats(expected.scores))).toBeLessThanOrEqual(2e-5);
      expect(out.loss.data[0]! / expected.loss).toBeCloseTo(1, 4);
      expect(parameters.ranges.map(({ name }) => prefix + name).sort()).toEqual(Object.keys(expected.gradients).sort());
      for (const { name, start, end } of parameters.ranges) {
        const reference = floats(expected.gradients[prefix + name]!);
        const size = Math.max(...reference.map(Math.abs));
        const difference = largestDifference(out.gradient.data.slice(start, end), reference);
        expect(difference, name).toBeLessThanOrEqual(1e-4 * size);
      }
    }));

  it("comes back from saving and loading, names and values", () =>
    withCheckpoint(family, async ({ config }) => {
      for (const kind of ["causal", "classifier"] as const) {
        const source = await peftFolder(kind);
        const adapter = await loadAdapter(source, config);
        const folder = newPath();
        await saveAdapter(folder, { ...adapter, config, baseModel: "some/model" });
        const [ours, theirs] = [
          await openSafetensors(join(folder, "adapter_model.safetensors")),
          await openSafetensors(join(source, "adapter_model.safetensors")),
        ];
        expect([...ours.tensors.keys()].sort()).toEqual([...theirs.tensors.keys()].sort());
        for (const [name, { shape }] of theirs.tensors) {
          expect(ours.tensors.get(name)!.shape).toEqual(shape);
          expect(await ours.read(name)).toEqual(await theirs.read(name));
        }
        await Promise.all([ours.close(), theirs.close()]);
        const again = await loadAdapter(folder, config);
        expect(again.lora).toEqual(adapter.lora);
        expect(again.baseModel).toBe("some/model");
        expect(again.parameters.data).toEqual(adapter.parameters.data);
        // Over the folder that is there.
        await saveAdapter(folder, { ...adapter, config, baseModel: "other/model" });
        expect((await loadAdapter(folder, config)).baseModel).toBe("other/model");
        expect((await readdir(folder)).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
      }
    }));
});

describe("mergeAdapter", () => {
  it("writes a checkpoint with the adapter's logits", () =>
    withCheckpoint(family, async (checkpoint, source) => {
      await writeFile(join(source, "tokenizer.json"), '{"made": "up"}');
      const adapter = await loadAdapter(await peftFolder("causal"), checkpoint.config);
      const folder = newPath();
      await mergeAdapter(checkpoint, adapter, folder, { dtype: "F32" });
      const merged = await openCheckpoint(folder);
      expect(merged.config).toEqual(checkpoint.config);
      expect((await merged.tokenizer()).tokenizer).toEqual({ made: "up" });
      const logits = await logitsOf(merged, golden.causal.tokens);
      expect(largestDifference(logits, floats(golden.causal.logits))).toBeLessThanOrEqual(5e-5);
      await merged.close();
      await expect(mergeAdapter(checkpoint, adapter, folder)).rejects.toThrow(/a new or empty folder/);

      const half = newPath();
      await mergeAdapter(checkpoint, adapter, half);
      expect(JSON.parse(await readFile(join(half, "config.json"), "utf8")).dtype).toBe("bfloat16");
      const brain = await openCheckpoint(half);
      expect(new Set([...brain.tensors.values()].map(({ dtype }) => dtype))).toEqual(new Set(["BF16"]));
      await brain.close();
    }));

  it("refuses an adapter with a scalar head, and leaves nothing behind", () =>
    withCheckpoint(family, async (checkpoint) => {
      const adapter = await loadAdapter(await peftFolder("classifier"), checkpoint.config);
      const before = await readdir(home);
      await expect(mergeAdapter(checkpoint, adapter, newPath())).rejects.toThrow(/scalar head/);
      expect(await readdir(home)).toEqual(before);
    }));

  it("refuses an adapter of another model, and takes an empty folder", () =>
    withCheckpoint(family, async (checkpoint) => {
      const adapter = await loadAdapter(await peftFolder("causal"), checkpoint.config);
      const folder = newPath();
      await mkdir(folder);
      const shallow = { ...checkpoint, config: { ...checkpoint.config, num_hidden_layers: 1 } };
      await expect(mergeAdapter(shallow, adapter, folder)).rejects.toThrow(/layers\.1\..* found another module/);
      await mergeAdapter(checkpoint, adapter, folder, { dtype: "F16" });
      expect((await readdir(folder)).sort()).toEqual(["config.json", "model.safetensors"]);
    }));

  it("does not follow a tokenizer's link out of the checkpoint", () =>
    withCheckpoint(family, async (checkpoint, source) => {
      const secret = newPath();
      await writeFile(secret, "{}");
      await symlink(secret, join(source, "tokenizer.json"));
      const adapter = await loadAdapter(await peftFolder("causal"), checkpoint.config);
      const folder = newPath();
      await expect(mergeAdapter(checkpoint, adapter, folder)).rejects.toThrow(/symbolic link that leaves it/);
      await expect(readdir(folder)).rejects.toThrow();
    }));
});

describe("initialiseAdapter", () => {
  it("starts as the unchanged model, uniform within 1/√in, the same for one seed", () =>
    withCheckpoint(family, async (checkpoint) => {
      const { config } = checkpoint;
      const lora = { rank: 4, alpha: 8 };
      const parameters = new ParameterSet(adapterShapes(config, lora, { head: true }));
      initialiseAdapter(parameters, { seed: 5 });
      for (const { name, shape } of parameters.ranges) {
        const values = parameters.view(name);
        const meanSquare = values.reduce((sum, x) => sum + x * x, 0) / values.length;
        if (name.includes("lora_B")) expect(meanSquare).toBe(0);
        else if (name === "score.weight") expect(Math.sqrt(meanSquare)).toBeCloseTo(0.02, 2);
        else {
          const bound = 1 / Math.sqrt(shape[1]!);
          expect(Math.max(...values.map(Math.abs))).toBeLessThanOrEqual(Math.fround(bound));
          expect(meanSquare / (bound ** 2 / 3)).toBeGreaterThan(0.7);
          expect(meanSquare / (bound ** 2 / 3)).toBeLessThan(1.3);
        }
      }
      const causal = new ParameterSet(loraShapes(config, lora));
      initialiseAdapter(causal, { seed: 5 });
      expect(causal.data).toEqual(parameters.data.subarray(0, causal.size));
      const logits = await logitsOf(checkpoint, golden.causal.tokens, {
        lora,
        parameters: causal,
        baseModel: undefined,
      });
      expect(logits).toEqual(await logitsOf(checkpoint, golden.causal.tokens));
      initialiseAdapter(causal, { seed: 6 });
      expect(causal.data).not.toEqual(parameters.data.subarray(0, causal.size));
    }));
});

describe("adapterFactors", () => {
  it("gives every module's factors, shared with the parameters", () =>
    withCheckpoint(family, async ({ config }) => {
      const adapter = await loadAdapter(await peftFolder("causal"), config);
      const { factors } = adapterFactors(adapter);
      expect(new Set([...factors.values()].map(({ scale }) => scale))).toEqual(new Set([3]));
      expect(factors.size).toBe(6);
      const path = "model.layers.1.mlp.down_proj";
      adapter.parameters.view(`${path}.lora_B.weight`)[3] = 42;
      expect(factors.get(path)!.b[3]).toBe(42);
    }));
});

describe("hostile folders", () => {
  const load = (folder: string) => withCheckpoint(family, ({ config }) => loadAdapter(folder, config));

  it.each([
    [{ peft_type: "IA3" }, /peft_type: expected "LORA", found "IA3"/],
    [{ use_dora: true }, /use_dora: expected false, found true\. Merge/],
    [{ bias: "all" }, /bias: expected "none", found "all"/],
    [{ init_lora_weights: "pissa_niter_4" }, /init_lora_weights: expected true/],
    [{ modules_to_save: ["lm_head"] }, /modules_to_save: expected nothing, or the scalar head/],
    [
      { target_modules: ["q_proj", "../../etc"] },
      /target_modules: expected modules among q_proj, .* found "\.\.\/\.\.\/etc"/,
    ],
    [{ target_modules: ["q_proj"] }, /down_proj.lora_A.weight": expected factors of q_proj in .* found another module/],
    [
      { target_modules: ["q_proj", "v_proj", "down_proj", "o_proj"] },
      /o_proj.lora_A.weight": expected a tensor of shape/,
    ],
    [{ r: 8 }, /expected the shape \[8,48\] that rank 8 has on this model, found \[4,48\]\. Load it on the model/],
    [{ r: -1 }, /, r: expected an adapter_config.json as PEFT writes it/],
    [{ lora_alpha: "big" }, /, lora_alpha: expected/],
  ])("settings %j", async (changes, message) => {
    const error = await load(await peftFolder("causal", changes)).catch((error) => error);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toMatch(message);
  });

  it("takes a pattern of modules from the weights' names", async () => {
    const { lora } = await load(await peftFolder("causal", { target_modules: ".*(q|v|down)_proj" }));
    expect(lora.targets).toEqual(["q_proj", "v_proj", "down_proj"]);
  });

  it("an adapter of a wider model", async () => {
    const folder = await peftFolder("causal");
    const wide = withCheckpoint(family, ({ config }) => loadAdapter(folder, { ...config, intermediate_size: 64 }));
    await expect(wide).rejects.toThrow(/down_proj.lora_A.weight": expected the shape \[4,64\] .* found \[4,48\]/);
    const deep = withCheckpoint(family, ({ config }) => loadAdapter(folder, { ...config, num_hidden_layers: 1 }));
    await expect(deep).rejects.toThrow(/layers\.1\..* found another module/);
  });

  it("weights elsewhere, missing, cut short, of other names, not finite", async () => {
    const name = "adapter_model.safetensors";
    const outside = await peftFolder("causal");
    await rm(join(outside, name));
    await expect(load(outside)).rejects.toThrow(/adapter_model\.safetensors: expected a readable file, found nothing/);
    await symlink(join(await peftFolder("causal"), name), join(outside, name));
    await expect(load(outside)).rejects.toThrow(/symbolic link that leaves it/);

    const cut = await peftFolder("causal");
    const bytes = await readFile(join(cut, name));
    await writeFile(join(cut, name), bytes.subarray(0, bytes.length - 4));
    await expect(load(cut)).rejects.toThrow(CheckpointError);

    const renamed = await peftFolder("causal");
    await writeSafetensors(join(renamed, name), [
      { name: "__proto__", dtype: "F32", shape: [1], data: Float32Array.of(1) },
    ]);
    await expect(load(renamed)).rejects.toThrow(/a name that starts with base_model\.model\./);
    const odd = [{ name: `${prefix}constructor`, dtype: "F32" as const, shape: [1], data: Float32Array.of(1) }];
    await writeSafetensors(join(renamed, name), odd);
    await expect(load(renamed)).rejects.toThrow(/found another module/);

    const diverged = await peftFolder("causal");
    const source = await openSafetensors(join(diverged, name));
    const tensors = await Promise.all(
      [...source.tensors].map(async ([name, { shape }]) => {
        return { name, dtype: "F32" as const, shape, data: (await source.read(name)).fill(Number.NaN, 2, 3) };
      }),
    );
    await source.close();
    await writeSafetensors(join(diverged, name), tensors);
    await expect(load(diverged)).rejects.toThrow(/expected finite numbers, found NaN as number 2/);
  });

  it("parameters that are not those of the settings are not saved", () =>
    withCheckpoint(family, async ({ config }) => {
      const adapter = await loadAdapter(await peftFolder("causal"), config);
      const folder = newPath();
      const wrong = { ...adapter, lora: { ...adapter.lora, rank: 2 }, config };
      await expect(saveAdapter(folder, wrong)).rejects.toThrow(/the shape \[2,32\] that rank 2 has/);
      await expect(readdir(folder)).rejects.toThrow();
    }));
});
