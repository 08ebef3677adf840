import type { TrainingPlan } from "@tenet/train";
import type { RoleReference } from "./recipe.ts";

/** Rows, and their mean length in tokens. */
export interface Size {
  readonly rows: number;
  /** Of a whole row: a prompt; prompt and reply; prompt and both replies of a pair. */
  readonly tokens: number;
  /** Of the prompt in it. */
  readonly prompt: number;
}

/** What a model is asked for. */
export interface Asked {
  readonly role: string;
  readonly model: RoleReference;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly requests: number;
  /** Tokens that all requests begin with: held once. */
  readonly shared?: number;
}

/** What a stage will come to and take. */
export interface Expectation extends Size {
  readonly asked?: readonly Asked[];
  /** Tokens that training goes through, once for each pass over them. */
  readonly trainingTokens?: number;
  /** What the training holds at once. */
  readonly training?: TrainingPlan;
  /** Of a gate: held-out pairs that it judges by, at most, the prompts that these are of, where that is known, and the accuracy to be above. */
  readonly gate?: { readonly pairs: number; readonly prompts?: number | undefined; readonly chance: number };
  /** What tells its training from others of its kind in how long a token takes. */
  readonly trainedBy?: string;
}

/** Of what has no rows. */
export const nothing: Size = { rows: 0, tokens: 0, prompt: 0 };
