import { randomBytes } from "node:crypto";
import { copyFile, cp, mkdir, readdir, readFile, rename, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { type ExampleRow, ExportError, exportDataset, type PreferenceRow } from "@tenet/data";
import {
  catalogue,
  loadAdapter,
  type MergeOptions,
  mergeAdapter,
  openCheckpoint,
  parseReference,
  resolveModel,
} from "@tenet/lm";
import type { StageInfo, Store } from "@tenet/runs";
import { chosenCheckpoint, type StoredCheckpoint, storedCheckpoints } from "./checkpoints.ts";
import { modelCard } from "./model-card.ts";
import type { PoolOptions } from "./models.ts";

/** What of a run can be given away. */
export const exportParts = ["adapter", "merged", "datasets", "card"] as const;
export type ExportPart = (typeof exportParts)[number];

export interface ExportRunOptions
  extends Pick<PoolOptions, "cacheDir" | "offline" | "onProgress" | "signal">,
    MergeOptions {
  /** By default all but `merged`, which is as large as the model. */
  readonly what?: readonly ExportPart[];
  /** The checkpoint whose weights are exported; by default the one that the scorecard recommends, or else the last. */
  readonly checkpoint?: string;
}

export interface ExportedRun {
  readonly folder: string;
  readonly checkpoint: string;
  /** The one that the scorecard recommends, where it is another. */
  readonly recommended?: string;
  /** Files and folders, relative to `folder`. */
  readonly written: readonly string[];
}

/**
 * Writes what a run made into a folder that others can load: `adapter/` in PEFT's format, `merged/` as a Hugging Face checkpoint,
 * `datasets/<stage>/` as Hugging Face dataset folders, and `README.md`, a model card. The folder appears whole or not at all.
 *
 * Errors: ExportError for a folder with something in it, a checkpoint that the run has not, or one that has no such part; those of
 * `resolveModel` and `mergeAdapter` for merged weights.
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
  if (what.includes("adapter") && chosen.source.adapter === undefined)
    throw new ExportError(
      `checkpoint ${chosen.id} of run ${run} has no adapter: all its weights were trained. Export merged instead.`,
    );
  const partial = join(dirname(place), `.${basename(place)}.${randomBytes(6).toString("hex")}.partial`);
  await mkdir(partial, { recursive: true });
  const written: string[] = [];
  try {
    if (what.includes("adapter")) {
      await writeAdapter(chosen, all[0]!, join(partial, "adapter"));
      written.push("adapter");
    }
    signal?.throwIfAborted();
    if (what.includes("merged")) {
      await writeMerged(chosen, join(partial, "merged"), options);
      written.push("merged");
    }
    signal?.throwIfAborted();
    if (what.includes("datasets")) written.push(...(await writeDatasets(store, run, partial)));
    if (what.includes("card")) {
      const card = await modelCard(store, run, { checkpoint: chosen, base: hubName(all[0]!), written });
      await writeFile(join(partial, "README.md"), card);
      written.push("README.md");
    }
    if (written.length === 0) throw new ExportError(`run ${run} has nothing of ${what.join(", ")} yet.`);
    signal?.throwIfAborted();
    // Windows renames onto nothing, not even an empty folder.
    await rmdir(place).catch(() => undefined);
    await rename(partial, place);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
  const other = recommended && best.id !== chosen.id ? { recommended: best.id } : {};
  return { folder: place, checkpoint: chosen.id, ...other, written };
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

/** The name that the base has on Hugging Face's hub, where it is known to have one. */
function hubName({ source: { reference } }: StoredCheckpoint): string | undefined {
  const entry = Object.hasOwn(catalogue.models, reference) ? catalogue.models[reference] : undefined;
  for (const from of entry ? entry.sources.map((source) => source.from) : [reference]) {
    const parsed = parseReference(from);
    if (parsed.kind === "hf") return `${parsed.owner}/${parsed.name}`;
  }
  return undefined;
}

/** The adapter's files, whose base is named as others know it rather than by a path of this machine. */
async function writeAdapter({ source }: StoredCheckpoint, base: StoredCheckpoint, folder: string): Promise<void> {
  await mkdir(folder);
  const config = JSON.parse(await readFile(join(source.adapter!, "adapter_config.json"), "utf8")) as object;
  const named = { ...config, base_model_name_or_path: hubName(base) ?? basename(base.source.reference) };
  await writeFile(join(folder, "adapter_config.json"), `${JSON.stringify(named, null, 2)}\n`);
  await copyFile(join(source.adapter!, "adapter_model.safetensors"), join(folder, "adapter_model.safetensors"));
}

async function writeMerged(
  { source }: StoredCheckpoint,
  folder: string,
  { dtype, what: _, checkpoint: __, ...options }: ExportRunOptions,
): Promise<void> {
  const path = await resolveModel(source.reference, options);
  if (source.adapter === undefined) return cp(path, folder, { recursive: true });
  const opened = await openCheckpoint(path);
  try {
    const adapter = await loadAdapter(source.adapter, opened.config);
    await mergeAdapter(opened, adapter, folder, dtype === undefined ? {} : { dtype });
  } finally {
    await opened.close();
  }
}

/** Every dataset that the run made for training. */
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

/** What the rows of a stage are, where the stage made them and trainers take them. */
function formOf(store: Store, { identity, kind }: StageInfo): "examples" | "preferences" | undefined {
  if (!["examples", "label", "label-by-checks", "human-labels", "mix"].includes(kind)) return undefined;
  for (const row of store.rows(identity))
    return "completion" in row ? "examples" : "p" in row ? "preferences" : undefined;
  return undefined;
}
