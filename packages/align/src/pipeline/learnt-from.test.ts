import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PreferenceRow } from "@tenet/data";
import { hashOf, openStore } from "@tenet/runs";
import { afterAll, expect, it } from "vitest";
import { labelsBy } from "./learnt-from.ts";

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
