import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
// Commands load it when they run: here it is no test's time.
import "@tenet/align";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { surroundings } from "../test/project.ts";
import { run } from "./index.ts";

/*
 * The tutorial's files are written as they stand in the page, and its commands are held to the options that there are. What a
 * run of a recipe does is tested in recipes.test.ts.
 */

const page = readFileSync(new URL("../../../docs/own-policy.md", import.meta.url), "utf8");
const blocks = (language: string) =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm"))].map(([, text]) => text!);
const file = (name: string) => blocks("yaml").find((text) => text.startsWith(`# library/${name}\n`))!;
const home = mkdtempSync(join(tmpdir(), "tenet-tutorial-"));
const library = join(home, "library");

beforeAll(() => {
  mkdirSync(library);
  for (const name of ["constitution.yaml", "recipe.yaml"]) writeFileSync(join(library, name), file(name));
  for (const name of ["train.jsonl", "held-out.jsonl"]) writeFileSync(join(library, name), blocks("json").join(""));
  writeFileSync(
    join(library, "known.jsonl"),
    '{"prompt": "Why?", "chosen": "Ask at the desk.", "rejected": "No idea."}\n',
  );
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

async function tenet(...args: string[]) {
  const { io, written } = surroundings({ env: { TENET_STORE: join(home, "runs") } });
  return { code: await run(args, io), ...written };
}

describe("docs/own-policy.md", () => {
  it("has a recipe that is in order, and can be estimated", async () => {
    const recipe = join(library, "recipe.yaml");
    expect(await tenet("validate", recipe)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("5 principles, 4 checks"),
    });
    expect(await tenet("run", recipe, "--dry-run")).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("chains"),
    });
  });

  it("has additions that go with it", async () => {
    const additions = blocks("yaml").filter((text) => text.startsWith("# into library/recipe.yaml"));
    expect(additions).toHaveLength(2);
    const recipe = join(library, "whole.yaml");
    writeFileSync(recipe, [file("recipe.yaml"), ...additions].join(""));
    const { code, stdout } = await tenet("validate", recipe);
    expect(code).toBe(0);
    expect(stdout).toMatch(/critic: large-model; reviser: large-model/);
    expect(stdout).toMatch(/ppo; labels: choice, audited/);
  });

  const commands = blocks("sh").flatMap((text) => text.split("\n").filter((line) => line.startsWith("tenet ")));
  it.each(commands)("%s", async (line) => {
    const [name, ...rest] = line
      .replace(/ {2,}#.*/, "")
      .split(" ")
      .slice(1);
    const { code, stdout } = await tenet(name!, "--help");
    expect(code).toBe(0);
    for (const option of rest.filter((word) => word.startsWith("--"))) expect(stdout).toContain(`${option} `);
  });
});
