// npx tsx --conditions=source scripts/contrast-deliberation.ts --out FOLDER [--prompts 96] [--epochs 3] [--principles 2] [--development] [--model smollm2-135m-instruct]
//   [--only contrast|deliberation]
//
// Two figures of the method on a small model, with intervals. Contrast: how often the labels of pairs made under a principle and under its
// opposite (RLCD) agree with the checks, beside the model's own labels of the same pairs. Deliberation: the share of held-out replies
// that cite a valid principle once reasoning by the checks was learnt, and violations against fine-tuning on the same revisions without it.
// Both are runs of recipes over the store in --out: the same command continues where it was stopped. `--development` measures on the
// development prompts, by which settings are chosen.
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import {
  type Constitution,
  citedIn,
  labelByChecks,
  loadConstitution,
  openRecipe,
  type PreferenceRow,
  type ResponseRow,
  rate,
  rateDifference,
  runChecks,
  startRun,
  violations,
} from "@tenet/align";
import { openStore } from "@tenet/runs";

const { values: given } = parseArgs({
  options: {
    out: { type: "string" },
    prompts: { type: "string", default: "96" },
    epochs: { type: "string", default: "3" },
    principles: { type: "string", default: "2" },
    development: { type: "boolean", default: false },
    model: { type: "string", default: "smollm2-135m-instruct" },
    only: { type: "string" },
  },
});
if (given.out === undefined) {
  console.error("expected --out FOLDER, for the runs");
  process.exit(2);
}
const out = resolve(given.out);
mkdirSync(out, { recursive: true });
const root = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const store = join(out, "runs");
const constitution: Constitution = await loadConstitution(root("constitutions/clinical-desk.yaml"));
const [prompts, epochs, principles] = [Number(given.prompts), Number(given.epochs), Number(given.principles)];

const common = {
  model: given.model,
  constitution: root("constitutions/clinical-desk.yaml"),
  prompts: {
    train: { path: root("prompts/clinical/train.jsonl"), limit: prompts },
    heldOut: { path: root(`prompts/clinical/${given.development ? "development" : "held-out"}.jsonl`), limit: prompts },
  },
};
const sampling = { temperature: 0.7, maxTokens: 80 };

/** Runs a recipe up to one of its stages and gives the rows of that. */
async function rowsOf<Row extends PreferenceRow | ResponseRow>(
  name: string,
  recipe: object,
  stage: string,
): Promise<Row[]> {
  const file = join(out, `${name}.json`);
  writeFileSync(file, JSON.stringify({ ...common, ...recipe }, null, 2));
  const enough = new AbortController();
  const run = startRun(await openRecipe(file), { store, signal: enough.signal });
  const ended = run.finished.catch((error: unknown) => {
    if (!enough.signal.aborted) throw error;
  });
  for await (const event of run.events) {
    if (event.type !== "stage") continue;
    console.error(`${name}: ${event.stage} ${event.status}`);
    if (event.stage === stage && (event.status === "done" || event.status === "reused")) enough.abort();
  }
  await ended;
  const opened = openStore(store);
  try {
    return [...opened.rows<Row>(opened.stage(run.id, stage)!.identity)];
  } finally {
    opened.close();
  }
}

type Figure = { readonly value: number; readonly interval: readonly number[]; readonly n: number };

/** A figure with its interval; of nothing there is none. */
function told({ value, interval: [low, high], n }: Figure): string {
  return n === 0 ? "nothing (n = 0)" : `${value.toFixed(3)} (${low!.toFixed(3)} to ${high!.toFixed(3)}), n = ${n}`;
}

const promptOf = ({ prompt }: { prompt: readonly { content: string }[] }) => prompt.at(-1)!.content;

/** What the checks say of pairs, by their replies. */
async function byChecks(rows: readonly PreferenceRow[]): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for await (const { rows: made } of labelByChecks(rows, { constitution }))
    for (const { prompt, a, b, p } of made) found.set(JSON.stringify([prompt, a, b]), p);
  return found;
}

async function contrast(): Promise<void> {
  const policy = { algorithm: "dpo", epochs: 1, batchSize: 8 };
  const pairs = { contrast: "principle", sampling };
  const supervised = { revisions: 0, examples: { unchanged: "keep" }, response: sampling };
  const asked = (label: object) => ({
    supervised,
    policy,
    feedback: { pairs, label },
    arrangement: { steps: ["policy"] },
  });
  for (const [name, label] of [
    ["contrast", { method: "contrast" }],
    ["labeller", { method: "choice" }],
  ] as const) {
    const rows = await rowsOf<PreferenceRow>(name, asked(label), "labels");
    const right = await byChecks(rows);
    const judged = rows.flatMap((row) => {
      const p = right.get(JSON.stringify([row.prompt, row.a, row.b]));
      return p === undefined || row.p === 0.5 ? [] : [{ cluster: promptOf(row), yes: row.p > 0.5 === p > 0.5 }];
    });
    console.log(
      `${name}: agrees with the checks on ${told(rate(judged))}; of ${rows.length} pairs the others say nothing or are alike to them`,
    );
  }
}

async function deliberation(): Promise<void> {
  const supervised = {
    response: { temperature: 0.6, maxTokens: 56 },
    revisions: 1,
    demonstrations: root("demonstrations/clinical-desk.yaml"),
    critique: {
      ...{ layout: "afresh", critiques: "checks", candidates: 3, accept: "no-worse-by-checks", whenCut: "trim" },
      revision: { temperature: 0.5, maxTokens: 72 },
    },
    examples: { keep: "checks-pass" },
    ...{ epochs, batchSize: 8, learningRate: 0.0004 },
  };
  const evaluate = { sampling: { temperature: 0.7, maxTokens: 160 }, divergence: false, baselines: false };
  const replies = (name: string, more: object) =>
    rowsOf<ResponseRow>(name, { supervised: { ...supervised, ...more }, evaluate }, "answers of sl");
  const plain = await replies("plain", {});
  const reasoned = await replies("deliberate", { deliberate: { by: "checks", principles } });
  const known = new Set(constitution.principles.map(({ id }) => id));
  const answered = new Map(reasoned.map((row) => [promptOf(row), row]));
  // Who reasons and then says nothing has not replied, and so has cited nothing in a reply.
  const cites = plain.map((row) => {
    const { reasoning } = answered.get(promptOf(row)) ?? {};
    return { cluster: promptOf(row), yes: reasoning !== undefined && citedIn(reasoning, known).length > 0 };
  });
  console.log(`deliberation: answers ${reasoned.length} of ${plain.length} held-out prompts, the others are set aside`);
  console.log(`deliberation: answers behind reasoning that cites a valid principle in ${told(rate(cites))}`);
  const breaks = (row: ResponseRow) => {
    const { applying, violated } = violations(runChecks(constitution, row));
    return applying === 0 ? undefined : violated.length > 0;
  };
  const before = new Map(plain.map((row) => [promptOf(row), breaks(row)]));
  const pairs = reasoned.flatMap((row) => {
    const [was, is] = [before.get(promptOf(row)), breaks(row)];
    return was === undefined || is === undefined ? [] : [{ cluster: promptOf(row), before: was, after: is }];
  });
  console.log(
    `deliberation: change of violations against plain fine-tuning, where both answer, ${told(rateDifference(pairs, { seed: 0 }))}`,
  );
}

if (given.only !== "deliberation") await contrast();
if (given.only !== "contrast") await deliberation();
