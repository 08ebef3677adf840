import { copyFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError } from "../checkpoint/errors.ts";
import { readJson } from "../checkpoint/file.ts";
import {
  type Checkpoint,
  type ModelConfig,
  openShell,
  type TensorToWrite,
  writeSafetensors,
} from "../checkpoint/index.ts";
import { loraModule } from "../decoder/index.ts";
import { openText, TokenizerError } from "../text/index.ts";
import { type Adapter, type Factors, inNewFolder, requireInside, requireMergeable, writeJson } from "./folder.ts";

export interface MergeOptions {
  /** Type of the weights in the merged checkpoint. Default BF16. */
  readonly dtype?: TensorToWrite["dtype"];
}

/** Of a Hugging Face folder, what is taken along beside weights and config. */
const COMPANIONS = [
  ...["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model"],
  ...["vocab.json", "merges.txt", "chat_template.jinja", "generation_config.json"],
];

const TORCH_NAMES = { F32: "float32", F16: "float16", BF16: "bfloat16" };

const CLASSES = { llama: "Llama", mistral: "Mistral", qwen2: "Qwen2", qwen3: "Qwen3" };

/**
 * Writes a model with an adapter merged in, W + scale·B·A, as a Hugging Face folder: `model.safetensors`,
 * `config.json`, tokenizer and chat template. The folder must be new or empty; it appears whole.
 * One tensor is in memory at a time. A checkpoint from GGUF is written in full, dequantised.
 * @throws CheckpointError
 * @example
 * await mergeAdapter(checkpoint, await loadAdapter(folder, checkpoint.config), "models/helpful", { dtype: "BF16" });
 */
export async function mergeAdapter(
  checkpoint: Checkpoint,
  adapter: Adapter,
  folder: string,
  { dtype = "BF16" }: MergeOptions = {},
): Promise<void> {
  await requireEmpty(folder);
  requireMergeable(adapter, checkpoint, folder);
  const config = await mergedConfig(checkpoint, dtype);
  const tensors = [...checkpoint.tensors].map(([name, { shape }]) => {
    return { name, dtype, shape, data: () => mergedWeight(checkpoint, adapter, name) };
  });
  await inNewFolder(folder, async (into) => {
    await writeSafetensors(join(into, "model.safetensors"), tensors, { format: "pt" });
    await writeJson(join(into, "config.json"), config);
    if (checkpoint.format === "gguf") await writeCompanions(checkpoint, into);
    else await copyCompanions(checkpoint.path, into);
    await writeEnds(into);
  });
}

/**
 * Lists the tokens at which replies end in `generation_config.json` where the files do not: other programs know no end of turn that only
 * the chat template tells.
 */
async function writeEnds(into: string): Promise<void> {
  const names = await readdir(into);
  // Weights are merged without a tokenizer too, or with one that is not known here.
  if (!names.includes("tokenizer.json")) return;
  const settings = await openShell(into);
  const { config } = settings;
  const text = await openText(settings).catch((error) => {
    if (error instanceof CheckpointError || error instanceof TokenizerError) return undefined;
    throw error;
  });
  if (text === undefined || [...text.endIds].every((id) => config.eos_token_ids.includes(id))) return;
  const path = join(into, "generation_config.json");
  const already = names.includes("generation_config.json") ? await readJson(path) : {};
  await writeJson(path, { ...already, eos_token_id: [...new Set([...text.endIds, ...config.eos_token_ids])] });
}

/** A weight with what the adapter adds to it, row-major float32. */
export async function mergedWeight(
  checkpoint: Checkpoint,
  { lora, parameters }: Factors,
  name: string,
): Promise<Float32Array> {
  const weight = await checkpoint.read(name);
  const path = name.slice(0, -".weight".length);
  const factor = parameters.ranges.find((range) => range.name === `${path}.lora_A.weight`);
  if (!factor) return weight;
  const [a, b] = [parameters.view(factor.name), parameters.view(`${path}.lora_B.weight`)];
  addProduct(weight, b, a, loraModule(lora, path));
  return weight;
}

interface ProductOptions {
  readonly rank: number;
  readonly scale: number;
}

/** w += scale · b·a for w [out, in], b [out, rank], a [rank, in], summed in float64. */
function addProduct(w: Float32Array, b: Float32Array, a: Float32Array, { rank, scale }: ProductOptions): void {
  const width = a.length / rank;
  const row = new Float64Array(width);
  for (let out = 0; out * width < w.length; out++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = scale * b[out * rank + r]!;
      for (let i = 0; i < width; i++) row[i]! += factor * a[r * width + i]!;
    }
    for (let i = 0; i < width; i++) w[out * width + i]! += row[i]!;
  }
}

/** The `config.json` of a merged checkpoint. Throws CheckpointError for a rope scaling of a GGUF file that it cannot express. */
export async function mergedConfig(
  checkpoint: Checkpoint,
  dtype: TensorToWrite["dtype"],
): Promise<Record<string, unknown>> {
  if (checkpoint.format === "gguf") return publishedConfig(checkpoint.config, dtype, checkpoint.path);
  const config = await readJson(join(checkpoint.path, "config.json"));
  // Whichever of the two names the config uses; the weights are of one type now, quantised ones included.
  delete config.quantization_config;
  const field = "torch_dtype" in config ? "torch_dtype" : "dtype";
  return { ...config, [field]: TORCH_NAMES[dtype] };
}

/** A config as transformers reads it; older versions take `rope_theta` and `rope_scaling`, newer ones translate them. */
function publishedConfig(config: ModelConfig, dtype: TensorToWrite["dtype"], file: string): Record<string, unknown> {
  if (config.rope_scaling?.rope_type === "frequency_factors") {
    throw new CheckpointError({
      file,
      where: "rope_freqs.weight",
      expected: "a rope scaling that config.json can express",
      found: "factors for each frequency",
      fix: "Merge into the model's safetensors checkpoint instead of its GGUF file.",
    });
  }
  const { eos_token_ids: ends, ...settings } = config;
  return {
    architectures: [`${CLASSES[config.model_type]}ForCausalLM`],
    ...settings,
    // Qwen looks at its window only where it is told to.
    ...(config.model_type.startsWith("qwen") ? { use_sliding_window: config.sliding_window !== null } : {}),
    eos_token_id: ends.length > 1 ? ends : (ends[0] ?? null),
    hidden_act: "silu",
    torch_dtype: TORCH_NAMES[dtype],
  };
}

async function copyCompanions(from: string, into: string): Promise<void> {
  const names = await readdir(from);
  for (const name of COMPANIONS.filter((companion) => names.includes(companion))) {
    await requireInside(from, join(from, name));
    await copyFile(join(from, name), join(into, name));
  }
}

async function writeCompanions(checkpoint: Checkpoint, into: string): Promise<void> {
  const { tokenizer, config } = await checkpoint.tokenizer();
  await writeJson(join(into, "tokenizer.json"), tokenizer);
  await writeJson(join(into, "tokenizer_config.json"), config);
  if (checkpoint.chatTemplate !== undefined)
    await writeFile(join(into, "chat_template.jinja"), checkpoint.chatTemplate);
  const { bos_token_id, eos_token_ids, pad_token_id } = checkpoint.config;
  const ids = { bos_token_id, eos_token_id: eos_token_ids, ...(pad_token_id === null ? {} : { pad_token_id }) };
  await writeJson(join(into, "generation_config.json"), ids);
}

async function requireEmpty(folder: string): Promise<void> {
  const there = await stat(folder).catch(() => undefined);
  if (!there || (there.isDirectory() && (await readdir(folder)).length === 0)) return;
  throw new CheckpointError({
    file: folder,
    expected: "a new or empty folder",
    found: there.isDirectory() ? "a folder with files" : "a file",
    fix: "Choose another path for the merged model.",
  });
}
