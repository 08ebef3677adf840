import type { Figure, Message } from "./common.ts";

/* What a run's scorecard says. */

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
