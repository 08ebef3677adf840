import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { supervisedRecipe, surroundings, writeProject } from "../test/project.ts";
import { run } from "./index.ts";

const home = mkdtempSync(join(tmpdir(), "tenet-keys-"));
const store = join(home, "runs");
let recipe: string;
beforeAll(async () => {
  const critic = "{ endpoint: http://localhost:1/v1, model: m, apiKeyVariable: CRITIC_KEY }";
  recipe = await writeProject(join(home, "project"), `${supervisedRecipe}roles: { critic: ${critic} }\n`);
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

async function tenet(env: Record<string, string>, ...args: string[]) {
  const { io, written } = surroundings({ env: { TENET_STORE: store, ...env } });
  const code = await run(args, io);
  return { code, ...written };
}

const unset = "the environment variable CRITIC_KEY, named by roles.critic.apiKeyVariable, is not set";

it.each([["validate"], ["run", "--dry-run"]])(
  "%j: tells a key that is not set, and one that is not",
  async (command, ...options) => {
    const without = await tenet({}, command, recipe, ...options);
    expect(without).toMatchObject({ code: 0, stdout: expect.stringContaining(`${unset} here`) });
    const withKey = await tenet({ CRITIC_KEY: "k" }, command, recipe, ...options);
    expect(withKey.code).toBe(0);
    expect(withKey.stdout).not.toContain("CRITIC_KEY,");
  },
);

it("a run ends before it begins, with the exit code of bad input", async () => {
  const { code, stderr } = await tenet({}, "run", recipe);
  expect(code).toBe(2);
  expect(stderr).toContain(`${unset}: set it, and run again`);
  expect(existsSync(join(store, "artifacts"))).toBe(false);
});

it("docs/cli.md names all that an estimate has", async () => {
  const page = readFileSync(new URL("../../../docs/cli.md", import.meta.url), "utf8");
  const told = page.slice(page.indexOf("`--dry-run --json`: "), page.indexOf("\n## label"));
  const estimate = JSON.parse((await tenet({}, "run", recipe, "--dry-run", "--json")).stdout);
  const { left, stages, unsetKeys } = estimate;
  const parts = [estimate, left, left.memory ?? {}, ...stages, ...unsetKeys];
  const names = new Set(parts.flatMap((part) => Object.keys(part)));
  expect([...names]).toEqual(expect.arrayContaining(["unsetKeys", "variable", "memory"]));
  for (const name of names) expect(told).toMatch(new RegExp(`\\b${name}\\b`));
});
