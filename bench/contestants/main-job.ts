// The recipe of the main job as `tenet run` runs it: a round is a run in an empty store, the scorecard included. --weights says how
// its model is held, to speak and to learn.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ChainRow, type OpenRecipe, type PreferenceRow, startRun } from "@tenet/align";
import { openStore, type StoredRow } from "@tenet/runs";
import { serveContestant } from "../contestant.ts";
import { type MainJobTask, openMainJob } from "../main-job-task.ts";
import { trainingWeights } from "../training-weights.ts";

/** Stages by what peers call the same work; the others take no time to speak of. */
const parts: readonly (readonly [name: string, stages: RegExp])[] = [
  ["first responses", /^responses$/],
  ["critique and revision", /^chains$/],
  ["helpful replies", /^helpful replies$/],
  ["fine-tuning", /^supervised$/],
  ["pairs", /^pairs$/],
  ["labels", /^labels$/],
  ["preference model", /^preference model$/],
  ["reinforcement learning", /^policy$/],
  ["held-out replies", /^answers of \w+$/],
  ["held-out scoring", / under /],
];

await serveContestant({
  build: async ({ threads, task }) => {
    const open = await openMainJob((task as MainJobTask).share);
    const { weights, trainedOn } = trainingWeights();
    Object.assign(open.recipe, { inference: { weights }, training: { weights: trainedOn } });
    return { round: () => round(open, threads) };
  },
});

async function round(open: OpenRecipe, threads: number) {
  const folder = mkdtempSync(join(tmpdir(), "tenet-bench-main-job-"));
  try {
    const run = startRun(open, { store: folder, device: "cpu", threads });
    const notes: Record<string, number> = Object.fromEntries(parts.map(([name]) => [`s, ${name}`, 0]));
    for await (const event of run.events) {
      if (event.type !== "stage" || event.status !== "done") continue;
      const part = parts.find(([, stages]) => stages.test(event.stage));
      if (part) notes[`s, ${part[0]}`]! += event.seconds!;
      if (part || event.seconds! > 1) console.error(`${event.stage}: ${event.seconds!.toFixed(1)} s`);
    }
    await run.finished;
    return { notes: { ...notes, ...countsOf(folder, run.id) } };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** How much there was to do, which depends on what the model says: peers count the same. */
function countsOf(folder: string, run: string): Record<string, number> {
  const store = openStore(folder);
  try {
    const rows = <Row extends StoredRow>(name: string) => [...store.rows<Row>(store.stage(run, name)!.identity)];
    const asked = rows<PreferenceRow>("labels").filter(({ label }) => label === "ai");
    return {
      "responses revised": rows<ChainRow>("chains").filter(({ rounds }) => rounds.length > 0).length,
      "examples learnt": rows("mixture").length,
      "pairs labelled": rows("labels").length,
      "pairs the labeller was asked about": asked.length,
      "tokens written outside of training": store
        .usage(run)
        .reduce((sum, { completionTokens }) => sum + completionTokens, 0),
    };
  } finally {
    store.close();
  }
}
