/* What all answers are made of. */

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

export interface Annotation {
  kind: string;
  about: string;
  value: unknown;
  who: string;
  time: string;
}
