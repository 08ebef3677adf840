/*
 * What the server answers, for both sides: the page imports this file and nothing else of the server. Plain JSON; times are
 * ISO 8601; what was not measured is absent, never 0.
 */

/** A figure with its 95 % interval (null: no bound) and the observations behind it. */
export interface Figure {
  value: number;
  interval: [number | null, number | null];
  n: number;
}

export interface Message {
  role: string;
  content: string;
}

export interface ApiError {
  error: { name: string; message: string; problems?: unknown[] };
}

export interface StoreInfo {
  folder: string;
  readOnly: boolean;
  version: string;
  runs: number;
  /** Whether this server starts runs and exports. */
  launches: boolean;
}

export type Status = "running" | "done" | "failed" | "refused" | "waiting" | "interrupted";

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

export interface Metric {
  name: string;
  label: string;
  unit: "share" | "number" | "nats" | "words" | "points";
  change: "difference" | "ratio";
  better: "lower" | "higher" | "neither";
  about: string;
  values: ({ checkpoint: string } & Figure)[];
  differences: ({ checkpoint: string; against: string } & Figure)[];
}

export interface StillBroken {
  principle: string;
  text?: string;
  rate: Figure;
  severity?: number;
  example?: { row: string; prompt: Message[]; response: string; check?: string; why?: string };
}

export interface LabelHealth {
  labeller: string;
  accuracy: Figure;
  gate: { passed: boolean; overridden: boolean; why: string };
  figures: { label: string; figure: Figure; ideal?: string }[];
  calibration?: { ece: number; brier: Figure };
  reliability: { predicted: number; observed: number; n: number }[];
  principles: { principle: string; agreement: Figure }[];
}

/** Of one label, by who was asked for it. */
export interface LabelPrice {
  role: string;
  tokens: number;
  seconds: number;
  usd?: number | undefined;
}

export interface Labelling {
  labels: number;
  roles: LabelPrice[];
  total: LabelPrice;
  /** Spent before the first label. */
  fixedUsd?: number | undefined;
  /** From how many labels on they are cheaper than people's, at people's highest and lowest price; null: never. */
  breakEven?: { atHigh: number | null; atLow: number | null } | undefined;
}

/** The scorecard, as the page shows it. */
export interface Verdict {
  tone: "better" | "mixed" | "unclear" | "worse";
  sentences: string[];
  checkpoints: { id: string; label: string; model: string }[];
  /** Whose replies are spoken of where none is named. */
  subject: { id: string; label: string; recommended: boolean };
  heldOut: { prompts: number; benign: number };
  metrics: Metric[];
  breaks: StillBroken[];
  mustHold: ({ principle: string } & Figure)[];
  principles: ({ principle: string; checkpoint: string } & Figure)[];
  labelHealth: LabelHealth[];
  labelsBy?: Record<string, number>;
  /** What the labels cost that a model was asked for; dollars are absent where somebody who was asked has no price. */
  labelling?: Labelling;
  /** What a label by people costs, from low to high. */
  humanLabelUsd?: [number, number];
  gates: { name: string; passed: boolean; overridden: boolean; why: string }[];
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

/** What a check says of a reply, where it applies. */
export interface CheckVerdict {
  principle: string;
  check: string;
  violated: boolean;
  severity: number;
  why: string;
}

export interface Annotation {
  kind: string;
  about: string;
  value: unknown;
  who: string;
  time: string;
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

/** Runs beside each other. Lists of values are in the order of the runs; null where a run has none. */
export interface Compare {
  /** The first is what the others are compared with. */
  runs: string[];
  /** As JSON, where they differ. */
  settings: { setting: string; values: (string | null)[] }[];
  stages: { stage: string; states: ("base" | "shared" | "differs" | "absent")[] }[];
  /** Stages that read files with other contents. */
  files: { stage: string; hashes: (string | null)[] }[];
  scores: {
    checkpoint: string;
    metric: string;
    label: string;
    unit: Metric["unit"];
    change: Metric["change"];
    better: Metric["better"];
    values: (Figure | null)[];
  }[];
  /** Change of the share of replies that break a principle against the first, prompt by prompt; null where the held-out prompts differ. */
  paired: (({ checkpoint: string } & Figure)[] | null)[];
  principles: { principle: string; checkpoint: string; values: (Figure | null)[] }[];
  constitutions: ({ added: string[]; removed: string[]; changed: { id: string; fields: string[] }[] } | null)[];
}

export const compareShows = ["all", "different", "worse", "better"] as const;
export type RunsSamplesShow = (typeof compareShows)[number];

/** Replies of one checkpoint in each run: their `checkpoint` is the run. */
export interface CompareSamples {
  /** Whether all were asked the same under the same constitution; where not, nothing is beside anything. */
  same: boolean;
  samples: Sample[];
  next?: number;
  scanned: number;
}

export interface Monitors {
  stages: {
    stage: string;
    alarms: {
      rule: string;
      iteration: number;
      message: string;
      dismissed?: { who: string; why: string; time: string };
    }[];
    panels: { title: string; series: { name: string; points: [iteration: number, value: number | null][] }[] }[];
  }[];
  /** Of the rules. */
  limits: Record<string, number | undefined>;
}

/** A reply that a policy in training gave. */
export interface RolloutReply {
  step: number;
  response: string;
  finishReason: string;
  score: number;
  /** Of the score, by name. */
  parts: Record<string, number>;
  /** Estimate of the reply's KL from the reference, in nats. */
  kl: number;
  tokens: number;
}

export interface Rollouts {
  stage: string;
  steps: number[];
  total: number;
  prompts: { prompt: Message[]; replies: RolloutReply[] }[];
}

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

export interface QueueLine {
  id: string;
  name: string;
  who: string;
  created: string;
  items: number;
  overlap: number;
  guidelines: string;
  answers: number;
  people: string[];
  /** Items whose answer is known. */
  gold: number;
}

export interface Queues {
  queues: QueueLine[];
}

/** One pair to judge, without anything that says whose replies they are. */
export interface NextItem {
  item?: { row: string; prompt: Message[]; left: string; right: string };
  done: number;
  total: number;
  question: string;
  reasons: string[];
}

export interface Agreement {
  people: {
    who: string;
    answers: number;
    seconds?: number;
    leftShare?: Figure;
    /** Of what others said of the same pairs, how much they said too. */
    agreement?: Figure;
    outcomes: Record<string, number>;
    /** Of the pairs whose answer is known, how many they got right. */
    gold?: Figure;
  }[];
  raw?: Figure;
  alpha?: Figure;
  kappa: { a: string; b: string; kappa?: number; n: number }[];
  /** Against the machine's labels. */
  machine?: Figure;
  /** Items with one answer only: they are in no measure of agreement. */
  single: number;
  disagreements: {
    row: string;
    prompt: Message[];
    a: string;
    b: string;
    answers: { who: string; says: string }[];
    /** Who settled it, and how. */
    settled?: { who: string; says: string; why: string };
  }[];
  labels: number;
  command: string;
}

export interface Checkpoints {
  checkpoints: { id: string; label: string }[];
}

/** A line of the answer to what is said in the chat. */
export type ChatLine =
  | { type: "loading"; checkpoints: string[] }
  | { type: "text"; checkpoint: string; text: string }
  | { type: "done"; checkpoint: string; text: string; finishReason: string; seconds: number; verdicts?: CheckVerdict[] }
  | { type: "error"; message: string };

/** How often the checkpoints of a run won in blind comparisons of the chat. */
export interface ChatVotes {
  votes: number;
  wins: { checkpoint: string; won: Figure; ties: number }[];
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

export interface RecipeFile {
  file: string;
  name: string;
  folder: string;
}
export interface RecipeFiles {
  recipes: RecipeFile[];
}
export interface RecipeText {
  text: string;
}

/** What is wrong with a recipe; or what running it would be. */
export interface RecipeCheck {
  problems: { message: string; line?: number }[];
  run?: string;
  /** Whether the store has the run already. */
  begun?: boolean;
  command?: string;
  warnings?: string[];
  notes?: readonly string[];
  estimate?: {
    stages: { stage: string; title: string; state: string; rows: number; seconds?: number }[];
    /** Of the stages whose rate is known. */
    seconds: number;
    untimed: readonly string[];
    promptTokens: number;
    completionTokens: number;
    dollars?: number;
  };
}

export interface LaunchState {
  running: boolean;
  /** The store has the run. */
  begun: boolean;
  /** The end of what the process said. */
  said: string;
  /** It ended with; null where it could not be started, or was killed. */
  code?: number | null;
}

export interface Exports {
  parts: { part: string; command: string }[];
  checkpoints: { id: string; label: string }[];
}
