import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashOf, openStore } from "@tenet/runs";
import { afterAll, expect, it } from "vitest";
import { surroundings } from "../test/project.ts";
import { run } from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "tenet-watch-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("shows a run as it goes on and ends with it, as its own command does", async () => {
  const store = openStore(folder);
  const writer = store.begin({ name: "desk", recipe: {} });
  writer.event({ kind: "opened", data: {} });
  const told = (status: string) =>
    writer.event({
      kind: "stage",
      stage: "responses",
      data: { stage: "responses", title: "first responses", status, rows: 3, seconds: 2 },
    });
  told("started");
  writer.stage({ name: "responses", kind: "respond", identity: hashOf("watched") });
  writer.progress({ stage: "responses", done: 1, total: 3, unit: "rows" });
  const { io, written } = surroundings({ stdin: "" });
  const watching = run(["watch", "latest", "--store", folder], io);
  await new Promise((resolve) => setTimeout(resolve, 400));
  writer.event({ kind: "message", message: "half of it", data: { level: "info", message: "half of it" } });
  told("done");
  await new Promise((resolve) => setTimeout(resolve, 400));
  writer.end("done");
  expect(await watching).toBe(0);
  expect(written.stdout).toBe(`run ${writer.id}: done\ntenet report ${writer.id}\n`);
  for (const words of ["first responses", "half of it", "3 rows"]) expect(written.stderr).toContain(words);
  store.close();
});

it("a run that ended badly ends the watching badly; one that is over is told at once", async () => {
  const store = openStore(folder);
  for (const [status, code] of [
    ["failed", 1],
    ["refused", 3],
    ["waiting", 4],
    ["interrupted", 130],
  ] as const) {
    const writer = store.begin({ name: status, recipe: {} });
    writer.end(status, "for a reason");
    const { io, written } = surroundings({ stdin: "" });
    expect(await run(["watch", writer.id, "--store", folder], io)).toBe(code);
    expect(written.stdout).toBe(`run ${writer.id}: ${status}: for a reason\n`);
  }
  store.close();
});
