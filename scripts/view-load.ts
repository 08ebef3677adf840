// How `tenet view` does on a large store: a thousand runs, one of them with a hundred thousand rows. Makes the store, asks the server
// for what its screens ask for, scrolls in a Chromium where there is one, and lets a run write beside a viewer. Prints the least of
// several measurements of each, since whatever else the machine does only adds to them.
//
//   npx tsx --conditions=source scripts/view-load.ts [--runs 1000] [--rows 100000] [--json]
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { quantile } from "@tenet/data";
import { executable, launch, noBrowser } from "../packages/view/test/chromium.ts";
import { writeLargeStore } from "../packages/view/test/large-store.ts";

const { values: given } = parseArgs({
  options: {
    runs: { type: "string", default: "1000" },
    rows: { type: "string", default: "100000" },
    json: { type: "boolean", default: false },
  },
});
const folder = mkdtempSync(join(tmpdir(), "tenet-view-load-"));
const helper = fileURLToPath(new URL("../packages/view/test/child.ts", import.meta.url));
const children: ChildProcess[] = [];

/** What each limit is of: see docs/view.md. */
const results: { what: string; value: number; unit: string; limit?: number }[] = [];
function measured(what: string, value: number, unit: string, limit?: number): void {
  results.push({ what, value, unit, ...(limit !== undefined && { limit }) });
  if (given.json) return;
  const shown = value >= 100 ? value.toFixed(0) : value.toPrecision(3);
  console.log(`${what.padEnd(66)} ${shown.padStart(7)} ${unit}${limit === undefined ? "" : `  (at most ${limit})`}`);
}

async function child(...args: string[]): Promise<{ process: ChildProcess; line: string }> {
  const started = spawn(process.execPath, ["--conditions=source", "--import", "tsx", helper, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(started);
  const [line] = (await once(createInterface({ input: started.stdout! }), "line")) as [string];
  return { process: started, line };
}

async function least(times: number, what: () => Promise<unknown>): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < times; i++) {
    const begun = performance.now();
    await what();
    best = Math.min(best, performance.now() - begun);
  }
  return best;
}

/** Kilobytes of a process's memory that is in use, where the system tells. */
function residentMegabytes({ pid }: ChildProcess): number | undefined {
  try {
    const kilobytes = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) / 1024;
  } catch {
    return undefined;
  }
}

try {
  const madeAt = performance.now();
  const { long, typical } = writeLargeStore(folder, { runs: Number(given.runs), rows: Number(given.rows) });
  measured("making the store", (performance.now() - madeAt) / 1000, "s");

  let server = await child("page", folder); // builds the page, once
  server.process.kill("SIGKILL");
  const starts: number[] = [];
  for (let i = 0; i < 3; i++) {
    const begun = performance.now();
    server = await child("page", folder);
    await fetch(`http://127.0.0.1:${server.line}/api/store`);
    starts.push(performance.now() - begun);
    if (i < 2) server.process.kill("SIGKILL");
  }
  measured("server from sources: from its start to its first answer", Math.min(...starts), "ms");
  const url = `http://127.0.0.1:${server.line}`;
  const get = async (path: string) => {
    const response = await fetch(url + path);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.arrayBuffer()).byteLength;
  };
  const pages: [string, string, number?][] = [
    [`list of ${given.runs} runs, once all were looked at`, "/api/runs", 300],
    ["a run", `/api/runs/${typical}`, 300],
    ["the long run", `/api/runs/${long}`, 300],
    ["replies: first page", `/api/runs/${long}/samples?limit=30`, 300],
    ["replies: far on", `/api/runs/${long}/samples?limit=30&after=${Number(given.rows) - 100}`, 300],
    ["replies that break something: first page", `/api/runs/${long}/samples?limit=30&show=breaks`, 300],
    ["pairs: first page", `/api/runs/${long}/pairs?limit=20`, 300],
    ["pairs: least sure first", `/api/runs/${long}/pairs?limit=20&sort=uncertain`, 300],
    ["rows of a stage: first page", `/api/runs/${long}/stages/answers%20of%20base/rows?limit=50`, 300],
    ["constitutions", "/api/constitutions", 300],
    ["queues", "/api/queues", 300],
    ["events", `/api/runs/${long}/events`, 300],
  ];
  // Each server answers for the first time once; three have been started, and one lives.
  measured(
    `list of ${given.runs} runs, the first that a server is asked for`,
    await least(1, () => get("/api/runs")),
    "ms",
    300,
  );
  await new Promise((resolve) => setTimeout(resolve, 3000));
  for (const [what, path, limit] of pages) {
    const first = await least(1, () => get(path));
    measured(`${what} (the first time: ${first.toFixed(0)} ms)`, await least(5, () => get(path)), "ms", limit);
  }
  const begun = performance.now();
  await get(`/api/runs/${long}/samples/counts`);
  measured("counts of all filters, once, beside other requests", (performance.now() - begun) / 1000, "s");
  measured("the same again", await least(3, () => get(`/api/runs/${long}/samples/counts`)), "ms", 300);

  if (executable) await inTheBrowser(url, long);
  else console.error(noBrowser);

  const spent = async (viewed: boolean) => {
    const ended = new AbortController();
    const watching = viewed ? watch(url, ended.signal) : undefined;
    const writer = await child("burst", folder, viewed ? "viewed" : "alone", "4000");
    ended.abort();
    await watching;
    return (JSON.parse(writer.line) as { milliseconds: number }).milliseconds;
  };
  // Pair by pair, in turns first and second: what the machine does besides comes over both.
  const pairs: { alone: number; viewed: number }[] = [];
  for (let i = 0; i < 24; i++) {
    const order = i % 2 === 0 ? [false, true] : [true, false];
    const [first, second] = [await spent(order[0]!), await spent(order[1]!)];
    pairs.push(order[0] ? { alone: second, viewed: first } : { alone: first, viewed: second });
  }
  const more = pairs.map(({ alone, viewed }) => 100 * (viewed / alone - 1)).sort((a, b) => a - b);
  measured(
    "processor time of a run that writes 4,000 times, alone",
    Math.min(...pairs.map(({ alone }) => alone)),
    "ms",
  );
  measured("the same beside a viewer, per cent more: median of 24 pairs", quantile(more, 0.5), "%", 2);
  measured("  the quarter least", quantile(more, 0.25), "%");
  measured("  the quarter most", quantile(more, 0.75), "%");

  // Ten thousand events, watched: what the first thousand took in memory is not taken again and again.
  const ended = new AbortController();
  const watching = watch(url, ended.signal);
  await child("burst", folder, "warm", "1000");
  const before = residentMegabytes(server.process);
  await child("burst", folder, "long", "10000");
  const after = residentMegabytes(server.process);
  ended.abort();
  await watching;
  if (before !== undefined && after !== undefined) {
    measured("server's memory behind 1,000 watched events", before, "MB");
    measured("what 10,000 more add to it", after - before, "MB", 30);
  }

  const built = fileURLToPath(new URL("../.cache/view", import.meta.url));
  const sizes = readdirSync(built).map((name) => {
    const assets = join(built, name, "assets");
    const files = readdirSync(assets).filter((file) => file.endsWith(".js"));
    return files.reduce((sum, file) => sum + gzipSync(readFileSync(join(assets, file))).length, 0);
  });
  measured("JavaScript of the page, compressed", Math.min(...sizes) / 1000, "kB", 190);
} finally {
  for (const one of children) one.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
}
const load = loadavg().map((one) => one.toFixed(1));
if (given.json) console.log(JSON.stringify({ load, results }));
else console.log(`load of the machine over 1, 5 and 15 minutes: ${load.join(", ")}`);

/** What a page on a screen does: one stream, and its run asked for again at each change, 0.7 s apart at the least. */
async function watch(url: string, signal: AbortSignal): Promise<void> {
  const response = await fetch(`${url}/api/stream`, { signal });
  let last = 0;
  try {
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      if (!chunk.includes("event: change") || performance.now() - last < 700) continue;
      last = performance.now();
      await fetch(`${url}/api/runs/latest`, { signal }).then((answer) => answer.arrayBuffer());
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Tasks of more than 50 ms while lists are scrolled, as the browser itself counts them. */
async function inTheBrowser(url: string, run: string): Promise<void> {
  const browser = await launch();
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 844 } });
    await page.addInitScript(
      "window.tasks = []; new PerformanceObserver((list) => { for (const one of list.getEntries()) window.tasks.push(one.duration); }).observe({ type: 'longtask' })",
    );
    const lists = [
      ["runs", "/runs", "main tbody tr"],
      ["replies", `/runs/${run}/samples`, "article.sample"],
      ["rows of a stage", `/runs/${run}/stages/answers%20of%20base`, "ol.rows li"],
    ] as const;
    for (const [what, path, item] of lists) {
      const loads: number[] = [];
      const tasks: number[] = [];
      for (let i = 0; i < 3; i++) {
        const begun = performance.now();
        await page.goto(url + path);
        await page.waitForSelector(item, { timeout: 60_000 });
        loads.push(performance.now() - begun);
        await page.waitForTimeout(1000);
        await page.evaluate("window.tasks.length = 0");
        for (let by = 0; by < 60; by++) {
          await page.mouse.wheel(0, 900);
          await page.waitForTimeout(30);
        }
        await page.waitForTimeout(300);
        tasks.push(Math.max(0, ...((await page.evaluate("window.tasks")) as number[])));
      }
      measured(`page with ${what}: until its first line`, Math.min(...loads), "ms");
      measured(`page with ${what}: longest task while scrolling`, Math.min(...tasks), "ms", 200);
    }
  } finally {
    await browser.close();
  }
}
