import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compile, input, slice } from "@tenet/tensor";
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
import { decoder, headName, linearCrossEntropy, loraFrom, loraModules } from "../decoder/index.ts";
import { type Adapter, adapterFactors, loadAdapter, mergeAdapter, saveAdapter } from "./index.ts";

type Stored = FamilyGolden["tokens"];

interface Kind {
  files: Record<string, string>;
  scales: Record<string, number>;
  ranks: Record<string, number>;
  logits: Stored;
  gradients: Record<string, Stored>;
}

const path = new URL("../../test/golden/adapter-kinds.golden.json", import.meta.url);
const golden: { family: string; kinds: Record<string, Kind> } = JSON.parse(await readFile(path, "utf8"));
const family = await readFamily(golden.family);
const floats = ({ data }: Stored) => new Float32Array(bytesOf(data));
const [CONFIG, WEIGHTS] = ["adapter_config.json", "adapter_model.safetensors"];

let home: string;
let fresh = 0;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tenet-kinds-"));
});
afterAll(() => rm(home, { recursive: true }));
const newPath = () => join(home, `${fresh++}`);

/** A folder that PEFT saved, with other settings and, by `rename`, other names of tensors (none for undefined). */
async function folderOf(
  kind: string,
  changes: Record<string, unknown> = {},
  rename: (name: string) => string | undefined = (name) => name,
  more: Record<string, readonly number[]> = {},
): Promise<string> {
  const folder = newPath();
  await mkdir(folder);
  const { files } = golden.kinds[kind]!;
  const config = JSON.parse(Buffer.from(files[CONFIG]!, "base64").toString());
  await writeFile(join(folder, CONFIG), JSON.stringify({ ...config, ...changes }));
  await writeFile(join(folder, "source.safetensors"), Buffer.from(files[WEIGHTS]!, "base64"));
  const source = await openSafetensors(join(folder, "source.safetensors"));
  const tensors = [];
  for (const [name, { shape }] of source.tensors) {
    const renamed = rename(name);
    if (renamed !== undefined)
      tensors.push({ name: renamed, dtype: "F32" as const, shape, data: await source.read(name) });
  }
  for (const [name, shape] of Object.entries(more)) {
    const data = new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(0.5);
    tensors.push({ name, dtype: "F32" as const, shape, data });
  }
  await writeSafetensors(join(folder, WEIGHTS), tensors);
  await source.close();
  return folder;
}

/** Logits of the last three positions of the golden rows' first, and the gradient that the golden file has. */
async function outcome(checkpoint: Checkpoint, adapter?: Adapter) {
  const { config } = checkpoint;
  const weight = await graphWeights(checkpoint);
  const [rows, time] = family.tokens.shape as [number, number];
  const program = await compile(() => {
    const tokens = input("tokens", "int32", [rows, time]);
    const lora = adapter && loraFrom(config, adapter.lora, adapter.parameters.tensors);
    const hidden = decoder(tokens, { config, weight, lora });
    const head = weight(headName(config));
    const logits = slice(hidden, 0, time - 3, time).matmul(head, { transB: true });
    const predicting = hidden.reshape([rows, time, config.hidden_size]);
    const flat = slice(predicting, 1, 0, time - 1).reshape([rows * (time - 1), config.hidden_size]);
    const next = slice(tokens, 1, 1, time).reshape([rows * (time - 1)]);
    const loss = linearCrossEntropy(flat, head, next).mean();
    return { logits, loss, ...(adapter ? { gradient: adapter.parameters.gradient(loss) } : {}) };
  });
  const feeds = adapter ? adapter.parameters.feeds() : {};
  const out = await program.run({ ...feeds, tokens: new Int32Array(bytesOf(family.tokens.data)) });
  await program.dispose();
  return out as unknown as Record<"logits" | "gradient", { data: Float32Array }>;
}

describe.each(Object.keys(golden.kinds))("an adapter that PEFT saved: %s", (kind) => {
  const expected = golden.kinds[kind]!;

  it("has PEFT's ranks, scales, logits and gradients", () =>
    withCheckpoint(family, async (checkpoint) => {
      const adapter = await loadAdapter(await folderOf(kind), checkpoint.config);
      const modules = loraModules(checkpoint.config, adapter.lora);
      expect([...modules.keys()].sort()).toEqual(Object.keys(expected.scales).sort());
      const factors = adapterFactors(adapter).factors;
      for (const [path, scale] of Object.entries(expected.scales)) {
        expect(modules.get(path)!.rank, path).toBe(expected.ranks[path]);
        expect(modules.get(path)!.scale, path).toBeCloseTo(scale, 12);
        expect(factors.get(path)).toMatchObject({ rank: expected.ranks[path], scale: modules.get(path)!.scale });
      }
      const { logits, gradient } = await outcome(checkpoint, adapter);
      expect(largestDifference(logits.data, floats(expected.logits))).toBeLessThanOrEqual(5e-5);
      const plain = (await outcome(checkpoint)).logits.data;
      expect(largestDifference(plain, floats(expected.logits))).toBeGreaterThan(0.05);
      for (const [name, stored] of Object.entries(expected.gradients)) {
        const { start, end } = adapter.parameters.ranges.find((range) => range.name === name)!;
        const reference = floats(stored);
        const size = Math.max(...reference.map(Math.abs));
        expect(largestDifference(gradient.data.slice(start, end), reference), name).toBeLessThanOrEqual(1e-4 * size);
      }
    }));

  it("is the same after saving and loading, and merged into the model", () =>
    withCheckpoint(family, async (checkpoint) => {
      const adapter = await loadAdapter(await folderOf(kind), checkpoint.config);
      const saved = newPath();
      await saveAdapter(saved, { ...adapter, config: checkpoint.config });
      const again = await loadAdapter(saved, checkpoint.config);
      expect(loraModules(checkpoint.config, again.lora)).toEqual(loraModules(checkpoint.config, adapter.lora));
      for (const { name } of adapter.parameters.ranges)
        expect(again.parameters.view(name)).toEqual(adapter.parameters.view(name));
      const merged = newPath();
      await mergeAdapter(checkpoint, adapter, merged, { dtype: "F32" });
      const opened = await openCheckpoint(merged);
      const { logits } = await outcome(opened);
      await opened.close();
      expect(largestDifference(logits.data, floats(expected.logits))).toBeLessThanOrEqual(5e-5);
    }));
});

const load = (folder: string) => withCheckpoint(family, ({ config }) => loadAdapter(folder, config));
const prefix = "base_model.model.";

describe("names and settings that mean the same", () => {
  it.each([
    ["torch.compile around the base", (name: string) => name.replace(prefix, `${prefix}_orig_mod.`)],
    ["torch.compile around all of it", (name: string) => `_orig_mod.${name}`],
  ])("%s", async (_, rename) => {
    const [plain, compiled] = [await load(await folderOf("rslora")), await load(await folderOf("rslora", {}, rename))];
    expect(compiled.lora).toEqual(plain.lora);
    expect(compiled.parameters.data).toEqual(plain.parameters.data);
  });

  it.each([
    ["all-linear", { target_modules: "all-linear" }],
    ["rslora", { target_modules: "^(?!.*visual).*\\.(q_proj|v_proj)$" }],
    ["full paths", { target_modules: null }],
  ])("modules of %s as %j", async (kind, changes) => {
    const [listed, other] = [await load(await folderOf(kind)), await load(await folderOf(kind, changes))];
    expect(other.parameters.data).toEqual(listed.parameters.data);
  });
});

describe("what cannot be loaded is refused by its name", () => {
  const without = (part: string) => (name: string) => (name.includes(part) ? undefined : name);
  const [embed, head] = [`${prefix}model.embed_tokens`, `${prefix}lm_head`];
  const layer = `${prefix}model.layers.0.self_attn.q_proj`;
  const merge = /merge_and_unload/;

  it.each<[string, () => Promise<string>, RegExp]>([
    [
      "embeddings saved beside the factors",
      () => folderOf("rslora", {}, undefined, { [`${embed}.weight`]: [97, 32], [`${head}.weight`]: [97, 32] }),
      /expected LoRA factors alone, found the embeddings \("model\.embed_tokens\.weight", \[97,32\].*merge_and_unload.*save_embedding_layers=False/,
    ],
    [
      "embeddings of a vocabulary that was resized",
      () => folderOf("rslora", {}, undefined, { [`${embed}.weight`]: [99, 32] }),
      /found the embeddings .*\[99,32\], where the model has 97 rows: its vocabulary was resized/,
    ],
    [
      "an output head saved beside them",
      () => folderOf("rslora", {}, undefined, { [`${head}.weight`]: [97, 32] }),
      /output head/,
    ],
    [
      "factors of the embeddings",
      () => folderOf("rslora", {}, undefined, { [`${embed}.lora_embedding_A`]: [4, 97] }),
      /factors of the embeddings.*merge_and_unload/,
    ],
    [
      "factors of the output head",
      () => folderOf("rslora", {}, undefined, { [`${head}.lora_A.weight`]: [4, 32] }),
      /factors of the output head.*merge_and_unload/,
    ],
    [
      "magnitudes of DoRA",
      () => folderOf("rslora", {}, undefined, { [`${layer}.lora_magnitude_vector`]: [32] }),
      /DoRA/,
    ],
    ["biases of factors", () => folderOf("rslora", {}, undefined, { [`${layer}.lora_B.bias`]: [32] }), /lora_bias/],
    ["trained biases", () => folderOf("rslora", {}, undefined, { [`${layer}.bias`]: [32] }), /trained biases/],
    [
      "a whole module",
      () => folderOf("rslora", {}, undefined, { [`${prefix}model.norm.weight`]: [32] }),
      /modules_to_save/,
    ],
    ["use_dora", () => folderOf("rslora", { use_dora: true }), /use_dora: .*found true\. Merge/],
    [
      "modules_to_save",
      () => folderOf("rslora", { modules_to_save: ["embed_tokens", "lm_head"] }),
      /modules_to_save: .*\["embed_tokens","lm_head"\].*merge_and_unload/,
    ],
    ["a setting nobody knows", () => folderOf("rslora", { use_marvel: true }), /use_marvel: expected false/],
    [
      "an alpha that is no number",
      () => folderOf("rslora", { alpha_pattern: { q_proj: "big" } }),
      /alpha_pattern.*q_proj/,
    ],
    [
      "a pattern that RE2 cannot have",
      () => folderOf("rslora", { alpha_pattern: { "(?=q)q_proj": 3 } }),
      /alpha_pattern: .*\(\?=q\)q_proj/,
    ],
    [
      "ranks other than the pattern's",
      () => folderOf("rank_pattern", { rank_pattern: { v_proj: 3 } }),
      /v_proj\.lora_A\.weight": expected the shape \[3,32\].*rank 3.*found \[2,32\]/,
    ],
    ["another scale of ranks", () => folderOf("rank_pattern", { rank_pattern: {} }), /rank 4 .*found \[2,32\]/],
    [
      "a module that is not listed",
      () => folderOf("rslora", { target_modules: ["q_proj"] }),
      /v_proj\.lora_A\.weight": .*another module/,
    ],
    [
      "a listed module without factors",
      () => folderOf("rslora", {}, without("1.self_attn.v_proj")),
      /layers\.1\.self_attn\.v_proj\.lora_A\.weight": expected a tensor of shape \[4,32\], found none/,
    ],
    [
      "one factor of two",
      () => folderOf("pattern of one layer", {}, without("q_proj.lora_B")),
      /q_proj\.lora_B\.weight": expected a tensor of shape/,
    ],
    [
      "two names of one factor",
      () => folderOf("rslora", {}, undefined, { [`_orig_mod.${layer}.lora_A.weight`]: [4, 32] }),
      /each tensor once/,
    ],
    [
      "modules by a layer's other name",
      () => folderOf("rslora", { layers_to_transform: [0], layers_pattern: "blocks" }),
      /layers_pattern/,
    ],
  ])("%s", async (_, folder, message) => {
    const error = await load(await folder()).catch((error) => error);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toMatch(message);
    if (/embedding|output head saved/.test(_)) expect(error.message).toMatch(merge);
    expect(error.message).not.toMatch(/object"|found "object/);
  });
});
