import type { LanguageModel } from "@tenet/lm";
import type { Store } from "@tenet/runs";
import { z } from "zod";
import { ModelPool, type SpeakerOptions } from "./models.ts";
import { type StepName, stepNames } from "./schema/arrangement.ts";
import type { LocalSource } from "./values.ts";

const noteSchema = z.object({
  id: z.string(),
  label: z.string(),
  /** The stage that it is; the first one, which all began with, is none of the store. */
  stage: z.string(),
  /** The half of the method that made it. */
  step: z.enum(stepNames).optional(),
  round: z.int().optional(),
  /** The stages that it was made of, itself the last. */
  from: z.array(z.string()).optional(),
});

/** What a run notes of a checkpoint that it leads to. */
export type CheckpointNote = z.output<typeof noteSchema>;

/** Of runs that noted none: there was one arrangement. */
const before: readonly CheckpointNote[] = [
  { id: "base", label: "Base", stage: "model" },
  { id: "sl", label: "SL-CAI", stage: "supervised", step: "supervised", round: 1 },
  { id: "rl", label: "RL-CAI", stage: "policy", step: "policy", round: 1 },
];

/** A checkpoint of a run, where its files lie. */
export interface StoredCheckpoint extends Pick<CheckpointNote, "id" | "label" | "step" | "round" | "from"> {
  /** The halves of the method that it went through, in their order. */
  readonly steps: readonly StepName[];
  readonly source: LocalSource;
}

/** What a training stage leaves in the store. */
export const trainedSchema = z.object({
  kind: z.enum(["adapter", "model"]),
  artifact: z.string(),
  /** Runs of before it was noted have none. */
  opened: z.object({ from: z.string(), sha256: z.string().exactOptional() }).exactOptional(),
});

/** What a run notes when it is opened: see `startRun`. */
export const openedSchema = z.object({
  file: z.string(),
  model: z.string(),
  constitution: z.unknown(),
  checkpoints: z.array(noteSchema).optional(),
});

/** What a run noted when it was last opened; nothing of a run that was begun by other means than `startRun`. */
export async function openedOf(store: Store, run: string): Promise<z.output<typeof openedSchema> | undefined> {
  let last: unknown;
  for await (const { kind, data } of store.events(run)) if (kind === "opened") last = data;
  return last === undefined ? undefined : openedSchema.parse(last);
}

/** The checkpoints that a run has come to, as it noted them, the model it began with first. Errors: NotInStoreError for an unknown run. */
export async function checkpointsReached(store: Store, run: string): Promise<CheckpointNote[]> {
  store.run(run);
  const [first, ...later] = (await openedOf(store, run))?.checkpoints ?? before;
  const end = later.findIndex(({ stage }) => store.stage(run, stage)?.output === undefined);
  return [first!, ...(end < 0 ? later : later.slice(0, end))];
}

/** The model that a run's recipe names, which its checkpoints began with; undefined of a run that names none. */
export async function modelNamed(store: Store, run: string): Promise<string | undefined> {
  return (await openedOf(store, run))?.model ?? (store.run(run).recipe as { model?: string } | null)?.model;
}

/**
 * The checkpoints that a run has come to, with where their files lie. A base that its trainings opened from one of several sources is
 * named by that one, whatever this machine would take now: beside other weights an adapter is another model.
 * Errors: NotInStoreError for an unknown run, and where an artifact was taken away by hand; ArtifactChangedError where it was changed.
 */
export async function storedCheckpoints(store: Store, run: string): Promise<StoredCheckpoint[]> {
  const reference = await modelNamed(store, run);
  if (reference === undefined) return [];
  const [first, ...later] = await checkpointsReached(store, run);
  const trained = later.map(({ stage }) => trainedSchema.parse(store.stage(run, stage)!.output));
  const opened = trained.find((one) => one.opened)?.opened;
  let source: LocalSource = { type: "local", reference: opened?.from ?? reference, ...(opened && { opened }) };
  const steps: StepName[] = [];
  const found: StoredCheckpoint[] = [{ ...first!, steps: [], source }];
  for (const [i, { stage: _, ...note }] of later.entries()) {
    const { kind, artifact } = trained[i]!;
    const path = await store.intactArtifact(artifact);
    source = kind === "adapter" ? { ...source, adapter: path } : { type: "local", reference: path };
    if (note.step) steps.push(note.step);
    found.push({ ...note, steps: [...steps], source });
  }
  return found;
}

/**
 * The checkpoint that is meant where nobody names one: what the run's scorecard recommends; the last, where there is no scorecard or
 * nothing that it measured says which is better. Errors: NotInStoreError for an unknown run; TypeError for a run without checkpoints.
 */
export function chosenCheckpoint(
  store: Store,
  run: string,
  all: readonly StoredCheckpoint[],
): { readonly checkpoint: StoredCheckpoint; readonly recommended: boolean } {
  const output = store.stage(run, "scorecard")?.output as { recommended?: string } | undefined;
  const checkpoint = all.find(({ id }) => id === output?.recommended);
  const last = all.at(-1);
  if (!last) throw new TypeError(`run ${run} has no checkpoint`);
  return checkpoint ? { checkpoint, recommended: true } : { checkpoint: last, recommended: false };
}

export interface OpenCheckpoints {
  /** In the order of the checkpoints. */
  readonly models: readonly LanguageModel[];
  close(): Promise<void>;
}

/**
 * Opens checkpoints to speak with: each base is in memory once, under the adapters of all.
 * Errors: those of `openLocalModel` and `loadAdapter`.
 */
export async function openCheckpoints(
  checkpoints: readonly StoredCheckpoint[],
  options: SpeakerOptions = {},
): Promise<OpenCheckpoints> {
  const pool = new ModelPool(options);
  const close = () => pool.close();
  try {
    const models: LanguageModel[] = [];
    for (const { id, source } of checkpoints) models.push(await pool.speaker({ hash: id, source }));
    return { models, close };
  } catch (error) {
    await close();
    throw error;
  }
}
