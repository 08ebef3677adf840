import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UsageError } from "@tenet/lm";
import { openStore } from "@tenet/runs";
import { afterAll, expect, test } from "vitest";
import { supervisedRecipe, writeRecipe } from "../../test/pipeline/fixture.ts";
import { unsetKeys, unsetKeyText } from "./keys.ts";
import { openRecipe } from "./open.ts";
import { startRun } from "./run.ts";

const folder = await mkdtemp(join(tmpdir(), "tenet-keys-"));
afterAll(() => rm(folder, { recursive: true }));

const server = '{ endpoint: "http://localhost:1/v1", model: m, apiKeyVariable: CRITIC_KEY }';
const recipe = await writeRecipe(join(folder, "recipe"), {
  recipe: `${supervisedRecipe}roles: { critic: ${server}, reviser: ${server} }\n`,
});

test("a key that is not set is named with the roles that need it", async () => {
  const open = await openRecipe(recipe);
  const unset = unsetKeys(open.recipe, {});
  expect(unset).toEqual([{ variable: "CRITIC_KEY", roles: ["critic", "reviser"] }]);
  expect(unsetKeyText(unset[0]!)).toBe(
    "the environment variable CRITIC_KEY, named by roles.critic.apiKeyVariable and roles.reviser.apiKeyVariable, is not set",
  );
  expect(unsetKeys(open.recipe, { CRITIC_KEY: "  " })).toHaveLength(1);
  expect(unsetKeys(open.recipe, { CRITIC_KEY: "k" })).toEqual([]);
});

test("a run does not begin without it, and leaves nothing behind", async () => {
  const open = await openRecipe(recipe);
  const store = join(folder, "store");
  expect(() => startRun(open, { store, environment: {} })).toThrow(UsageError);
  expect(() => startRun(open, { store, environment: {} })).toThrow(/CRITIC_KEY.*is not set: set it, and run again/);
  const opened = openStore(store);
  expect(opened.runs()).toEqual([]);
  opened.close();
});

test("where only stages are asked for that ask nobody there, a run begins", async () => {
  const open = await openRecipe(recipe);
  const stop = new AbortController();
  const run = startRun(open, {
    store: join(folder, "other"),
    environment: {},
    only: ["responses"],
    signal: stop.signal,
  });
  stop.abort(new Error("enough"));
  await expect(run.finished).rejects.toThrow("enough");
});
