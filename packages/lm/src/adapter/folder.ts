import { randomBytes } from "node:crypto";
import { lstat, mkdir, realpath, rename, rm, rmdir } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { ParameterSet, type ParameterShapes } from "@tenet/tensor";
import { CheckpointError, quote } from "../checkpoint/errors.ts";
import {
  type Checkpoint,
  type ModelConfig,
  openSafetensors,
  type Safetensors,
  writeSafetensors,
} from "../checkpoint/index.ts";
import { wholeFile } from "../checkpoint/whole-file.ts";
import {
  type LoraConfig,
  loraModule,
  loraModules,
  loraShapes,
  type Projection,
  projections,
  SCORE_WEIGHT,
} from "../decoder/index.ts";
import { type AdapterConfig, adapterConfigJson, CONFIG_FILE, readAdapterConfig, WEIGHTS_FILE } from "./config.ts";
import { refuseMore } from "./more.ts";

/** What PEFT puts before the name of every module of the model it wraps. */
const PREFIX = "base_model.model.";
/** What torch.compile puts before names, around the base or around all of it. */
const COMPILED = /(^|\.)_orig_mod(?=\.)/g;

export interface Adapter {
  readonly lora: LoraConfig;
  /** Named as PEFT names them, without its prefix: `model.layers.0.self_attn.q_proj.lora_A.weight`, `score.weight`. */
  readonly parameters: ParameterSet;
  /** The model it was trained on, as its config names it. */
  readonly baseModel: string | undefined;
}

/** An adapter without where it comes from. */
export type Factors = Pick<Adapter, "lora" | "parameters">;

/** Shapes of an adapter's parameters; with a scalar head, `score.weight` [1, hidden] as well. */
export function adapterShapes(
  config: ModelConfig,
  lora: LoraConfig,
  options: { readonly head?: boolean } = {},
): ParameterShapes {
  const head = options.head ? { [SCORE_WEIGHT]: [1, config.hidden_size] } : {};
  return { ...loraShapes(config, lora), ...head };
}

/**
 * Saves an adapter as PEFT does: `adapter_config.json` and `adapter_model.safetensors` (float32) in `folder`.
 * A new folder appears whole; in one that is there each file is replaced whole, the weights first.
 * @throws CheckpointError when the parameters are not those of `lora` on a model of `config`
 */
export async function saveAdapter(folder: string, adapter: Adapter & { readonly config: ModelConfig }): Promise<void> {
  const { parameters, lora, baseModel, config } = adapter;
  requireFit(adapter, config, folder);
  const head = hasHead(adapter);
  const write = async (into: string) => {
    const tensors = parameters.ranges.map(({ name, shape }) => {
      return { name: PREFIX + name, dtype: "F32" as const, shape, data: parameters.view(name) };
    });
    await writeSafetensors(join(into, WEIGHTS_FILE), tensors, { format: "pt" });
    await writeJson(join(into, CONFIG_FILE), adapterConfigJson({ lora, baseModel, head }));
  };
  const there = await lstat(folder).catch(() => undefined);
  if (there) await write(folder);
  else await inNewFolder(folder, write);
}

/** Whether an adapter carries a scalar head beside its factors. */
export function hasHead({ parameters }: Pick<Adapter, "parameters">): boolean {
  return parameters.ranges.some(({ name }) => name === SCORE_WEIGHT);
}

/** @throws CheckpointError when an adapter's parameters are not those of its settings on a model of `config` */
export function requireFit(adapter: Factors, config: ModelConfig, file: string): void {
  const { parameters, lora } = adapter;
  const found = new Map(parameters.ranges.map(({ name, shape }) => [name, shape]));
  const fix = "Give the model and the settings that the adapter was made with.";
  compareShapes(found, adapterShapes(config, lora, { head: hasHead(adapter) }), { file, lora, fix });
}

/** @throws CheckpointError for an adapter that does not fit a model of `config`, or has a head for which `file` has no place */
export function requireMergeable(
  adapter: Factors,
  { config, path }: Pick<Checkpoint, "config" | "path">,
  file: string,
): void {
  requireFit(adapter, config, path);
  if (!hasHead(adapter)) return;
  throw new CheckpointError({
    file,
    expected: "an adapter of a language model",
    found: "one with a scalar head, for which a model's files have no place",
    fix: "Keep preference models and value networks as adapters.",
  });
}

/**
 * Loads an adapter in PEFT's format for a model of `config`: LoRA factors of the layers' matrices, each with its rank and
 * scale (rank-stabilised or not, `rank_pattern`, `alpha_pattern`, some layers), and a scalar head.
 *
 * Weights are read as float32, whatever type they are stored in; dropout is a matter of training and ignored.
 * @throws CheckpointError saying what was expected where, when files are damaged, are not of this model, or ask for more
 * @example
 * const adapter = await loadAdapter("runs/helpful/adapter", checkpoint.config);
 * adapter.parameters.view("model.layers.0.self_attn.q_proj.lora_A.weight"); // [rank × hidden] float32
 */
export async function loadAdapter(folder: string, config: ModelConfig): Promise<Adapter> {
  const path = join(folder, WEIGHTS_FILE);
  for (const name of [CONFIG_FILE, WEIGHTS_FILE]) await requireInside(folder, join(folder, name));
  const settings = await readAdapterConfig(folder);
  const file = await openSafetensors(path);
  try {
    const stored = storedNames(file.tensors.keys(), path);
    const found = new Map([...stored].map(([name, own]) => [name, file.tensors.get(own)!.shape]));
    refuseMore(found, config, path);
    const lora = loraOf(settings, config, found);
    const shapes = adapterShapes(config, lora, { head: found.has(SCORE_WEIGHT) });
    const fix = `Load it on the model it was trained on (${settings.baseModel ? quote(settings.baseModel) : "not named"}).`;
    compareShapes(found, shapes, { file: path, lora, fix });
    const parameters = new ParameterSet(shapes);
    for (const { name } of parameters.ranges) await readFinite(file, path, stored.get(name)!, parameters.view(name));
    return { lora, parameters, baseModel: settings.baseModel };
  } finally {
    await file.close();
  }
}

/** The factors by module path, as a local model takes them. Arrays are shared: an adapter in training stays current. */
export function adapterFactors({ lora, parameters }: Factors) {
  const factors = new Map<string, { rank: number; scale: number; a: Float32Array; b: Float32Array }>();
  for (const { name } of parameters.ranges) {
    if (!name.endsWith(".lora_A.weight")) continue;
    const path = name.slice(0, -".lora_A.weight".length);
    const [a, b] = [parameters.view(name), parameters.view(`${path}.lora_B.weight`)];
    const { rank, scale } = loraModule(lora, path);
    factors.set(path, { rank, scale, a, b });
  }
  return { factors };
}

/** The shortest way to say which matrices are adapted, and how: by kind where all layers are alike, else one by one. */
function loraOf(settings: AdapterConfig, config: ModelConfig, found: ReadonlyMap<string, unknown>): LoraConfig {
  const { lora, size } = settings;
  const adapts =
    settings.adapts ?? ((path: string) => found.has(`${path}.lora_A.weight`) || found.has(`${path}.lora_B.weight`));
  const paths = [...loraModules(config, lora).keys()].filter(adapts);
  const targets = projections.filter((projection) => paths.some((path) => path.endsWith(`.${projection}`)));
  const plain = paths.every((path) => size(path).rank === lora.rank && size(path).alpha === lora.alpha);
  if (plain && paths.length === targets.length * config.num_hidden_layers) return { ...lora, targets };
  return { ...lora, modules: Object.fromEntries(paths.map((path) => [path, size(path)])) };
}

async function readFinite(file: Safetensors, path: string, name: string, target: Float32Array): Promise<void> {
  await file.readInto(name, target);
  const bad = target.findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return;
  throw new CheckpointError({
    file: path,
    where: `tensor ${quote(name)}`,
    expected: "finite numbers",
    found: `${target[bad]} as number ${bad}`,
    fix: "The training that made it diverged, or the file is damaged; take an earlier checkpoint.",
  });
}

/** The tensors' names without what PEFT and torch.compile put before them, and the names that they have in the file. */
function storedNames(names: Iterable<string>, file: string): Map<string, string> {
  const stored = new Map<string, string>();
  const fix = "Save the adapter again with PEFT's save_pretrained.";
  for (const name of names) {
    const where = `tensor ${quote(name)}`;
    const plain = name.replace(COMPILED, "").replace(/^\./, "");
    if (!plain.startsWith(PREFIX))
      throw new CheckpointError({
        file,
        where,
        expected: `a name that starts with ${PREFIX}`,
        found: "another name",
        fix,
      });
    const short = plain.slice(PREFIX.length);
    if (stored.has(short))
      throw new CheckpointError({ file, where, expected: "each tensor once", found: `${quote(short)} twice`, fix });
    stored.set(short, name);
  }
  return stored;
}

interface Comparison {
  readonly file: string;
  readonly lora: LoraConfig;
  readonly fix: string;
}

function compareShapes(
  found: ReadonlyMap<string, readonly number[]>,
  expected: ParameterShapes,
  { file, lora, fix }: Comparison,
): void {
  const fail = (name: string, expected: string, found: string) => {
    throw new CheckpointError({ file, where: `tensor ${quote(PREFIX + name)}`, expected, found, fix });
  };
  for (const [name, shape] of found) {
    const wanted = Object.hasOwn(expected, name) ? expected[name]! : undefined;
    if (!wanted) fail(name, `factors of ${describe(lora)} in the model's layers`, "another module");
    else if (quote([...wanted]) !== quote([...shape])) {
      const { rank } = loraModule(lora, name.replace(/\.lora_[AB]\.weight$/, ""));
      fail(name, `the shape ${quote([...wanted])} that rank ${rank} has on this model`, quote([...shape]));
    }
  }
  for (const [name, shape] of Object.entries(expected))
    if (!found.has(name)) fail(name, `a tensor of shape ${quote([...shape])}`, "none of that name");
}

function describe({ targets = projections, modules }: LoraConfig): string {
  if (!modules) return targets.join(", ");
  const kinds = new Set(Object.keys(modules).map((path) => path.slice(path.lastIndexOf(".") + 1) as Projection));
  return `some layers' ${[...kinds].join(", ")}`;
}

/** Follows symbolic links: a file must lie in its folder, or in the store of Hugging Face's cache that the folder links to. */
export async function requireInside(folder: string, path: string): Promise<void> {
  let [home, target] = [folder, path];
  try {
    [home, target] = await Promise.all([realpath(folder), realpath(path)]);
  } catch {
    return; // opening it says what is missing
  }
  const cache = basename(dirname(home)) === "snapshots" ? join(dirname(dirname(home)), "blobs") : home;
  if ([home, cache].includes(dirname(target))) return;
  throw new CheckpointError({
    file: path,
    expected: "a file inside its own folder",
    found: "a symbolic link that leaves it",
    fix: "Put the file itself into the folder; do not trust the folder if you did not write it.",
  });
}

/** Fills a folder beside its place and renames it there, so that it is never seen half. */
export async function inNewFolder(folder: string, write: (into: string) => Promise<void>): Promise<void> {
  const place = resolve(folder);
  await mkdir(dirname(place), { recursive: true });
  const temporary = join(dirname(place), `.${basename(place)}.${randomBytes(6).toString("hex")}.tmp`);
  await mkdir(temporary);
  try {
    await write(temporary);
    // Windows renames onto nothing, not even an empty folder.
    await rmdir(place).catch(() => undefined);
    await rename(temporary, place);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
}

/** Writes a JSON file that appears whole or not at all. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  await wholeFile(path, (handle) => handle.writeFile(`${JSON.stringify(value, null, 2)}\n`));
}
