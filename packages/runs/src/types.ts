import { z } from "zod";
import { StoreError, type Writer } from "./errors.ts";

/*
 * What goes in and comes out of a store. Rows are JSON with an id and an origin; what else they hold is their stage's business.
 */

/** A row as the store needs it: an id that is a function of its content, and the ids of the rows it was made from. */
export interface StoredRow {
  readonly id: string;
  readonly origin: { readonly parents: readonly string[] };
}

/** What one input became. */
export interface Item<Row extends StoredRow = StoredRow> {
  /** `hashOf` everything that the outcome depends on. */
  readonly key: string;
  /** Id of the input row. */
  readonly input: string;
  /** Place of the input in the stage's inputs, from 0. */
  readonly ordinal: number;
  readonly rows: readonly Row[];
  /** Why the input could not be used. */
  readonly aside?: string | undefined;
}

export interface SetAside {
  input: string;
  ordinal: number;
  reason: string;
}

/** Hexadecimal digits of a SHA-256. */
export const hashSchema = z.string().regex(/^[0-9a-f]{64}$/, { error: "expected the 64 hexadecimal digits of hashOf" });

/** Id of a run: its name, and digits of its recipe's hash. */
export const runIdSchema = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,79}-[0-9a-f]{8}$/);

export const runSpecSchema = z.object({
  /** Part of the run's id, so of file names. */
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$/, {
    error: "expected letters, digits, dots, dashes and underscores, at most 80, the first a letter or a digit",
  }),
  /** Resolved: everything that the run depends on. Its hash is part of the run's id. */
  recipe: z.unknown(),
  /** Of programs and models, for people. */
  versions: z.record(z.string(), z.string()).default({}),
});
export type RunSpec = z.input<typeof runSpecSchema>;

export const stageSpecSchema = z.object({
  /** Unique in its run. */
  name: z.string().min(1),
  /** What it does: "critique-revision", "sft". */
  kind: z.string().min(1),
  /** `hashOf` the hashes of its inputs and its settings. */
  identity: hashSchema,
  /** What was hashed, for people who ask why an identity changed. */
  settings: z.unknown().optional(),
});
export type StageSpec = z.input<typeof stageSpecSchema>;

const count = z.int().min(0).default(0);

/** What one role spent. */
export const usageSchema = z.object({
  promptTokens: count,
  completionTokens: count,
  calls: count,
  seconds: z.number().min(0).default(0),
  /** Absent where no price applies. */
  dollars: z.number().min(0).optional(),
});
export type Usage = z.input<typeof usageSchema>;
export type UsageTotal = z.output<typeof usageSchema> & { stage: string; role: string };

export const labelSchema = z.object({
  /** Id of the pair's row. */
  pair: z.string().min(1),
  /** Probability that `a` is the better one. */
  p: z.number().min(0).max(1),
  who: z.string().min(1),
  note: z.string().optional(),
});
export type Label = z.output<typeof labelSchema>;
/** `time` in ISO 8601. */
export type StoredLabel = Label & { time: string };

/** Characters that the name of a person, or of anything else that people name, may have. */
export const longestName = 200;
const name = z.string().trim().min(1).max(longestName);

/** What a person notes about a run; the latest word on a run stands for it whole. */
export const runNoteSchema = z.object({ run: runIdSchema, value: z.record(z.string(), z.json()), who: name });
export type RunNote = z.output<typeof runNoteSchema>;
export type StoredRunNote = RunNote & { time: string };

/** What a person says about a row. */
export const annotationSchema = z.object({
  row: z.string().min(1).max(200),
  /** What is said: a verdict, a correction, … */
  kind: name,
  /** Which of the row's matters it is about, such as a principle; empty for the row itself. */
  about: z.string().max(500).default(""),
  /** Null takes back what this person said before. */
  value: z.json(),
  who: name,
});
export type Annotation = z.input<typeof annotationSchema>;
export type StoredAnnotation = z.output<typeof annotationSchema> & { time: string };

/** Rows for people to judge, one by one. */
export const queueSpecSchema = z.object({
  id: z.string().regex(/^[a-z0-9][a-z0-9-]{0,79}$/),
  name,
  /** What is asked and how, for who shows it. */
  spec: z.record(z.string(), z.json()),
  /** In the order in which they are given out. `gold`: the answer that is known. */
  items: z.array(z.object({ row: z.string().min(1), gold: z.json().optional() })).min(1),
  who: name,
});
export type QueueSpec = z.input<typeof queueSpecSchema>;
export interface Queue {
  id: string;
  name: string;
  spec: Record<string, unknown>;
  who: string;
  created: string;
  /** How many it has. */
  items: number;
}
export interface QueueItem {
  row: string;
  gold?: unknown;
}

/** A person's answer to an item of a queue. Without `p` it is no label: skipped, or both replies bad. */
export const answerSchema = z.object({
  queue: z.string(),
  row: z.string(),
  who: name,
  /** All that was said, and how it was asked. */
  value: z.record(z.string(), z.json()),
  p: labelSchema.shape.p.optional(),
  note: z.string().optional(),
});
export type Answer = z.input<typeof answerSchema>;
export interface StoredAnswer {
  id: number;
  queue: string;
  row: string;
  who: string;
  value: Record<string, unknown>;
  time: string;
}

/** How far a stage has come, as its process last said. */
export interface Progress {
  stage: string;
  done: number;
  total: number;
  unit: string;
  /** When the process that works on it began, and what was done by then: its rate counts from there. ISO 8601. */
  started: string;
  begun: number;
  updated: string;
}

/** When a step's figures were written. ISO 8601. */
export interface StepTime {
  step: number;
  time: string;
}

/** `refused`: a gate said no. `waiting`: for people. `interrupted`: stopped from outside, or its process died. */
export type RunStatus = "running" | "done" | "failed" | "refused" | "waiting" | "interrupted";

export interface RunInfo {
  /** `<name>-<first 8 digits of the recipe's hash>`. */
  id: string;
  name: string;
  recipe: unknown;
  status: RunStatus;
  error?: string;
  versions: Record<string, string>;
  /** ISO 8601. */
  created: string;
  updated: string;
  /** Who wrote it last. */
  writer?: Writer;
}

/** What a run has come to, in numbers. */
export interface RunTotals {
  /** Stages. */
  done: number;
  begun: number;
  seconds: number;
  tokens: number;
  dollars?: number;
  /** Of each stage that has begun, by name. */
  stages: Record<string, { kind: string; status: RunStatus; identity: string; rows: number }>;
}

/** A dataset: the rows of a stage's items in the order of its inputs. */
export interface DatasetInfo {
  /** SHA-256 of its rows as lines of canonical JSON. */
  hash: string;
  rows: number;
  /** Inputs that became something or were set aside. */
  items: number;
  aside: number;
}

export interface StageInfo {
  run: string;
  name: string;
  kind: string;
  identity: string;
  status: RunStatus;
  settings?: unknown;
  /** How often this run began to work on it; 0 where it took over the work of another. */
  attempts: number;
  started: string;
  finished?: string;
  /** Spent by this run, over all attempts. */
  seconds: number;
  error?: string;
  /** So far. */
  items: number;
  aside: number;
  rows: number;
  /** Once it is done. A stage without items has an empty one. */
  dataset?: DatasetInfo;
  /** What `finish` was given. */
  output?: unknown;
  /** Hashes of the artifacts it made. */
  artifacts: string[];
}

/** A finished result of a stage that a later one replaced, in the same run and under the same name. */
export interface SupersededStage extends StageInfo {
  /** When. ISO 8601. */
  replaced: string;
}

/** What an input became in a stage. */
export interface Made<Row extends StoredRow = StoredRow> {
  run: string;
  stage: string;
  rows: Row[];
  /** Why it could not be used. */
  aside?: string;
}

/** Rows of a dataset from a place on. */
export interface RowPage<Row extends StoredRow = StoredRow> {
  rows: { ordinal: number; row: Row }[];
  /** Place of the last input that was read: the next page is what stands `after` it. Absent at the end. */
  next?: number;
}

export interface RunEvent {
  /** From 1, without gaps, in the order of writing. */
  sequence: number;
  /** ISO 8601. */
  time: string;
  kind: string;
  stage?: string;
  message?: string;
  data?: unknown;
}
export type NewEvent = Omit<RunEvent, "sequence" | "time">;

export interface Metric {
  stage: string;
  name: string;
  step: number;
  /** NaN and infinities as they are. */
  value: number;
}

/** A reply that a policy gave while it was trained. */
export interface Rollout {
  /** The iteration that learnt from it. */
  step: number;
  prompt: readonly { readonly role: string; readonly content: string }[];
  response: string;
  finishReason: string;
  score: number;
  /** Of the score, by name. */
  parts: Record<string, number>;
  /** Estimate of KL(π‖π_ref) by this reply, in nats. */
  kl: number;
  tokens: number;
}

export interface ArtifactInfo {
  /** Of a file its SHA-256; of a folder that of the lines `<SHA-256 of the file>  <path>`, sorted by path. */
  hash: string;
  bytes: number;
}

/** A row on the way from a row to its prompts. */
export interface LineageNode<Row extends StoredRow = StoredRow> {
  id: string;
  /** Steps from the row that was asked for. */
  depth: number;
  /** Absent when the row is in no store: a prompt that came from a file. */
  row?: Row;
  /** The stages that hold it. */
  stages: { run: string; stage: string; kind: string }[];
}

export interface Collected {
  works: number;
  items: number;
  artifacts: number;
  scratch: number;
  /** What was freed, or would be: the contents of items, artifacts and scratch folders. */
  bytes: number;
}

/** What the schema makes of a value, or a StoreError that says where it departs from it. */
export function checked<Schema extends z.ZodType>(schema: Schema, value: unknown, what: string): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new StoreError(`${what}: ${z.prettifyError(result.error)}`);
}
