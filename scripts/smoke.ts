// Runs a small recipe whole, as a newcomer would: tenet in processes of its own, on a model made up for the occasion. Ends with 1
// where something that should be there is not.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { reinforcedRecipe, writeRecipe } from "../packages/align/test/pipeline/fixture.ts";

const main = fileURLToPath(new URL("../packages/cli/src/main.ts", import.meta.url));
const tsx = fileURLToPath(new URL("../node_modules/tsx/dist/cli.mjs", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "tenet-smoke-"));

function tenet(...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [tsx, "--conditions=source", main, ...args], {
    encoding: "utf8",
    timeout: 300_000,
    env: { ...process.env, TENET_STORE: join(folder, "runs"), TENET_CACHE: join(folder, "cache"), TENET_OFFLINE: "1" },
  });
  if (status !== 0) throw new Error(`tenet ${args.join(" ")} ended with ${status ?? error}\n${stdout}\n${stderr}`);
  return stdout;
}

interface Event {
  readonly type: string;
  readonly status?: string;
  readonly report?: { readonly json: string; readonly html: string };
}

function lastEvents(output: string): Event[] {
  return output
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Event);
}

function expect(holds: boolean, what: string): void {
  if (!holds) throw new Error(`expected ${what}`);
  process.stdout.write(`  ${what}\n`);
}

try {
  const recipe = await writeRecipe(folder, { recipe: reinforcedRecipe });
  tenet("validate", recipe);
  const first = lastEvents(tenet("run", recipe, "--device", "cpu", "--json"));
  const { report } = first.at(-1)!;
  expect(report !== undefined && existsSync(report.html), "a run to its end, with a report");
  const card = JSON.parse(readFileSync(report!.json, "utf8")) as { checkpoints: { id: string }[] };
  expect(card.checkpoints.map(({ id }) => id).join() === "base,sl,rl", "a scorecard of base, SL-CAI and RL-CAI");
  const again = lastEvents(tenet("run", recipe, "--device", "cpu", "--json")).filter(({ type }) => type === "stage");
  expect(again.length > 0 && again.every(({ status }) => status === "reused"), "a second run that does nothing again");
  expect(tenet("ls").includes("done"), "the run in tenet ls");
  expect(tenet("chat", "--run", "latest", "--device", "cpu", "--max-tokens", "4", "Say a word.") !== "", "a reply");
} finally {
  rmSync(folder, { recursive: true, force: true });
}
