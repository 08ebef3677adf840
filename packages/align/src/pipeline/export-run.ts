import { randomBytes } from "node:crypto";
import { copyFile, cp, mkdir, readdir, readFile, rename, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import { type ExampleRow, ExportError, exportDataset, type Message, type PreferenceRow } from "@tenet/data";
import {
  type Adapter,
  type Checkpoint,
  type CompensatedBlocks,
  compensatedBlocks,
  exportGguf,
  exportGgufAdapter,
  exportOnnx,
  type GgufWriteType,
  loadAdapter,
  mergeAdapter,
  type OnnxWriteType,
  onnxWriteTypes,
  openCheckpoint,
  openText,
  resolveModel,
} from "@tenet/lm";
import type { StageInfo, Store } from "@tenet/runs";
import { chosenCheckpoint, modelNamed, type StoredCheckpoint, storedCheckpoints } from "./checkpoints.ts";
import { writeEvidence } from "./evidence-pack.ts";
import { besideItsFile, type ExportBase, exportBase } from "./export-base.ts";
import {
  isQuantized,
  type PartProof,
  type ProveOptions,
  proofEvidence,
  proveParts,
  type WrittenWeights,
} from "./export-proof.ts";
import { licenceOf, modelCard } from "./model-card.ts";
import type { PoolOptions } from "./models.ts";

/** What of a run can be given away. */
export const exportParts = [
  "adapter",
  "merged",
  "gguf",
  "gguf-adapter",
  "onnx",
  "datasets",
  "evidence",
  "card",
] as const;
export type ExportPart = (typeof exportParts)[number];

export interface ExportRunOptions
  extends Pick<PoolOptions, "cacheDir" | "offline" | "onProgress" | "signal">,
    Pick<ProveOptions, "environment" | "proofPrompts" | "threads"> {
  /** By default adapter, datasets and card: the others are as large as the model, or for another program. */
  readonly what?: readonly ExportPart[];
  /** Type of merged weights (default BF16; no quantised one), of a GGUF file's (default F16) and of ONNX (default F32; not BF16). */
  readonly dtype?: GgufWriteType;
  /** Write weights that failed their proof all the same; the card says so. */
  readonly unverified?: boolean;
  /** Told what takes its time, a sentence each. */
  readonly onStep?: (step: string) => void;
  /** The checkpoint whose weights are exported; by default the one that the scorecard recommends, or else the last. */
  readonly checkpoint?: string;
}

export interface ExportedRun {
  readonly folder: string;
  readonly checkpoint: string;
  /** The one that the scorecard recommends, where it is another. */
  readonly recommended?: string;
  /** What its training began with. */
  readonly base: ExportBase;
  /** Files and folders, relative to `folder`. */
  readonly written: readonly string[];
  /** What was found when the weights were opened again, a part each. */
  readonly proofs: readonly PartProof[];
  /** SHA-256 of the evidence pack's manifest: kept elsewhere, it tells that the pack is the one that was written. */
  readonly evidence?: string;
}

/**
 * Writes what a run made into a folder that others can load: `adapter/` in PEFT's format, `merged/` as a Hugging Face checkpoint,
 * `gguf/` for llama.cpp and Ollama, `onnx/` for transformers.js, `datasets/<stage>/` as Hugging Face dataset folders, `evidence/` (see `writeEvidence`) and `README.md`, a model card. Weights are
 * opened again and held against the checkpoint. The folder appears whole or not at all.
 *
 * Errors: ExportError for a folder with something in it, a checkpoint that the run has not, one that has no such part, and weights that
 * fail their proof; those of `resolveModel`, `mergeAdapter` and `exportGguf`.
 */
export async function exportRun(
  store: Store,
  run: string,
  folder: string,
  options: ExportRunOptions = {},
): Promise<ExportedRun> {
  const { what = ["adapter", "datasets", "card"], signal } = options;
  const place = resolve(folder);
  await requireRoom(place);
  const all = await storedCheckpoints(store, run);
  const { checkpoint: best, recommended } = chosenCheckpoint(store, run, all);
  if (options.checkpoint === undefined && recommended && best === all[0])
    throw new ExportError(
      `the scorecard of run ${run} shows nothing to be better than ${best.label}, and recommends that: name a checkpoint to export it all the same, ${namesOf(all)}.`,
    );
  const chosen = chosenOf(all, run, options.checkpoint ?? (recommended ? best.id : undefined));
  for (const part of ["adapter", "gguf-adapter"] as const)
    if (what.includes(part) && chosen.source.adapter === undefined)
      throw new ExportError(
        `checkpoint ${chosen.id} of run ${run} has no adapter: all its weights were trained. Export merged, gguf or onnx instead.`,
      );
  if (what.includes("merged")) mergedType(options);
  if (what.includes("onnx")) onnxType(options);
  const partial = join(dirname(place), `.${basename(place)}.${randomBytes(6).toString("hex")}.partial`);
  await mkdir(partial, { recursive: true });
  const written: string[] = [];
  try {
    const { opened } = all[0]!.source;
    const named = (await modelNamed(store, run))!;
    const base = await exportBase(named, { ...resolving(options), opened });
    const name = `${store.run(run).name} ${chosen.id}`;
    let rounding: Promise<Rounding> | undefined;
    // Formats hold the same numbers.
    const round: ToWrite["round"] = (checkpoint, adapter) => {
      rounding ??= roundingOf(checkpoint, { adapter, options, replies: datasetReplies(store, run) });
      return rounding;
    };
    const weights: WrittenWeights[] = [];
    for (const part of exportParts) {
      const write = what.includes(part) ? writers[part] : undefined;
      if (!write) continue;
      weights.push(await write({ chosen, base, name, partial, options, round }));
      written.push(relative(partial, weights.at(-1)!.path).replaceAll("\\", "/"));
      signal?.throwIfAborted();
    }
    if (weights.length > 0) options.onStep?.("opening what was written again, to prove it");
    const proofs =
      weights.length > 0 ? await proveParts(weights, chosen, await proofEvidence(store, run), options) : [];
    refuseUnproven(proofs, chosen.source.adapter === undefined ? undefined : base.gguf, options);
    signal?.throwIfAborted();
    if (what.includes("datasets")) written.push(...(await writeDatasets(store, run, partial)));
    let evidence: string | undefined;
    if (what.includes("evidence")) {
      const licence = licenceOf(named);
      const known = { base, ...(licence !== undefined && { licence }) };
      evidence = await writeEvidence(store, run, join(partial, "evidence"), { checkpoints: all, ...known });
      written.push("evidence");
    }
    if (what.includes("card")) {
      const made = { checkpoint: chosen, base, written, weights, proofs };
      const card = await modelCard(store, run, made);
      await writeFile(join(partial, "README.md"), card);
      written.push("README.md");
    }
    if (written.length === 0) throw new ExportError(`run ${run} has nothing of ${what.join(", ")} yet.`);
    signal?.throwIfAborted();
    // Windows renames onto nothing, not even an empty folder.
    await rmdir(place).catch(() => undefined);
    await rename(partial, place);
    const other = recommended && best.id !== chosen.id ? { recommended: best.id } : {};
    return {
      folder: place,
      checkpoint: chosen.id,
      ...other,
      base,
      written,
      proofs,
      ...(evidence !== undefined && { evidence }),
    };
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Errors: ExportError that says what a part's proof found, unless it is to be written all the same.
 * @param beside the base's own file, where an adapter stands beside one
 */
function refuseUnproven(
  proofs: readonly PartProof[],
  beside: ExportBase["gguf"],
  { unverified = false }: ExportRunOptions,
): void {
  const failed = proofs.filter(({ faults }) => faults.length > 0);
  if (failed.length === 0 || unverified) return;
  const lines = failed.flatMap(({ part, faults }) => faults.map((fault) => `${part}: ${fault}`));
  if (beside && isQuantized(beside.type) && failed.some(({ type }) => isQuantized(type)))
    lines.push(
      `The base is a ${beside.type} file already, whose weights were rounded once more for this. It is as small without that, with the adapter beside it: --what gguf-adapter, then ${besideItsFile(beside)}.`,
    );
  throw new ExportError(
    `nothing was exported: what was written is not the checkpoint.\n${lines.join("\n")}\nWith --unverified it is written all the same, and the card says so.`,
  );
}

function chosenOf(all: readonly StoredCheckpoint[], run: string, wanted: string | undefined): StoredCheckpoint {
  const trained = all.slice(1);
  if (trained.length === 0)
    throw new ExportError(`run ${run} has trained nothing yet; run its recipe again, which continues it, then export.`);
  const found = wanted === undefined ? trained.at(-1) : trained.find(({ id }) => id === wanted);
  if (found) return found;
  throw new ExportError(`run ${run} has no trained checkpoint ${JSON.stringify(wanted)}; it has ${namesOf(all)}.`);
}

function namesOf(all: readonly StoredCheckpoint[]): string {
  return all
    .slice(1)
    .map(({ id }) => id)
    .join(", ");
}

async function requireRoom(place: string): Promise<void> {
  const facts = await stat(place).catch(() => undefined);
  if (!facts) return;
  if (!facts.isDirectory()) throw new ExportError(`${place} is a file; expected a folder, or nothing yet.`);
  if ((await readdir(place)).length > 0) throw new ExportError(`${place} is not empty. Choose another folder.`);
}

/** What a part of the weights is written from. */
interface ToWrite {
  readonly chosen: StoredCheckpoint;
  readonly base: ExportBase;
  /** For people. */
  readonly name: string;
  readonly partial: string;
  readonly options: ExportRunOptions;
  /** Rounds the matrices of few levels, once for all formats. */
  readonly round: (checkpoint: Checkpoint, adapter: Adapter | undefined) => Promise<Rounding>;
}

interface Rounding {
  readonly compensated: CompensatedBlocks;
  /** For people: how they were rounded. */
  readonly notice: string;
}

const writers: Partial<Record<ExportPart, (what: ToWrite) => Promise<WrittenWeights>>> = {
  adapter: writeAdapter,
  merged: writeMerged,
  gguf: writeGgufModel,
  "gguf-adapter": writeGgufAdapter,
  onnx: writeOnnx,
};

/** The adapter's files, whose base is named as others can come by its weights rather than by a path of this machine. */
async function writeAdapter({ chosen: { source }, base, partial }: ToWrite): Promise<WrittenWeights> {
  const folder = join(partial, "adapter");
  await mkdir(folder);
  const config = JSON.parse(await readFile(join(source.adapter!, "adapter_config.json"), "utf8")) as object;
  const named = { ...config, base_model_name_or_path: base.hub ?? base.reference };
  await writeFile(join(folder, "adapter_config.json"), `${JSON.stringify(named, null, 2)}\n`);
  await copyFile(join(source.adapter!, "adapter_model.safetensors"), join(folder, "adapter_model.safetensors"));
  return { part: "adapter", path: folder, type: "F32", notices: [] };
}

async function writeMerged({ chosen: { source }, partial, options }: ToWrite): Promise<WrittenWeights> {
  const folder = join(partial, "merged");
  const path = await resolveModel(source.reference, resolving(options));
  if (source.adapter === undefined) {
    await cp(path, folder, { recursive: true });
    return { part: "merged", path: folder, type: "F32", notices: [] };
  }
  const dtype = mergedType(options);
  await opened(path, async (checkpoint) =>
    mergeAdapter(checkpoint, await loadAdapter(source.adapter!, checkpoint.config), folder, { dtype }),
  );
  return { part: "merged", path: folder, type: dtype, notices: [] };
}

async function writeGgufModel(what: ToWrite): Promise<WrittenWeights> {
  const { name, partial, options } = what;
  const type = options.dtype ?? "F16";
  const path = join(partial, "gguf", `model-${type}.gguf`);
  await mkdir(dirname(path), { recursive: true });
  return writeModel(what, { part: "gguf", path, type }, (checkpoint, weights) =>
    exportGguf(checkpoint, path, { type, name, modelfile: true, ...weights }),
  );
}

async function writeGgufAdapter({ chosen: { source }, name, partial, options }: ToWrite): Promise<WrittenWeights> {
  const path = join(partial, "gguf", "adapter.gguf");
  await mkdir(dirname(path), { recursive: true });
  await opened(await resolveModel(source.reference, resolving(options)), async ({ config }) =>
    exportGgufAdapter(await loadAdapter(source.adapter!, config), path, { config, name }),
  );
  return { part: "gguf-adapter", path, type: "F32", notices: [] };
}

async function writeOnnx(what: ToWrite): Promise<WrittenWeights> {
  const type = onnxType(what.options);
  const path = join(what.partial, "onnx");
  return writeModel(what, { part: "onnx", path, type }, (checkpoint, weights) =>
    exportOnnx(checkpoint, path, { type, ...weights }),
  );
}

/** Writes a whole model, its adapter merged in, whose matrices of few levels are rounded with the run's own replies in view. */
async function writeModel(
  { chosen: { source }, options, round }: ToWrite,
  written: Pick<WrittenWeights, "part" | "path" | "type">,
  write: (
    checkpoint: Checkpoint,
    weights: { adapter?: Adapter; compensated?: CompensatedBlocks },
  ) => Promise<{ readonly notices: readonly string[] }>,
): Promise<WrittenWeights> {
  return opened(await resolveModel(source.reference, resolving(options)), async (checkpoint) => {
    const adapter =
      source.adapter === undefined ? {} : { adapter: await loadAdapter(source.adapter, checkpoint.config) };
    if (written.type !== "Q4_0") return { ...written, ...(await write(checkpoint, adapter)) };
    const { compensated, notice } = await round(checkpoint, adapter.adapter);
    const { notices } = await write(checkpoint, { ...adapter, compensated });
    return { ...written, compensated, notices: [...notices, notice] };
  });
}

async function roundingOf(
  checkpoint: Checkpoint,
  {
    adapter,
    options,
    replies,
  }: Pick<ToWrite, "options"> & { readonly adapter: Adapter | undefined; readonly replies: readonly DatasetReply[] },
): Promise<Rounding> {
  const text = await openText(checkpoint);
  const texts = replies.map(({ prompt, reply }) => {
    const { prompt: before, texts } = text.encodeBehind(prompt, [reply]);
    return [...before, ...texts.flat()];
  });
  const { threads, signal, onStep } = options;
  onStep?.(`rounding to Q4_0 with ${texts.length} replies in view of the run's examples and pairs`);
  const compensated = await compensatedBlocks(checkpoint, { adapter, texts, threads, signal });
  const notice =
    compensated.size > 0
      ? `${compensated.size} matrices are rounded so that what they give for ${texts.length} replies of the run's examples and pairs changes least; other texts may see more of the rounding`
      : `matrices are rounded number by number: the run's examples and pairs have too few replies (${texts.length}) to tell what they are given`;
  return { compensated, notice };
}

async function opened<Result>(path: string, work: (checkpoint: Checkpoint) => Promise<Result>): Promise<Result> {
  const checkpoint = await openCheckpoint(path);
  try {
    return await work(checkpoint);
  } finally {
    await checkpoint.close();
  }
}

function resolving({ cacheDir, offline, onProgress, signal }: ExportRunOptions) {
  return {
    ...(cacheDir !== undefined && { cacheDir }),
    ...(offline !== undefined && { offline }),
    ...(onProgress && { onProgress }),
    ...(signal && { signal }),
  };
}

/** Errors: ExportError for a type that safetensors do not hold. */
function mergedType({ dtype = "BF16" }: ExportRunOptions): "F32" | "F16" | "BF16" {
  if (dtype !== "F32" && dtype !== "F16" && dtype !== "BF16")
    throw new ExportError(`merged weights are F32, F16 or BF16; ${dtype} is for gguf. Export the two apart.`);
  return dtype;
}

/** Errors: ExportError for a type that ONNX files are not written in. */
function onnxType({ dtype = "F32" }: ExportRunOptions): OnnxWriteType {
  const type = onnxWriteTypes.find((one) => one === dtype);
  if (type === undefined)
    throw new ExportError(
      `onnx is written in ${onnxWriteTypes.join(", ")}; ${dtype} is for gguf and merged. Export them apart.`,
    );
  return type;
}

/** Every dataset that the run made for training, or was written for it. */
async function writeDatasets(store: Store, run: string, into: string): Promise<string[]> {
  const info = store.run(run);
  const written: string[] = [];
  for (const stage of store.stages(run)) {
    const as = stage.status === "done" && stage.rows > 0 ? formOf(store, stage) : undefined;
    if (as === undefined) continue;
    const path = `datasets/${stage.name.replaceAll(/\W+/g, "-")}`;
    const about = {
      name: `${info.name}: ${stage.name}`,
      description: `Made by the stage “${stage.name}” of the run ${run} of Tenet.`,
      provenance: { run, stage: stage.identity, dataset: stage.dataset!.hash },
    };
    const folder = join(into, path);
    await mkdir(dirname(folder), { recursive: true });
    if (as === "examples")
      await exportDataset(folder, { as, splits: { train: store.rows<ExampleRow>(stage.identity) }, ...about });
    else await exportDataset(folder, { as, splits: { train: store.rows<PreferenceRow>(stage.identity) }, ...about });
    written.push(path);
  }
  return written;
}

interface DatasetReply {
  readonly prompt: Message[];
  readonly reply: string;
}

/** Replies that tell which inputs a model's matrices see; more change little and cost time. */
const repliesForRounding = 128;

/** Completions and compared replies of a run, those of its validation pairs too, taken evenly over its stages' rows. */
function datasetReplies(store: Store, run: string): DatasetReply[] {
  const all = store.stages(run).flatMap((stage) => {
    const as = stage.status === "done" && stage.rows > 0 ? formOf(store, stage) : undefined;
    if (as === "examples")
      return [...store.rows<ExampleRow>(stage.identity)].map(({ prompt, completion }) => ({
        prompt,
        reply: completion,
      }));
    if (as === undefined) return [];
    return [...store.rows<PreferenceRow>(stage.identity)].flatMap(({ prompt, a, b }) => [
      { prompt, reply: a },
      { prompt, reply: b },
    ]);
  });
  const count = Math.min(repliesForRounding, all.length);
  return Array.from({ length: count }, (_, i) => all[Math.floor((i * all.length) / count)]!);
}

/** Kinds of stages whose rows trainers take: what a run made, and what people wrote for it. */
const learnt = new Set([
  ...["examples", "deliberate", "read-examples-of-people", "mix"],
  ...["label", "label-by-checks", "label-by-contrast", "label-by-people", "human-labels", "weigh"],
]);

/** What the rows of such a stage are. */
function formOf(store: Store, { identity, kind }: StageInfo): "examples" | "preferences" | undefined {
  if (!learnt.has(kind)) return undefined;
  for (const row of store.rows(identity))
    return "completion" in row ? "examples" : "p" in row ? "preferences" : undefined;
  return undefined;
}
