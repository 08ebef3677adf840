/*
 * Exported folders read back here, and by Python where this is set:
 *
 *   TENET_TEST_DATASETS_PYTHON  a Python that has pyarrow and datasets
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { cell, collect, ExportError, type ExportOptions, exportDataset, openDataset, rowId } from "./index.ts";
import type { ExampleRow, PreferenceRow, PromptRow } from "./rows.ts";

const python = process.env.TENET_TEST_DATASETS_PYTHON;

let folder = "";
let number = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-export-"));
});
afterAll(() => rm(folder, { recursive: true }));
const fresh = () => join(folder, `dataset-${number++}`);
const trained = (path: string) => join(path, "data", "train-00000-of-00001.parquet");

const said = fc
  .string({ unit: "binary", minLength: 1, maxLength: 30 })
  .filter((text) => text.trim() !== "" && !text.startsWith("\n\nHuman:"));
const prompt = fc
  .array(fc.record({ role: fc.constantFrom("system", "user", "assistant"), content: fc.string({ unit: "binary" }) }), {
    maxLength: 3,
  })
  .chain((before) => said.map((content) => [...before, { role: "user" as const, content }]));
const origin = { source: "test", parents: ["p"], models: { labeller: "m" }, principles: ["a", "b"], seed: 3 };

const promptRow = fc
  .record({
    prompt,
    category: fc.option(said, { nil: undefined }),
    benign: fc.option(fc.boolean(), { nil: undefined }),
  })
  .map(
    ({ prompt, category, benign }): PromptRow => ({
      id: rowId("prompt", prompt),
      origin,
      prompt,
      ...(category === undefined ? {} : { category }),
      ...(benign === undefined ? {} : { benign }),
    }),
  );
const exampleRow = fc.record({ prompt, completion: said, weight: fc.double({ min: 0, max: 5, noNaN: true }) }).map(
  ({ prompt, completion, weight }): ExampleRow => ({
    id: rowId("example", prompt, completion),
    origin,
    prompt,
    completion,
    weight: weight + 0,
  }),
);
const preferenceRow = fc
  .record({
    prompt,
    a: said,
    b: said,
    p: fc.double({ min: 0.5, max: 1, noNaN: true }),
    label: fc.constantFrom("ai", "human", "ranking", "check"),
  })
  .filter(({ a, b }) => a !== b)
  .map(({ prompt, a, b, p, label }): PreferenceRow => {
    const explanation = [{ step: "choice", options: [a, p] }];
    return {
      id: rowId("preference", prompt, a, b, p, label),
      origin,
      prompt,
      a,
      b,
      p,
      weight: 0.5,
      label,
      explanation,
    };
  });

const preference = (text: string, p = 1): PreferenceRow => {
  const question = [{ role: "user" as const, content: text }];
  return {
    id: rowId("x", text),
    origin: { parents: [] },
    prompt: question,
    a: "yes",
    b: "no",
    p,
    weight: 1,
    label: "ai",
    explanation: [],
  };
};

it("a text in a card is text: no link, no image, no table, no markup", () => {
  expect(cell("[here](javascript:alert(1)) ![x](http://x) <b>|`\n")).toBe(
    "\\[here\\](javascript:alert(1)) !\\[x\\](http://x) \\<b\\>\\|` ",
  );
});

describe("an exported dataset", () => {
  it.each([
    ["prompts", promptRow, undefined],
    ["examples", exampleRow, undefined],
    ["examples", exampleRow, "messages"],
    ["preferences", preferenceRow, undefined],
  ] as const)("of %s gives back its rows", async (as, row, form) => {
    const rows = fc.uniqueArray(row as fc.Arbitrary<PromptRow & ExampleRow & PreferenceRow>, {
      selector: ({ id }) => id,
      minLength: 1,
      maxLength: 20,
    });
    await fc.assert(
      fc.asyncProperty(rows, async (rows) => {
        const path = fresh();
        const written = await exportDataset(path, { as, name: "test", splits: { train: rows }, ...(form && { form }) });
        expect(written.train?.rows).toBe(rows.length);
        const { rows: back, counts } = await collect(await openDataset(trained(path), { as }));
        expect(counts).toEqual({ rows: rows.length, aside: 0, duplicates: 0 });
        expect(back).toEqual(
          rows.map((row, i) => ({
            ...row,
            origin: { ...row.origin, source: `train-00000-of-00001.parquet:${i + 1}` },
          })),
        );
      }),
      { numRuns: 10 },
    );
  });

  it("has the likelier reply of a pair as the chosen one", async () => {
    const path = fresh();
    await exportDataset(path, { as: "preferences", name: "n", splits: { train: [preference("q", 0.2)] } });
    const { rows } = await collect(await openDataset(trained(path), { as: "preferences" }));
    expect(rows).toMatchObject([{ a: "no", b: "yes", p: 0.8 }]);
  });

  it("has a README with features, splits, columns and provenance, whatever they are called", async () => {
    const path = fresh();
    async function* later() {
      yield preference("three");
    }
    const written = await exportDataset(path, {
      as: "preferences",
      name: "Pairs | of: *us*\n<script>",
      description: "What they are for.",
      licence: "cc-by-sa-4.0",
      provenance: { constitution: "sha | 256", seed: 7 },
      splits: { train: [preference("one"), preference("two")], validation: later(), test: [] },
    });
    expect(written).toMatchObject({ train: { rows: 2 }, validation: { rows: 1 }, test: { rows: 0, bytes: 0 } });
    expect((await readdir(join(path, "data"))).sort()).toEqual([
      "train-00000-of-00001.parquet",
      "validation-00000-of-00001.parquet",
    ]);
    const card = await readFile(join(path, "README.md"), "utf8");
    const [, front, text] = card.split(/^---$/m);
    expect(parse(front!)).toMatchObject({
      pretty_name: "Pairs | of: *us*\n<script>",
      license: "cc-by-sa-4.0",
      configs: [
        {
          config_name: "default",
          data_files: [
            { split: "train", path: "data/train-00000-of-00001.parquet" },
            { split: "validation", path: "data/validation-00000-of-00001.parquet" },
          ],
        },
      ],
      dataset_info: {
        splits: [
          { name: "train", num_examples: 2 },
          { name: "validation", num_examples: 1 },
        ],
      },
    });
    expect(front).not.toMatch(/[&*]a1/); // datasets does not follow YAML's aliases
    expect(text).toContain("# Pairs \\| of: *us* \\<script\\>\n");
    expect(text).toContain("| constitution | sha \\| 256 |");
    expect(text).toContain("| p | number | Probability that the chosen reply is the better one, at least 0.5 |");
    expect(text).toContain("What they are for.");
  });

  it("appears whole or not at all", async () => {
    const path = fresh();
    async function* failing() {
      yield preference("one");
      expect(await readdir(folder)).not.toContain(path.slice(folder.length + 1));
      throw new Error("the labeller died");
    }
    const before = await readdir(folder);
    await expect(exportDataset(path, { as: "preferences", name: "n", splits: { train: failing() } })).rejects.toThrow(
      "the labeller died",
    );
    expect(await readdir(folder)).toEqual(before);
  });

  it("replaces a dataset when told to, and nothing else ever", async () => {
    const path = fresh();
    const options = (text: string): ExportOptions<"preferences"> => ({
      as: "preferences",
      name: text,
      splits: { train: [preference(text)] },
    });
    await mkdir(path);
    await exportDataset(path, options("one"));
    await expect(exportDataset(path, options("two"))).rejects.toThrow(
      /is not empty\. Choose another folder, or replace it/,
    );
    await exportDataset(path, { ...options("two"), replace: true });
    const { rows } = await collect(await openDataset(trained(path), { as: "preferences" }));
    expect(rows[0]?.prompt[0]?.content).toBe("two");
    expect(await readFile(join(path, "README.md"), "utf8")).toContain("# two");
    await writeFile(join(path, "thesis.doc"), "work of years");
    await expect(exportDataset(path, { ...options("three"), replace: true })).rejects.toThrow(
      /holds more than a dataset.*thesis\.doc/,
    );
    expect(await readdir(path)).toContain("thesis.doc");
    expect((await readdir(folder)).filter((name) => name.includes("partial"))).toEqual([]);
  });

  it.each([
    [{}, /there are no splits/],
    [{ "../up": [preference("a")] }, /"\.\.\/up" is no name of a split/],
    [{ train: [], test: [] }, /no split has rows \(train, test\)/],
  ])("is refused with splits %j", async (splits, message) => {
    const failure = exportDataset(fresh(), { as: "preferences", name: "n", splits });
    await expect(failure).rejects.toThrow(ExportError);
    await expect(failure).rejects.toThrow(message);
  });

  it("is refused where a file stands", async () => {
    const path = fresh();
    await writeFile(path, "");
    const failure = exportDataset(path, { as: "prompts", name: "n", splits: { train: [] } });
    await expect(failure).rejects.toThrow(/is a file; expected a folder/);
  });

  it("is read by Python's datasets and pyarrow", async ({ skip }) => {
    if (!python) return skip("TENET_TEST_DATASETS_PYTHON is not set");
    const path = fresh();
    const texts = Array.from({ length: 2500 }, (_, i) => `question ${i} \u0000 é 😀 "\n`);
    const rows = texts.map((text, i) => preference(text, 0.5 + i / 5000));
    await exportDataset(path, { as: "preferences", name: "n", splits: { train: rows, test: rows.slice(0, 3) } });
    const script = `
import sys, json, glob, pyarrow.parquet, datasets
dataset = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])
print(json.dumps({
  "rows": dataset.num_rows,
  "groups": pyarrow.parquet.ParquetFile(sys.argv[1] + "/data/train-00000-of-00001.parquet").num_row_groups,
  "columns": dataset["train"].column_names,
  "first": {name: dataset["train"][1][name] for name in ["prompt", "chosen", "rejected", "p", "weight", "label"]},
  "texts": [row[0]["content"] for row in dataset["train"]["prompt"]],
}))`;
    const env = { ...process.env, HF_HUB_OFFLINE: "1", HF_DATASETS_DISABLE_PROGRESS_BARS: "1" };
    const { stdout } = await promisify(execFile)(python, ["-c", script, path, join(folder, "cache")], {
      env,
      maxBuffer: 2 ** 25,
    });
    const found = JSON.parse(stdout.trim().split("\n").at(-1)!);
    expect(found).toEqual({
      rows: { train: 2500, test: 3 },
      groups: 3,
      columns: ["prompt", "chosen", "rejected", "p", "weight", "label", "explanation", "id", "origin"],
      first: {
        prompt: [{ role: "user", content: texts[1] }],
        chosen: [{ role: "assistant", content: "yes" }],
        rejected: [{ role: "assistant", content: "no" }],
        p: 0.5002,
        weight: 1,
        label: "ai",
      },
      texts,
    });
  }, 300_000);
});
