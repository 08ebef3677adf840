import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type ModelConfig, parseConfig } from "./config.ts";
import { CheckpointError, quote } from "./errors.ts";
import { listFolder, openRanges, readJson, readText, statFile } from "./file.ts";
import { fitWeights } from "./fit.ts";
import { openGguf } from "./gguf.ts";
import { type TokenizerFiles, tokenizerFromGguf } from "./gguf-tokenizer.ts";
import { refusePackedConfig } from "./packed.ts";
import { openSafetensors, openShardedSafetensors } from "./safetensors.ts";

export { ARCHITECTURES, type Architecture, type ModelConfig, type RopeScaling } from "./config.ts";
export { CheckpointError } from "./errors.ts";
export { type Gguf, type GgufTensor, openGguf } from "./gguf.ts";
export { GGUF_TYPES } from "./gguf-header.ts";
export type { TokenizerFiles } from "./gguf-tokenizer.ts";
export {
  openSafetensors,
  openShardedSafetensors,
  type Safetensors,
  type SafetensorsDtype,
  type SafetensorsTensor,
} from "./safetensors.ts";
export { type TensorToWrite, writeSafetensors } from "./safetensors-write.ts";

/** What is known of a tensor before it is read. */
export interface TensorInfo {
  /** The stored type: F32, F16, BF16, Q4_K … */
  dtype: string;
  /** Row-major, slowest dimension first; a linear layer's weight is [outputs, inputs]. */
  shape: readonly number[];
  file: string;
  /** Of the first byte in `file`. */
  offset: number;
  /** Stored, not as float32. */
  bytes: number;
}

/** A model on the disk, whatever its format: one set of names, one config, float32 out. */
export interface Checkpoint {
  readonly format: "safetensors" | "gguf";
  /** The folder or file it was opened from. */
  readonly path: string;
  readonly config: ModelConfig;
  /**
   * By Hugging Face name (`model.layers.0.self_attn.q_proj.weight`): exactly those that the config asks for, in the shapes it
   * asks for; `lm_head.weight` is absent where it is tied.
   */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** A tensor as float32, row-major; throws CheckpointError for an absent name. */
  read(name: string): Promise<Float32Array>;
  /** As `read`, into a target of exactly the tensor's length. */
  readInto(name: string, target: Float32Array): Promise<void>;
  /**
   * The tokenizer's files, read or converted at the first call: weights can be used without them.
   * Throws CheckpointError when there are none or their kind is unknown.
   */
  tokenizer(): Promise<TokenizerFiles>;
  /** The Jinja source that turns messages into a prompt; undefined for a base model. */
  readonly chatTemplate: string | undefined;
  /** Closes the files; reads under way must have ended. */
  close(): Promise<void>;
}

/**
 * Opens a checkpoint: a Hugging Face folder (single or sharded safetensors), one of its files, or a GGUF file.
 *
 * Reads headers and settings only, whatever the size of the weights; each tensor is read when it is asked for, by ranges,
 * once; where the config ties the output head and the file has one all the same, both are read and compared.
 * Throws CheckpointError for everything that is wrong with what is there: an unknown architecture, packed weights, and
 * tensors that are missing, left over or of other shapes than the config's.
 *
 * @example
 * const checkpoint = await openCheckpoint("models/SmolLM2-135M-Instruct.Q4_1.gguf");
 * const embedding = await checkpoint.read("model.embed_tokens.weight"); // [49152 × 576] float32
 * await checkpoint.close();
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const status = await stat(path).catch(() => undefined);
  if (status?.isDirectory()) return openFolder(path);
  await statFile(path);
  if (path.endsWith(".json")) return openHuggingFace(dirname(path), path);
  return (await isGguf(path)) ? openGgufCheckpoint(path) : openHuggingFace(dirname(path), path);
}

async function openFolder(folder: string): Promise<Checkpoint> {
  const names = await listFolder(folder);
  for (const name of ["model.safetensors", "model.safetensors.index.json"]) {
    if (names.includes(name)) return openHuggingFace(folder, join(folder, name));
  }
  const weights = names.filter((name) => name.endsWith(".safetensors"));
  const ggufs = names.filter((name) => name.endsWith(".gguf"));
  if (ggufs.length === 1) return openGgufCheckpoint(join(folder, ggufs[0]!));
  if (ggufs.length === 0 && weights.length === 1) return openHuggingFace(folder, join(folder, weights[0]!));
  const several = ggufs.length > 1 || weights.length > 1;
  throw new CheckpointError({
    file: folder,
    expected: "model.safetensors, model.safetensors.index.json or one .gguf file",
    found: several ? [...ggufs, ...weights].slice(0, 5).map(quote).join(", ") : "none of them",
    fix: several
      ? "Give the path of the file you want."
      : "Give a folder with weights; pytorch_model.bin has to be converted to safetensors first.",
  });
}

/** A model's shape and text, without its weights. */
export type ModelShell = Pick<Checkpoint, "path" | "config" | "tokenizer" | "chatTemplate">;

/**
 * Reads what a Hugging Face folder says of a model beside its weights, which need not be there: they are where the model is computed.
 * Errors: CheckpointError for an unknown architecture, packed weights, or a folder without config.json.
 */
export async function openShell(folder: string): Promise<ModelShell> {
  const configPath = join(folder, "config.json");
  const raw = await readJson(configPath);
  const config = parseConfig(raw, configPath);
  refusePackedConfig(raw, configPath);
  config.eos_token_ids = await endsOfGeneration(folder, config.eos_token_ids);
  const names = new Set(await listFolder(folder));
  const chatTemplate = await readChatTemplate(folder, names);
  let tokenizer: Promise<TokenizerFiles> | undefined;
  return {
    path: folder,
    config,
    chatTemplate,
    tokenizer() {
      tokenizer ??= readTokenizer(folder, names);
      return tokenizer;
    },
  };
}

/** `weights` is a `.safetensors` file or an index; config and tokenizer lie beside it. */
async function openHuggingFace(folder: string, weights: string): Promise<Checkpoint> {
  const shell = await openShell(folder);
  const { config } = shell;
  const safetensors = await (weights.endsWith(".json") ? openShardedSafetensors(weights) : openSafetensors(weights));
  const tensors = await closingOnFailure(safetensors, () => fitting(safetensors, safetensors.tensors, config, weights));
  return {
    ...shell,
    format: "safetensors",
    tensors,
    read: safetensors.read,
    readInto: safetensors.readInto,
    close: safetensors.close,
  };
}

async function openGgufCheckpoint(path: string): Promise<Checkpoint> {
  const gguf = await openGguf(path);
  const template = gguf.metadata.get("tokenizer.chat_template");
  const all = new Map<string, TensorInfo>();
  for (const [name, { type, shape, offset, bytes }] of gguf.tensors) {
    all.set(name, { dtype: type, shape, file: path, offset, bytes });
  }
  const tensors = await closingOnFailure(gguf, () => fitting(gguf, all, gguf.config, path));
  let tokenizer: Promise<TokenizerFiles> | undefined;
  return {
    format: "gguf",
    path,
    config: gguf.config,
    tensors,
    read: gguf.read,
    readInto: gguf.readInto,
    tokenizer() {
      tokenizer ??= Promise.resolve().then(() => tokenizerFromGguf(gguf.metadata, path));
      return tokenizer;
    },
    chatTemplate: typeof template === "string" ? template : undefined,
    close: gguf.close,
  };
}

interface Reader {
  read(name: string): Promise<Float32Array>;
  close(): Promise<void>;
}

/** The tensors that the config asks for; a head that it ties to the embeddings must have their numbers, and is left out. */
async function fitting(
  reader: Reader,
  all: ReadonlyMap<string, TensorInfo>,
  config: ModelConfig,
  file: string,
): Promise<ReadonlyMap<string, TensorInfo>> {
  const { tensors, copy } = fitWeights(all, config, file);
  if (copy === undefined) return tensors;
  const [head, embeddings] = [await reader.read(copy), await reader.read("model.embed_tokens.weight")];
  const other = head.length === embeddings.length ? head.findIndex((value, i) => value !== embeddings[i]) : 0;
  if (other < 0) return tensors;
  throw new CheckpointError({
    file,
    where: `tensor ${quote(copy)}`,
    expected: "a copy of the embeddings, as tie_word_embeddings in config.json says",
    found: `other numbers (number ${other})`,
    fix: "Set tie_word_embeddings to false if the head was trained apart; else take weights and config of one model.",
  });
}

async function closingOnFailure<T>(reader: Reader, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await reader.close();
    throw error;
  }
}

async function readTokenizer(folder: string, names: ReadonlySet<string>): Promise<TokenizerFiles> {
  if (!names.has("tokenizer.json")) {
    const fix = "Save the fast tokenizer of the model there (transformers: AutoTokenizer … save_pretrained).";
    throw new CheckpointError({ file: folder, expected: "tokenizer.json", found: "none", fix });
  }
  const [tokenizer, config] = await Promise.all([
    readJson(join(folder, "tokenizer.json")),
    names.has("tokenizer_config.json") ? readJson(join(folder, "tokenizer_config.json")) : {},
  ]);
  return { tokenizer, config };
}

/** From `chat_template.jinja`, else from `tokenizer_config.json`, where it is a string or a list of named ones. */
async function readChatTemplate(folder: string, names: ReadonlySet<string>): Promise<string | undefined> {
  if (names.has("chat_template.jinja")) return readText(join(folder, "chat_template.jinja"));
  if (!names.has("tokenizer_config.json")) return undefined;
  const template = (await readJson(join(folder, "tokenizer_config.json"))).chat_template;
  if (!Array.isArray(template)) return typeof template === "string" ? template : undefined;
  const named = template.find((entry) => entry?.name === "default")?.template;
  return typeof named === "string" ? named : undefined;
}

/** `generation_config.json` often lists more ends than `config.json` (a chat model's end of turn). */
async function endsOfGeneration(folder: string, ends: number[]): Promise<number[]> {
  const path = join(folder, "generation_config.json");
  if ((await stat(path).catch(() => undefined)) === undefined) return ends;
  const more = [(await readJson(path)).eos_token_id ?? []].flat().filter((id) => Number.isSafeInteger(id));
  return [...new Set([...ends, ...(more as number[])])];
}

async function isGguf(path: string): Promise<boolean> {
  const file = await openRanges(path);
  try {
    const magic = new Uint8Array(Math.min(4, file.size));
    await file.read(magic, 0);
    return Buffer.from(magic).toString("latin1") === "GGUF" || basename(path).endsWith(".gguf");
  } finally {
    await file.close();
  }
}
