import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PromptRow, ResponseRow } from "@tenet/data";
import { openStore } from "@tenet/runs";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { reinforcedRecipe, writeRecipe } from "../../test/pipeline/fixture.ts";
import { callsOf, type Ran, reading, results, runWhole, stagesThat } from "../../test/pipeline/run.ts";
import type { Scorecard } from "../evaluate/index.ts";
import { storedCheckpoints } from "./checkpoints.ts";
import { exportRun } from "./export-run.ts";

// Whole runs, which take seconds, and much longer on a busy machine.
vi.setConfig({ testTimeout: 480_000, hookTimeout: 480_000 });

const folder = mkdtempSync(join(tmpdir(), "tenet-arrangement-"));
const store = join(folder, "store");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const withoutAudit = reinforcedRecipe.replace(/^ *audit:.*\n/m, "");
const arranged = (arrangement: string, recipe = withoutAudit) => `${recipe}arrangement: ${arrangement}\n`;

let folders = 0;
async function runOf(arrangement: string, recipe = withoutAudit): Promise<Ran> {
  const file = await writeRecipe(join(folder, String(folders++), "recipe"), { recipe: arranged(arrangement, recipe) });
  return runWhole(file, store);
}

async function checkpointsOf({ id }: Ran) {
  const reader = openStore(store, { readOnly: true });
  try {
    return await storedCheckpoints(reader, id);
  } finally {
    reader.close();
  }
}

const cardOf = ({ id }: Ran) => reading(store, (reader) => reader.stage(id, "scorecard")!.output) as Scorecard;

describe("rounds", () => {
  const rounds = (count: number) =>
    `{ rounds: ${count}, share: { supervised: 0.5, policy: 0.5 }, schedule: { policy.iterations: [2, 1] } }`;
  let two: Ran;
  beforeAll(async () => {
    two = await runOf(rounds(2));
  });

  it("go through the steps again, each from the model that the last one made, and are all measured", async () => {
    const checkpoints = await checkpointsOf(two);
    expect(checkpoints.map(({ id, label }) => [id, label])).toEqual([
      ["base", "Base"],
      ["sl-1", "SL-CAI 1"],
      ["rl-1", "RL-CAI 1"],
      ["sl-2", "SL-CAI 2"],
      ["rl-2", "RL-CAI 2"],
    ]);
    expect(checkpoints.at(-1)!.steps).toEqual(["supervised", "policy", "supervised", "policy"]);
    expect(new Set(checkpoints.map(({ source }) => source.adapter)).size).toBe(5);
    const card = cardOf(two);
    expect(card.checkpoints.map(({ id }) => id)).toEqual(checkpoints.map(({ id }) => id));
    expect(card.gates!.map(({ name }) => name)).toEqual(["preference model", "preference model", "labeller"]);
    reading(store, (reader) => {
      // The schedule: two iterations, then one.
      const iterations = (stage: string) =>
        new Set(reader.metrics(two.id, { stage, name: "objective/kl" }).map(({ step }) => step)).size;
      expect([iterations("policy 1"), iterations("policy 2")]).toEqual([2, 1]);
      const [first] = reader.rows<ResponseRow>(reader.stage(two.id, "responses 2")!.identity);
      expect(first!.origin.models?.generator).toMatch(/\+[0-9a-f]{8}$/);
      // Learnt from the pairs of both rounds.
      const rows = (name: string) => reader.stage(two.id, name)!.rows;
      expect(rows("pairs of all rounds 2")).toBeGreaterThan(rows("labels 1"));
    });
  });

  it("divide the prompts among their steps: no prompt twice, none left out", () => {
    reading(store, (reader) => {
      const ids = (stage: string) =>
        [...reader.rows<PromptRow>(reader.stage(two.id, stage)!.identity)].map(({ id }) => id);
      for (const round of [1, 2]) {
        const [revised, sampled] = [ids(`supervised prompts ${round}`), ids(`policy prompts ${round}`)];
        expect(revised.length * sampled.length).toBeGreaterThan(0);
        expect([...revised, ...sampled].sort()).toEqual(ids("prompts").sort());
      }
      expect(ids("supervised prompts 2")).not.toEqual(ids("supervised prompts 1"));
    });
  });

  it("that are added leave those before as they are", async () => {
    const before = callsOf(store, two.id);
    const three = await runOf(rounds(3));
    const done = stagesThat("done", three.events);
    for (const name of done) expect(name).toMatch(/3|scorecard/);
    expect(done).toEqual(expect.arrayContaining(["responses 3", "supervised 3", "pairs 3", "policy 3", "scorecard"]));
    expect(stagesThat("reused", three.events)).toEqual(expect.arrayContaining(["policy 2", "answers of rl-2"]));
    for (const [name, { identity }] of Object.entries(results(store, two.id)))
      if (name !== "scorecard") expect(results(store, three.id)[name]!.identity, name).toBe(identity);
    expect(callsOf(store, two.id)).toEqual(before);
  });

  it("are exported by their names, and the card knows what each was made of", async () => {
    const reader = openStore(store, { readOnly: true });
    try {
      const place = join(folder, "exported");
      await exportRun(reader, two.id, place, { checkpoint: "sl-2", what: ["adapter", "card"] });
      const card = readFileSync(join(place, "README.md"), "utf8");
      expect(card).toMatch(/# .*: SL-CAI 2/);
      expect(card).toMatch(/then reinforcement learning \(ppo\).*; 3 steps in all/);
      const trained = card.split("## Trained on\n")[1]!.split("\n## ")[0]!;
      expect(trained).toMatch(/^\| policy 1 /m);
      expect(trained).not.toMatch(/^\| policy 2 /m);
    } finally {
      reader.close();
    }
  });
});

describe("a preference model", () => {
  const twice = (more: string) => `{ rounds: 2, ${more}, schedule: { policy.iterations: [1] } }`;
  const hashes = (ran: Ran, name: string) => results(store, ran.id)[name]?.artifacts;

  it("is trained once for all rounds, goes on from the last round's, or learns the round's pairs alone", async () => {
    const once = await runOf(twice("preferenceModel: once"));
    expect(results(store, once.id)).not.toHaveProperty(["preference model 2"]);
    expect(results(store, once.id)).not.toHaveProperty(["labels 2"]);
    const on = await runOf(twice("preferenceModel: continue"));
    const again = await runOf(twice("pairs: all"));
    const alone = await runOf(twice("pairs: round"));
    expect(stagesThat("reused", on.events)).toContain("preference model 1");
    const second = [on, again, alone].map((ran) => hashes(ran, "preference model 2"));
    expect(new Set(second.flat()).size).toBe(3);
    expect(hashes(alone, "preference model 1")).toEqual(hashes(once, "preference model 1"));
    reading(store, (reader) => {
      const pairs = (ran: Ran) =>
        (reader.stage(ran.id, "preference model 2")!.output as { report: { pairs: number } }).report.pairs;
      expect(pairs(again)).toBeGreaterThan(pairs(alone));
    });
  });
});

describe("what a policy is held to", () => {
  it("is where it starts, the first round's start, or the recipe's model", async () => {
    const kl: Record<string, (number | undefined)[]> = {};
    for (const reference of ["start", "first", "base"]) {
      const text = withoutAudit.replace("  algorithm: ppo\n", `  algorithm: ppo\n  kl: { reference: ${reference} }\n`);
      const { id } = await runOf("{ rounds: 2, schedule: { policy.iterations: [2] } }", text);
      kl[reference] = reading(store, (reader) =>
        [1, 2].map(
          (round) =>
            reader.metrics(id, { stage: `policy ${round}`, name: "objective/kl" }).find(({ step }) => step === 1)
              ?.value,
        ),
      );
    }
    // A policy is at no distance from where it starts; in a second round it is from where the first started.
    expect(kl.start).toEqual([0, 0]);
    expect(kl.first![0]).toBe(0);
    expect(kl.first![1]).not.toBe(0);
    for (const distance of kl.base!) expect(distance).not.toBe(0);
  });
});

describe("a schedule", () => {
  it("of the settings as they are changes nothing", async () => {
    const plain = await runOf("{ rounds: 2 }");
    const same = await runOf("{ rounds: 2, schedule: { policy.iterations: [4], supervised.epochs: [2, 2] } }");
    expect(stagesThat("done", same.events)).toEqual([]);
    expect(Object.values(results(store, same.id)).map(({ identity }) => identity)).toEqual(
      Object.values(results(store, plain.id)).map(({ identity }) => identity),
    );
  });
});

describe("reverse", () => {
  it("revises what reinforcement learning made, whatever shape the other half's adapter was to have", async () => {
    const other = withoutAudit.replace("lora: { rank: 2, alpha: 4 }\n  batchSize", "batchSize");
    const ran = await runOf("reverse", other);
    const checkpoints = await checkpointsOf(ran);
    expect(checkpoints.map(({ id, label }) => [id, label])).toEqual([
      ["base", "Base"],
      ["rl", "RLAIF"],
      ["sl", "RLAIF → CAI"],
    ]);
    expect(cardOf(ran).checkpoints.map(({ id }) => id)).toEqual(["base", "rl", "sl"]);
    reading(store, (reader) => {
      const [first] = reader.rows<ResponseRow>(reader.stage(ran.id, "responses")!.identity);
      expect(first!.origin.models?.generator).toMatch(/\+[0-9a-f]{8}$/);
    });
  });
});

describe("joint", () => {
  it("is one loop of reinforcement learning on the model itself", async () => {
    const ran = await runOf("joint");
    expect((await checkpointsOf(ran)).map(({ id }) => id)).toEqual(["base", "rl"]);
    expect(stagesThat("done", ran.events)).not.toContain("chains");
  });
});
