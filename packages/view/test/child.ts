// Processes for the tests: `child.ts write FOLDER NAME` begins a run and adds an event every 20 ms; `child.ts serve FOLDER`
// serves the store on a free port, which it prints, and `page FOLDER` the page too. They go on until killed. `child.ts burst FOLDER NAME TIMES` writes a
// run with so many batches of rows, as fast as it can, and prints the processor time that it took.
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { serve } from "@hono/node-server";
import { hashOf, openStore } from "@tenet/runs";
import { startView, viewApp } from "../src/index.ts";

const [what, folder, name, times] = process.argv.slice(2) as [string, string, string, string];
const store = openStore(folder);
if (what === "write") {
  const run = store.begin({ name, recipe: { name } });
  run.stage({ name: "responses", kind: "respond", identity: hashOf(name) });
  console.log(run.id);
  for (let i = 0; ; i++) {
    run.event({ kind: "message", message: `${i}` });
    if (i % 10 === 0) run.progress({ stage: "responses", done: i, total: 100_000, unit: "rows" });
    await sleep(20);
  }
} else if (what === "burst") {
  const salt = Math.random();
  const run = store.begin({ name, recipe: { salt } });
  const stage = run.stage({ name: "responses", kind: "respond", identity: hashOf([name, salt]) });
  const begun = process.cpuUsage();
  for (let i = 0; i < Number(times); i++) {
    const rows = [{ id: `${salt} ${i}`, origin: { parents: [`prompt ${i}`] }, response: "words ".repeat(100) }];
    stage.append([{ key: hashOf(rows), input: `prompt ${i}`, ordinal: i, rows }]);
    run.event({ kind: "message", message: `${i}` });
    if (i % 4 === 0) await sleep(1);
  }
  const { user, system } = process.cpuUsage(begun);
  console.log(JSON.stringify({ milliseconds: (user + system) / 1000 }));
  run.end("done");
  store.close();
} else if (what === "page") {
  const { url } = await startView({ store, port: 0, tell: console.error });
  console.log(new URL(url).port);
} else {
  let hosts: string[] = [];
  const { app } = viewApp({ store, version: "0.0.0", token: "token", hosts: () => hosts });
  const server = serve({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 });
  server.once("listening", () => {
    const { port } = server.address() as AddressInfo;
    hosts = [`127.0.0.1:${port}`];
    console.log(port);
  });
}
