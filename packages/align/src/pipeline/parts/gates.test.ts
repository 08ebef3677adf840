import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PromptRow } from "@tenet/data";
import { openStore } from "@tenet/runs";
import { afterAll, describe, expect, it } from "vitest";
import { constitutionText, type Files, reinforcedRecipe, writeRecipe } from "../../../test/pipeline/fixture.ts";
import type { Scorecard } from "../../evaluate/index.ts";
import { chosenCheckpoint, storedCheckpoints } from "../checkpoints.ts";
import type { RunEvent } from "../events.ts";
import { modelCard } from "../model-card.ts";
import { openRecipe } from "../open.ts";
import { startRun } from "../run.ts";
import { openRunReward } from "../run-reward.ts";
import { remedies } from "./gates.ts";

const home = mkdtempSync(join(tmpdir(), "tenet-gates-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));
const store = join(home, "runs");

async function run(name: string, recipe: string, files: Files = {}) {
  const file = await writeRecipe(join(home, name), { ...files, recipe });
  const started = startRun(await openRecipe(file), { store, device: "cpu", threads: 1, cacheDir: join(home, "cache") });
  const events: RunEvent[] = [];
  const all = (async () => {
    for await (const event of started.events) events.push(event);
  })();
  const error = await started.finished.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  await all;
  const opened = openStore(store);
  try {
    const stages = opened.stages(started.id).filter(({ status }) => status === "done");
    return {
      ...{ id: started.id, events, error, status: opened.run(started.id).status },
      stages: stages.map(({ name: stage }) => stage),
      card: opened.stage(started.id, "scorecard")?.output as Scorecard | undefined,
      policy: opened.stage(started.id, "policy")?.output as { report: { selection?: object } } | undefined,
    };
  } finally {
    opened.close();
  }
}

const strict = reinforcedRecipe.replace("gate: { override: true }", "gate: { override: false }");

describe("a preference model that is no better than chance", () => {
  it.each([
    ["reverse", "arrangement: reverse\n", ["base"]],
    ["iterative", "arrangement: { steps: [supervised, policy], rounds: 2 }\n", ["base", "sl-1"]],
  ])("trains nothing behind it where steps are %s, not even for the scorecard", async (name, arrangement, measured) => {
    const { error, status, stages, card } = await run(name, `${strict}${arrangement}`);
    expect(error).toMatchObject({ name: "GateError" });
    expect(status).toBe("refused");
    expect(stages.filter((stage) => /^policy|gate [2-9]|^supervised 2/.test(stage))).toEqual([]);
    expect(card!.checkpoints.map(({ id }) => id)).toEqual(measured);
    expect(card!.gates).toMatchObject([{ name: "preference model", passed: false }]);
  });

  it("stops the run before a policy is trained; what was learnt before is measured and said", async () => {
    const { error, status, stages, card } = await run("strict", strict);
    expect(error).toMatchObject({
      name: "GateError",
      message: expect.stringContaining("refuses the preference model"),
    });
    expect(status).toBe("refused");
    expect(stages).toContain("preference gate");
    expect(stages).not.toContain("policy");
    expect(card!.checkpoints.map(({ id }) => id)).toEqual(["base", "sl"]);
    expect(card!.gates).toMatchObject([{ name: "preference model", passed: false, overridden: false }]);
    expect(card!.verdict.sentences).toContainEqual(expect.stringContaining("did not pass its gate"));
  });

  it("is used where the recipe overrides the gate, and the scorecard says so", async () => {
    const { error, card, events } = await run("overridden", reinforcedRecipe);
    expect(error).toBeUndefined();
    expect(card!.checkpoints.map(({ id }) => id)).toEqual(["base", "sl", "rl"]);
    expect(card!.gates).toMatchObject([{ name: "preference model", passed: false, overridden: true }]);
    expect(card!.rows.map(({ metric }) => metric)).toContain("proxy");
    expect(card!.verdict.sentences).toContainEqual(expect.stringContaining("the recipe overrode it"));
    expect(events).toContainEqual(
      expect.objectContaining({ type: "message", level: "warning", stage: "preference gate" }),
    );
  });

  it("is gone without where the recipe says so: the policy learns from the checks alone, and the scorecard says so", async () => {
    const recipe = strict.replace("gate: { override: false }", "gate: { refused: go-without }");
    const { id, error, status, stages, card, events } = await run("without", recipe);
    expect([error, status]).toEqual([undefined, "done"]);
    expect(stages).toContain("policy");
    expect(card!.checkpoints.map(({ id }) => id)).toEqual(["base", "sl", "rl"]);
    expect(card!.gates).toMatchObject([{ name: "preference model", passed: false, overridden: false }]);
    expect(card!.verdict.sentences).toContainEqual(expect.stringMatching(/did not pass its gate .*learnt without it/));
    // What nobody believed is no measure either.
    expect(card!.rows.map(({ metric }) => metric)).not.toContain("proxy");
    expect(events).toContainEqual(
      expect.objectContaining({
        ...{ type: "message", level: "warning", stage: "preference gate" },
        message: expect.stringContaining("learns from what else its reward has"),
      }),
    );
    const opened = openStore(store);
    try {
      const rewards = opened.metrics(id, { stage: "policy" }).map(({ name }) => name);
      expect(rewards).toContain("reward/constitution");
      expect(rewards).not.toContain("reward/preference");
      // It is the policy that a recipe with this reward alone would make.
      const alone = await run(
        "alone",
        strict.replace("reward: { preference: 1, constitution: 0.5 }", "reward: { preference: 0, constitution: 0.5 }"),
      );
      const adapter = (run: string) => opened.stage(run, "policy")!.artifacts;
      expect(adapter(id)).toEqual(adapter(alone.id));
      // Nowhere else is it said to have been heard: neither on the card, nor where the run's reward is told to others.
      const checkpoint = (await storedCheckpoints(opened, id)).find((one) => one.id === "rl")!;
      const text = await modelCard(opened, id, { checkpoint, base: { reference: "model" }, written: ["adapter"] });
      expect(text).toContain("without the preference model, which its gate refused");
      expect(text).not.toContain("against a preference model");
      const reward = await openRunReward(opened, id, { device: "cpu", threads: 1 });
      expect(reward.about.weights).toEqual({ constitution: 0.5 });
      await reward.close();
      const asked = await openRunReward(opened, id, { device: "cpu", threads: 1, terms: { preference: 1 } });
      expect(asked.warnings).toContainEqual(expect.stringContaining("the gate refused this preference model"));
      await asked.close();
    } finally {
      opened.close();
    }
    const again = await run("without", recipe);
    expect(again.error).toBeUndefined();
    expect(again.events.filter(({ type }) => type === "metrics")).toEqual([]);
  });

  it("cannot be gone without where nothing else rewards", async () => {
    const recipe = strict
      .replace("gate: { override: false }", "gate: { refused: go-without }")
      .replace("reward: { preference: 1, constitution: 0.5 }", "reward: { preference: 1 }");
    const file = await writeRecipe(join(home, "nothing else"), { recipe });
    await expect(openRecipe(file)).rejects.toThrow(
      /preferenceModel\.gate\.refused: expected policy\.reward with a weight/,
    );
  });

  it("is not asked for where the checks alone reward", async () => {
    const { error, stages } = await run(
      "checked",
      strict.replace("reward: { preference: 1, constitution: 0.5 }", "reward: { preference: 0, constitution: 1 }"),
    );
    expect(error).toBeUndefined();
    expect(stages).not.toContain("preference gate");
    expect(stages).toContain("policy");
  });
});

describe("the pairs that the gate judges by", () => {
  const constitution = constitutionText.replace("[q7]", "[A-Ma-m]");
  const asking = (gate: string, prompts = "prompts: {") =>
    reinforcedRecipe
      .replace("  audit: { path: known.jsonl }\n", "")
      .replace("prompts: {", prompts)
      .replace("gate: { override: true }", `gate: ${gate}`)
      .replace("pairs: { sampling:", "pairs: { samples: 3, pairs: all, sampling:")
      .replace(
        "label: { swap: true, constitutionFirst: { by: checks, downWeight: 0.5 } }",
        "label: { method: checks }",
      );
  const apart = "prompts: { validation: { share: 0.3 },";
  const counts = (id: string, ...names: string[]) => {
    const opened = openStore(store);
    try {
      return names.map((name) => [...opened.rows(opened.stage(id, name)!.identity)].length);
    } finally {
      opened.close();
    }
  };
  const tested = (id: string) => {
    const opened = openStore(store);
    try {
      const { report } = opened.stage(id, "preference model")!.output as {
        report: { pairs: number; evaluation: { accuracy: { n: number } } };
      };
      return { learnt: report.pairs, tested: report.evaluation.accuracy.n };
    } finally {
      opened.close();
    }
  };

  it("are as many as the recipe asks for, of as many replies to each validation prompt as that takes", async () => {
    const { id, error } = await run("many", asking("{ override: true, pairs: 60 }", apart), {
      prompts: 30,
      constitution,
    });
    expect(error).toBeUndefined();
    const [prompts, made, told, learnt, labels] = counts(
      ...([id, "validation", "validation pairs", "validation labels", "pairs", "labels"] as const),
    );
    // Three replies to a prompt are three pairs, of which the checks tell a part apart.
    expect(labels).toBeLessThan(learnt!);
    expect(made).toBeGreaterThan(3 * prompts!);
    expect(told).toBeGreaterThanOrEqual(60);
    expect(tested(id).tested).toBe(told);
  });

  it("are lacking where the prompts cannot give them: the refusal says how many, and what to change", async () => {
    const { id, error } = await run("lacking", asking("{ pairs: 100000 }", apart), { prompts: 30, constitution });
    const { tested: n } = tested(id);
    expect((error as Error).message).toMatch(/the gate refuses the preference model/);
    expect((error as Error).message).toContain(
      `preferenceModel.gate.pairs asks for 100000 pairs with a preferred reply, and ${100_000 - n} are lacking: give more prompts (prompts.validation)`,
    );
  });

  it("are held out of those that are learnt from where there are no validation prompts", async () => {
    const share = await run("share", asking("{ override: true }"), { prompts: 30, constitution });
    const pairs = await run("pairs", asking("{ override: true, pairs: 12 }"), { prompts: 30, constitution });
    const [before, after] = [tested(share.id), tested(pairs.id)];
    expect(before.tested).toBeLessThan(12);
    expect(after.tested).toBeGreaterThanOrEqual(12);
    expect(after.tested + after.learnt).toBe(before.tested + before.learnt);
  });

  it("are said to be few where they cannot tell a good model from chance", async () => {
    const { error } = await run("few", asking("{}"), { prompts: 30, constitution });
    expect((error as Error).message).toMatch(/a preference model that is right on 0.7 of all .* it takes 48/);
  });
});

it("more pairs come from more prompts, but where people judge from asking them more", () => {
  const of = (method: "checks" | "people") => remedies({ feedback: { label: { method } } } as never, "prompts.train");
  expect(of("checks").pairs).toBe("prompts (prompts.train)");
  expect(Object.values(of("people")).join()).toContain("feedback.people.pairs");
  expect(Object.values(of("people")).join()).not.toMatch(/prompts/);
});

describe("prompts to validate on", () => {
  it("are trained on by nobody, watch both trainings, and test the preference model", async () => {
    const apart = reinforcedRecipe
      .replace("  audit: { path: known.jsonl }\n", "")
      .replace("prompts: {", "prompts: { validation: { share: 0.3 },")
      .replace("pairs: { sampling:", "pairs: { samples: 4, pairs: all, sampling:")
      .replace(
        "label: { swap: true, constitutionFirst: { by: checks, downWeight: 0.5 } }",
        "label: { method: checks }",
      );
    const constitution = constitutionText.replace("[q7]", "[A-Ma-m]");
    const { id, error, stages, policy } = await run("apart", apart, { prompts: 30, constitution });
    expect(error).toBeUndefined();
    expect(stages).toEqual(
      expect.arrayContaining(["training prompts", "validation", "validation pairs", "validation labels"]),
    );
    expect(policy!.report.selection).toMatchObject({ prompts: expect.any(Number), kept: expect.any(Number) });
    const opened = openStore(store);
    try {
      const promptsIn = (stage: string) => [...opened.rows<PromptRow>(opened.stage(id, stage)!.identity)];
      const apartFrom = new Set(promptsIn("validation").map((row) => row.id));
      expect(apartFrom.size).toBeGreaterThan(0);
      expect(promptsIn("training prompts").some((row) => apartFrom.has(row.id))).toBe(false);
      expect(apartFrom.size + promptsIn("training prompts").length).toBe(30);
    } finally {
      opened.close();
    }
  });
});

it("without a name the recommended checkpoint is meant, or the last where nothing says which", async () => {
  const { id } = await run("overridden", reinforcedRecipe);
  const opened = openStore(store);
  try {
    const all = await storedCheckpoints(opened, id);
    const { checkpoint, recommended } = chosenCheckpoint(opened, id, all);
    const card = opened.stage(id, "scorecard")!.output as Scorecard;
    expect(recommended).toBe(true);
    expect(checkpoint.id).toBe(card.recommended);
    expect(chosenCheckpoint({ stage: () => undefined } as never, id, all)).toMatchObject({
      checkpoint: { id: "rl" },
      recommended: false,
    });
  } finally {
    opened.close();
  }
});
