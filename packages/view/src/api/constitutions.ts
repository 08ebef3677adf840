import type { Figure } from "./common.ts";
import type { CheckVerdict } from "./rows.ts";

/* Constitutions, and votes on what should become one. */

export interface ConstitutionLine {
  hash: string;
  name: string;
  version: string;
  principles: number;
  runs: string[];
}

export interface Constitutions {
  constitutions: ConstitutionLine[];
}

export interface Principle {
  id: string;
  text: string;
  weight: number;
  category?: string;
  critiqueRequest: string;
  revisionRequest: string;
  preferenceQuestion: string;
  checks: { name: string; severity: number; rule: unknown }[];
}

export interface ConstitutionPage {
  line: ConstitutionLine;
  principles: Principle[];
  /** YAML that reads as it, to be edited. */
  yaml: string;
  /** Of the objections of a principle's checks that people looked at, how many they confirm. */
  confirmed: { principle: string; rate: Figure }[];
  /** By run and principle, of the replies that the run's scorecard judged. */
  broken: { run: string; checkpoint: string; principle: string; rate: Figure }[];
}

export interface Tried {
  verdicts: (CheckVerdict & { applies: boolean })[];
  /** R ∈ [−1, 1]; absent where no check applies. */
  reward?: number;
}

export interface WhatIf {
  replies: number;
  flips: {
    row: string;
    checkpoint: string;
    prompt: string;
    response: string;
    principle: string;
    before: boolean | null;
    after: boolean | null;
    why: string;
  }[];
  /** Flips that are not listed. */
  more: number;
  /** Share of replies that break it, before and after, by checkpoint. */
  rates: { checkpoint: string; principle: string; before?: Figure; after?: Figure }[];
}

export interface VoteSets {
  sets: { id: string; name: string; candidates: number; created: string; votes: number; people: number }[];
}

export interface NextCandidate {
  candidate?: { id: string; text: string };
  done: number;
  total: number;
  /** As one of whom this person votes. */
  group?: string;
}

export interface VoteResults {
  id: string;
  name: string;
  groups: string[];
  people: number;
  threshold: number;
  candidates: {
    id: string;
    text: string;
    counts: Record<string, { agree: number; disagree: number; pass: number }>;
    /** By group, smoothed. */
    agreement?: Record<string, number>;
    weight?: number;
    enters?: boolean;
  }[];
  /** As YAML. */
  constitution?: string;
  /** Why there is none. */
  none?: string;
}
