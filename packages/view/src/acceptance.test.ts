import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const text = readFileSync(join(root, "docs/view-acceptance.md"), "utf8");

test("every number of the acceptance list names tests that are there, or says why not", () => {
  const lines = text.split("\n").filter((line) => /^\| \d+ \|/.test(line));
  expect(lines.map((line) => Number(line.split("|")[1]))).toEqual(Array.from({ length: 120 }, (_, i) => i + 1));
  const sources = new Map<string, string>();
  const sourceOf = (file: string) => {
    const known = sources.get(file) ?? readFileSync(join(root, file), "utf8");
    sources.set(file, known);
    return known;
  };
  let named = 0;
  for (const line of lines) {
    const cells = line.split("|")[3]!.trim();
    const tests = [...cells.matchAll(/`([^`]+\.test\.ts)`: “([^”]+)”/g)];
    for (const [, file, name] of tests)
      expect([file, name, sourceOf(file!).includes(`"${name}"`)]).toEqual([file, name, true]);
    named += tests.length;
    if (tests.length === 0) expect(cells).toMatch(/^(not |script `|the browser tests )/);
    for (const [, script] of cells.matchAll(/`(scripts\/[\w-]+\.ts)`/g)) sourceOf(script!);
  }
  expect(named).toBeGreaterThan(120);
});

test("the terminal is written to without colours, whatever the environment says of them", () => {
  const folder = join(root, "packages/cli/src");
  const files = readdirSync(folder).filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"));
  expect(files.length).toBeGreaterThan(30);
  for (const name of files) {
    const source = readFileSync(join(folder, name), "utf8");
    expect([name, /styleText|chalk|picocolors|\\u001b\[[0-9;]*m|\\x1b\[[0-9;]*m/.test(source)]).toEqual([name, false]);
  }
});
