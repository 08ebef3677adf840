// Processes for the tests: `child.ts write FOLDER NAME` begins a run and adds an event every 20 ms; `child.ts serve FOLDER`
// serves the store on a free port, which it prints. Both go on until they are killed.
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { serve } from "@hono/node-server";
import { hashOf, openStore } from "@tenet/runs";
import { viewApp } from "../src/index.ts";

const [what, folder, name] = process.argv.slice(2) as [string, string, string];
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
