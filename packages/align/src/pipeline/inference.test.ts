import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it, vi } from "vitest";
import { reinforcedRecipe, writeRecipe } from "../../test/pipeline/fixture.ts";
import { reading, runWhole, stagesThat } from "../../test/pipeline/run.ts";

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const folder = await mkdtemp(join(tmpdir(), "tenet-inference-"));
afterAll(() => rm(folder, { recursive: true }));

const plain = reinforcedRecipe
  .replace("  audit: { path: known.jsonl }\n", "")
  .replace("iterations: 4", "iterations: 1")
  .replace("epochs: 2\n  minibatches: 2\n  maxTokens", "epochs: 1\n  minibatches: 1\n  maxTokens");

it("speaks and learns in 8 bits where its recipe says so, learns in float32 otherwise, and shares nothing that was said with a run in float32", async () => {
  const recipe = await writeRecipe(join(folder, "recipe"), { recipe: plain, prompts: 6 });
  const store = join(folder, "store");
  const exact = await runWhole(recipe, store);

  await writeFile(recipe, `${plain}inference: { weights: float32 }\n`);
  const same = await runWhole(recipe, store);
  expect(stagesThat("done", same.events)).toEqual([]);

  await writeFile(recipe, `${plain}inference: { weights: int8 }\n`);
  const eight = await runWhole(recipe, store);
  const anew = stagesThat("done", eight.events);
  for (const stage of ["responses", "supervised", "pairs", "preference model", "policy", "scorecard"])
    expect(anew).toContain(stage);
  const reused = stagesThat("reused", eight.events);
  expect(reused.length).toBeGreaterThan(0);
  expect(eight.events).toContainEqual(
    expect.objectContaining({ type: "message", level: "warning", message: expect.stringMatching(/in 8 bits/) }),
  );

  await writeFile(recipe, `${plain}inference: { weights: int8 }\ntraining: { weights: int8 }\n`);
  const taught = await runWhole(recipe, store);
  for (const stage of ["supervised", "preference model", "policy", "scorecard"])
    expect(stagesThat("done", taught.events)).toContain(stage);

  const metric = (id: string, wanted: string) =>
    reading(
      store,
      (reader) => reader.metrics(id).find(({ stage, name }) => stage === "policy" && name === wanted)!.value,
    );
  // Rounding there, eight bits here; the ratio is of the training graph both times.
  expect(metric(exact.id, "val/engine_gap")).toBeLessThan(1e-4);
  expect(metric(eight.id, "val/engine_gap")).toBeGreaterThan(1e-4);
  for (const { id } of [exact, eight, taught]) expect(Math.abs(metric(id, "val/ratio") - 1)).toBeLessThan(1e-4);
});
