// npx tsx --conditions=source scripts/judge-hh.ts --data FOLDER --out FOLDER [--development] [--device NAME]
//
// A judge trained on published pairs, before and after; docs/results.md holds the figures. The data's folder holds
// hh-rlhf/harmless-base.first1500.jsonl.gz (the first 1,500 rows of the test split of hh-rlhf's harmless-base),
// hhh-438/438HHHEvaluations.jsonl and cai-paper/RLMadisonInstructions.json. With --development the test pairs are not looked
// at: a part of the others takes their place, to choose settings by. A killed run continues from what --out holds.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import {
  type Audit,
  auditLabels,
  auditPairs,
  easyPairs,
  importCaiPaper,
  type JudgeSettings,
  judgeRows,
  labelPairs,
  letters,
  type MetricEvent,
  type PreferenceRow,
  trainJudge,
} from "@tenet/align";
import { adapterFactors, type LanguageModel, loadAdapter, openLocalModel } from "@tenet/lm";
import type { DeviceName } from "@tenet/tensor";
import { harmlessPairs, readPairs, shortened, without } from "./hh.ts";

const seed = 0;
/** With --development: the last pairs of those before them. */
const developmentPairs = 150;
/** Tokens of a dialogue: the earliest turns are dropped until they fit, the last one never. */
const dialogueTokens = 64;
const settings = {
  learningRate: 1e-3,
  schedule: "linear",
  warmupSteps: 8,
  batchSize: 8,
  // Longer questions are not trained on; all are asked when it is measured.
  maxLength: 280,
  checkpointEvery: 10,
} satisfies Partial<JudgeSettings>;

/** Replies beside their own words in disorder, which are learnt first. */
const warmupPairs = 320;

/** Steps whose metrics are averaged on a line. */
const linesEvery = 10;
/** Pairs labelled between two notes of how far it is. */
const pairsAtOnce = 50;

const { values: given } = parseArgs({
  options: {
    data: { type: "string" },
    out: { type: "string" },
    development: { type: "boolean", default: false },
    device: { type: "string", default: "cpu" },
  },
});
if (given.data === undefined || given.out === undefined) {
  console.error("expected --data FOLDER, with the published files, and --out FOLDER, for what is trained");
  process.exit(2);
}
const { data, out, development } = { ...given, data: given.data, out: given.out };
mkdirSync(out, { recursive: true });
const device = given.device as DeviceName | "auto";

const instructions = join(data, "cai-paper", "RLMadisonInstructions.json");
const constitution = importCaiPaper({ preferences: readFileSync(instructions, "utf8") });
const model = await openLocalModel("smollm2-135m-instruct", { device });
try {
  const { train, test } = await dialogues();
  const known: Record<string, readonly PreferenceRow[]> = development
    ? { development: test }
    : { "hh-rlhf": test, "438 questions": await readPairs(join(data, "hhh-438", "438HHHEvaluations.jsonl")) };
  say(`${train.length} pairs to train on, ${test.length} to ${development ? "choose settings by" : "test on"}`);
  const adapter = await trained(train);
  const judge = await model.withAdapter({ id: "judge", ...adapterFactors(await loadAdapter(adapter, model.config)) });
  const figures: Record<string, unknown> = {};
  for (const [name, rows] of Object.entries(known))
    for (const [when, labeller] of Object.entries({ after: judge, before: model }))
      figures[`${name}, ${when}`] = await audited(`${name}, ${when}`, labeller, rows);
  writeFileSync(join(out, "result.json"), `${JSON.stringify(figures, null, 2)}\n`);
} finally {
  await model.close();
}

async function dialogues() {
  const { train, test } = await harmlessPairs(data);
  if (!development) return { train: train.map(short), test: test.map(short) };
  const apart = train.slice(-developmentPairs);
  return { train: without(train.slice(0, -developmentPairs), apart).map(short), test: apart.map(short) };
}

function short(row: PreferenceRow): PreferenceRow {
  return shortened(row, dialogueTokens, ({ prompt }) =>
    prompt.reduce((sum, { content }) => sum + model.text.encode(content).length, 0),
  );
}

async function trained(known: readonly PreferenceRow[]): Promise<string> {
  const began = performance.now();
  const asking = { constitution, seed, capabilities: await model.capabilities() };
  const rows = judgeRows(known, asking);
  const warmup = judgeRows(easyPairs(known, { count: warmupPairs, seed }), asking);
  const training = trainJudge({ model, rows, warmup, letters, settings, seed, folder: join(out, "judge"), device });
  let recent: MetricEvent[] = [];
  let next = await training.next();
  for (; !next.done; next = await training.next()) {
    recent.push(next.value);
    const { step, of } = next.value;
    if (step % linesEvery > 0 && step < of) continue;
    const means = ["loss", "accuracy", "margin", "first", "grad_norm"].map((metric) => {
      const mean = recent.reduce((sum, { metrics }) => sum + metrics[metric]!, 0) / recent.length;
      return `${metric} ${mean.toFixed(3)}`;
    });
    say(`${step}/${of} ${means.join(" ")} ${Math.round((performance.now() - began) / 1000)} s`);
    recent = [];
  }
  const { pairs, tokens, steps, aside } = next.value.report;
  const seconds = Math.round((performance.now() - began) / 1000);
  say(`trained on ${pairs} pairs, ${tokens} tokens in ${steps} steps, ${seconds} s; ${aside.length} pairs set aside`);
  return next.value.path;
}

/** What the labels of a model are worth on pairs with a known answer, asked in both orders. */
async function audited(name: string, labeller: LanguageModel, known: readonly PreferenceRow[]): Promise<unknown> {
  const file = join(out, `${name}.json`);
  if (existsSync(file)) return JSON.parse(readFileSync(file, "utf8"));
  const pairs = auditPairs(known, { seed });
  const labels: PreferenceRow[] = [];
  for (let start = 0; start < pairs.length; start += pairsAtOnce) {
    const some = pairs.slice(start, start + pairsAtOnce);
    for await (const { rows, aside } of labelPairs(some, { labeller, constitution, seed })) {
      labels.push(...rows);
      if (aside !== undefined) say(`${name}: set aside: ${aside}`);
    }
  }
  const figures = brief(auditLabels(known, labels, { seed }));
  writeFileSync(file, `${JSON.stringify(figures, null, 2)}\n`);
  say(`${name}: ${JSON.stringify(figures)}`);
  return figures;
}

function brief({ accuracy, swapConsistency, positionBias, calibration, lengthBias, labelled, unlabelled }: Audit) {
  const { ece, brier } = calibration;
  const { longerPreferred, longerRight } = lengthBias;
  return { labelled, unlabelled, accuracy, swapConsistency, positionBias, ece, brier, longerPreferred, longerRight };
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
