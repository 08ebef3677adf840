import type { JsonValue } from "@tenet/data";
import type { RunStatus } from "@tenet/runs";

/**
 * What a run tells while it works. One stream for everybody: the terminal, `--json`, the store's record. Stages are named as
 * the recipe's arrangement names them.
 */
export type RunEvent =
  | { readonly type: "run"; readonly status: RunStatus; readonly run: string; readonly message?: string }
  | {
      readonly type: "stage";
      readonly stage: string;
      readonly status: StageStatus;
      /** What the stage is for, in a few words. */
      readonly title: string;
      readonly seconds?: number;
      /** Rows made, and input rows set aside with a reason. */
      readonly rows?: number;
      readonly aside?: number;
      readonly result?: JsonValue;
    }
  | {
      readonly type: "progress";
      readonly stage: string;
      readonly done: number;
      readonly total: number;
      readonly unit: string;
    }
  | {
      readonly type: "metrics";
      readonly stage: string;
      readonly step: number;
      /** Steps in all, where known. */
      readonly of?: number;
      readonly metrics: Readonly<Record<string, number>>;
    }
  | { readonly type: "message"; readonly stage?: string; readonly level: "info" | "warning"; readonly message: string };

/** `reused`: its inputs and settings are those of a finished stage of this store. `continued`: part of it was there. */
export type StageStatus = "started" | "continued" | "reused" | "done" | "failed";
