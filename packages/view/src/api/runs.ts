import type { Figure, Status } from "./common.ts";
import type { QueueLine } from "./review.ts";
import type { Verdict } from "./verdict.ts";

/* Runs and their stages. */

/** What people note about a run. */
export interface RunNote {
  name?: string;
  text?: string;
  tags?: string[];
  pinned?: boolean;
  baseline?: boolean;
  archived?: boolean;
}

export interface Progress {
  stage: string;
  done: number;
  total: number;
  unit: string;
  updated: string;
  /** At the rate since the process that works on it began; absent before anything was done. */
  secondsLeft?: number;
}

export interface RunSummary {
  id: string;
  name: string;
  status: Status;
  error?: string;
  created: string;
  updated: string;
  stages: { done: number; begun: number; planned?: number };
  seconds: number;
  tokens: number;
  dollars?: number | undefined;
  constitution?: { name: string; version: string; hash: string };
  note: RunNote;
  progress?: Progress;
  /** Of a run that is under way; absent where nothing like it was run here before. */
  timeLeft?: TimeLeft;
  /** Pairs that have a label; absent where nobody looked yet. */
  labelled?: number;
  /** There is more to say of it, which is being read. */
  pending?: boolean;
  /** Of the scorecard. */
  tone?: "better" | "mixed" | "unclear" | "worse";
  /** Share of replies that break a principle, by checkpoint; the first is what training began with. */
  violations?: ({ checkpoint: string; label: string } & Figure)[];
  /** Change from the first checkpoint to the recommended, else the last. */
  change?: Figure;
}

export interface Runs {
  runs: RunSummary[];
}

export interface StageLine {
  name: string;
  title?: string;
  kind?: string;
  /** `not needed`: planned, and the run is done without it. */
  status: Status | "planned" | "not needed";
  /** Its result was taken over from another run. */
  shared: boolean;
  inputs: string[];
  seconds: number;
  rows: number;
  aside: number;
  tokens: number;
  error?: string;
  started?: string;
  finished?: string;
  progress?: Progress;
  identity?: string;
  /** Names of its figures by step. */
  metrics?: string[];
}

export interface UsageLine {
  stage: string;
  role: string;
  calls: number;
  promptTokens: number;
  completionTokens: number;
  seconds: number;
  dollars?: number | undefined;
}

/** A finished result that a later one replaced, to be read all the same. */
export interface Superseded {
  stage: string;
  title?: string;
  replaced: string;
  rows: number;
  identity: string;
  /** Of a scorecard. */
  violations?: RunSummary["violations"];
}

/** How long the rest of a run takes, where the same stages took their time before. */
export interface TimeLeft {
  seconds: number;
  /** The run whose stages were taken as a measure. */
  like: string;
  /** Titles of stages that nothing is known of: their time is not in it. */
  unknown: string[];
}

export interface RunPage {
  run: RunSummary;
  /** The recipe's file, as the run was last opened with. */
  file?: string;
  recipe: unknown;
  versions: Record<string, string>;
  stages: StageLine[];
  usage: UsageLine[];
  verdict?: Verdict;
  /** Results that later ones replaced. */
  superseded: Superseded[];
  /** In which people judge its pairs. */
  queues: QueueLine[];
  writer?: { pid: number; host: string; since: string };
  /** Last lines of the log. */
  events: RunEvent[];
}

export interface RunEvent {
  sequence: number;
  time: string;
  kind: string;
  stage?: string;
  message?: string;
  data?: unknown;
}

export interface Events {
  events: RunEvent[];
}

export interface Curves {
  stage: string;
  series: { name: string; points: [step: number, value: number | null][] }[];
  /** Step to seconds since the first; absent where the store does not say. */
  seconds?: [step: number, seconds: number][];
}
