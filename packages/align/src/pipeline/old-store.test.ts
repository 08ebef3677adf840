import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { openStore } from "@tenet/runs";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { oldRecipes, writeOldRecipe } from "../../test/old-store/recipes.ts";
import { callsOf, reading, results, runWhole, stagesThat } from "../../test/pipeline/run.ts";
import { storedCheckpoints } from "./checkpoints.ts";

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const folder = mkdtempSync(join(tmpdir(), "tenet-old-store-"));
const store = join(folder, "store");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const unpacked = (name: string) =>
  gunzipSync(readFileSync(new URL(`../../test/old-store/${name}.gz`, import.meta.url)));

beforeAll(() => {
  mkdirSync(store);
  writeFileSync(join(store, "store.db"), unpacked("store.db"));
  const artifacts = JSON.parse(unpacked("artifacts.json").toString()) as Record<string, Record<string, string>>;
  for (const [hash, files] of Object.entries(artifacts)) {
    mkdirSync(join(store, "artifacts", hash), { recursive: true });
    for (const [name, bytes] of Object.entries(files))
      writeFileSync(join(store, "artifacts", hash, name), Buffer.from(bytes, "base64"));
  }
});

/**
 * What is done again of which recipe. The pairs of DPO share a prompt, whose gradients threads may have added at once when the store was made: it is
 * trained anew. Audits take pairs of one prompt together since, and the scorecard shows them: both are told anew of the same labels and replies.
 */
const doneAnew: Readonly<Record<string, { readonly trained?: readonly string[]; readonly told: readonly string[] }>> = {
  whole: { told: ["audit", "scorecard"] },
  judged: { told: ["labeller audit"] },
  dpo: { trained: ["policy"], told: ["scorecard"] },
};

/** A store made when there was one arrangement, which was code. */
describe("a store of before there were arrangements", () => {
  it("is whole", async () => {
    const reader = openStore(store, { readOnly: true });
    expect(await reader.verify()).toEqual([]);
    expect(reader.runs().map(({ status }) => status)).toEqual(Object.keys(oldRecipes).map(() => "done"));
    reader.close();
  });

  it.each(Object.keys(oldRecipes))(
    "has every stage of %s reused whose version is the same, and asks nobody anything",
    async (name) => {
      const old = reading(store, (reader) => reader.runs().find(({ recipe }) => isOf(name, recipe))!.id);
      const before = results(store, old);
      const { id, events } = await runWhole(await writeOldRecipe(join(folder, name), name), store);
      const { trained = [], told = [] } = doneAnew[name] ?? {};
      for (const status of ["started", "done"]) expect(stagesThat(status, events)).toEqual([...trained, ...told]);
      for (const status of ["continued", "failed"]) expect(stagesThat(status, events)).toEqual([]);
      // Of another identity, with the same bytes: so small a model is not shared among threads.
      const expected = Object.entries(before).map(([stage, result]) => [
        stage,
        // The audit of DPO's recipe is that of the whole one.
        told.includes(stage) || stage === "audit"
          ? expect.objectContaining({ identity: expect.any(String) })
          : trained.includes(stage)
            ? { ...result, identity: expect.any(String) }
            : result,
      ]);
      expect(results(store, id)).toEqual(Object.fromEntries(expected));
      if (id !== old) expect(Object.values(callsOf(store, id)).reduce((sum, calls) => sum + calls, 0)).toBe(0);
    },
  );

  it.each(Object.keys(oldRecipes))("still answers for %s: its checkpoints are found", async (name) => {
    const reader = openStore(store, { readOnly: true });
    const old = reader.runs().findLast(({ recipe }) => isOf(name, recipe))!.id;
    const ids = (await storedCheckpoints(reader, old)).map(({ id, label }) => [id, label]);
    const trained = name === "supervised" ? [] : [["rl", "RL-CAI"]];
    expect(ids).toEqual([["base", "Base"], ["sl", "SL-CAI"], ...trained]);
    reader.close();
  });
});

/** Whether the recipe that a run has written down is the one of this name. */
function isOf(name: string, recipe: unknown): boolean {
  const { policy, roles, prompts } = recipe as {
    policy?: { algorithm: string };
    roles: { labeller?: unknown };
    prompts: { validation?: unknown };
  };
  switch (name) {
    case "supervised":
      return policy === undefined;
    case "dpo":
      return policy?.algorithm === "dpo";
    case "judged":
      return roles.labeller !== undefined;
    case "whole":
      return policy?.algorithm === "ppo" && prompts.validation !== undefined;
    default:
      throw new TypeError(name);
  }
}
