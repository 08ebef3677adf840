// Runs a recipe in a store: `child.ts RECIPE STORE`. Prints each event that is no progress; ends with 1 where the run failed.
import { openRecipe, startRun } from "../../src/pipeline/index.ts";
import { runOptions } from "./run.ts";

const [recipe, store] = process.argv.slice(2) as [string, string];
const print = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
try {
  const run = startRun(await openRecipe(recipe), runOptions(recipe, store));
  run.finished.catch(() => {});
  for await (const event of run.events) if (event.type !== "progress") print(event);
  await run.finished;
} catch (error) {
  print({ type: "error", name: (error as Error).name, message: (error as Error).message });
  process.exitCode = 1;
}
