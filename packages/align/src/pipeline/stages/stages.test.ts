import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Origin, rowId } from "@tenet/data";
import { noUsage, type UsageTotals } from "@tenet/lm";
import { openStore } from "@tenet/runs";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import type { RunEvent } from "../events.ts";
import type { ModelPool } from "../models.ts";
import { fileStage } from "../parts/files.ts";
import { type EndpointSource, type LocalSource, type ModelValue, modelValue, type StoredRows } from "../values.ts";
import {
  execute,
  GateError,
  inOrder,
  itemStage,
  modelStage,
  NothingLeftError,
  reportStage,
  rowsStage,
  type Stage,
  trainingStage,
} from "./index.ts";

const home = await mkdtemp(join(tmpdir(), "tenet-stages-"));
afterAll(() => rm(home, { recursive: true }));

let store: ReturnType<typeof openStore>;
let stores = 0;
beforeEach(() => {
  store = openStore(join(home, `store-${stores++}`));
  return () => store.close();
});

/** What fake models were asked, in order; each call costs one token. */
let asked: string[] = [];
beforeEach(() => {
  asked = [];
});
function fakeModel() {
  const totals: UsageTotals = noUsage();
  return {
    id: "fake",
    ask(text: string) {
      asked.push(text);
      totals.completions++;
      totals.completionTokens++;
    },
    usage: () => ({ ...totals }),
    generate: async function* () {},
    score: async function* () {},
    capabilities: async () => ({}),
    close: async () => {},
  };
}
let speaking = fakeModel();
const models = {
  speaker: async () => {
    speaking = fakeModel();
    return speaking;
  },
} as unknown as ModelPool;

let runs = 0;
/** Executes a stage and what it needs as a run of its own over the test's store. */
async function executed<S extends Stage>(target: S) {
  const before = asked.length;
  const run = store.begin({ name: "test", recipe: { number: runs++ }, versions: {} });
  const events: RunEvent[] = [];
  const finished = execute([target], { store, run, models, emit: (event) => void events.push(event) });
  const error = await finished.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  run.end(error === undefined ? "done" : "failed");
  const value = error === undefined ? (await finished).get(target) : undefined;
  const told = events.flatMap((event) => (event.type === "stage" ? [`${event.stage} ${event.status}`] : []));
  const usage = store
    .usage(run.id)
    .map(({ stage, role, calls, completionTokens }) => [stage, role, calls, completionTokens]);
  return { value, error, told, usage, asked: asked.slice(before) };
}

interface TextRow {
  readonly id: string;
  readonly text: string;
  readonly origin: Origin;
}

function source(texts: readonly string[], name = "source"): Stage<StoredRows<TextRow>> {
  return rowsStage<TextRow>({
    name,
    title: "texts",
    kind: "texts",
    version: 1,
    seed: 1,
    settings: () => texts,
    *make() {
      for (const text of texts)
        if (text === "") yield { aside: { input: "nothing", reason: "it says nothing" } };
        else yield { row: { id: rowId("text", text), text, origin: { parents: [] } } };
    },
  });
}

function model(fingerprint = "one", from: LocalSource | EndpointSource = { type: "local", reference: "small" }) {
  return modelStage("model", "the model", async () => modelValue(from, fingerprint));
}
const endpoint: EndpointSource = { type: "endpoint", settings: { baseUrl: "http://localhost:1/v1" } };

/** Says texts louder. `principles` is what a text's outcome depends on; asking about `failing` throws. */
function louder(
  over: Stage<StoredRows<TextRow>>,
  {
    speaker = model(),
    principles = {},
    failing,
    version = 1,
    seed = 1,
  }: {
    speaker?: Stage<ModelValue>;
    principles?: Readonly<Record<string, string>>;
    failing?: string;
    version?: number;
    seed?: number;
  } = {},
): Stage<StoredRows<TextRow>> {
  return itemStage<TextRow, TextRow>({
    name: "louder",
    title: "the same, louder",
    kind: "louder",
    version,
    seed,
    over,
    models: { speaker },
    dependsOn: ({ text }) => principles[text] ?? null,
    async *run(rows) {
      for (const { id, text } of rows) {
        if (text === failing) throw new Error("out of order");
        speaking.ask(text);
        const said = text.toUpperCase();
        yield { input: id, rows: [{ id: rowId("loud", said), text: said, origin: { parents: [id] } }] };
      }
    },
  });
}

const textsOf = (value: unknown) => [...(value as StoredRows<TextRow>).rows()].map(({ text }) => text);

describe("rows, each by itself", () => {
  it("are asked about once, and what the store has costs no call", async () => {
    const first = await executed(louder(source(["a", "b", "c"])));
    expect(first.usage).toEqual([["louder", "speaker", 3, 3]]);
    expect(textsOf(first.value)).toEqual(["A", "B", "C"]);
    const again = await executed(louder(source(["a", "b", "c"])));
    expect([again.asked, again.usage]).toEqual([[], []]);
    expect(again.told).toContain("louder reused");
    const more = await executed(louder(source(["c", "d", "a"])));
    expect([more.asked, more.usage]).toEqual([["d"], [["louder", "speaker", 1, 1]]]);
    expect(textsOf(more.value)).toEqual(["C", "D", "A"]);
  });

  it("are asked about again where anything that their outcome depends on is another", async () => {
    const texts = source(["a", "b", "c"]);
    await executed(louder(texts));
    const changed = (options: Parameters<typeof louder>[1]) =>
      executed(louder(texts, options)).then((one) => one.asked);
    expect(await changed({ principles: { b: "be kind" } })).toEqual(["b"]);
    expect(await changed({ principles: { b: "be very kind" } })).toEqual(["b"]);
    expect(await changed({ speaker: model("two") })).toEqual(["a", "b", "c"]);
    expect(await changed({ version: 2 })).toEqual(["a", "b", "c"]);
    expect(await changed({ seed: 2 })).toEqual(["a", "b", "c"]);
    expect(await changed({ principles: { b: "be kind" } })).toEqual([]);
  });

  it("are stored as they come from an endpoint, so that a stopped stage goes on behind them", async () => {
    const speaker = model("one", endpoint);
    const stopped = await executed(louder(source(["a", "b", "c", "d"]), { speaker, failing: "c" }));
    expect(stopped.error).toEqual(new Error("out of order"));
    expect(stopped.asked).toEqual(["a", "b"]);
    expect(stopped.usage).toEqual([["louder", "speaker", 2, 2]]);
    const { asked: rest, value } = await executed(louder(source(["a", "b", "c", "d"]), { speaker }));
    expect(rest).toEqual(["c", "d"]);
    expect(textsOf(value)).toEqual(["A", "B", "C", "D"]);
  });

  it("are stored with what they cost: a process killed between two outcomes of an endpoint has lost neither", async () => {
    const seen: unknown[] = [];
    const number = runs;
    const stage = itemStage<TextRow, TextRow>({
      ...{ name: "watched", title: "watched", kind: "watched", version: 1, seed: 1 },
      over: source(["a", "b", "c"]),
      models: { speaker: model("one", endpoint) },
      dependsOn: () => null,
      async *run(rows) {
        for (const { id, text } of rows) {
          const { id: run } = store.runs().find(({ recipe }) => (recipe as { number: number }).number === number)!;
          const [usage] = store.usage(run);
          seen.push([store.stage(run, "watched")!.items, usage?.calls ?? 0, usage?.completionTokens ?? 0]);
          speaking.ask(text);
          yield { input: id, rows: [{ id: rowId("said", text), text, origin: { parents: [id] } }] };
        }
      },
    });
    const { usage } = await executed(stage);
    expect(seen).toEqual([
      [0, 0, 0],
      [1, 1, 1],
      [2, 2, 2],
    ]);
    expect(usage).toEqual([["watched", "speaker", 3, 3]]);
  });

  it("are stored in whole groups from a local model, whose results depend on what is computed beside them", async () => {
    const texts = Array.from({ length: 70 }, (_, i) => `text ${i}`);
    const stopped = await executed(louder(source(texts), { failing: "text 66" }));
    expect(stopped.asked).toEqual(texts.slice(0, 66));
    expect((await executed(louder(source(texts)))).asked).toEqual(texts.slice(64));
  });
});

interface Training {
  readonly base?: Stage<ModelValue>;
  readonly texts?: readonly string[];
  readonly settings?: unknown;
  readonly seed?: number;
  /** What the adapter's weights come to. */
  readonly weights?: string;
}

let trained: string[] = [];
function training({ base = model(), texts = ["a"], settings = { rate: 1 }, seed = 1, weights = "w" }: Training = {}) {
  return trainingStage({
    name: "training",
    title: "training",
    kind: "training",
    version: 1,
    seed,
    expect: () => ({ rows: texts.length, tokens: 1, prompt: 0 }),
    inputs: { texts: source(texts) },
    base,
    settings,
    train: async function* ({ texts: rows }, { folder }) {
      trained.push(textsOf(rows).join());
      const usage = {
        policy: { promptTokens: 3, completionTokens: 2, calls: 1 },
        critic: { promptTokens: 9, completionTokens: 0, calls: 4 },
      };
      yield { step: 1, metrics: { loss: 1 }, usage };
      const path = join(folder, "adapter");
      await mkdir(path, { recursive: true });
      await writeFile(join(path, "adapter_config.json"), JSON.stringify({ base_model_name_or_path: "small" }));
      await writeFile(join(path, "adapter_model.safetensors"), weights);
      return { kind: "adapter" as const, path, report: {} };
    },
  });
}

describe("training", () => {
  beforeEach(() => {
    trained = [];
  });

  it("is done once, for its data, its base, its settings and the seed", async () => {
    const first = await executed(training());
    expect(first.usage).toEqual([
      ["training", "critic", 4, 0],
      ["training", "policy", 1, 2],
    ]);
    expect((await executed(training())).told).toContain("training reused");
    expect(trained).toEqual(["a"]);
    const others: Training[] = [{ texts: ["b"] }, { base: model("two") }, { settings: { rate: 2 } }, { seed: 2 }];
    for (const other of others) expect((await executed(training(other))).told).toContain("training done");
    expect(trained).toEqual(["a", "b", "a", "a", "a"]);
  });

  it("gives a model that is known by its base and its weights", async () => {
    const hashes: string[] = [];
    for (const [i, other] of [{}, { weights: "v" }, { base: model("two") }, {}].entries()) {
      const { value } = await executed(training({ ...other, settings: { rate: i } }));
      hashes.push((value as ModelValue).hash);
    }
    expect(new Set(hashes.slice(0, 3)).size).toBe(3);
    expect(hashes[3]).toBe(hashes[0]);
  });

  it("has to have something to train on, and says at which stage it was lost", async () => {
    const { error } = await executed(training({ texts: ["", ""] }));
    expect(error).toBeInstanceOf(NothingLeftError);
    expect((error as Error).message).toMatch(
      /stage "source" \(texts\) gave no row\. Set aside: 2 × it says nothing\. .*tenet show latest source/,
    );
    expect(trained).toEqual([]);
  });
});

describe("a report with a gate", () => {
  const texts = source(["a", "b"]);
  const report = (settings: unknown = null) =>
    reportStage({
      name: "report",
      title: "how many",
      kind: "report",
      version: 1,
      seed: 1,
      inputs: { texts },
      settings,
      make: async (inputs) => {
        asked.push("report");
        return { rows: inputs.texts.count };
      },
      gate: ({ rows }) => {
        if (rows < 3) throw new GateError(`only ${rows}`);
      },
    });

  it("is made once and asked on every run", async () => {
    const first = await executed(report());
    expect(first.error).toBeInstanceOf(GateError);
    expect(first.error).toMatchObject({ message: "only 2", stage: { name: "report" } });
    const again = await executed(report());
    expect(again.told).toContain("report reused");
    expect(again).toMatchObject({ asked: [], error: { name: "GateError", message: "only 2" } });
    expect((await executed(report("others"))).asked).toEqual(["report"]);
  });

  it("keeps what waits for it from being executed", async () => {
    const waiting = itemStage<TextRow, TextRow>({
      ...{ name: "waiting", title: "waiting", kind: "waiting", version: 1, seed: 1, over: texts },
      behind: [report()],
      dependsOn: () => null,
      async *run(rows) {
        asked.push("waiting");
        for (const row of rows) yield { input: row.id, rows: [row] };
      },
    });
    expect(await executed(waiting)).toMatchObject({ error: { name: "GateError" }, asked: ["report"] });
  });
});

it("a file is read again where its contents are others, not where it lies elsewhere", async () => {
  const [file, elsewhere] = [join(home, "prompts.jsonl"), join(home, "elsewhere.jsonl")];
  const read = (path: string, limit?: number) => {
    const reference = { path, ...(limit && { limit }) };
    const part = { name: "prompts", title: "prompts", reference, as: "prompts" } as const;
    return executed(fileStage({ recipe: { seed: 1 } }, part)).then(({ told }) => told);
  };
  const line = (prompt: string) => `${JSON.stringify({ prompt })}\n`;
  await writeFile(file, line("One") + line("Two"));
  await writeFile(elsewhere, line("One") + line("Two"));
  expect(await read(file)).toContain("prompts done");
  expect(await read(elsewhere)).toEqual(["prompts reused"]);
  expect(await read(file, 1)).toContain("prompts done");
  await writeFile(file, line("One") + line("Ten"));
  expect(await read(file)).toContain("prompts done");
});

it("a stage is executed once, behind what it needs; two of one name are refused", () => {
  const shared = source(["a"]);
  const one = louder(shared);
  expect(inOrder([one, one]).map(({ name }) => name)).toEqual(["source", "model", "louder"]);
  expect(() => inOrder([one, source(["b"])])).toThrow('two stages are called "source"');
});
