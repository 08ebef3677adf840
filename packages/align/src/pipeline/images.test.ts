import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PreferenceRow } from "@tenet/data";
import { tinyImage, tinyPng } from "@tenet/fixtures";
import { UsageError } from "@tenet/lm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { reinforcedRecipe, writeRecipe } from "../../test/pipeline/fixture.ts";
import { openJudgeServer } from "../../test/pipeline/judge-server.ts";
import { reading, run, runWhole, stagesThat } from "../../test/pipeline/run.ts";
import { dataWarnings } from "./look.ts";
import { openRecipe } from "./open.ts";
import type { AuditReport } from "./parts/audit.ts";
import { warningsOf } from "./warnings.ts";

/*
 * Pairs that show images, in recipes: an audit of a labeller behind an endpoint reads them, and nothing else does.
 */

let folder: string;
let judge: Awaited<ReturnType<typeof openJudgeServer>>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-images-"));
  judge = await openJudgeServer();
});
afterAll(async () => {
  judge.close();
  await rm(folder, { recursive: true, force: true });
});

const known = (count: number) =>
  Array.from({ length: count }, (_, i) => ({
    ...{ prompt: `What does picture ${i} show?`, image: `picture-${i}.png` },
    ...{ chosen: "Rest.", rejected: "q".repeat(20) },
  }));

/** A recipe with this labeller, and as many of its pairs' pictures as are named. */
async function audited(name: string, labeller: string, label: string, pairs = 8, pictures = pairs) {
  const recipe = await writeRecipe(join(folder, name), {
    recipe: `${reinforcedRecipe}roles: { labeller: ${labeller} }\n`.replace(/label: {.*}/, `label: ${label}`),
    known: known(pairs),
  });
  for (let i = 0; i < pictures; i++) await writeFile(join(folder, name, `picture-${i}.png`), tinyPng(i + 1));
  return recipe;
}

/** The images of every question about a reply, not of those by which a server's abilities are found out. */
const judged = () => judge.shown.filter((_, i) => judge.asked[i]!.includes("###Response to evaluate"));
const served = () => `{ endpoint: "${judge.url}", model: sees, retries: { baseSeconds: 0.001 } }`;
const vision = "{ method: judge, judge: { format: prometheus-vision } }";

test("a labeller behind an endpoint is audited on pairs with images, by their bytes", async () => {
  const recipe = await audited("audit", served(), vision, 9, 8);
  const store = join(folder, "audit-store");
  const { id } = await runWhole(recipe, store, { only: ["audit"] });
  reading(store, (reader) => {
    const { health, gate } = reader.stage(id, "audit")!.output as AuditReport;
    expect(gate.passed).toBe(true);
    expect(health.accuracy).toMatchObject({ value: 1, n: 8 });
    const rows = [...reader.rows<PreferenceRow>(reader.stage(id, "audit labels")!.identity)];
    expect(rows.map(({ prompt }) => prompt[0]!.images).sort()).toEqual(
      Array.from({ length: 8 }, (_, i) => [tinyImage(i + 1)]).sort(),
    );
    expect(reader.setAsideReasons(reader.stage(id, "known")!.identity)).toMatchObject([
      { reason: expect.stringMatching(/^the image, picture-8\.png, does not exist/), count: 1 },
    ]);
  });
  // Two replies of each, and every fifth time once more.
  expect(judged().length).toBeGreaterThanOrEqual(16);
  for (const images of judged()) expect(images).toHaveLength(1);

  const before = judged().length;
  await rename(join(folder, "audit", "picture-0.png"), join(folder, "audit", "moved.png"));
  const lines = [{ ...known(1)[0]!, image: "moved.png" }, ...known(9).slice(1)];
  await writeFile(join(folder, "audit", "known.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  await runWhole(recipe, store, { only: ["audit"] });
  expect(judged()).toHaveLength(before);

  await writeFile(join(folder, "audit", "moved.png"), tinyPng(100));
  const again = await runWhole(recipe, store, { only: ["audit"] });
  expect(stagesThat("reused", again.events)).not.toContain("known");
  const anew = judged().slice(before).flat();
  expect(anew.length).toBeGreaterThanOrEqual(2);
  expect(new Set(anew)).toEqual(new Set([tinyImage(100)]));
}, 120_000);

test("letters are asked for with the image too", async () => {
  const recipe = await audited("letters", served(), "{ method: choice }");
  const before = judge.shown.length;
  await run(recipe, join(folder, "letters-store"), { only: ["audit"] });
  const shown = judge.shown.slice(before).filter((images) => images.length > 0);
  expect(new Set(shown.flat()).size).toBe(8);
}, 120_000);

test("a run whose labeller judges replies to images alone is refused before anything is spent, and validate says so", async () => {
  const recipe = await audited("run", served(), vision);
  const before = judge.shown.length;
  const { error, events } = await run(recipe, join(folder, "run-store"));
  expect(error).toBeInstanceOf(UsageError);
  expect(String(error)).toContain("the pairs that a run makes are a local model's replies to texts");
  expect(stagesThat("done", events)).toEqual([]);
  expect(judge.shown.length).toBe(before);
  expect(warningsOf(await openRecipe(recipe)).join()).toContain("prometheus-vision judges replies to an image");
}, 120_000);

test.each([
  ["a local labeller", "./model", "{ method: choice }"],
  ["a labeller that judges texts", "SERVED", "{ method: judge, judge: { format: prometheus-2 } }"],
  [
    "a local critic before the labels",
    "SERVED",
    "{ method: choice, constitutionFirst: { by: critic, downWeight: 0.5 } }",
  ],
  ["the checks", "SERVED", "{ method: checks }"],
])("pairs with images are refused at validate for %s", async (name, labeller, label) => {
  const recipe = await audited(name.replaceAll(" ", "-"), labeller.replace("SERVED", served()), label);
  const opened = openRecipe(recipe);
  await expect(opened).rejects.toThrow(/feedback\.audit\.path: .* cannot be read as preferences: no usable record/);
  await expect(opened).rejects.toThrow("it names an image, which nobody sees who reads this file");
});

test("images among texts are set aside where they are not seen, and validate counts them", async () => {
  const recipe = await audited("held-out", served(), vision);
  const lines = [{ prompt: "Say a word." }, { prompt: "What is it?", image: "picture-0.png" }, { prompt: "Say two." }];
  const path = join(folder, "held-out", "held-out.jsonl");
  await writeFile(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  const warnings = await dataWarnings(await openRecipe(recipe));
  expect(warnings.find((line) => line.startsWith("held-out.jsonl"))).toMatch(
    /1 of 3 records cannot be used; the first is held-out\.jsonl:2: it names an image/,
  );
  expect(warnings.some((line) => line.startsWith("known.jsonl"))).toBe(false);
  await writeFile(path, `${JSON.stringify(lines[1])}\n`);
  await expect(openRecipe(recipe)).rejects.toThrow(/prompts\.heldOut\.path: .* cannot be read as prompts/);
});
