import { type JsonValue, type PreferenceRow, plainJson, randomStream, rowId } from "@tenet/data";
import type { Capabilities } from "@tenet/lm";
import type { JudgeRow } from "@tenet/train";
import type { z } from "zod";

import type { Constitution, Principle } from "../constitution/index.ts";
import { askingWay, choicePrompt, type LabelDemonstration } from "../judge/index.ts";
import { drawFor, sharedTurns } from "./label.ts";
import { type LabelSettings, labelSettingsSchema } from "./label-settings.ts";
import { questionsOf } from "./labelled-pair.ts";
import { pairKey } from "./pair-key.ts";

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
  const way = askingWay(capabilities);
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

/**
 * Easy pairs out of harder ones: the better reply of a pair beside its own words in another order. Which of two is fluent is plain to any
 * language model; to say so by a letter, in both orders, is what a small one has to learn before it can compare anything else.
 * At most `count`, drawn by (seed, content); replies of fewer than four different words give none.
 */
export function easyPairs(
  known: readonly PreferenceRow[],
  { count, seed }: { readonly count: number; readonly seed: number },
): PreferenceRow[] {
  const drawn = known.flatMap((row) => {
    const { prompt, a, b, p } = row;
    const better = p > 0.5 ? a : b;
    const words = better.trim().split(/\s+/);
    if (p === 0.5 || new Set(words).size < 4) return [];
    const stream = randomStream({ seed, stage: "judge-warmup", item: pairKey(row) });
    const mixed = [...words];
    for (let i = mixed.length - 1; i > 0; i--) {
      const j = stream.integer(i, i + 1);
      [mixed[i], mixed[j]] = [mixed[j]!, mixed[i]!];
    }
    const [first, second] = [words.join(" "), mixed.join(" ")];
    if (first === second) return [];
    const id = rowId("preference", prompt, first, second, 1, "disorder");
    return [{ at: stream.uniform(mixed.length), row: { ...row, id, a: first, b: second, p: 1 } }];
  });
  drawn.sort((x, y) => x.at - y.at);
  return drawn.slice(0, count).map(({ row }) => row);
}

/** A contrast pair's answer is known under its own principle only. */
function principlesOf(
  row: PreferenceRow,
  { constitution, settings, seed }: { constitution: Constitution; settings: LabelSettings; seed: number },
): Principle[] {
  if (row.label !== "contrast") return drawFor(row, constitution, settings, seed);
  return constitution.principles.filter(({ id }) => row.origin.principles?.includes(id));
}
