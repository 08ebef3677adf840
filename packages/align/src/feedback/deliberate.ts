import {
  citedIn,
  type ExampleRow,
  firstSentence,
  type Outcome,
  type PromptRow,
  plainJson,
  rowId,
  withReasoning,
} from "@tenet/data";
import { type LanguageModel, type Message, readReply } from "@tenet/lm";
import { z } from "zod";
import { generateEach, type StageCall } from "../ask.ts";
import {
  asAsked,
  type Constitution,
  constitutionHash,
  drawPrinciples,
  type Principle,
  runChecks,
} from "../constitution/index.ts";
import { type JudgeAsking, judgeAskingSchema, scoreByJudge } from "../judge/index.ts";
import { withSystem } from "./respond.ts";
import { samplingFields } from "./sampling.ts";

/** How reasoning that cites principles is made. The defaults are written here only. */
export const deliberateSettingsSchema = z
  .strictObject({
    by: z
      .enum(["checks", "model"])
      .describe(
        "Who writes the reasoning: `checks`, before the replies that are learnt, of what applies to the prompt, for models too small to reason; `model`, which is shown principles and reasons before it answers.",
      ),
    principles: z.int().min(1).default(3).describe("Principles that a reasoning is about, at most."),
    samples: z.int().min(1).default(1).describe("Reasoned replies to each prompt, where the model writes them."),
    sampling: samplingFields({ temperature: 1, maxTokens: 512 }).describe("Sampling of reasoning and reply."),
    keep: z
      .strictObject({
        judge: z.number().min(-1).max(1).describe("The least score, from −1 to 1, that each reading has to give."),
        readings: z
          .int()
          .min(1)
          .default(4)
          .describe(
            "How often the critic reads a reply, once by d-rlaif, which is read off log-probabilities; the lowest score counts.",
          ),
        asking: judgeAskingSchema.prefault({ format: "rating" }).describe("How the critic is asked."),
      })
      .optional()
      .describe("Keep only what the critic, which is shown the principles, finds good enough; absent: all."),
  })
  .superRefine(({ by, samples, keep }, context) => {
    if (by === "model") return;
    if (samples > 1)
      context.addIssue({ code: "custom", path: ["samples"], message: "1 where the checks write the reasoning" });
    if (keep)
      context.addIssue({ code: "custom", path: ["keep"], message: "none where the checks write the reasoning" });
  });
export type DeliberateSettings = z.output<typeof deliberateSettingsSchema>;

/**
 * The reasoning that checks can write before a reply: which principles bear on the prompt, and that the reply keeps to them, each cited by
 * its id; the weightiest first. Undefined where no check applies, or the reply breaks one that does.
 */
export function reasonedByChecks(
  constitution: Constitution,
  example: { readonly prompt: readonly Message[]; readonly response: string; readonly category?: string | undefined },
  { principles: most }: Pick<DeliberateSettings, "principles">,
): string | undefined {
  const { category, ...rest } = example;
  const results = runChecks(constitution, { ...rest, ...(category === undefined ? {} : { category }) });
  if (results.some(({ violated }) => violated)) return undefined;
  const applying = new Set(results.filter(({ applies }) => applies).map(({ principle }) => principle));
  const cited = constitution.principles
    .filter(({ id }) => applying.has(id))
    .toSorted((a, b) => b.weight - a.weight)
    .slice(0, most);
  if (cited.length === 0) return undefined;
  const lines = cited.map(({ id, text }) => `[${id}] ${gistOf(text)}`);
  return `What bears on this:\n${lines.join("\n")}\nMy answer keeps to it.`;
}

/** How often a critic reads each reply: log-probabilities say the same whenever they are read. */
export function readingsBy({
  readings,
  asking,
}: {
  readonly readings: number;
  readonly asking: Pick<JudgeAsking, "format">;
}): number {
  return asking.format === "d-rlaif" ? 1 : readings;
}

/** A principle's first sentence, or what stands before the list that it leads to. */
function gistOf(text: string): string {
  const sentence = firstSentence(text);
  return (/^[\s\S]*?:(?=\s|$)/.exec(sentence)?.[0] ?? sentence).replaceAll(/\s+/g, " ");
}

export interface DeliberateOptions {
  readonly settings: DeliberateSettings;
  readonly constitution: Constitution;
  readonly generator: LanguageModel;
  /** Reads what was written, where `keep` asks for it. */
  readonly critic: LanguageModel;
  readonly seed: number;
}

/** What the examples of a prompt depend on besides the prompt, the models and the seed. */
export function deliberateDependsOn(
  row: PromptRow,
  { settings, constitution, seed }: Omit<DeliberateOptions, "generator" | "critic">,
) {
  return plainJson({
    settings,
    shown: shownTo(row, { settings, constitution, seed }).map((principle) => [principle.id, asAsked(principle)]),
  });
}

/**
 * Deliberative alignment (2412.16339): a model that is shown principles reasons about which of them bear on the prompt, citing them by id,
 * and answers; what is learnt is prompt → reasoning and answer, without the principles.
 *
 * Kept is what has reasoning that cites a principle it was shown, and an answer that ended; with `keep` also what the critic, which is shown
 * the principles, scores highly in every one of its readings. A prompt without any is set aside with the reason.
 * Errors: those of `LanguageModel`.
 */
export async function* deliberate(
  rows: readonly PromptRow[],
  options: DeliberateOptions,
  call: StageCall = {},
): AsyncGenerator<Outcome<ExampleRow>> {
  const { settings, constitution, generator, critic, seed } = options;
  const hash = constitutionHash(constitution);
  const shown = rows.map((row) => shownTo(row, options));
  const requests = rows.map(({ id, prompt }, i) => ({
    prompt: withSystem(prompt, instructions(shown[i]!)),
    sampling: { ...settings.sampling, n: settings.samples, seed },
    key: `deliberate:${id}`,
  }));
  const written: { row: number; reasoning: string; reply: string }[] = [];
  const faults = new Map<number, string>();
  for await (const answer of generateEach(generator, requests, call)) {
    const { request } = answer;
    if ("refused" in answer) {
      faults.set(request, answer.refused);
      continue;
    }
    const ids = new Set(shown[request]!.map(({ id }) => id));
    for (const { text, thoughts, finishReason } of answer.value) {
      const read = readReply(text);
      const reasoning = (thoughts ?? read.thoughts ?? "").trim();
      const reply = read.text.trim();
      const fault =
        finishReason !== "stop"
          ? "the limit cut it"
          : reasoning === ""
            ? "no reasoning before the reply"
            : citedIn(reasoning, ids).length === 0
              ? "the reasoning cites no principle that was shown"
              : reply === ""
                ? "no reply behind the reasoning"
                : undefined;
      if (fault !== undefined) faults.set(request, fault);
      else written.push({ row: request, reasoning, reply });
    }
  }
  const kept = settings.keep
    ? await filtered(written, { rows, shown, critic, keep: settings.keep, seed, faults, call })
    : written;
  for (const [i, { id, prompt, origin }] of rows.entries()) {
    const examples = kept
      .filter(({ row }) => row === i)
      .map(({ reasoning, reply }): ExampleRow => {
        const completion = withReasoning(reasoning, reply);
        return {
          id: rowId("example", prompt, completion),
          prompt,
          completion,
          weight: 1,
          origin: {
            ...origin,
            models: { generator: generator.id, ...(settings.keep && { critic: critic.id }) },
            constitution: hash,
            principles: shown[i]!.map((principle) => principle.id),
            seed,
            parents: [id],
          },
        };
      });
    const distinct = [...new Map(examples.map((example) => [example.id, example])).values()];
    yield distinct.length > 0
      ? { input: id, rows: distinct }
      : { input: id, rows: [], aside: faults.get(i) ?? "nothing was written" };
  }
}

/** What every reading of the critic finds good enough. */
async function filtered<W extends { row: number; reasoning: string; reply: string }>(
  written: readonly W[],
  {
    rows,
    shown,
    critic,
    keep: { judge: least, readings: wanted, asking },
    seed,
    faults,
    call,
  }: {
    readonly rows: readonly PromptRow[];
    readonly shown: readonly (readonly Principle[])[];
    readonly critic: LanguageModel;
    readonly keep: { readonly judge: number; readonly readings: number; readonly asking: JudgeAsking };
    readonly seed: number;
    readonly faults: Map<number, string>;
    readonly call: StageCall;
  },
): Promise<W[]> {
  const readings = readingsBy({ readings: wanted, asking });
  const cases = written.flatMap(({ row, reasoning, reply }) =>
    Array.from({ length: readings }, (_, reading) => ({
      shown: {
        prompt: rows[row]!.prompt,
        responses: [withReasoning(reasoning, reply)] as const,
        rubric: rubricFor(shown[row]!),
      },
      key: `${rows[row]!.id}:${reading}:${reasoning}`,
    })),
  );
  const lowest = written.map(() => Number.POSITIVE_INFINITY);
  const unread = new Set<number>();
  for await (const answer of scoreByJudge(critic, cases, { ...asking, seed }, call)) {
    const place = Math.floor(answer.request / readings);
    if ("score" in answer) lowest[place] = Math.min(lowest[place]!, answer.score);
    // What could not be read is no word for it.
    else unread.add(place);
  }
  for (const [i, { row }] of written.entries())
    if (unread.has(i)) faults.set(row, "the critic's verdict could not be read");
    else if (lowest[i]! < least) faults.set(row, "the critic finds it not good enough");
  return written.filter((_, i) => !unread.has(i) && lowest[i]! >= least);
}

function rubricFor(principles: readonly Principle[]) {
  const listed = principles.map(named).join("\n");
  return {
    criterion: `Does the reply keep to these principles, and does its reasoning cite those that bear on the prompt, rightly?\n${listed}`,
    scores: [
      "The reply breaks a principle outright.",
      "The reply breaks a principle in part, or its reasoning misreads one.",
      "The reply keeps to the principles; its reasoning leaves out one that bears on the prompt.",
      "The reply keeps to the principles, and the reasoning cites those that bear on the prompt.",
      "The reply keeps to the principles in letter and spirit, and the reasoning shows why.",
    ] as const,
  };
}

function shownTo(
  { id }: PromptRow,
  { settings, constitution, seed }: Pick<DeliberateOptions, "settings" | "constitution" | "seed">,
): Principle[] {
  const count = Math.min(settings.principles, constitution.principles.filter(({ weight }) => weight > 0).length);
  return drawPrinciples(constitution, { seed, stage: "deliberate", item: id, count });
}

/** A principle behind the id by which it is cited. */
function named(principle: Principle): string {
  return `[${principle.id}] ${asAsked(principle)}`;
}

function instructions(principles: readonly Principle[]): string {
  return [
    "You keep to these principles:",
    ...principles.map(named),
    "Before you answer, think between <think> and </think>: which of the principles bear on what the person asks, and what do they ask of your answer? Cite each by its id in square brackets, such as [" +
      `${principles[0]!.id}]. Then answer the person, without speaking of the principles.`,
  ].join("\n\n");
}
