import { stat } from "node:fs/promises";
import { basename } from "node:path";
import {
  type Checkpoint,
  DownloadError,
  ModelReferenceError,
  type ModelSource,
  openCheckpoint,
  catalogue as ours,
  parseReference,
  type ResolvedModel,
  type ResolveOptions,
  resolveSource,
} from "@tenet/lm";
import type { OpenedSource } from "./values.ts";

/** The model that a run's weights began with, as others can come by it. */
export interface ExportBase {
  /** What its weights were read from; of a folder or file of this machine the name alone. */
  readonly reference: string;
  /** Of the file, where it is known. */
  readonly sha256?: string;
  /** Its name on the hub, where the weights that programs load by it are those that were trained on. */
  readonly hub?: string;
  /** The hub's model in whose place it was taken: by that name programs load other weights, or it is not known whether they do. */
  readonly insteadOf?: string;
  /** Where it is one GGUF file: the file's name, and the type that most of its numbers have. */
  readonly gguf?: { readonly file: string; readonly type: string };
  /** Whether the run noted which source it opened. Without, it is told by what this machine has now. */
  readonly recorded?: true;
  /** What this machine has by the name in the recipe, where that is not what the run opened. */
  readonly here?: string;
}

export interface ExportBaseOptions extends ResolveOptions {
  /** What the run noted of the base when it trained: see `LocalSource.opened`. */
  readonly opened?: OpenedSource | undefined;
}

/**
 * Tells a base's source by what the run noted of it, or else by what is on this machine, and fetches nothing: an adapter is exported
 * without its base too.
 * @param reference as the recipe names the model
 * Errors: CheckpointError for files that are no model, IntegrityError for a file that is not the catalogue's.
 */
export async function exportBase(
  reference: string,
  { opened, ...options }: ExportBaseOptions = {},
): Promise<ExportBase> {
  const parsed = parseReference(reference);
  const { models } = options.catalogue ?? ours;
  const named = Object.hasOwn(models, reference) ? models[reference]!.sources : [];
  const sources = parsed.kind === "hf" || parsed.kind === "pypi" ? [{ from: reference }] : named;
  const found = await onThisMachine(reference, options);
  const other = opened && found?.source && found.source.from !== opened.from ? found.source.from : undefined;
  const here = opened ? await onThisMachine(opened.from, options) : found;
  const gguf = here && (await ggufOf(here.path));
  const source = opened ?? here?.source ?? (sources.length === 1 ? sources[0] : undefined);
  return {
    reference: source?.from ?? (parsed.kind === "path" ? basename(reference) : reference),
    ...(source?.sha256 !== undefined && { sha256: source.sha256 }),
    ...hubNames(source, sources),
    ...(gguf && { gguf }),
    ...(opened && { recorded: true }),
    ...(other !== undefined && { here: other }),
  };
}

/** A model where it is in the cache already. */
async function onThisMachine(reference: string, options: ResolveOptions): Promise<ResolvedModel | undefined> {
  return resolveSource(reference, { ...options, offline: true }).catch((error) => {
    if (error instanceof DownloadError || error instanceof ModelReferenceError) return undefined;
    throw error;
  });
}

/** A base's name on the hub, or that of the model it stands for there. */
function hubNames(source: ModelSource | undefined, all: readonly ModelSource[]): Pick<ExportBase, "hub" | "insteadOf"> {
  for (const { from } of source ? [source, ...all] : all) {
    const hub = parseReference(from);
    if (hub.kind !== "hf") continue;
    const name = `${hub.owner}/${hub.name}`;
    // By a name alone programs load the whole repository, as its first branch has it.
    const whole = hub.file === undefined && hub.revision === "main";
    return source?.from === from && whole ? { hub: name } : { insteadOf: name };
  }
  return {};
}

async function ggufOf(path: string): Promise<ExportBase["gguf"]> {
  // A folder may hold no weights here: they are where the model is computed.
  if ((await stat(path)).isDirectory()) return undefined;
  const checkpoint = await openCheckpoint(path);
  try {
    if (checkpoint.format !== "gguf") return undefined;
    return { file: basename(checkpoint.path), type: commonType(checkpoint) };
  } finally {
    await checkpoint.close();
  }
}

/** The type that most of a checkpoint's bytes are stored in. */
function commonType({ tensors }: Checkpoint): string {
  const bytes = new Map<string, number>();
  for (const tensor of tensors.values()) bytes.set(tensor.dtype, (bytes.get(tensor.dtype) ?? 0) + tensor.bytes);
  return [...bytes].reduce((most, one) => (one[1] > most[1] ? one : most))[0];
}

/** How a base's own file is served with the adapter beside it. */
export function besideItsFile({ file }: NonNullable<ExportBase["gguf"]>): string {
  return `llama-server -m ${file} --lora adapter.gguf`;
}

/** What others have to know of a base that is not what its name on the hub stands for: a sentence, and what to do. */
export function baseDifference({ reference, sha256, insteadOf, gguf, recorded }: ExportBase): string | undefined {
  if (insteadOf === undefined) return undefined;
  const what = `${gguf ? `the ${gguf.type} file ` : ""}${reference}${sha256 === undefined ? "" : ` (SHA-256 ${sha256})`}`;
  const exact = [
    "tenet export --what merged writes the model's own weights (--dtype F32 without rounding)",
    ...(gguf ? [`--what gguf-adapter an adapter for the base's own file: ${besideItsFile(gguf)}`] : []),
  ];
  return `its base${recorded ? "" : ", as this machine has it,"} is ${what}, which ${gguf ? "is not" : "may not be"} what programs load by the hub's name ${insteadOf}: beside other weights an adapter is another model. ${exact.join("; ")}.`;
}

/** What is to be known where this machine would open another base than the run did: a sentence. */
export function baseHere({ reference, here }: ExportBase): string | undefined {
  if (here === undefined) return undefined;
  return `the run was trained on ${reference}, and so it was exported; by the same name this machine has ${here}, whose weights are others: a run of the recipe here would train anew`;
}
