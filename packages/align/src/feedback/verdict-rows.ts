import { type JsonValue, mean, type Outcome, type PreferenceRow, pairContent, plainJson, rowId } from "@tenet/data";
import type { Capabilities, LanguageModel } from "@tenet/lm";
import type { JudgeRow } from "@tenet/train";
import type { StageCall } from "../ask.ts";
import { asAsked, type Constitution, constitutionHash, type Principle, runChecks } from "../constitution/index.ts";
import { askingWay, choicePrompt, verdictQuestion, verdicts } from "../judge/index.ts";
import { checkedHashes } from "./examples.ts";

/** A principle by which the replies of a pair are told apart: one keeps to it and the other breaks it. */
export interface ToldApart {
  readonly principle: Principle;
  readonly breaker: "a" | "b";
}

/**
 * The principles of which it is known that one reply of a pair breaks them and the other does not: that of a contrast pair, and those
 * whose checks find a violation in the worse reply alone. One that the better reply alone breaks says the other way round than the
 * pair does: then nothing is known.
 */
export function toldApart(row: PreferenceRow, { principles }: Pick<Constitution, "principles">): ToldApart[] {
  if (row.p === 0.5) return [];
  const breaker = row.p > 0.5 ? "b" : "a";
  const breaks = (principle: Principle, response: string) =>
    runChecks(principle, { prompt: row.prompt, response, category: row.category }).some(({ violated }) => violated);
  const told: ToldApart[] = [];
  for (const principle of principles) {
    const contrasted = row.label === "contrast" && row.origin.principles?.includes(principle.id);
    const [a, b] = [breaks(principle, row.a), breaks(principle, row.b)];
    if (a !== b && (a ? "a" : "b") !== breaker) return [];
    if (contrasted || a !== b) told.push({ principle, breaker });
  }
  return told;
}

/** What a critic's questions about pairs depend on besides the pairs and the model. */
export function verdictsDependOn(constitution: Constitution): JsonValue {
  return plainJson({
    principles: constitution.principles.map((principle) => [principle.id, asAsked(principle)]),
    checks: checkedHashes(constitution),
  });
}

/**
 * Pairs with a known answer as what a critic learns from: of both replies, whether they break each principle that tells them apart, asked
 * in the words of `verdicts` and in both orders. So as many answers are yes as no, under every principle. A pair of which nothing
 * is known gives no row. METHODS §2, §3. Errors: CapabilityError for a model that scores nothing.
 */
export function verdictRows(
  known: readonly PreferenceRow[],
  { constitution, capabilities }: { readonly constitution: Constitution; readonly capabilities: Capabilities },
): JudgeRow[] {
  const way = askingWay(capabilities);
  return known.flatMap((row) =>
    toldApart(row, constitution).flatMap(({ principle, breaker }) =>
      (["a", "b"] as const).map((side): JudgeRow => {
        const asked = { prompt: row.prompt, response: row[side], principle: asAsked(principle) };
        const breaks = side === breaker ? 1 : 0;
        const questions = ([0, 1] as const).map((yes) => ({
          prompt: choicePrompt([], verdictQuestion(asked, yes), way),
          p: yes === 0 ? breaks : 1 - breaks,
        }));
        return { id: rowId("verdict-asked", row.id, principle.id, side), questions, weight: row.weight };
      }),
    ),
  );
}

/**
 * Labels by a critic's verdicts: p = ½(1 + P(b breaks it) − P(a breaks it)), the mean over the principles by which the pair is told apart. What a
 * critic is worth is what such labels are. A pair is set aside of which nothing is known, or where a verdict cannot be read.
 *
 * Errors: those of `LanguageModel`.
 */
export async function* labelByVerdicts(
  known: readonly PreferenceRow[],
  {
    constitution,
    critic,
    seed,
  }: { readonly constitution: Constitution; readonly critic: LanguageModel; readonly seed: number },
  call: StageCall = {},
): AsyncGenerator<Outcome<PreferenceRow>> {
  const hash = constitutionHash(constitution);
  const pairs = known.map((row) => ({
    row,
    told: toldApart(row, constitution),
    breaks: { a: [] as (number | undefined)[], b: [] as (number | undefined)[] },
    fault: undefined as string | undefined,
  }));
  const asked = pairs.flatMap((pair) =>
    pair.told.flatMap(({ principle }, at) =>
      (["a", "b"] as const).map((side) => ({
        ...{ pair, at, side },
        ...{ prompt: pair.row.prompt, response: pair.row[side], principle: asAsked(principle) },
      })),
    ),
  );
  for await (const answer of verdicts(critic, asked, { seed }, call)) {
    const { pair, at, side } = asked[answer.request]!;
    if ("breaks" in answer) pair.breaks[side][at] = answer.breaks;
    else pair.fault ??= "unread" in answer ? `critic: ${answer.unread}` : answer.refused;
  }
  for (const { row, told, breaks, fault } of pairs) {
    const aside = told.length === 0 ? "no principle is known to tell the replies apart" : fault;
    if (aside !== undefined) {
      yield { input: row.id, rows: [], aside };
      continue;
    }
    const readings = told.map(({ principle }, at) => ({
      ...{ step: "verdicts", principle: principle.id, a: breaks.a[at]!, b: breaks.b[at]! },
      p: (1 + breaks.b[at]! - breaks.a[at]!) / 2,
    }));
    const p = mean(readings.map((reading) => reading.p));
    const label: PreferenceRow = {
      id: rowId("preference", row.prompt, row.a, row.b, p, "verdicts"),
      ...{ ...pairContent(row), p, weight: 1, label: "ai" },
      explanation: plainJson(readings) as PreferenceRow["explanation"],
      origin: {
        ...row.origin,
        ...{ models: { ...row.origin.models, labeller: critic.id }, constitution: hash, parents: [row.id], seed },
        principles: told.map(({ principle: { id } }) => id),
      },
    };
    yield { input: row.id, rows: [label] };
  }
}
