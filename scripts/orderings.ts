// npx tsx --conditions=source scripts/orderings.ts --data FOLDER --out FOLDER [--device NAME] [--model MODEL] [--part NAME …] [--seeds 3] [--share 1]
//
// Orderings that the literature reports, looked for with SmolLM2-135M-Instruct and published pairs; docs/results.md holds the figures.
// Each part writes a file into --out and is not done again when that is there; a killed part continues from its trainings' checkpoints. --share takes a share of prompts, pairs
// and iterations, for a trial. The data's folder holds hh-rlhf/harmless-base.first1500.jsonl.gz (the first 1,500 rows of the TEST split of
// hh-rlhf's harmless-base), cai-paper/*.json and stackexchange/history.meta.Posts.xml.gz. Hours on two cores.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import {
  bootstrap,
  type ChainRow,
  critiqueAndRevise,
  type Estimate,
  groupBy,
  importCaiPaper,
  importDemonstrations,
  mean,
  openPreferenceModel,
  overoptimisation,
  type PreferenceEvaluation,
  type PreferenceModel,
  type PreferenceRow,
  type PromptRow,
  preferenceReward,
  type ResponseRow,
  respond,
  scoreResponses,
  trainPreference,
  trainRloo,
} from "@tenet/align";
import { adapterFactors, type LanguageModel, loadAdapter, openLocalModel } from "@tenet/lm";
import type { DeviceName } from "@tenet/tensor";
import { firstTurn, harmlessPairs, readPairs, shortened } from "./hh.ts";

/** Tokens of a dialogue with its longer reply: the earliest turns are dropped until they fit. */
const dialogueTokens = 192;
/** Rankings with a longer answer, question included, are left out. */
const rankingTokens = 384;
const replyTokens = 64;
const settings = { learningRate: 3e-4, schedule: "linear", warmupSteps: 4, checkpointEvery: 10 } as const;

const { values: given } = parseArgs({
  options: {
    data: { type: "string" },
    out: { type: "string" },
    model: { type: "string", default: "smollm2-135m-instruct" },
    device: { type: "string", default: "cpu" },
    part: { type: "string", multiple: true },
    seeds: { type: "string", default: "3" },
    share: { type: "string", default: "1" },
  },
});

/** What a part reports: figures under names, with intervals where they have any. */
type Figures = Record<string, unknown>;

const [seeds, share] = [Number(given.seeds), Number(given.share)];

interface Part {
  readonly claim: string;
  /** How many seeds its figures are means over. */
  readonly seeds: number;
  readonly run: () => Promise<Figures>;
}

/** One entry per ordering: what the literature says, and what is computed. */
const parts: Record<string, Part> = {
  revisions: {
    claim: "the preference score rises with the number of revisions, 0 to 4 (2212.08073, figure 5)",
    seeds: 1,
    run: revisions,
  },
  labels: {
    claim: "soft labels teach a preference model better than hard ones (2212.08073, section 4.3)",
    seeds,
    run: softAndHard,
  },
  pretraining: {
    claim: "pre-training on rankings helps most where pairs are few (2112.00861, section 4)",
    seeds,
    run: pretraining,
  },
  "best-of-n": {
    claim: "best of n trades KL for reward, the gold score rising less than the proxy (2210.10760)",
    seeds: 1,
    run: bestOfN,
  },
  optimisation: {
    claim: "without a KL penalty the proxy goes on rising while the gold score falls behind (2210.10760)",
    seeds: 1,
    run: optimisation,
  },
};

const chosen = given.part ?? Object.keys(parts);
const wrong = chosen.find((name) => !(name in parts));
if (
  given.data === undefined ||
  given.out === undefined ||
  wrong !== undefined ||
  !(seeds >= 1) ||
  !(share > 0 && share <= 1)
) {
  console.error(
    `expected --data FOLDER, --out FOLDER, --part of ${Object.keys(parts).join(", ")}, --seeds from 1, --share above 0 up to 1`,
  );
  process.exit(2);
}
const { data, out } = { data: given.data, out: given.out };
const device = given.device as DeviceName | "auto";
mkdirSync(out, { recursive: true });

const model = await openLocalModel(given.model, { device });
const { train, test } = await dialogues();
const halves = [train.filter((_, i) => i % 2 === 0), train.filter((_, i) => i % 2 === 1)] as const;
try {
  for (const name of chosen) {
    const file = join(out, `${name}.json`);
    const { claim, seeds, run } = parts[name]!;
    if (!existsSync(file)) {
      const began = performance.now();
      const figures = await run();
      const seconds = Math.round((performance.now() - began) / 1000);
      writeFileSync(file, `${JSON.stringify({ claim, device, share, seeds, seconds, figures }, null, 2)}\n`);
    }
    say(`${name}: ${readFileSync(file, "utf8")}`);
  }
} finally {
  await model.close();
}

async function dialogues() {
  const { train, test } = await harmlessPairs(data);
  const short = (row: PreferenceRow) => shortened(row, dialogueTokens, tokensOf);
  return { train: some(train.map(short)), test: some(test.map(short)) };
}

/** Tokens of the dialogue with its longer reply, as text: what a chat template adds is not counted. */
function tokensOf({ prompt, a, b }: PreferenceRow): number {
  const tokens = (text: string) => model.text.encode(text).length;
  return prompt.reduce((sum, { content }) => sum + tokens(content), 0) + Math.max(tokens(a), tokens(b));
}

/** The first of them, as many as the share says. */
function some<T>(rows: readonly T[]): T[] {
  return rows.slice(0, Math.ceil(share * rows.length));
}

/** First turns of pairs that no preference model here learnt from, each once. */
function askedOnly(rows: readonly PreferenceRow[], count: number): PromptRow[] {
  const turns = [...new Map(rows.map((row) => [firstTurn(row), row])).values()];
  return turns.slice(0, Math.ceil(share * count)).map((row) => ({
    id: row.id,
    origin: { parents: [row.id] },
    prompt: [row.prompt.find(({ role }) => role === "user")!],
  }));
}

/** Trains a preference model, or finds it done; a killed training continues. */
async function taught(
  name: string,
  rows: readonly PreferenceRow[],
  more: {
    readonly seed?: number;
    readonly targets?: "soft" | "hard";
    readonly pretraining?: readonly PreferenceRow[];
  } = {},
): Promise<{ folder: string; evaluation: PreferenceEvaluation }> {
  const { seed = 0, targets = "soft", pretraining } = more;
  const began = performance.now();
  const training = trainPreference({
    ...{ model, rows, validation: test, seed, device, folder: join(out, name) },
    settings: { ...settings, targets, pretraining: { learningRateFactor: 3.3 } },
    ...(pretraining && { pretraining }),
  });
  let next = await training.next();
  while (!next.done) next = await training.next();
  const evaluation = next.value.report.evaluation!;
  const { value, interval } = evaluation.accuracy;
  const seconds = Math.round((performance.now() - began) / 1000);
  say(
    `${name}: ${rows.length} pairs, right ${value.toFixed(3)} (${interval.map((x) => x.toFixed(3)).join("–")}), ${seconds} s`,
  );
  return { folder: next.value.path, evaluation };
}

/** Scores of a preference model, which is then closed. */
async function withScorer<T>(folder: string, use: (scorer: PreferenceModel) => Promise<T>): Promise<T> {
  const scorer = await openPreferenceModel(model, folder, { device });
  try {
    return await use(scorer);
  } finally {
    await scorer.close();
  }
}

/** The difference r(a) − r(b) of each pair, in the units in which σ of it is a probability. */
function differences(folder: string, rows: readonly PreferenceRow[]): Promise<number[]> {
  return withScorer(folder, async (scorer) => {
    const replies = rows.flatMap(({ prompt, a, b, cut }) => [a, b].map((response) => ({ prompt, response, cut })));
    const scores = await scorer.score(replies);
    return rows.map((_, i) => (scores[2 * i]! - scores[2 * i + 1]!) * scorer.scale);
  });
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

function estimate(values: readonly number[]): Estimate {
  return bootstrap(values, mean, { seed: 0 });
}

async function gathered<Row>(stage: AsyncIterable<{ readonly rows: readonly Row[] }>): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const outcome of stage) rows.push(...outcome.rows);
  return rows;
}

/** Replies to each prompt, by its id. */
async function replies(speaker: LanguageModel, prompts: readonly PromptRow[], n = 1): Promise<ResponseRow[]> {
  return gathered(
    respond(prompts, { generator: speaker, seed: 0, sampling: { temperature: 1, maxTokens: replyTokens, n } }),
  );
}

async function revisions(): Promise<Figures> {
  const read = (name: string) => readFileSync(join(data, "cai-paper", `${name}.json`), "utf8");
  const constitution = importCaiPaper({ critiques: read("CritiqueRevisionInstructions") });
  const demonstrations = importDemonstrations(read("CritiqueRevisionFewShotPrompts"), { file: "demonstrations.json" });
  const { folder } = await taught("human", train);
  const first = await replies(model, askedOnly(test, 96));
  const sampling = { temperature: 0.7, topP: 0.9, maxTokens: replyTokens };
  const chains = await gathered<ChainRow>(
    critiqueAndRevise(first, {
      ...{ constitution, demonstrations, critic: model, reviser: model, seed: 0 },
      ...{ rounds: 4, critique: sampling, revision: sampling, whenCut: "trim" },
    }),
  );
  const cutFirst = new Set(first.filter(({ finishReason }) => finishReason === "length").map(({ id }) => id));
  // A revision that was turned down leaves the response before it; one that was cut is trimmed to where a sentence ends, a first response is not.
  const steps = chains.map(({ prompt, responses, rounds, origin }) => {
    let at = 0;
    const places = [at, ...rounds.map(({ rejected }) => (rejected === undefined ? ++at : at))];
    const wasCut = cutFirst.has(origin.parents[0]!);
    return [...places, ...Array<number>(5 - places.length).fill(at)].map((place) => {
      return { prompt, response: responses[place]!, cut: place === 0 && wasCut };
    });
  });
  const scores = await withScorer(folder, (scorer) => scorer.score(steps.flat()));
  const lengths = steps.flat().map(({ response }) => model.text.encode(response).length);
  const change = (values: readonly number[], from: number, to: number) =>
    steps.map((_, i) => values[5 * i + to]! - values[5 * i + from]!);
  const rounds = [1, 2, 3, 4];
  return {
    chains: steps.length,
    score: [0, ...rounds].map((round) => estimate(steps.map((_, i) => scores[5 * i + round]!))),
    tokens: [0, ...rounds].map((round) => mean(steps.map((_, i) => lengths[5 * i + round]!))),
    "rise from the first response": rounds.map((round) => estimate(change(scores, 0, round))),
    "rise from the round before": rounds.map((round) => estimate(change(scores, round - 1, round))),
    "rise from the first response, length held equal": rounds.map((round) => {
      const pairs = change(scores, 0, round).map((score, i) => ({ score, length: change(lengths, 0, round)[i]! }));
      return bootstrap(pairs, interceptOf, { seed: 0 });
    }),
  };
}

/** Of the least-squares line of score over length: the change where the length does not change. */
function interceptOf(pairs: readonly { readonly score: number; readonly length: number }[]): number {
  const [x, y] = [mean(pairs.map(({ length }) => length)), mean(pairs.map(({ score }) => score))];
  const xx = mean(pairs.map(({ length }) => (length - x) ** 2));
  const xy = mean(pairs.map(({ length, score }) => (length - x) * (score - y)));
  return y - (xx === 0 ? 0 : xy / xx) * x;
}

async function softAndHard(): Promise<Figures> {
  const [teaching, taughtOf] = halves;
  const teacher = await taught("teacher", teaching);
  const told = await differences(teacher.folder, taughtOf);
  const labelled = taughtOf.map((row, i): PreferenceRow => ({ ...row, p: sigmoid(told[i]!), label: "ai" }));
  const each = await perSeed(async (seed) => {
    const [soft, hard] = [
      await taught(`soft-${seed}`, labelled, { seed }),
      await taught(`hard-${seed}`, labelled, { seed, targets: "hard" }),
    ];
    return { soft: await differences(soft.folder, test), hard: await differences(hard.folder, test) };
  });
  return { teacher: teacher.evaluation.accuracy, ...compared(each, "soft", "hard") };
}

async function pretraining(): Promise<Figures> {
  const all = await readPairs(join(data, "stackexchange", "history.meta.Posts.xml.gz"));
  const rankings = some(all.filter((row) => tokensOf(row) <= rankingTokens));
  const figures: Figures = { rankings: rankings.length };
  for (const size of [75, 300, train.length]) {
    const rows = train.slice(0, size);
    const each = await perSeed(async (seed) => {
      const [bare, prepared] = [
        await taught(`bare-${size}-${seed}`, rows, { seed }),
        await taught(`prepared-${size}-${seed}`, rows, { seed, pretraining: rankings }),
      ];
      return { prepared: await differences(prepared.folder, test), bare: await differences(bare.folder, test) };
    });
    figures[`${rows.length} pairs`] = compared(each, "prepared", "bare");
  }
  return figures;
}

async function perSeed<T>(run: (seed: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let seed = 0; seed < seeds; seed++) results.push(await run(seed));
  return results;
}

/** Accuracy and loss of two preference models on the test pairs (the preferred reply is `a`), means over seeds; intervals resample pairs. */
function compared<Name extends string>(
  each: readonly Record<Name, readonly number[]>[],
  one: Name,
  other: Name,
): Figures {
  const overSeeds = (of: (result: Record<Name, readonly number[]>, i: number) => number) =>
    estimate(test.map((_, i) => mean(each.map((result) => of(result, i)))));
  const right = (d: number) => (d > 0 ? 1 : 0);
  const loss = (d: number) => Math.max(-d, 0) + Math.log1p(Math.exp(-Math.abs(d)));
  const figures: Figures = {};
  for (const [name, of] of Object.entries({ accuracy: right, loss })) {
    figures[name] = {
      [one]: overSeeds((result, i) => of(result[one][i]!)),
      [other]: overSeeds((result, i) => of(result[other][i]!)),
      difference: overSeeds((result, i) => of(result[one][i]!) - of(result[other][i]!)),
    };
  }
  return figures;
}

/** The proxy and the gold score learn from pairs of their own. */
async function proxyAndGold() {
  const [proxy, gold] = [await taught("teacher", halves[0]), await taught("gold", halves[1])];
  return {
    proxy: proxy.folder,
    gold: gold.folder,
    accuracy: { proxy: proxy.evaluation.accuracy, gold: gold.evaluation.accuracy },
  };
}

function scoresOf(folder: string, rows: readonly ResponseRow[]): Promise<number[]> {
  const wanted = rows.map(({ prompt, response, finishReason }) => ({
    prompt,
    response,
    cut: finishReason === "length",
  }));
  return withScorer(folder, (scorer) => scorer.score(wanted));
}

async function bestOfN(): Promise<Figures> {
  const samples = 16;
  const judges = await proxyAndGold();
  const rows = await replies(model, askedOnly(test, 64), samples);
  const [proxy, gold] = [await scoresOf(judges.proxy, rows), await scoresOf(judges.gold, rows)];
  const prompts = [...groupBy([...rows.keys()], (i) => JSON.stringify(rows[i]!.prompt)).values()];
  const figures: Figures = { accuracy: judges.accuracy, prompts: prompts.length };
  for (const n of [1, 2, 4, 8, 16]) {
    // The sample at rank r of m (from 0, worst first) is the best of n with probability C(r, n − 1) / C(m, n).
    const best = (values: readonly number[]) =>
      prompts.flatMap((own) => {
        if (own.length < n) return [];
        const ranked = [...own].sort((i, j) => proxy[i]! - proxy[j]!);
        const whole = choose(ranked.length, n);
        return [ranked.reduce((sum, i, rank) => sum + (choose(rank, n - 1) / whole) * values[i]!, 0)];
      });
    figures[`n = ${n}`] = { kl: Math.log(n) - (n - 1) / n, proxy: estimate(best(proxy)), gold: estimate(best(gold)) };
  }
  return figures;
}

function choose(n: number, k: number): number {
  let value = 1;
  for (let i = 0; i < k; i++) value *= (n - i) / (i + 1);
  return n < k ? 0 : value;
}

async function optimisation(): Promise<Figures> {
  const judges = await proxyAndGold();
  const prompts = askedOnly(train, 400);
  const held = askedOnly(test, 96);
  const figures: Figures = { accuracy: judges.accuracy };
  for (const beta of [0, 0.1]) {
    const points = [await looked("start", model, held, judges)];
    let from: string | undefined;
    // In legs, so that the policy between them can be looked at; AdamW begins each anew.
    for (let leg = 1; leg <= 5; leg++) {
      const name = `rloo-${beta}-${leg}`;
      from = await withScorer(judges.proxy, async (scorer) => {
        const training = trainRloo({
          ...{ model, prompts, reward: preferenceReward(scorer), seed: leg, folder: join(out, name), device },
          ...(from !== undefined && { from }),
          reference: {},
          settings: {
            ...{ iterations: Math.ceil(share * 8), promptsPerIteration: 16, samplesPerPrompt: 4, minibatches: 2 },
            ...{ maxTokens: replyTokens, learningRate: 3e-4, kl: { coefficient: beta } },
          },
        });
        let next = await training.next();
        while (!next.done) next = await training.next();
        return next.value.path;
      });
      const speaker = await model.withAdapter({ id: name, ...adapterFactors(await loadAdapter(from, model.config)) });
      points.push(await looked(name, speaker, held, judges));
      await speaker.close();
    }
    const { trust, points: judged } = overoptimisation(points, { seed: 0 });
    figures[`β = ${beta}`] = { trust, points: judged };
  }
  return figures;
}

/** Held-out replies of a policy: KL per reply to the base, and what proxy and gold say of them, by prompt. */
async function looked(
  name: string,
  speaker: LanguageModel,
  prompts: readonly PromptRow[],
  judges: { readonly proxy: string; readonly gold: string },
) {
  const rows = await replies(speaker, prompts);
  const key = ({ prompt }: ResponseRow) => JSON.stringify(prompt);
  const byPrompt = (scores: readonly number[]) => new Map(rows.map((row, i) => [key(row), scores[i]!]));
  const logprobs = async (scored: LanguageModel) => {
    const own = await gathered(scoreResponses(rows, { model: scored }));
    return new Map(own.map(({ sample, tokenLogprobs }) => [sample, tokenLogprobs.reduce((sum, one) => sum + one, 0)]));
  };
  const [policy, base] = [await logprobs(speaker), await logprobs(model)];
  const kl = mean([...policy].map(([sample, logprob]) => logprob - base.get(sample)!));
  const [proxy, judge] = [byPrompt(await scoresOf(judges.proxy, rows)), byPrompt(await scoresOf(judges.gold, rows))];
  say(
    `${name}: KL ${kl.toFixed(2)}, proxy ${mean([...proxy.values()]).toFixed(3)}, gold ${mean([...judge.values()]).toFixed(3)}`,
  );
  return { name, kl, proxy, judge };
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
