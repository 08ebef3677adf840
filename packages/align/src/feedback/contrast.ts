import {
  type Outcome,
  type PairRow,
  type PreferenceRow,
  type PromptRow,
  pairContent,
  preferenceRowSchema,
  randomStream,
  rowId,
} from "@tenet/data";
import type { LanguageModel } from "@tenet/lm";
import { z } from "zod";
import { generateEach, type StageCall } from "../ask.ts";
import {
  asAsked,
  type Constitution,
  constitutionHash,
  drawPrinciples,
  looksAtCategories,
  type Principle,
} from "../constitution/index.ts";
import { categoryKept } from "./pairs.ts";
import { withSystem } from "./respond.ts";
import { samplingFields } from "./sampling.ts";

/** How contrast pairs are drawn. The defaults are written here only. */
export const contrastSettingsSchema = z.strictObject({
  sampling: samplingFields({ temperature: 1, maxTokens: 256 }).describe("Sampling of the two replies."),
});

export interface ContrastOptions extends z.input<typeof contrastSettingsSchema> {
  readonly generator: LanguageModel;
  readonly constitution: Constitution;
  readonly seed: number;
}

/** The system prompts under which a principle is kept to, and broken. */
function instructions(principle: Principle): readonly [string, string] {
  const { negation } = principle;
  const rule = asAsked(principle);
  return [
    `Keep to this rule in your answer: ${rule}`,
    negation === undefined
      ? `Do the opposite of what this rule says in your answer: ${rule}`
      : `Keep to this rule in your answer: ${negation}`,
  ];
}

/** What the pair of a prompt depends on besides the prompt, the model and the seed. */
export function contrastDependsOn(
  row: PromptRow,
  { constitution, sampling, seed }: Omit<ContrastOptions, "generator">,
) {
  const principle = drawFor(row, constitution, seed);
  return {
    instructions: [...instructions(principle)],
    principle: principle.id,
    ...contrastSettingsSchema.parse({ sampling }),
    ...(looksAtCategories(constitution) && categoryKept(row)),
  };
}

/**
 * Pairs whose answer is known because of how they were made: one reply sampled under a principle, the other under its opposite;
 * the first is preferred with p = 1. METHODS §3 (RLCD, 2307.12950). Which stands as `a` is drawn by (seed, content).
 *
 * The principle is the row's `origin.principles`. Set aside: prompts with a reply that is empty, withheld or refused, equal
 * replies, and two of which the length limit cut one. Errors: those of `LanguageModel.generate`.
 */
export async function* contrastPairs(
  rows: readonly PromptRow[],
  { generator, constitution, seed, ...rest }: ContrastOptions,
  call: StageCall = {},
): AsyncGenerator<Outcome<PreferenceRow>> {
  const { sampling } = contrastSettingsSchema.parse(rest);
  const hash = constitutionHash(constitution);
  const keepCategory = looksAtCategories(constitution);
  const requests = rows.flatMap((row) =>
    instructions(drawFor(row, constitution, seed)).map((system, side) => ({
      prompt: withSystem(row.prompt, system),
      sampling: { ...sampling, seed },
      key: `contrast:${side}:${row.id}`,
    })),
  );
  const replies = rows.map((): (Reply | undefined)[] => [undefined, undefined]);
  for await (const answer of generateEach(generator, requests, call)) {
    const [index, side] = [answer.request >> 1, answer.request & 1];
    const both = replies[index]!;
    if ("refused" in answer) both[side] = { fault: answer.refused };
    else {
      const { text, finishReason } = answer.value[0]!;
      both[side] = { text: text.trim(), finishReason };
    }
    const [better, worse] = both;
    if (better === undefined || worse === undefined) continue;
    const { id, prompt, category, origin } = rows[index]!;
    const fault = faultOf(better, worse);
    if (fault !== undefined) {
      yield { input: id, rows: [], aside: fault };
      continue;
    }
    const principle = drawFor(rows[index]!, constitution, seed).id;
    const texts = [better.text!, worse.text!] as const;
    const { uniform } = randomStream({ seed, stage: "contrast-order", item: JSON.stringify([id, ...texts]) });
    const first = uniform(0) < 0.5;
    const [a, b] = first ? texts : [texts[1], texts[0]];
    const p = first ? 1 : 0;
    const row: PreferenceRow = {
      id: rowId("preference", prompt, a, b, p, "contrast"),
      ...{ ...pairContent({ prompt, a, b, ...(keepCategory && { category }) }), p, weight: 1, label: "contrast" },
      explanation: [{ step: "contrast", principle, kept: first ? "a" : "b" }],
      origin: {
        ...origin,
        models: { generator: generator.id },
        constitution: hash,
        principles: [principle],
        seed,
        parents: [id],
      },
    };
    yield { input: id, rows: [row] };
  }
}

interface Reply {
  readonly text?: string;
  readonly finishReason?: string;
  readonly fault?: string;
}

function faultOf(...replies: readonly [Reply, Reply]): string | undefined {
  for (const { fault, text, finishReason } of replies) {
    if (fault !== undefined) return fault;
    if (finishReason === "filtered") return "a reply was withheld by the service";
    if (text === "") return "a reply is empty";
  }
  const [one, other] = replies;
  if (one.text === other.text) return "both replies are the same";
  if ((one.finishReason === "length") !== (other.finishReason === "length"))
    return "the length limit cut one reply and not the other: which is better would be a matter of the limit";
  return undefined;
}

/** The principle that a prompt's replies are to keep and to break. */
function drawFor({ prompt }: PromptRow, constitution: Constitution, seed: number): Principle {
  const item = JSON.stringify(prompt);
  return drawPrinciples(constitution, { seed, stage: "contrast", item, count: 1, use: "preference" })[0]!;
}

/**
 * Labels of pairs made by contrast: how they were made, and nobody is asked. Set aside: pairs that were not.
 */
export async function* labelByContrast(rows: readonly PairRow[]): AsyncGenerator<Outcome<PreferenceRow>> {
  for (const row of rows) {
    const { data } = preferenceRowSchema.safeParse(row);
    yield data?.label === "contrast"
      ? { input: row.id, rows: [{ ...data, origin: { ...data.origin, parents: [row.id] } }] }
      : { input: row.id, rows: [], aside: "it was not made by contrast" };
  }
}
