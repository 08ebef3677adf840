import {
  type JsonValue,
  type Outcome,
  type PairRow,
  type PromptRow,
  pairContent,
  plainJson,
  randomStream,
  rowId,
} from "@tenet/data";
import { type LanguageModel, whyEmpty } from "@tenet/lm";
import { z } from "zod";
import { generateEach, type StageCall } from "../ask.ts";
import { withSystem } from "./respond.ts";
import { samplingFields } from "./sampling.ts";

/** How pairs are drawn. The defaults are the paper's and are written here only. */
export const pairSettingsSchema = z.strictObject({
  samples: z.int().min(1).default(2).describe("Responses per prompt from each model."),
  pairs: z
    .enum(["one", "all"])
    .default("one")
    .describe("`one`: the first two responses that differ; `all`: every two that differ; two models: one of each."),
  contrast: z
    .literal("principle")
    .optional()
    .describe(
      "Instead of two samples: one reply under a principle drawn for the prompt, the other under its opposite (RLCD). `label.method: contrast` prefers the first; a labeller may be asked instead.",
    ),
  system: z.string().min(1).optional().describe("System prompt of the models."),
  sampling: samplingFields({ temperature: 1, maxTokens: 256 }).describe("Sampling of the responses."),
});
export type PairSettings = z.output<typeof pairSettingsSchema>;

export interface PairOptions extends z.input<typeof pairSettingsSchema> {
  readonly generator: LanguageModel;
  /** Absent: both responses are the generator's. */
  readonly second?: LanguageModel | undefined;
  readonly seed: number;
  /** Whether pairs keep the category of their prompt, since checks look at it. Default: no. */
  readonly keepCategory?: boolean;
}

/** What the pairs of a prompt depend on besides the prompt, the models and the seed. */
export function pairsDependsOn(row: PromptRow, options: Omit<PairOptions, "generator" | "second">): JsonValue {
  return plainJson({ ...settingsOf(options), ...(options.keepCategory && categoryKept(row)) });
}

/** Tells pairs that keep the category of their prompt from those that do not. */
export function categoryKept({ category }: PromptRow): { readonly category?: "kept" } {
  return category === undefined ? {} : { category: "kept" };
}

/**
 * Pairs of responses to compare. METHODS §3.
 *
 * Which of two stands as `a` is drawn by (seed, prompt), so that neither place means anything. Empty and withheld responses take part in
 * no pair. A response that the length limit cut is compared with none that ended: which is better would be a matter of the limit. Two that
 * were cut are compared, as what they are (`cut`). A prompt without two different responses is set aside. Yields a prompt's pairs
 * once every model has answered it.
 * Errors: those of `LanguageModel.generate`.
 */
export async function* makePairs(
  rows: readonly PromptRow[],
  options: PairOptions,
  call: StageCall = {},
): AsyncGenerator<Outcome<PairRow>> {
  const settings = settingsOf(options);
  const { generator, second, seed, keepCategory = false } = options;
  const models = second === undefined ? [generator] : [generator, second];
  const replies = rows.map((): Reply[] => []);
  const refused = new Map<number, string>();
  for (const [model, speaker] of models.entries()) {
    const last = model === models.length - 1;
    const requests = rows.map(({ id, prompt }) => ({
      prompt: withSystem(prompt, settings.system),
      sampling: { ...settings.sampling, n: settings.samples, seed },
      key: `pair:${model}:${id}`,
    }));
    for await (const answer of generateEach(speaker, requests, call)) {
      const { request } = answer;
      if ("refused" in answer) refused.set(request, answer.refused);
      else
        for (const completion of answer.value)
          if (completion.finishReason !== "filtered") {
            const text = completion.text.trim();
            const empty = text === "" ? { empty: whyEmpty(completion) } : {};
            replies[request]!.push({ model, text, cut: completion.finishReason === "length", ...empty });
          }
      if (!last) continue;
      const row = rows[request]!;
      const reason = refused.get(request);
      if (reason !== undefined) yield { input: row.id, rows: [], aside: reason };
      else yield pairsOf(row, replies[request]!, { models, settings, seed, keepCategory });
    }
  }
}

interface Reply {
  readonly model: number;
  readonly text: string;
  readonly cut: boolean;
  /** Why it is. */
  readonly empty?: string;
}

function pairsOf(
  { id, prompt, category, origin }: PromptRow,
  replies: readonly Reply[],
  {
    models,
    settings,
    seed,
    keepCategory,
  }: { models: readonly LanguageModel[]; settings: PairSettings; seed: number; keepCategory: boolean },
): Outcome<PairRow> {
  const usable = replies.filter(({ text }) => text !== "");
  const seen = new Set<string>();
  const twos = usable
    .flatMap((one, i) => usable.slice(i + 1).map((other) => [one, other] as const))
    .filter(([one, other]) => one.text !== other.text && (models.length === 1 || one.model !== other.model))
    .filter(([one, other]) => one.cut === other.cut)
    .filter(([one, other]) => {
      const texts = JSON.stringify([one.text, other.text].sort());
      return !seen.has(texts) && seen.add(texts);
    });
  if (twos.length === 0) {
    const why = replies.find(({ empty = "empty" }) => empty !== "empty")?.empty;
    return { input: id, rows: [], aside: `${whyNone(usable)}${why === undefined ? "" : ` (${why})`}` };
  }
  const chosen = settings.pairs === "one" ? twos.slice(0, 1) : twos;
  const rows = chosen.map(([one, other]): PairRow => {
    const { uniform } = randomStream({ seed, stage: "pair", item: JSON.stringify([id, one.text, other.text]) });
    const [a, b] = uniform(0) < 0.5 ? [one, other] : [other, one];
    return {
      id: rowId("pair", prompt, a.text, b.text),
      ...pairContent({
        prompt,
        a: a.text,
        b: b.text,
        ...(one.cut && { cut: true }),
        ...(keepCategory && { category }),
      }),
      origin: { ...origin, models: { a: models[a.model]!.id, b: models[b.model]!.id }, seed, parents: [id] },
    };
  });
  return { input: id, rows };
}

function whyNone(usable: readonly Reply[]): string {
  if (usable.length < 2) return "fewer than two responses that are not empty";
  const cut = usable.filter((reply) => reply.cut).length;
  if (cut === 0 || cut === usable.length) return "all responses are equal";
  return "no two responses can be compared: the length limit cut some and others ended; raise maxTokens of the pairs' sampling";
}

function settingsOf({
  generator: _,
  second: __,
  seed: ___,
  keepCategory: ____,
  ...settings
}: Partial<Pick<PairOptions, "generator">> & Omit<PairOptions, "generator">): PairSettings {
  return pairSettingsSchema.parse(settings);
}
