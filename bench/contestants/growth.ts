// The supervised half of a recipe, whole, on a tiny model: `--times=K` of the task's prompts. Every round begins with an empty store.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openRecipe, startRun } from "@tenet/align";
import { supervisedRecipe, writeRecipe } from "../../packages/align/test/pipeline/fixture.ts";
import { serveContestant } from "../contestant.ts";

const times = Number(/^--times=(\d+)$/m.exec(process.argv.join("\n"))![1]);
// Without the helpful examples, whose number bounds what is learnt, and with checkpoints as often as by default.
const recipe = supervisedRecipe.replace(/^ {2}(helpful|checkpointEvery): .*\n/gm, "");

await serveContestant({
  build: async ({ task, threads }) => {
    const prompts = times * (task as { prompts: number }).prompts;
    return { round: () => round(prompts, threads) };
  },
});

async function round(prompts: number, threads: number) {
  const folder = mkdtempSync(join(tmpdir(), "tenet-bench-growth-"));
  try {
    const open = await openRecipe(await writeRecipe(folder, { prompts, recipe }));
    const run = startRun(open, { store: join(folder, "runs"), device: "cpu", threads });
    for await (const _ of run.events);
    await run.finished;
    return { work: prompts };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
