import { lstatSync, readdirSync, statSync } from "node:fs";
import { stat } from "node:fs/promises";
import { isAbsolute, join, relative, sep } from "node:path";
import type { CatalogueEntry, ChatTraits, CheckpointError, TextCodec } from "@tenet/lm";
import { numel } from "@tenet/tensor";
import { CommandUsageError, Interrupted, nearest } from "./errors.ts";
import { formatBytes, formatCount, table } from "./format.ts";
import { commandName, type Io, printJson, say } from "./io.ts";
import { downloadProgress } from "./progress.ts";

/** A model of the catalogue, as `models ls --json` gives it. */
export interface ModelListing {
  name: string;
  default: boolean;
  description: string;
  parameters: number;
  licence: string;
  chatFormat: string;
  sources: { from: string; bytes?: number; sha256?: string }[];
  /** Where it lies on this machine; null when it has not been fetched. */
  path: string | null;
}

export async function listModels(io: Io, { json }: { json?: boolean }): Promise<void> {
  const { cacheFolder, catalogue } = await import("@tenet/lm");
  const models = await Promise.all(Object.entries(catalogue.models).map(([name, entry]) => listing(name, entry, io)));
  const cache = join(cacheFolder(io.env), "models");
  if (json) return printJson(io, { cache, models });
  const rows = models.map((model) => [
    model.name,
    formatCount(model.parameters),
    sizeOf(model),
    model.licence,
    model.path ? "here" : "-",
    model.default ? "default" : "",
  ]);
  say(io, `${table([["name", "parameters", "download", "licence", "fetched", ""], ...rows])}\n`);
  const kept = folderSize(cache);
  say(io, `\n${formatBytes(kept)} in ${cache}\n`);
}

export async function showModel(io: Io, reference: string, { json }: { json?: boolean }): Promise<void> {
  await checkName(reference);
  const { catalogue, openCheckpoint, openText, resolveModel, textFindings } = await import("@tenet/lm");
  const entry = Object.hasOwn(catalogue.models, reference) ? catalogue.models[reference] : undefined;
  const listed = entry && (await listing(reference, entry, io));
  const offline = { offline: true, environment: io.env };
  const path = entry ? (listed?.path ?? null) : await resolveModel(reference, offline).catch(keepUsage);
  const facts: Record<string, unknown> = { ...(listed ?? { name: reference, path }) };
  if (path) {
    const checkpoint = await openCheckpoint(path).catch((error) => {
      throw faultOfNamed(error, [reference]);
    });
    const { config, format, tensors, chatTemplate } = checkpoint;
    let [bytes, parameters] = [0, 0];
    for (const tensor of tensors.values()) {
      bytes += tensor.bytes;
      parameters += numel(tensor.shape);
    }
    const types = [...new Set([...tensors.values()].map(({ dtype }) => dtype))];
    facts.checkpoint = { format, types, bytes, parameters, chatTemplate: chatTemplate !== undefined, config };
    // Weights can be looked at without a tokenizer, or with one that is not known.
    const text = await openText(checkpoint).catch((error: Error) => ({ error: error.message }));
    facts.text =
      "error" in text
        ? text
        : { traits: text.traits ?? null, rowless: text.rowless, findings: textFindings(text), ends: endsOf(text) };
    await checkpoint.close();
  }
  if (json) return printJson(io, facts);
  const lines: [string, string][] = [["name", reference]];
  if (listed) {
    lines.push(["description", listed.description], ["parameters", formatCount(listed.parameters)]);
    lines.push(["licence", listed.licence], ["chat format", listed.chatFormat]);
    for (const { from, bytes, sha256 } of listed.sources) {
      lines.push(["source", `${from}${bytes === undefined ? "" : `  (${formatBytes(bytes)})`}`]);
      if (sha256) lines.push(["  sha256", sha256]);
    }
  }
  lines.push(["on this machine", path ?? `no; fetch it with: ${commandName(io)} models pull ${reference}`]);
  const checkpoint = facts.checkpoint as
    | { format: string; types: string[]; bytes: number; parameters: number; chatTemplate: boolean; config: object }
    | undefined;
  if (checkpoint) {
    lines.push(["format", `${checkpoint.format}, ${checkpoint.types.join(", ")}, ${formatBytes(checkpoint.bytes)}`]);
    if (!listed) lines.push(["parameters", formatCount(checkpoint.parameters)]);
    lines.push(["chat template", checkpoint.chatTemplate ? "yes" : "no"]);
    lines.push(...textLines(facts.text as TextFacts));
    for (const [key, value] of Object.entries(checkpoint.config))
      if (typeof value !== "object") lines.push([key, String(value)]);
  }
  say(io, `${table(lines)}\n`);
}

type TextFacts =
  | { error: string }
  | { traits: ChatTraits | null; rowless: TextCodec["rowless"]; findings: string[]; ends: string[] };

function endsOf({ endIds, tokenText }: TextCodec): string[] {
  return [...endIds].map((id) => tokenText(id));
}

/** What was found out about a model's tokenizer and chat template by rendering a few conversations. */
function textLines(text: TextFacts): [string, string][] {
  if ("error" in text) return [["tokenizer", text.error]];
  const { traits, findings, ends } = text;
  const lines: [string, string][] = [["replies end with", ends.join(" ")]];
  if (traits?.fault !== undefined) lines.push(["  cannot be used", traits.fault]);
  else if (traits)
    lines.push(
      ["  before a reply", JSON.stringify(traits.prompt)],
      ["  system turns", traits.system],
      ["  roles", traits.alternates ? "have to alternate" : "in any order"],
      ["  earlier replies", traits.keepsReplies ? "stay as they were" : "are rewritten when the conversation goes on"],
    );
  return [...lines, ...findings.map((finding): [string, string] => ["  note", finding])];
}

export interface PullOptions {
  json?: boolean;
  offline?: boolean;
  refresh?: boolean;
}

export async function pullModel(io: Io, reference: string, options: PullOptions): Promise<void> {
  await checkName(reference);
  const { resolveModel } = await import("@tenet/lm");
  const controller = new AbortController();
  const stop = io.onInterrupt((code) =>
    controller.signal.aborted ? io.exit(code) : controller.abort(new Interrupted(code)),
  );
  const progress = downloadProgress(io);
  try {
    const path = await resolveModel(reference, {
      environment: io.env,
      signal: controller.signal,
      onProgress: progress.show,
      refresh: options.refresh === true,
      ...(options.offline && { offline: true }),
    });
    progress.end();
    if (options.json) printJson(io, { reference, path, bytes: folderSize(path) });
    else say(io, `${path}\n`);
  } finally {
    progress.end();
    stop();
  }
}

/** Refuses what looks like a name and is none, with the nearest one. */
export async function checkName(reference: string): Promise<void> {
  const { catalogue, parseReference } = await import("@tenet/lm");
  if (parseReference(reference).kind !== "name" || Object.hasOwn(catalogue.models, reference)) return;
  if (await stat(reference).catch(() => undefined)) return;
  const names = Object.keys(catalogue.models);
  const guess = nearest(reference, names);
  throw new CommandUsageError(
    `there is no model '${reference}'${guess ? `; did you mean ${guess}?` : `; the catalogue has ${names.join(", ")}.`} A folder, a file, hf:owner/name and pypi:package==version/file are understood too.`,
  );
}

/**
 * Why a model could not be opened. What is wrong with files at a path that the person named is put right by another path, or other
 * files: a wrong call. What is wrong with those of the cache, or of a run, is none.
 */
export function faultOfNamed(error: unknown, paths: readonly (string | undefined)[]): unknown {
  const { name, message, file } = error as CheckpointError;
  const named = name === "CheckpointError" && paths.some((path) => path !== undefined && isWithin(file, path));
  return named ? new CommandUsageError(message, { cause: error }) : error;
}

function isWithin(file: string, path: string): boolean {
  const way = relative(path, file);
  return !isAbsolute(way) && way.split(sep)[0] !== "..";
}

async function listing(name: string, entry: CatalogueEntry, io: Io): Promise<ModelListing> {
  const { catalogue, resolveModel } = await import("@tenet/lm");
  const path = await resolveModel(name, { offline: true, environment: io.env }).catch(() => null);
  const sources = entry.sources.map(({ from, bytes, sha256 }) => ({
    from,
    ...(bytes !== undefined && { bytes }),
    ...(sha256 !== undefined && { sha256 }),
  }));
  const { description, parameters, licence, chatFormat } = entry;
  return { name, default: name === catalogue.default, description, parameters, licence, chatFormat, sources, path };
}

function sizeOf({ sources }: ModelListing): string {
  const known = sources.find(({ bytes }) => bytes !== undefined)?.bytes;
  return known === undefined ? "?" : formatBytes(known);
}

/** Not fetched yet is an answer; a reference that cannot be is an error. */
function keepUsage(error: unknown): null {
  if ((error as Error).name === "DownloadError") return null;
  throw error;
}

/**
 * Bytes of a file, or of a folder's files; 0 of what is not there. A link inside is not followed: what it leads to counts where it lies. Synchronous: an
 * environment for Python has tens of thousands of files, and awaiting each takes several times as long.
 */
export function folderSize(path: string): number {
  const status = statSync(path, { throwIfNoEntry: false });
  if (!status?.isDirectory()) return status?.size ?? 0;
  return readdirSync(path, { withFileTypes: true }).reduce((sum, entry) => {
    const inside = join(path, entry.name);
    if (entry.isDirectory()) return sum + folderSize(inside);
    return sum + (lstatSync(inside, { throwIfNoEntry: false })?.size ?? 0);
  }, 0);
}
