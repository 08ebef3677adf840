import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../test/folders.ts";
import { itemsUpTo } from "../test/items.ts";
import { hashOf, openStore } from "./index.ts";

const page = readFileSync(new URL("../../../docs/runs.md", import.meta.url), "utf8");
const commands = [...page.matchAll(/^ {4}((?:sqlite3|sha256sum) .*)$/gm)].map(([, command]) => command!);
const present = ["sqlite3", "sha256sum"].every((program) => spawnSync(program, ["--version"]).status === 0);

test("docs/runs.md shows commands", () => {
  expect(commands).toHaveLength(5);
});

test.skipIf(!present)("they read a store while it is written (skipped where sqlite3 or sha256sum is missing)", () => {
  const store = openStore(temporaryFolder());
  const run = store.begin({ name: "desk", recipe: {} });
  const stage = run.stage({ name: "replies", kind: "respond", identity: hashOf("replies") });
  stage.append(itemsUpTo(40).reverse());
  stage.metrics(3, { loss: 0.5 });
  const { dataset } = stage.finish();
  const script = join(store.folder, "commands.sh");
  writeFileSync(script, commands.join("\n").replaceAll("desk-1a2b3c4d", run.id));
  const { stdout, stderr } = spawnSync("sh", ["-e", script], { cwd: store.folder, encoding: "utf8" });
  const { updated } = run.info;
  expect({ lines: stdout.trim().split("\n"), stderr }).toEqual({
    lines: [`${run.id}|running|${updated}`, `${dataset!.hash}  replies.jsonl`, "reason 0|4", "reason 1|4", "3|0.5"],
    stderr: "",
  });
  store.close();
});
