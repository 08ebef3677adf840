import type { PairRow } from "@tenet/data";
import type { LanguageModel } from "@tenet/lm";
import type { StageCall } from "../ask.ts";
import {
  asAsked,
  authorities,
  authorityWeight,
  type Constitution,
  type Principle,
  runChecks,
  violations,
} from "../constitution/index.ts";
import { type VerdictAnswer, verdicts } from "../judge/index.ts";
import type { LabelSettings } from "./label-settings.ts";

/** Which of the two breaks something; where both do, which of them at a higher level of authority. */
export type Finding =
  | "neither"
  | "only a"
  | "only b"
  | "a at a higher level"
  | "b at a higher level"
  | "both"
  | "both severely";

/** The worse of the two, where a finding says one is. */
export function worseOf(finding: Finding): "a" | "b" | undefined {
  if (finding === "only a" || finding === "a at a higher level") return "a";
  return finding === "only b" || finding === "b at a higher level" ? "b" : undefined;
}

/** Who violates the constitution, before anybody is asked what is better. METHODS §3, constitution first. */
export interface FirstVerdict {
  readonly finding: Finding;
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
    readonly asking: Parameters<typeof verdicts>[2];
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
        const results = runChecks(constitution, { prompt: row.prompt, response: row[side], category: row.category });
        for (const { principle, severity, why } of violations(results).violated)
          record[side].push({ principle, by: "checks", severity, why });
      }
  if (asked) await askCritic(found, critic, asking, call);
  const none = authorities.length;
  const levels = new Map(
    constitution.principles.map(({ id, authority }) => [
      id,
      authority === undefined ? none : authorities.indexOf(authority),
    ]),
  );
  /** Place of the highest level that is broken; behind all where what is broken has none. */
  const levelOf = (side: readonly Found[]) => Math.min(...side.map(({ principle }) => levels.get(principle)!));
  return new Map(
    [...found].map(([pair, { a, b, refused }]) => {
      const worst = (side: readonly Found[]) => Math.max(...side.map(({ severity }) => severity));
      let finding: FirstVerdict["finding"] = "neither";
      if (a.length > 0 && b.length > 0) {
        const [first, second] = [levelOf(a), levelOf(b)];
        if (first !== second && first !== none && second !== none)
          finding = first < second ? "a at a higher level" : "b at a higher level";
        else finding = Math.min(worst(a), worst(b)) >= settings.severeFrom ? "both severely" : "both";
      } else if (a.length > 0) finding = "only a";
      else if (b.length > 0) finding = "only b";
      return [pair, { finding, record: { a, b }, ...(refused === undefined ? {} : { refused }) }];
    }),
  );
}

async function askCritic<P extends Pair>(
  found: ReadonlyMap<P, { a: Found[]; b: Found[]; refused?: string }>,
  critic: LanguageModel,
  asking: Parameters<typeof verdicts>[2],
  call: StageCall,
): Promise<void> {
  const asked = [...found].flatMap(([{ row, principles }, record]) =>
    principles.flatMap((principle) =>
      (["a", "b"] as const).map((side) => ({
        record,
        side,
        id: principle.id,
        weight: authorityWeight(principle),
        question: { prompt: row.prompt, response: row[side], principle: asAsked(principle) },
      })),
    ),
  );
  const answers: VerdictAnswer[] = [];
  const questions = asked.map(({ question }) => question);
  for await (const answer of verdicts(critic, questions, asking, call)) answers[answer.request] = answer;
  // In the order of the questions, whatever order the answers came in.
  for (const [i, { record, side, id, weight }] of asked.entries()) {
    const answer = answers[i]!;
    if (!("breaks" in answer)) record.refused = "refused" in answer ? answer.refused : `critic: ${answer.unread}`;
    else if (answer.breaks > 0.5)
      record[side].push({
        principle: id,
        by: "critic",
        severity: answer.breaks * weight,
        why: `yes with p = ${answer.breaks.toFixed(3)}`,
      });
  }
}
