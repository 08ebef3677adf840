import { type JsonValue, type PreferenceRow, plainJson } from "@tenet/data";
import type { Capabilities } from "@tenet/lm";
import type { JudgeRow } from "@tenet/train";
import type { z } from "zod";
import type { Constitution, Principle } from "../constitution/index.ts";
import { drawFor, questionsOf, sharedTurns } from "./label.ts";
import { type LabelSettings, labelSettingsSchema } from "./label-settings.ts";
import { askingWay, choicePrompt, type LabelDemonstration } from "./question.ts";

/** How a judge is asked: what labels are asked with. */
export interface JudgeAsking extends z.input<typeof labelSettingsSchema> {
  readonly constitution: Constitution;
  readonly demonstrations?: readonly LabelDemonstration[];
  readonly seed: number;
}

export interface JudgeRowsOptions extends JudgeAsking {
  /** Of the model that is to be trained: it is taught the question in the words in which it will be asked. */
  readonly capabilities: Capabilities;
}

/** What the questions of pairs depend on besides the pairs and the model. */
export function judgeDependsOn({ constitution, demonstrations = [], seed: _, ...rest }: JudgeAsking): JsonValue {
  const { method, system, principles } = labelSettingsSchema.parse(rest);
  const drawn = constitution.principles.filter(({ use }) => use !== "revision");
  const asked = drawn.map(({ id, weight, preferenceQuestion }) => [id, weight, preferenceQuestion]);
  return plainJson({ method, system: system ?? null, principles, demonstrations, asked });
}

/**
 * Pairs with a known answer as what a judge learns from: the very questions that `labelPairs` asks a labeller about them, in
 * both orders, under the principles drawn for the pair, a row for each; a contrast pair under the one that tells its replies
 * apart. METHODS §3.
 *
 * Pairs at p = ½, and of equal responses, have no answer and give no row. Errors: CapabilityError for a model that scores nothing.
 */
export function judgeRows(
  known: readonly PreferenceRow[],
  { constitution, demonstrations = [], seed, capabilities, ...rest }: JudgeRowsOptions,
): JudgeRow[] {
  const settings = labelSettingsSchema.parse(rest);
  const way = askingWay(capabilities, "the model to be trained");
  const shared = sharedTurns(settings, demonstrations);
  return known.flatMap((row): JudgeRow[] => {
    if (row.p === 0.5 || row.a.trim() === row.b.trim()) return [];
    return principlesOf(row, { constitution, settings, seed }).map((principle): JudgeRow => {
      const questions = questionsOf(row, principle, ["a", "b"]).map(({ first, question }) => ({
        prompt: choicePrompt(shared, question, way),
        p: first === "a" ? row.p : 1 - row.p,
      }));
      return { id: row.id, questions, weight: row.weight };
    });
  });
}

/** A contrast pair's answer is known under its own principle only. */
function principlesOf(
  row: PreferenceRow,
  { constitution, settings, seed }: { constitution: Constitution; settings: LabelSettings; seed: number },
): Principle[] {
  if (row.label !== "contrast") return drawFor(row, constitution, settings, seed);
  return constitution.principles.filter(({ id }) => row.origin.principles?.includes(id));
}
