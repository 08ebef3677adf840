// Runs a small recipe whole, as a newcomer would: tenet in processes of its own, on a model made up for the occasion. Ends with 1
// where something that should be there is not.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { reinforcedRecipe, writeRecipe } from "../packages/align/test/pipeline/fixture.ts";

const main = fileURLToPath(new URL("../packages/cli/src/main.ts", import.meta.url));
const tsx = fileURLToPath(new URL("../node_modules/tsx/dist/cli.mjs", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "tenet-smoke-"));

const environment = {
  ...process.env,
  TENET_STORE: join(folder, "runs"),
  TENET_CACHE: join(folder, "cache"),
  TENET_OFFLINE: "1",
};

function tenet(...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [tsx, "--conditions=source", main, ...args], {
    encoding: "utf8",
    timeout: 300_000,
    env: environment,
  });
  if (status !== 0) throw new Error(`tenet ${args.join(" ")} ended with ${status ?? error}\n${stdout}\n${stderr}`);
  return stdout;
}

interface Event {
  readonly type: string;
  readonly status?: string;
  readonly stage?: string;
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

/** One pair judged in the dashboard, as a browser would. */
async function judgeAPair(): Promise<void> {
  const view = spawn(process.execPath, [tsx, "--conditions=source", main, "view", "--port", "0", "--json"], {
    stdio: ["ignore", "pipe", "inherit"],
    env: environment,
  });
  try {
    const [line] = (await once(createInterface({ input: view.stdout }), "line")) as [string];
    const { url } = JSON.parse(line) as { url: string };
    const page = await (await fetch(url)).text();
    const token = /name="tenet-token" content="([^"]+)"/.exec(page)?.[1] ?? "";
    expect(page.includes('<div id="root">') && token !== "", "a page of tenet view");
    const ask = async (path: string, body?: object) => {
      const headers = { "content-type": "application/json", "x-tenet-token": token };
      const init = body && { method: "POST", headers, body: JSON.stringify(body) };
      const response = await fetch(new URL(`/api${path}`, url), init);
      if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
      return (await response.json()) as unknown;
    };
    const { runs } = (await ask("/runs")) as { runs: { id: string; labelled: number }[] };
    const { id } = (await ask("/queues", { name: "smoke", run: runs[0]!.id, size: 1, who: "smoke" })) as { id: string };
    const { item } = (await ask(`/queues/${id}/next`, { who: "smoke" })) as { item: { row: string } };
    await ask(`/queues/${id}/answers`, { row: item.row, who: "smoke", choice: "tie" });
    expect(true, "a pair judged by a person");
  } finally {
    view.kill("SIGINT");
    await once(view, "exit");
  }
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
  await judgeAPair();
  const taught = lastEvents(tenet("run", recipe, "--device", "cpu", "--json")).filter(({ type }) => type === "stage");
  const remade = taught.filter(({ status }) => status === "done").map(({ stage }) => stage);
  expect(remade.includes("human labels") && remade.includes("preference model"), "a run that takes a person's label");
  expect(!remade.includes("labels") && !remade.includes("chains"), "and makes again what learns from it, nothing else");
} finally {
  rmSync(folder, { recursive: true, force: true });
}
