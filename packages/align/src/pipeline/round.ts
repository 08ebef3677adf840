import type { PairRow, PromptRow } from "@tenet/data";
import type { PartContext } from "./context.ts";
import type { AuditReport } from "./parts/audit.ts";
import type { ReadFile } from "./parts/files.ts";
import type { Recipe } from "./recipe.ts";
import type { StepName } from "./schema/arrangement.ts";
import type { Stage } from "./stages/index.ts";
import type { ModelValue, Report, StoredRows } from "./values.ts";

/** What a half of the method is told of the round that it is done in. */
export interface Round {
  /** From 1. */
  readonly number: number;
  /** With the settings and the seed of this round. */
  readonly context: PartContext;
  /** A stage's name in this round; with one round its own. */
  name(own: string): string;
  /** The model that all began with. */
  readonly base: Stage<ModelValue>;
  /** Who plays a role; by default that model. */
  role(name: keyof Recipe["roles"]): Stage<ModelValue>;
  /** Files are the same in every round. */
  readonly file: ReadFile;
  /** What a step works on. */
  prompts(step: StepName): Stage<StoredRows<PromptRow>>;
  /** What trainings are watched on. */
  readonly validation: Stage<StoredRows<PromptRow>> | undefined;
  /** The audit of the labels, for all rounds; where people's words are the known answers, on the pairs of the first. */
  audit(pairs: Stage<StoredRows<PairRow>>): Stage<Report<AuditReport>> | undefined;
}
