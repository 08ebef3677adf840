// npx tsx --conditions=source scripts/preference-hh.ts --data FOLDER --out FOLDER [--device NAME]
//
// A preference model of published pairs, with and without pre-training on rankings; docs/preference-model.md holds the figures.
// The data's folder holds hh-rlhf/harmless-base.first1500.jsonl.gz (the first 1,500 rows of the test split of hh-rlhf's harmless-base) and
// stackexchange/history.meta.Posts.xml.gz (a dump of history.meta.stackexchange.com). A killed run continues from what --out holds.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import {
  encodeReply,
  type MetricEvent,
  openPreferenceModel,
  type PreferenceEvaluation,
  type PreferenceOptions,
  type PreferenceRow,
  rateDifference,
  trainPreference,
  wilson,
} from "@tenet/align";
import { type LocalModel, openLocalModel } from "@tenet/lm";
import type { DeviceName } from "@tenet/tensor";
import { harmlessPairs, readPairs, shortened } from "./hh.ts";

const seed = 0;
/** Tokens of a dialogue and its reply: the earliest turns are dropped until they fit, the last one never. */
const dialogueTokens = 192;
/** Rankings with a longer answer, question included, are left out. */
const rankingTokens = 384;
/** Of 1,200 pairs an epoch is 75 steps, few for the default rate; pre-training then runs at 1e-3. */
const settings = {
  learningRate: 3e-4,
  schedule: "linear",
  warmupSteps: 4,
  pretraining: { learningRateFactor: 3.3 },
  checkpointEvery: 10,
} satisfies PreferenceOptions["settings"];

/** Steps whose metrics are averaged on a line. */
const linesEvery = 5;

interface Arm {
  readonly pairs: number;
  readonly pretrainingPairs: number;
  readonly tokens: number;
  /** Of training and its report, in this process: a run that continues has had others. */
  readonly seconds: number;
  readonly evaluation: PreferenceEvaluation;
}

const { values: given } = parseArgs({
  options: { data: { type: "string" }, out: { type: "string" }, device: { type: "string", default: "cpu" } },
});
if (given.data === undefined || given.out === undefined) {
  console.error("expected --data FOLDER, with the published pairs, and --out FOLDER, for what is trained");
  process.exit(2);
}
const { data, out } = { data: given.data, out: given.out };
const device = given.device as DeviceName | "auto";

const model = await openLocalModel("smollm2-135m-instruct", { device });
try {
  const { train, test } = await dialogues();
  const pretraining = await rankings();
  const lengths = test.map((row) => [row.a, row.b].map((reply) => model.text.encode(reply).length) as [number, number]);
  const shorter = wilson(lengths.filter(([a, b]) => a < b).length, lengths.filter(([a, b]) => a !== b).length);
  say(`${train.length} pairs to train on, ${test.length} to test on, ${pretraining.length} rankings`);
  const without = await arm("without", { rows: train, validation: test });
  const withRankings = await arm("with", { rows: train, validation: test, pretraining });
  const [before, after] = [await rightOf("without", test), await rightOf("with", test)];
  const pairs = test.map(({ id }, i) => ({ cluster: id, before: before[i]!, after: after[i]! }));
  const result = { without, with: withRankings, difference: rateDifference(pairs, { seed }), shorter };
  writeFileSync(join(out, "result.json"), `${JSON.stringify(result, null, 2)}\n`);
  say(
    `with PMP less without, and the rule that the shorter reply is preferred: ${brief([result.difference, shorter])}`,
  );
} finally {
  await model.close();
}

async function dialogues() {
  const { train, test } = await harmlessPairs(data);
  const short = (row: PreferenceRow) => shortened(row, dialogueTokens, (one) => tokensOf(model, one));
  return { train: train.map(short), test: test.map(short) };
}

async function rankings(): Promise<PreferenceRow[]> {
  const rows = await readPairs(join(data, "stackexchange", "history.meta.Posts.xml.gz"));
  return rows.filter((row) => tokensOf(model, row) <= rankingTokens);
}

/** Tokens of the longer reply behind the prompt. */
function tokensOf({ text }: LocalModel, { prompt, a, b }: PreferenceRow): number {
  const encoded = [a, b].map((reply) => encodeReply(text, prompt, reply));
  return Math.max(...encoded.map(({ prompt, completion }) => prompt.length + completion.length));
}

async function arm(
  name: string,
  rows: Required<Pick<PreferenceOptions, "rows" | "validation">> & Pick<PreferenceOptions, "pretraining">,
): Promise<Arm> {
  const began = performance.now();
  const training = trainPreference({ model, settings, seed, folder: join(out, name), device, ...rows });
  let recent: MetricEvent[] = [];
  let next = await training.next();
  for (; !next.done; next = await training.next()) {
    recent.push(next.value);
    const { step, of } = next.value;
    if (step % linesEvery > 0 && step < of) continue;
    const means = ["loss", "accuracy", "margin", "grad_norm"].map((metric) => {
      const mean = recent.reduce((sum, { metrics }) => sum + metrics[metric]!, 0) / recent.length;
      return `${metric} ${mean.toFixed(3)}`;
    });
    say(`${name} ${step}/${of} ${means.join(" ")} ${Math.round((performance.now() - began) / 1000)} s`);
    recent = [];
  }
  const seconds = (performance.now() - began) / 1000;
  const { aside, pairs, pretrainingPairs, tokens, evaluation } = next.value.report;
  for (const { id, reason } of aside) say(`${name}: pair ${id} set aside: ${reason}`);
  const result = { pairs, pretrainingPairs, tokens, seconds, evaluation: evaluation! };
  say(`${name}: ${brief(result)}`);
  return result;
}

/** Whether each pair's preferred reply scores higher; in these files that is `a`. */
async function rightOf(name: string, rows: readonly PreferenceRow[]): Promise<boolean[]> {
  const preferences = await openPreferenceModel(model, join(out, name, "adapter"), { device });
  try {
    const replies = rows.flatMap(({ prompt, a, b }) => [a, b].map((response) => ({ prompt, response })));
    const scores = await preferences.score(replies);
    return rows.map((_, i) => scores[2 * i]! > scores[2 * i + 1]!);
  } finally {
    await preferences.close();
  }
}

/** On one line, without the bins of the reliability diagram. */
function brief(value: unknown): string {
  return JSON.stringify(value, (key, part: unknown) => (key === "bins" ? undefined : part));
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
