// npx tsx --conditions=source scripts/eight-bits.ts [MODEL] [--formats int8] [--prompts 48] [--skip 0] [--rounds 3] [--json FILE]
//
// What weights in fewer bits do to a model: on neutral texts perplexity and how often the likeliest token is the same; on replies that the float32 model
// drew at temperature 1 to held-out prompts (behind those skipped) the Kullback–Leibler divergence KL(float32 ‖ format), estimated as the mean of log p − log q over their tokens, whose
// expectation it is; and the time of speaking and scoring, in rounds that take turns. Intervals are bootstraps over texts and replies.
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { neutralTextsSchema } from "@tenet/align";
import { bootstrap, readDocument } from "@tenet/data";
import { catalogue, type LocalModel, type LocalOptions, openLocalModel, type ScoreRequest } from "@tenet/lm";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    formats: { type: "string", default: "int8" },
    prompts: { type: "string", default: "48" },
    skip: { type: "string", default: "0" },
    rounds: { type: "string", default: "3" },
    json: { type: "string" },
  },
});
const reference = positionals[0] ?? catalogue.default;
const root = new URL("../", import.meta.url);
const { value: neutral } = await readDocument(fileURLToPath(new URL("prompts/neutral.yaml", root)), neutralTextsSchema);
const questions = readFileSync(new URL("prompts/clinical/held-out.jsonl", root), "utf8")
  .split("\n")
  .filter((line) => line.startsWith("{"))
  .slice(Number(options.skip), Number(options.skip) + Number(options.prompts))
  .map((line): { prompt: string } => JSON.parse(line));

/** A text behind its first word, with the likeliest token at each place. */
const texts = neutral.map((text): ScoreRequest => {
  const first = text.indexOf(" ");
  return { prompt: text.slice(0, first), continuations: [text.slice(first)], likeliest: true };
});
const requests = questions.map(({ prompt }, i) => ({
  prompt: [{ role: "user" as const, content: prompt }],
  key: `question ${i}`,
  sampling: { temperature: 1, maxTokens: 64, seed: 1 },
}));

async function scored(model: LocalModel, asked: readonly ScoreRequest[]) {
  const found: { logprobs: readonly number[]; likeliest: readonly string[] }[] = [];
  for await (const { request, scores } of model.score(asked)) {
    const { tokenLogprobs, likeliest = [] } = scores[0]!;
    found[request] = { logprobs: tokenLogprobs, likeliest: likeliest.map(({ text }) => text) };
  }
  return found;
}

async function spoken(model: LocalModel): Promise<string[]> {
  const replies: string[] = [];
  for await (const { request, completion } of model.generate(requests)) replies[request] = completion.text;
  return replies;
}

const open = (weights: NonNullable<LocalOptions["weights"]>) => openLocalModel(reference, { device: "cpu", weights });
const exact = await open("float32");
const replies = await spoken(exact);
const said = requests.flatMap(({ prompt }, i): ScoreRequest[] =>
  replies[i] === "" ? [] : [{ prompt, continuations: [replies[i]!] }],
);
const [ownTexts, ownReplies] = [await scored(exact, texts), await scored(exact, said)];

type Token = { log: number; other: number; same: number };
const sum = (sample: readonly (readonly Token[])[], of: (token: Token) => number) =>
  sample.flat().reduce((total, token) => total + of(token), 0);
const meanOf = (of: (token: Token) => number) => (sample: readonly (readonly Token[])[]) =>
  sum(sample, of) / sum(sample, () => 1);

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

const outcomes: object[] = [];
for (const format of options.formats.split(",") as NonNullable<LocalOptions["weights"]>[]) {
  const model = await open(format);
  const [otherTexts, otherReplies] = [await scored(model, texts), await scored(model, said)];
  const tokens = (own: typeof ownTexts, others: typeof ownTexts): Token[][] =>
    own.map(({ logprobs, likeliest }, i) =>
      logprobs.map((log, t) => ({
        ...{ log, other: others[i]!.logprobs[t]! },
        same: Number(likeliest[t] === others[i]!.likeliest[t]),
      })),
    );
  const [ofTexts, ofReplies] = [tokens(ownTexts, otherTexts), tokens(ownReplies, otherReplies)];
  const estimate = (cases: Token[][], of: (token: Token) => number) => bootstrap(cases, meanOf(of), { seed: 1 });
  const perplexity = (of: (token: Token) => number) => Math.exp(-meanOf(of)(ofTexts));
  const rounds: { speaking: number; scoring: number }[] = [];
  for (let round = 0; round < Number(options.rounds); round++) {
    const own = [await seconds(() => spoken(exact)), await seconds(() => scored(exact, said))];
    const other = [await seconds(() => spoken(model)), await seconds(() => scored(model, said))];
    rounds.push({ speaking: own[0]! / other[0]!, scoring: own[1]! / other[1]! });
  }
  const outcome = {
    ...{ format, processor: cpus()[0]!.model, load: loadavg()[0] },
    ...{ tokens: { texts: ofTexts.flat().length, replies: ofReplies.flat().length } },
    perplexity: { float32: perplexity(({ log }) => log), format: perplexity(({ other }) => other) },
    perplexityRatio: (() => {
      const { value, interval } = estimate(ofTexts, ({ log, other }) => log - other);
      return { value: Math.exp(value), interval: interval.map(Math.exp) };
    })(),
    kl: estimate(ofReplies, ({ log, other }) => log - other),
    meanAbsoluteDifference: estimate(ofReplies, ({ log, other }) => Math.abs(log - other)),
    sameLikeliest: estimate(ofTexts, ({ same }) => same),
    /** Times of float32 over those of the format. */
    rounds,
  };
  outcomes.push(outcome);
  console.log(JSON.stringify(outcome, null, 2));
  await model.close();
}
await exact.close();
if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(outcomes, null, 2)}\n`);
