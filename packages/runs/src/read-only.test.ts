import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { temporaryFolder } from "../test/folders.ts";
import { childCommand } from "../test/processes.ts";

/** A small disk at $0, given to `look` twice: while it can be written, and when it cannot any more. */
const script = `mount -t tmpfs -o size=16m none "$0" && "$@" write "$0" && mount -o remount,ro "$0" && "$@" read "$0"`;
const canMount =
  process.platform === "linux" &&
  spawnSync("unshare", ["-rm", "sh", "-c", 'mount -t tmpfs none "$0" && mount -o remount,ro "$0"', tmpdir()]).status ===
    0;

/** The same, with the disk filled instead. */
const filled = script.replace('mount -o remount,ro "$0"', '(cat /dev/zero > "$0/fill" 2>/dev/null || true)');

/** What a process says of a store on a file system that became read-only, or full, `left` by whoever wrote it. */
function read(left: "closed" | "killed", script: string): string[] {
  const folder = temporaryFolder();
  const { stdout, stderr } = spawnSync("unshare", ["-rm", "sh", "-c", script, folder, ...childCommand("mount", left)], {
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  return stdout.trim().replaceAll(folder, "STORE").split("\n");
}

test.skipIf(!canMount)("a store on a read-only file system is read; writing says what can be done", () => {
  expect(read("closed", script)).toEqual([
    "written",
    "run done, stage done, 9 rows, artifact as it was made, nothing damaged",
    expect.stringMatching(/^StoreAccessError: STORE: is read-only, .*tenet ls, show, report, chat, export.*--store/),
  ]);
});

test.skipIf(!canMount)("one that a killed run left has its log beside it, and is read too", () => {
  expect(read("killed", script)).toEqual([
    "written",
    "run interrupted, stage interrupted, 9 rows, artifact as it was made, nothing damaged",
    expect.stringMatching(/^StoreAccessError: STORE: is read-only/),
  ]);
});

test.skipIf(!canMount)("a run that was killed as its disk became full is not said to run", () => {
  const [, said] = read("killed", filled);
  expect(said).toMatch(/^run interrupted, stage interrupted, 9 rows, artifact as it was made/);
});
