import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
// Commands load it when they run: here it is no test's time.
import "@tenet/align";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { reinforcedRecipe, surroundings, writeProject } from "../test/project.ts";
import { run } from "./index.ts";

const home = mkdtempSync(join(tmpdir(), "tenet-advise-"));
let recipe: string;
beforeAll(async () => {
  recipe = await writeProject(join(home, "project"), reinforcedRecipe);
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

async function tenet(...args: string[]) {
  const { io, written } = surroundings();
  return { code: await run(["advise", ...args], io), ...written };
}
const strict = ["--goal", "strict", "--complexity", "high", "--compute", "high"];
const store = ["--store", join(home, "none")];

describe("advise", () => {
  it("says what fits, by which rules, and what would have changed it", async () => {
    const { code, stdout } = await tenet(...strict, "--constitution", "interpreted");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^joint, for goal strict/);
    expect(stdout).toMatch(/\+4 the strongest enforcement.*\[guides A and B\]/);
    expect(stdout).toMatch(/would be first with\n {2}goal preferences: iterative/);
    expect(stdout).toMatch(/policy\.constraint: \{"cost":"critic"/);
  });

  it("prices every arrangement of a recipe, and writes the one that is advised where nothing stands", async () => {
    const file = join(home, "project", "advised.yaml");
    const { code, stdout } = await tenet(recipe, ...strict, ...store, "--write", file);
    expect(code).toBe(0);
    for (const name of ["sequential", "reverse", "iterative", "joint"])
      expect(stdout).toMatch(new RegExp(`^${name} +\\d+`, "m"));
    const { io, written } = surroundings();
    expect(await run(["validate", file, "--json"], io)).toBe(0);
    expect(JSON.parse(written.stdout).recipe).toMatchObject({ arrangement: "joint", feedback: { weigh: {} } });
    const before = readFileSync(file, "utf8");
    expect(await tenet(recipe, ...strict, ...store, "--write", file)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/--write: expected a new file.*advised\.yaml is there already/),
    });
    expect(readFileSync(file, "utf8")).toBe(before);
  });

  it("prints it as an object", async () => {
    const { stdout } = await tenet(recipe, ...strict, ...store, "--json");
    expect(Object.keys(JSON.parse(stdout).criteria)).toEqual([
      ...["goal", "complexity", "compute", "constitution", "labeller", "people"],
    ]);
    expect(JSON.parse(stdout)).toMatchObject({
      criteria: { goal: "strict", constitution: "verifiable" },
      best: "joint",
      recipes: [{ arrangement: "joint", price: { trainingTokens: expect.any(Number) } }, {}, {}, {}],
    });
  });

  it.each<[string, string[], RegExp]>([
    [
      "an unknown answer",
      ["--goal", "strictest"],
      /--goal: expected one of preferences, balanced, strict; got strictest/,
    ],
    ["a missing answer", ["--goal", "strict"], /--complexity: expected one of low, medium, high; got none/],
    ["no constitution", strict, /--constitution: expected one of verifiable, mixed, interpreted; got none/],
    [
      "nothing to write",
      [...strict, "--constitution", "mixed", "--write", "new.yaml"],
      /--write: expected a recipe to begin with/,
    ],
  ])("refuses %s with what was expected", async (_, args, says) => {
    expect(await tenet(...args)).toMatchObject({ code: 2, stderr: expect.stringMatching(says) });
  });

  it("refuses a file elsewhere, and a constitution beside a recipe", async () => {
    const elsewhere = join(home, "advised.yaml");
    expect(await tenet(recipe, ...strict, "--write", elsewhere)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/expected a file in .*project, beside the recipe/),
    });
    expect(existsSync(elsewhere)).toBe(false);
    expect(await tenet(recipe, ...strict, "--constitution", "mixed")).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/--constitution: expected none beside a recipe/),
    });
  });
});
