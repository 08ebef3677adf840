import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ExampleRow, PreferenceRow } from "@tenet/data";
import { hashOf, openStore } from "@tenet/runs";
import { afterAll, expect, it } from "vitest";
import { examplesBy, labelsBy } from "./learnt-from.ts";

const folder = mkdtempSync(join(tmpdir(), "tenet-learnt-from-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const pair = (id: string, label: PreferenceRow["label"]): PreferenceRow => ({
  ...{ id, prompt: [{ role: "user", content: id }], a: "Yes.", b: "No.", p: 1, weight: 1, label },
  ...{ explanation: [], origin: { parents: [] } },
});

it("counts the pairs that were learnt: those that weighing left, of the last round", () => {
  const store = openStore(folder);
  try {
    const run = store.begin({ name: "weighed", recipe: {} });
    const done = (name: string, labels: readonly PreferenceRow["label"][]) => {
      const stage = run.stage({ name, kind: "label", identity: hashOf(name) });
      const rows = labels.map((label, i) => pair(`${name} ${i}`, label));
      stage.append(rows.map((row, ordinal) => ({ key: hashOf(row.id), input: row.id, ordinal, rows: [row] })));
      stage.finish({ inputs: rows.length });
    };
    done("labels 1", ["check"]);
    done("weighed labels 1", ["check"]);
    done("labels 2", ["ai", "ai", "check"]);
    expect(labelsBy(store, run.id)).toEqual({ ai: 2, check: 1 });
    done("pairs of all rounds 2", ["check", "ai", "ai", "check"]);
    done("preferences 2", ["check", "ai", "ai", "check", "human"]);
    done("weighed labels 2", ["ai", "check", "human"]);
    expect(labelsBy(store, run.id)).toEqual({ ai: 1, check: 1, human: 1 });
    run.end("done");
  } finally {
    store.close();
  }
});

it("counts the examples that people wrote among those that were learnt last", () => {
  const store = openStore(folder);
  try {
    const run = store.begin({ name: "written", recipe: {} });
    const done = (name: string, people: number, models: number) => {
      const stage = run.stage({ name, kind: "mix", identity: hashOf(name) });
      const rows = Array.from({ length: people + models }, (_, i): ExampleRow => {
        const id = `${name} ${i}`;
        const origin = { parents: [], ...(i < people && { writtenBy: "people" as const }) };
        return { ...{ id, prompt: [{ role: "user", content: id }], completion: "Yes.", weight: 1 }, origin };
      });
      stage.append(rows.map((row, ordinal) => ({ key: hashOf(row.id), input: row.id, ordinal, rows: [row] })));
      stage.finish({ inputs: rows.length });
    };
    const counted = () => examplesBy(store, store.stages(run.id));
    expect(counted()).toBeUndefined();
    done("written", 3, 0);
    expect(counted()).toEqual({ people: 3, all: 3 });
    done("all examples to imitate 2", 2, 4);
    expect(counted()).toEqual({ people: 2, all: 6 });
    done("mixture 2", 1, 4);
    expect(counted()).toEqual({ people: 1, all: 5 });
    run.end("done");
  } finally {
    store.close();
  }
});
