import type { JsonValue, PreferenceRow } from "@tenet/data";
import type { Capabilities } from "@tenet/lm";
import type { JudgeRow } from "@tenet/train";
import {
  easyPairs,
  judgeDependsOn,
  judgeRows,
  labelByVerdicts,
  verdictRows,
  verdictsDependOn,
} from "../../feedback/index.ts";
import type { PartContext } from "../context.ts";
import type { Size } from "../expectation.ts";
import { asking, perMessage, principleSize } from "../sizes.ts";
import { itemStage, type Stage } from "../stages/index.ts";
import type { ModelValue, StoredRows } from "../values.ts";
import { auditLabelsStage } from "./audit.ts";
import { questionTokens } from "./labels.ts";

/*
 * What a model is taught that plays a role: the very question which the role is asked, and how it answers it afterwards.
 */

type Pairs = Stage<StoredRows<PreferenceRow>>;

export interface Lesson {
  readonly title: string;
  /** What the questions depend on besides the pairs and the model. */
  readonly dependsOn: JsonValue;
  /** Questions of a pair, and tokens of each. */
  questions(pairs: Size): { readonly each: number; readonly tokens: number };
  rows(known: readonly PreferenceRow[], capabilities: Capabilities): JudgeRow[];
  /** Easy ones that are learnt first, of at most so many pairs. */
  warmup(known: readonly PreferenceRow[], count: number, capabilities: Capabilities): JudgeRow[];
  /** What the trained model says of pairs whose answer is known. */
  labels(name: string, known: Pairs, trained: Stage<ModelValue>): Pairs;
}

/** Which of two replies is better: what a labeller and a judge are asked. */
function comparison(context: PartContext): Lesson {
  const { recipe, constitution, labelDemonstrations: demonstrations } = context;
  const { seed, feedback } = recipe;
  const asking = { ...feedback.label, constitution, demonstrations, seed };
  return {
    title: "a judge's fine-tuning",
    dependsOn: judgeDependsOn(asking),
    // Both orders, under each principle.
    questions: (pairs) => ({ each: feedback.label.principles * 2, tokens: questionTokens(context, pairs) }),
    rows: (known, capabilities) => judgeRows(known, { ...asking, capabilities }),
    warmup: (known, count, capabilities) => judgeRows(easyPairs(known, { count, seed }), { ...asking, capabilities }),
    labels: (name, known, trained) => auditLabelsStage(context, { name, known, labeller: trained, critic: trained }),
  };
}

/** Whether a reply breaks a principle: what a critic is asked. */
function verdict({ recipe: { seed }, constitution }: PartContext): Lesson {
  const questions = ({ tokens, prompt }: Size) => ({
    // Both replies, in both orders of yes and no, under one principle as a rule.
    each: 4,
    tokens: (tokens + prompt) / 2 + principleSize(constitution.principles) + perMessage,
  });
  return {
    title: "a critic's fine-tuning",
    dependsOn: verdictsDependOn(constitution),
    questions,
    rows: (known, capabilities) => verdictRows(known, { constitution, capabilities }),
    warmup: () => [],
    labels: (name, known, trained) =>
      itemStage<PreferenceRow, PreferenceRow>({
        name: `${name} labels`,
        title: "verdicts for the audit",
        kind: "label-by-verdicts",
        version: 1,
        seed,
        expect(sized) {
          const { rows } = sized(known);
          const { each, tokens } = questions(sized(known));
          return { ...sized(known), asked: [asking("critic", trained, rows * each, tokens, 0)] };
        },
        over: known,
        models: { critic: trained },
        dependsOn: () => verdictsDependOn(constitution),
        run: (rows, { critic }, call) => labelByVerdicts(rows, { constitution, critic: critic!, seed }, call),
      }),
  };
}

/** By the role that is taught. */
export const lessons = { labeller: comparison, judge: comparison, critic: verdict } as const satisfies Readonly<
  Record<string, (context: PartContext) => Lesson>
>;
export type TaughtRole = keyof typeof lessons;
