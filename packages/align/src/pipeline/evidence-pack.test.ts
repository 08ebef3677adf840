import { createHash } from "node:crypto";
import {
  appendFile,
  copyFile,
  cp,
  mkdir,
  mkdtemp,
  readFile,
  rename,
  rm,
  symlink,
  unlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomStream } from "@tenet/data";
import { openStore } from "@tenet/runs";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { reinforcedRecipe, writeRecipe } from "../../test/pipeline/fixture.ts";
import { runWhole } from "../../test/pipeline/run.ts";
import { MANIFEST, verifyEvidence } from "./evidence-pack.ts";
import { exportRun } from "./export-run.ts";

// A whole run, which takes seconds, and much longer on a busy machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

let folder: string;
let pack: string;
let manifest: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-evidence-"));
  const recipe = await writeRecipe(join(folder, "recipe"), { recipe: reinforcedRecipe });
  const { id } = await runWhole(recipe, join(folder, "store"));
  const store = openStore(join(folder, "store"), { readOnly: true });
  const options = { what: ["evidence" as const], checkpoint: "rl" };
  const exported = await exportRun(store, id, join(folder, "out"), options);
  manifest = exported.evidence!;
  pack = join(folder, "out", "evidence");
  store.close();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const answers: Record<string, string> = {
  "with-constitution": "answers of base with constitution",
  "constant-reply": "answers of a constant",
};
const json = async (name: string) => JSON.parse(await readFile(join(pack, name), "utf8"));

describe("an evidence pack", () => {
  it("leads from every figure to the rows that it was counted from, whose files have the hashes of their datasets", async () => {
    const [figures, scorecard, stages] = [
      await json("figures.json"),
      await json("scorecard.json"),
      await json("stages.json"),
    ];
    expect(figures).toHaveLength(scorecard.rows.length);
    for (const { checkpoint, metric, from } of figures) {
      expect(from.length, metric).toBeGreaterThan(0);
      expect(
        from.map(({ stage }: { stage: string }) => stage),
        `${checkpoint} ${metric}`,
      ).toContain(answers[checkpoint] ?? `answers of ${checkpoint}`);
      for (const { file, dataset } of from) {
        const bytes = await readFile(join(pack, file));
        expect(createHash("sha256").update(bytes).digest("hex")).toBe(dataset);
      }
    }
    const labels = stages.find(({ name }: { name: string }) => name === "labels");
    expect(labels).toMatchObject({ kind: "label", dataset: expect.stringMatching(/^[0-9a-f]{64}$/) });
    const [line] = (await readFile(join(pack, labels.file), "utf8")).split("\n");
    expect(JSON.parse(line!).origin.parents.length).toBeGreaterThan(0);
    const { pairs } = await json("labels.json");
    expect(Object.keys(pairs).length).toBeGreaterThan(0);
  });

  it("lists models, data and programs as CycloneDX", async () => {
    const bom = await json("bom.cdx.json");
    expect(bom).toMatchObject({ bomFormat: "CycloneDX", specVersion: "1.6" });
    const refs = bom.components.map((component: { "bom-ref": string }) => component["bom-ref"]);
    expect(refs).toEqual(
      expect.arrayContaining(["model:base", "model:sl", "model:rl", "data:labels", "data:held-out"]),
    );
    expect(new Set(refs).size).toBe(refs.length);
    const known = new Set(["run", ...refs]);
    for (const { ref, dependsOn } of bom.dependencies)
      for (const one of [ref, ...dependsOn]) expect(known).toContain(one);
    const rl = bom.components.find((component: { "bom-ref": string }) => component["bom-ref"] === "model:rl");
    expect(rl.hashes[0].content).toMatch(/^[0-9a-f]{64}$/);
    expect(rl.modelCard.quantitativeAnalysis.performanceMetrics.length).toBeGreaterThan(1);
    const learnt = bom.dependencies.find(({ ref }: { ref: string }) => ref === "model:rl").dependsOn;
    expect(learnt).toContain("data:labels");
    expect(learnt).not.toContain("data:held-out");
  });

  it("names no folder of this machine", async () => {
    for (const line of (await readFile(join(pack, MANIFEST), "utf8")).trimEnd().split("\n"))
      expect(await readFile(join(pack, line.slice(66)), "utf8"), line).not.toContain(folder);
  });

  it("is as it was written, and says its manifest's hash", async () => {
    expect(await verifyEvidence(pack, manifest)).toMatchObject({ manifest, problems: [] });
  });

  it.each<[string, (copy: string) => Promise<unknown>, RegExp]>([
    [
      "one altered byte",
      async (copy) => {
        const bytes = await readFile(join(copy, "scorecard.json"));
        bytes[10]! ^= 1;
        await writeFile(join(copy, "scorecard.json"), bytes);
      },
      /^scorecard\.json was altered$/,
    ],
    [
      "one byte more",
      (copy) => appendFile(join(copy, "rows", "labels.jsonl"), "\n"),
      /^rows\/labels\.jsonl was altered$/,
    ],
    ["a missing file", (copy) => unlink(join(copy, "recipe.json")), /^recipe\.json is missing$/],
    ["an added file", (copy) => writeFile(join(copy, "rows", "more.jsonl"), ""), /^rows\/more\.jsonl was added$/],
    ["an added hidden file", (copy) => writeFile(join(copy, ".hidden"), ""), /^\.hidden was added$/],
    ["an added folder", (copy) => mkdir(join(copy, "rows", "more")).then(() => {}), /^rows\/more\/ was added$/],
    [
      "a link in a file's place",
      async (copy) => {
        await unlink(join(copy, "recipe.json"));
        await symlink(join(pack, "recipe.json"), join(copy, "recipe.json"));
      },
      /^recipe\.json is no file$/,
    ],
    [
      "a manifest that was changed with the file",
      async (copy) => {
        await unlink(join(copy, "recipe.json"));
        const text = await readFile(join(copy, MANIFEST), "utf8");
        await writeFile(join(copy, MANIFEST), text.replace(/^.*recipe\.json\n/m, ""));
      },
      /^SHA256SUMS was changed: its SHA-256 is/,
    ],
    [
      "a manifest that cannot be read",
      (copy) => appendFile(join(copy, MANIFEST), "what\n"),
      /SHA256SUMS, line \d+: cannot be read/,
    ],
  ])("finds %s", async (_, change, problem) => {
    const copy = await mkdtemp(join(folder, "copy-"));
    await cp(pack, copy, { recursive: true });
    await change(copy);
    const { problems } = await verifyEvidence(copy, manifest);
    expect(
      problems.some((one) => problem.test(one)),
      problems.join(),
    ).toBe(true);
    // Nothing else is wrong with it, but for the manifest's own hash where that was touched.
    expect(problems.filter((one) => !problem.test(one) && !one.startsWith(MANIFEST))).toEqual([]);
  });

  it("finds any altered byte, and any file that was renamed, added or taken away, also where the manifest's hash was not kept", async () => {
    const copy = await mkdtemp(join(folder, "copy-"));
    await cp(pack, copy, { recursive: true });
    const lines = (await readFile(join(copy, MANIFEST), "utf8")).trimEnd().split("\n");
    const files = lines.map((line) => line.slice(66));
    const stream = randomStream({ seed: 1, stage: "altered", item: "pack" });
    let drawn = 0;
    const below = (count: number) => stream.integer(drawn++, count);
    const edits: Record<string, (bytes: Buffer) => Buffer> = {
      flip(bytes) {
        const other = Buffer.from(bytes);
        other[below(bytes.length)]! ^= 1 << below(8);
        return other;
      },
      insert(bytes) {
        const at = below(bytes.length + 1);
        return Buffer.concat([bytes.subarray(0, at), Buffer.of(below(256)), bytes.subarray(at)]);
      },
      delete(bytes) {
        const at = below(bytes.length);
        return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
      },
      cut: (bytes) => bytes.subarray(0, below(bytes.length)),
    };
    const kinds = Object.values(edits);
    const edited = (bytes: Buffer) => kinds[below(kinds.length)]!(bytes);
    // Files are told one by one, so that one look tells of a change to each.
    const told = async (names: readonly string[]) => {
      const { problems } = await verifyEvidence(copy);
      for (const name of names) expect(problems.filter((one) => one.startsWith(`${name} `)).length, name).toBe(1);
    };
    for (let changes = 0; changes < 1000; changes += files.length) {
      const before = await Promise.all(files.map((name) => readFile(join(copy, name))));
      await Promise.all(files.map((name, i) => writeFile(join(copy, name), edited(before[i]!))));
      await told(files);
      await Promise.all(files.map((name, i) => writeFile(join(copy, name), before[i]!)));
    }
    const list = await readFile(join(copy, MANIFEST));
    for (let change = 0; change < 50; change++) {
      await writeFile(join(copy, MANIFEST), edited(list));
      expect((await verifyEvidence(copy)).problems).not.toEqual([]);
    }
    await writeFile(join(copy, MANIFEST), list);
    const each = (work: (path: string) => Promise<void>) => Promise.all(files.map((name) => work(join(copy, name))));
    await each((path) => rename(path, `${path}x`));
    await told(files.flatMap((name) => [name, `${name}x`]));
    await each((path) => copyFile(`${path}x`, path));
    await told(files.map((name) => `${name}x`));
    await each((path) => unlink(`${path}x`));
    expect((await verifyEvidence(copy, manifest)).problems).toEqual([]);
  });

  it("is not any folder", async () => {
    await expect(verifyEvidence(folder)).rejects.toThrow(/no evidence pack/);
  });
});
