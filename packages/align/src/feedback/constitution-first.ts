import type { PairRow } from "@tenet/data";
import type { LanguageModel } from "@tenet/lm";
import type { StageCall } from "../ask.ts";
import { type Constitution, type Principle, runChecks, violations } from "../constitution/index.ts";
import { askingWay, choicePrompt, chooseEach, type Question } from "../judge/index.ts";
import type { LabelSettings } from "./label-settings.ts";

/** Who violates the constitution, before anybody is asked what is better. METHODS §3, constitution first. */
export interface FirstVerdict {
  readonly finding: "neither" | "only a" | "only b" | "both" | "both severely";
  /** What was found in each, for `explanation`. */
  readonly record: { readonly a: Found[]; readonly b: Found[] };
  /** Why the critic could not be asked, or its answer not be read. */
  readonly refused?: string;
}

/** A type, not an interface: it is JSON in `explanation`. */
type Found = { principle: string; by: "checks" | "critic"; severity: number; why: string };

/** Who looks for violations first. */
export function lookers({ by }: LabelSettings["constitutionFirst"]): {
  readonly checks: boolean;
  readonly critic: boolean;
} {
  return { checks: by === "checks" || by === "both", critic: by === "critic" || by === "both" };
}

interface Pair {
  readonly row: PairRow;
  readonly principles: readonly Principle[];
}

/**
 * Verdicts on both responses of pairs: the checks of the whole constitution and, where asked for, a critic on the principles
 * drawn for the pair. The critic is asked "yes" or "no" in both orders; an answer that cannot be read is no verdict; a mean probability of "yes" above ½ is a violation of
 * that severity. Nothing is asked when `by` is "off".
 */
export async function firstVerdicts<P extends Pair>(
  pairs: readonly P[],
  {
    constitution,
    critic,
    settings,
    asking,
    call,
  }: {
    readonly constitution: Constitution;
    readonly critic: LanguageModel;
    readonly settings: LabelSettings["constitutionFirst"];
    readonly asking: Parameters<typeof chooseEach>[2];
    readonly call: StageCall;
  },
): Promise<Map<P, FirstVerdict>> {
  const { checks, critic: asked } = lookers(settings);
  if (!checks && !asked) return new Map();
  const found = new Map(
    pairs.map((pair): [P, { a: Found[]; b: Found[]; refused?: string }] => [pair, { a: [], b: [] }]),
  );
  if (checks)
    for (const [{ row }, record] of found)
      for (const side of ["a", "b"] as const) {
        const results = runChecks(constitution, { prompt: row.prompt, response: row[side] });
        for (const { principle, severity, why } of violations(results).violated)
          record[side].push({ principle, by: "checks", severity, why });
      }
  if (asked) await askCritic(found, critic, asking, call);
  return new Map(
    [...found].map(([pair, { a, b, refused }]) => {
      const worst = (side: readonly Found[]) => Math.max(...side.map(({ severity }) => severity));
      let finding: FirstVerdict["finding"] = "neither";
      if (a.length > 0 && b.length > 0)
        finding = Math.min(worst(a), worst(b)) >= settings.severeFrom ? "both severely" : "both";
      else if (a.length > 0) finding = "only a";
      else if (b.length > 0) finding = "only b";
      return [pair, { finding, record: { a, b }, ...(refused === undefined ? {} : { refused }) }];
    }),
  );
}

async function askCritic<P extends Pair>(
  found: ReadonlyMap<P, { a: Found[]; b: Found[]; refused?: string }>,
  critic: LanguageModel,
  asking: Parameters<typeof chooseEach>[2],
  call: StageCall,
): Promise<void> {
  const way = askingWay(await critic.capabilities(call.signal ? { signal: call.signal } : {}));
  // One request per response, principle and order; equal ones are asked once.
  const asked = new Map<string, { question: Question; yes: number }>();
  const keyOf = (question: object) => JSON.stringify(question);
  const questionsOf = (row: PairRow, side: "a" | "b", { text }: Principle) =>
    ([0, 1] as const).map((yes) => ({
      question: {
        prompt: [...row.prompt, { role: "assistant" as const, content: row[side] }],
        question: `The principle is: ${text}\nDoes the assistant's last response break this principle?`,
        options: yes === 0 ? (["Yes.", "No."] as const) : (["No.", "Yes."] as const),
      },
      yes,
    }));
  for (const { row, principles } of found.keys())
    for (const principle of principles)
      for (const side of ["a", "b"] as const)
        for (const each of questionsOf(row, side, principle)) asked.set(keyOf(each), each);

  const keys = [...asked.keys()];
  const questions = [...asked.values()].map(({ question }, i) => ({
    prompt: choicePrompt([], question, way),
    options: question.options,
    key: keys[i]!,
  }));
  const pYes = new Map<string, number | { refused: string }>();
  for await (const answer of chooseEach(critic, questions, asking, call)) {
    const key = keys[answer.request]!;
    if ("refused" in answer) pYes.set(key, { refused: answer.refused });
    else if ("unread" in answer) pYes.set(key, { refused: `critic: ${answer.unread}` });
    else pYes.set(key, asked.get(key)!.yes === 0 ? answer.choice.p : 1 - answer.choice.p);
  }
  for (const [{ row, principles }, record] of found)
    for (const principle of principles)
      for (const side of ["a", "b"] as const) {
        const [first, second] = questionsOf(row, side, principle).map((each) => pYes.get(keyOf(each))!);
        if (typeof first === "object") record.refused = first.refused;
        else if (typeof second === "object") record.refused = second.refused;
        else if ((first! + second!) / 2 > 0.5) {
          const severity = (first! + second!) / 2;
          record[side].push({
            principle: principle.id,
            by: "critic",
            severity,
            why: `yes with p = ${severity.toFixed(3)}`,
          });
        }
      }
}
