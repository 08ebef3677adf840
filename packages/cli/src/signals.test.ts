import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openStore } from "@tenet/runs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { supervisedRecipe, writeProject } from "../test/project.ts";

const folder = mkdtempSync(join(tmpdir(), "tenet-signals-"));
/** A server whose first replies come, and whose others are waited for. */
let answered = 0;
const server = createServer((request, response) => {
  request.resume();
  if (answered++ >= 2) return;
  response.setHeader("content-type", "application/json");
  const choices = [{ index: 0, message: { role: "assistant", content: "A word." }, finish_reason: "stop" }];
  response.end(JSON.stringify({ choices, usage: { prompt_tokens: 1, completion_tokens: 1 } }));
});
let recipe: string;
beforeAll(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  const generator = `roles: { generator: { endpoint: "${url}", model: m, dialect: openai, concurrency: 1 } }\n`;
  recipe = await writeProject(join(folder, "project"), `${supervisedRecipe}${generator}`);
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A run that waits for a server, in a process of its own. */
function started(store: string, ...more: string[]) {
  const main = fileURLToPath(new URL("main.ts", import.meta.url));
  const args = ["--import", "tsx", "--conditions=source", main, "run", recipe, "--store", store, ...more];
  answered = 0;
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  return { child, ended: once(child, "exit") as Promise<[number | null, string | null]> };
}

const statusIn = (folder: string) => {
  const store = openStore(folder, { readOnly: true });
  const [run] = store.runs();
  store.close();
  return run!.status;
};

it.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const)(
  "%s ends a run cleanly, with %i",
  async (signal, code) => {
    const store = join(folder, signal);
    const { child, ended } = started(store);
    while (answered < 3 && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 10));
    child.kill(signal);
    expect(await ended).toEqual([code, null]);
    expect(statusIn(store)).toBe("interrupted");
  },
  240_000,
);

it("a run whose reader goes away is stopped, and does not end as one that is done", async () => {
  const store = join(folder, "head");
  const { child, ended } = started(store, "--json");
  child.stdout.once("data", () => child.stdout.destroy());
  // Something more is printed while it works; then it waits for the server, unless it was stopped.
  expect(await ended).toEqual([141, null]);
  expect(statusIn(store)).toBe("interrupted");
}, 240_000);
