import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PreferenceRow } from "@tenet/data";
import { openStore } from "@tenet/runs";
import { afterAll, expect, it, vi } from "vitest";
import { reinforcedRecipe, writeRecipe } from "../../../test/pipeline/fixture.ts";
import { callsOf, reading, runWhole, stagesThat } from "../../../test/pipeline/run.ts";
import type { Scorecard } from "../../evaluate/index.ts";
import { estimateRun } from "../estimate.ts";
import { openRecipe } from "../open.ts";
import { openRunReward } from "../run-reward.ts";

// Whole runs, which take seconds, and much longer on a busy machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const folder = await mkdtemp(join(tmpdir(), "tenet-given-"));
afterAll(() => rm(folder, { recursive: true }));

const text = reinforcedRecipe
  // Asked in both orders a random model contradicts itself: all would be set aside.
  .replace("swap: true, constitutionFirst: { by: checks, downWeight: 0.5 }", "swap: false, principles: 3")
  .replace("path: known.jsonl", "path: known.jsonl, override: true")
  .replace("preferenceModel:\n", "preferenceModel:\n  given: { most: 2, draws: 2 }\n  validationShare: 0.4\n")
  .replace("constitution: 0.5 }", "given: { count: 1, always: [plain], negate: [no-q] } }")
  .replace("iterations: 4", "iterations: 2");

it("learns pairs under drawn principles, is tested by turning them, and judges replies by what the reward says", async () => {
  const recipe = await writeRecipe(join(folder, "recipe"), { recipe: text });
  const store = join(folder, "store");
  const first = await runWhole(recipe, store);
  const said = first.events.flatMap((event) =>
    event.type === "message" && event.stage === "given" ? [event.message] : [],
  );
  expect(said).toEqual([expect.stringMatching(/^\d+ pairs are learnt under drawn principles, 0 without any/)]);
  reading(store, (reader) => {
    const rows = [...reader.rows<PreferenceRow>(reader.stage(first.id, "given")!.identity)];
    expect(rows.length).toBeGreaterThan(4);
    for (const { given } of rows) expect([1, 2]).toContain(given!.principles.length);
    const card = reader.stage(first.id, "scorecard")!.output as Scorecard;
    expect(card.preferenceModel!.flip!.n).toBe(card.preferenceModel!.accuracy.n);
    expect(card.preferenceModel!.flip!.n).toBeGreaterThan(0);
    expect(card.rows.some(({ metric }) => metric === "proxy")).toBe(true);
  });
  const estimate = await estimateRun(await openRecipe(recipe));
  const rowsOf = (name: string) => estimate.stages.find(({ stage }) => stage === name)!.rows;
  expect(rowsOf("given")).toBe(2 * rowsOf("labels"));
  // A reply told by itself would be judged without the principles that this model was taught to judge by.
  const reader = openStore(store, { readOnly: true });
  await expect(openRunReward(reader, first.id)).rejects.toThrow(
    /principles that it is shown \(preferenceModel\.given\)/,
  );
  const checks = await openRunReward(reader, first.id, { terms: { constitution: 1 } });
  expect(checks.about.weights).toEqual({ constitution: 1 });
  await checks.close();
  reader.close();

  // Other principles for the reward are another policy, and the same preference model.
  await writeFile(recipe, text.replace("always: [plain]", "always: [short]"));
  const second = await runWhole(recipe, store);
  expect(stagesThat("reused", second.events)).toEqual(expect.arrayContaining(["labels", "given", "preference model"]));
  expect(stagesThat("done", second.events)).toEqual(expect.arrayContaining(["policy", "scorecard"]));
  expect(callsOf(store, second.id)).not.toHaveProperty("labels");
  const proxyOf = (id: string) =>
    reading(store, (reader) =>
      (reader.stage(id, "scorecard")!.output as Scorecard).rows.find(
        ({ metric, checkpoint }) => metric === "proxy" && checkpoint === "base",
      ),
    );
  // The same replies of the same model, judged by others.
  expect(proxyOf(second.id)!.value).not.toBe(proxyOf(first.id)!.value);
});
