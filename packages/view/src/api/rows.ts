import type { Annotation, Figure, Message } from "./common.ts";
import type { StageLine } from "./runs.ts";

/* What runs hold: replies, chains, pairs, rows. */

/** What a check says of a reply, where it applies. */
export interface CheckVerdict {
  principle: string;
  check: string;
  violated: boolean;
  severity: number;
  why: string;
}

export interface Reply {
  checkpoint: string;
  row: string;
  response: string;
  finishReason: string;
  stance: "answers" | "partial" | "refuses" | "empty";
  /** Absent where the constitution could not be asked: its checks are programs, or the run names none. */
  verdicts?: CheckVerdict[];
  said: Annotation[];
}

export interface Sample {
  ordinal: number;
  prompt: Message[];
  category?: string;
  benign?: boolean;
  replies: Reply[];
}

export const sampleShows = ["all", "breaks", "fixed", "regressed", "different", "cut", "refused", "flagged"] as const;
export type SampleShow = (typeof sampleShows)[number];

export interface Samples {
  checkpoints: { id: string; label: string }[];
  samples: Sample[];
  /** What comes after these; absent at the end. */
  next?: number;
  /** Inputs that were looked through for them. */
  scanned: number;
}

export interface SampleCounts {
  counts: Record<SampleShow, number>;
  principles: Record<string, number>;
  categories: Record<string, number>;
}

export interface Chain {
  ordinal: number;
  row: string;
  prompt: Message[];
  category?: string;
  responses: string[];
  rounds: { principle: string; critique: string; revision?: string; edits?: string[]; rejected?: string }[];
  /** Principles that each of the responses breaks, by the checks; absent where they could not be asked. */
  broken?: string[][];
  said: Annotation[];
}

export interface Chains {
  chains: Chain[];
  next?: number;
  scanned: number;
}

export interface Reading {
  principle: string;
  first: "a" | "b";
  logprobs?: [number, number];
  p: number;
  reasoning?: string;
}

export interface Pair {
  row: string;
  pair: string;
  prompt: Message[];
  a: string;
  b: string;
  p: number;
  label: string;
  readings: Reading[];
  /** Share of the readings in which the letter that stood first won, where both orders were asked; ½ follows no position. */
  followsPosition: boolean;
  /** Steps of the explanation that are no readings. */
  steps: Record<string, unknown>[];
  human: { p: number; who: string; time: string; note?: string | undefined }[];
  broken?: { a: string[]; b: string[] };
}

export const pairSorts = ["order", "uncertain", "position", "people", "checks"] as const;
export type PairSort = (typeof pairSorts)[number];

export interface Pairs {
  pairs: Pair[];
  /** That the filter leaves. */
  total: number;
}

export interface PairCounts {
  /** How many of each kind of label. */
  labels: Record<string, number>;
}

export interface RowPage {
  stage: StageLine;
  /** When a later result took its place; absent of what stands. */
  replaced?: string;
  rows: { ordinal: number; row: Record<string, unknown> & { id: string } }[];
  next?: number;
  reasons: { reason: string; count: number }[];
}

export interface RowDetail {
  id: string;
  row?: Record<string, unknown> & { id: string };
  stages: { run: string; stage: string; kind: string }[];
  up: {
    id: string;
    depth: number;
    row?: Record<string, unknown>;
    stages: { run: string; stage: string; kind: string }[];
  }[];
  down: { run: string; stage: string; id: string }[];
  principles: { id: string; text: string }[];
  said: Annotation[];
  labels: { p: number; who: string; time: string; note?: string | undefined }[];
}

export interface PrincipleLabels {
  rows: {
    principle: string;
    pairs: number;
    /** Distance of p from ½, on average, twice: 0 undecided, 1 sure. */
    sureness: number;
    /** Of the pairs read in both orders, in how many the letter that stood first won both times, or lost both times. */
    followsPosition?: Figure;
    /** Of the pairs of which the checks object to one reply, in how many the labeller prefers the other. */
    checks?: Figure;
    /** Of the pairs that people decided, in how many the labeller says the same. */
    people?: Figure;
  }[];
}
