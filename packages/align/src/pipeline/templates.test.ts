import { appendFile, cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, test, vi } from "vitest";
import { reinforcedRecipe, supervisedRecipe, writeRecipe } from "../../test/pipeline/fixture.ts";
import { reading, run, runWhole } from "../../test/pipeline/run.ts";

// Whole runs, which take seconds, and much longer on a busy machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const folder = await mkdtemp(join(tmpdir(), "tenet-templates-"));
afterAll(() => rm(folder, { recursive: true }));

const asks = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
const turns = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
const alternating =
  "{% if messages[0].role == 'system' %}{{ raise_exception('no system turns') }}{% endif %}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles have to alternate') }}{% endif %}{% endfor %}";

/** Gives a model another chat template, or none. */
async function retell(model: string, template: string | undefined): Promise<void> {
  const file = join(model, "tokenizer_config.json");
  const { chat_template: _, ...config } = JSON.parse(await readFile(file, "utf8"));
  await writeFile(file, JSON.stringify({ ...config, ...(template !== undefined && { chat_template: template }) }));
}

test("a row that the model's template refuses is set aside wherever it stands, with the template's reason; the others go on", async () => {
  const recipe = await writeRecipe(join(folder, "rows"), { recipe: reinforcedRecipe, prompts: 8 });
  const here = dirname(recipe);
  await retell(join(here, "model"), `${alternating}${turns}${asks}`);
  const system = [
    { role: "system", content: "Be brief." },
    { role: "user", content: "Say a word." },
  ];
  const twice = [
    { role: "user", content: "Say" },
    { role: "user", content: "a word." },
  ];
  const append = (name: string, row: object) => appendFile(join(here, name), `${JSON.stringify(row)}\n`);
  await append("prompts.jsonl", { prompt: system });
  // Other words than those that are trained on: it would be left out.
  const apart = [
    { role: "user", content: "Tell me" },
    { role: "user", content: "something, please." },
  ];
  await append("held-out.jsonl", { prompt: apart });
  for (const prompt of ["Validation 1: say a word.", "Validation 2: say a word.", system])
    await append("validation.jsonl", { prompt });
  await append("helpful.jsonl", { prompt: twice, completion: "A word, as you wished." });
  await append("known.jsonl", { prompt: system, chosen: "Rest.", rejected: "q".repeat(20) });
  await writeFile(
    recipe,
    reinforcedRecipe
      .replace(
        "heldOut: { path: held-out.jsonl, limit: 3 }",
        "validation: { path: validation.jsonl }, heldOut: { path: held-out.jsonl }",
      )
      .replace("path: helpful.jsonl, ratio: 0.5", "path: helpful.jsonl"),
  );

  const store = join(here, "store");
  const { id, events } = await runWhole(recipe, store);
  reading(store, (reader) => {
    expect(reader.run(id).status).toBe("done");
    // Replies of a random model are sometimes empty: of those nothing is said here.
    const refused = (stage: string) =>
      reader
        .setAsideReasons(reader.stage(id, stage)!.identity)
        .filter(({ reason }) => reason.startsWith("the chat template refuses"));
    for (const stage of ["responses", "pairs"])
      expect(refused(stage), stage).toEqual([{ reason: expect.stringContaining("no system turns"), count: 1 }]);
    const { report } = reader.stage(id, "policy")!.output as {
      report: { aside: { reason: string }[]; selection: object };
    };
    expect(report.selection).toMatchObject({ prompts: 2, refused: 1 });
    expect(report.aside).toEqual([expect.objectContaining({ reason: expect.stringContaining("no system turns") })]);
    const answered = reader
      .stages(id)
      .flatMap(({ name }) => refused(name))
      .filter(({ reason }) => reason.includes("roles have to alternate"));
    expect(answered.map(({ count }) => count)).toEqual([1, 1, 1]);
  });
  // What a training sets aside has no dataset of its own: the run says it.
  expect(events).toContainEqual(
    expect.objectContaining({ type: "stage", stage: "supervised", status: "done", aside: 1 }),
  );
  expect(events).toContainEqual(
    expect.objectContaining({
      stage: "supervised",
      message: expect.stringMatching(/1 set aside.*roles have to alternate/),
    }),
  );
  expect(events).toContainEqual(
    expect.objectContaining({ type: "message", message: expect.stringContaining("refuses system turns") }),
  );
});

describe("what cannot be worked around is said before anything is done", () => {
  const cases: Record<string, [template: string | undefined, says: RegExp]> = {
    "no template": [undefined, /no chat template/],
    "a template that does not parse": ["{% for m in messages %}", /cannot be used.*publisher gives/],
    "a template that refuses everything": ["{{ raise_exception('closed') }}", /closed/],
    "a template that leaves out the person": [`{% for m in messages %}{{ m.role }}{% endfor %}${asks}`, /leaves out/],
    "a template that ends no reply": [
      "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
      /no token behind a reply/,
    ],
  };
  for (const [name, [template, says]] of Object.entries(cases))
    test(name, async () => {
      const recipe = await writeRecipe(join(folder, name));
      await retell(join(dirname(recipe), "model"), template);
      const store = join(dirname(recipe), "store");
      const { id, error } = await run(recipe, store);
      expect((error as Error).message).toMatch(says);
      reading(store, (reader) => expect(reader.stages(id)).toEqual([]));
    });

  test("also of a model that is asked last", async () => {
    const recipe = await writeRecipe(join(folder, "judge"), {
      recipe: `${supervisedRecipe}roles: { judge: ./judge }\n`,
    });
    const here = dirname(recipe);
    await cp(join(here, "model"), join(here, "judge"), { recursive: true });
    await retell(join(here, "judge"), "{{ raise_exception('judges nothing') }}");
    const { id, error } = await run(recipe, join(here, "store"));
    expect((error as Error).message).toMatch(/judges nothing/);
    reading(join(here, "store"), (reader) => expect(reader.stages(id)).toEqual([]));
  });
});
