import type { Figure } from "./common.ts";
import type { Sample } from "./rows.ts";
import type { Metric } from "./verdict.ts";

/* Runs beside each other. */

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
