import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { hashOf, openStore } from "@tenet/runs";
import { afterAll, describe, expect, it } from "vitest";
import { reinforcedRecipe, supervisedRecipe, writeRecipe } from "../../test/pipeline/fixture.ts";
import { constitutionOf } from "../feedback/fixture.ts";
import { arrange, notesOf } from "./arrangement.ts";
import { estimateRun, expectations, gateNotes, type RunEstimate, resolvedRecipe } from "./estimate.ts";
import { nothing } from "./expectation.ts";
import { openRecipe } from "./open.ts";
import { runSpec } from "./run.ts";
import { charactersPerToken, principleSize } from "./sizes.ts";
import { inOrder } from "./stages/index.ts";

const home = mkdtempSync(join(tmpdir(), "tenet-estimate-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));
let folders = 0;

async function opened(recipe: string) {
  const folder = join(home, String(folders++));
  const file = await writeRecipe(folder, { recipe });
  const labelled = Array.from({ length: 5 }, (_, i) => ({ prompt: `Known ${i}?`, chosen: "Yes.", rejected: "No." }));
  writeFileSync(join(folder, "labelled.jsonl"), labelled.map((row) => JSON.stringify(row)).join("\n"));
  return openRecipe(file);
}

describe("what is said of a gate's pairs", () => {
  const notes = (gate: { pairs: number; prompts?: number; chance?: number }, recipe: object = {}) =>
    gateNotes([{ ...nothing, gate: { chance: 0.5, ...gate } }], {
      ...{ preferenceModel: { gate: { pairs: 12 } }, feedback: { label: { method: "checks" } } },
      ...recipe,
    } as never);

  it("is nothing where there are more than the recipe asks for, and enough", () =>
    expect(notes({ pairs: 60 })).toEqual([]));

  it("is that pairs of few prompts may count for as few", () => {
    expect(notes({ pairs: 60, prompts: 50 })).toEqual([]);
    expect(notes({ pairs: 60, prompts: 20 })).toEqual([
      expect.stringMatching(
        /^where the labels of one prompt's pairs all agree, on 60 pairs, which count for 20 .* it takes 48 of as many prompts .*: give more prompts$/,
      ),
    ]);
  });

  it("names a remedy where there is one, of people's words the setting that has one", () => {
    expect(notes({ pairs: 20 })).toEqual([
      expect.stringMatching(/: give its gate more \(preferenceModel\.gate\.pairs\)$/),
    ]);
    expect(notes({ pairs: 20, chance: 0.69 })).toEqual([
      expect.stringMatching(/more than 5,000 to do so four times in five$/),
    ]);
    const people = { feedback: { label: { method: "people" } } };
    expect(notes({ pairs: 10 }, people)).toEqual([
      expect.stringContaining(
        "people are asked about too few, which give 10 at most: give more (feedback.people.pairs)",
      ),
      expect.stringContaining("give its gate more (feedback.people.pairs, preferenceModel.gate.pairs)"),
    ]);
  });

  it("counts a pair under several draws of principles once, and prompts of a share as that share", async () => {
    const asking = (given: string, prompts = "") =>
      reinforcedRecipe
        .replace("  audit: { path: known.jsonl }\n", "")
        .replace("prompts: {", `prompts: {${prompts}`)
        .replace("gate: { override: true }", `${given}gate: { pairs: 6, override: true }`)
        .replace("pairs: { sampling:", "pairs: { samples: 3, pairs: all, sampling:");
    const gateOf = async (recipe: string) => {
      const open = await opened(recipe);
      return [...(await expectations(arrange({ ...open, options: {} }).targets)).values()].find(({ gate }) => gate)!
        .gate!;
    };
    const plain = await gateOf(asking(""));
    expect(plain.prompts).toBeCloseTo(plain.pairs / 3, 6);
    expect((await gateOf(asking("given: { draws: 4 }\n  "))).pairs).toBeLessThanOrEqual(plain.pairs);
    expect(await gateOf(asking("", " validation: { share: 0.25 },"))).toMatchObject({ pairs: 9, prompts: 3 });
    const estimate = await estimateRun(await opened(asking("", " validation: { share: 0.25 },")));
    expect(estimate.notes).toContainEqual(
      expect.stringContaining("are counted as if a label told every two replies apart"),
    );
  });
});

const stageOf = ({ stages }: RunEstimate, name: string) => stages.find(({ stage }) => stage === name)!;

describe("estimates", () => {
  const everything = reinforcedRecipe
    .replace("ratio: 0.5", "ratio: 0.5, replies: model")
    .replace(
      "preferenceModel:\n",
      "preferenceModel:\n  human: { path: labelled.jsonl, ratio: 0.25 }\n  pretrain: labelled.jsonl\n",
    );

  it("count a default with what lifts it", () => {
    const sizeOf = (authority: string) =>
      principleSize(constitutionOf([{ id: "brief", text: "Be brief.", authority }]).principles);
    const proviso = "\n(unless the system message asks otherwise)";
    expect((sizeOf("developer") - sizeOf("root")) * charactersPerToken).toBeCloseTo(proviso.length, 9);
  });

  it("know every stage that a recipe leads to, and no other", async () => {
    const open = await opened(everything);
    const { targets } = arrange({ ...open, options: {} });
    const names = inOrder(targets).map(({ name }) => name);
    const models = ["model", ...Object.keys(open.recipe.roles)];
    const { stages } = await estimateRun(open);
    expect(stages.map(({ stage }) => stage)).toEqual(names.filter((name) => !models.includes(name)));
    for (const validation of ["held-out.jsonl", "{ share: 0.2 }"]) {
      const divided = await opened(everything.replace("prompts: {", `prompts: { validation: ${validation},`));
      const led = inOrder(arrange({ ...divided, options: {} }).targets).map(({ name }) => name);
      const known = (await estimateRun(divided)).stages.map(({ stage }) => stage);
      expect(known).toEqual(led.filter((name) => !models.includes(name)));
    }
    expect(names).toEqual(expect.arrayContaining(["rankings", "human pairs", "helpful replies", "audit labels"]));
  });

  it("leave out what neither the policy nor the scorecard needs", async () => {
    const withPolicy = (policy: string, evaluate = "", more = "") =>
      `${supervisedRecipe.replace("evaluate: {", `evaluate: { ${evaluate}`)}policy: { ${policy} }\n${more}`;
    const stagesOf = async (recipe: string) =>
      (await estimateRun(await opened(recipe))).stages.map(({ stage }) => stage);
    const labelled = ["pairs", "labels"];
    for (const algorithm of ["ppo", "grpo", "rloo", "best-of-n"]) {
      const rewarded = await stagesOf(withPolicy(`algorithm: ${algorithm}`));
      expect(rewarded, algorithm).toEqual(expect.arrayContaining([...labelled, "preference model", "policy"]));
      const checked = await stagesOf(withPolicy(`algorithm: ${algorithm}, reward: { preference: 0, constitution: 1 }`));
      expect(checked, algorithm).toContain("policy");
      for (const name of [...labelled, "preference model"]) expect(checked, algorithm).not.toContain(name);
    }
    const dpo = await stagesOf(withPolicy("algorithm: dpo"));
    expect(dpo).toEqual(expect.arrayContaining([...labelled, "policy"]));
    expect(dpo).not.toContain("preference model");
    // The scorecard may ask for it, and an audit stands for itself.
    expect(await stagesOf(withPolicy("algorithm: dpo", "proxy: true,"))).toContain("preference model");
    expect(await stagesOf(withPolicy("algorithm: ppo", "proxy: false,"))).toContain("preference model");
    const audit = "feedback: { audit: { path: known.jsonl } }\n";
    const reward = "algorithm: ppo, reward: { preference: 0, constitution: 1 }";
    const audited = await stagesOf(withPolicy(reward, "", audit));
    expect(audited).toContain("audit labels");
    expect(audited).not.toContain("labels");
  });

  it("count rows, requests and the longest replies", async () => {
    const estimate = await estimateRun(await opened(supervisedRecipe));
    // 12 prompts, two rounds, 16 tokens each; 6 helpful rows at half of the examples.
    expect(stageOf(estimate, "responses")).toMatchObject({ rows: 12, roles: [{ completionTokens: 12 * 16 }] });
    const [critic, reviser] = stageOf(estimate, "chains").roles;
    expect(critic).toMatchObject({ role: "critic", completionTokens: 12 * 2 * 16 });
    expect(reviser).toMatchObject({ role: "reviser", completionTokens: 12 * 2 * 16 });
    expect(reviser!.promptTokens).toBeGreaterThan(critic!.promptTokens);
    expect(stageOf(estimate, "mixture").rows).toBe(18);
    expect(stageOf(estimate, "answers of sl")).toMatchObject({ rows: 3, roles: [{ completionTokens: 3 * 16 }] });
    expect(stageOf(estimate, "answers of sl under base").roles[0]).toMatchObject({ completionTokens: 0 });
    expect(estimate.left).toMatchObject({ seconds: 0, untimed: expect.arrayContaining(["responses", "supervised"]) });
    expect(estimate.left).not.toHaveProperty("dollars");
  });

  it("count what is asked and trained where it is, and not again in the stages behind it", async () => {
    const { stages } = await estimateRun(await opened(everything));
    const asking = stages.filter(({ roles }) => roles.length > 0).map(({ stage }) => stage);
    expect(asking).not.toEqual([]);
    for (const name of asking)
      expect(name).toMatch(
        /^(responses|chains|helpful replies|pairs|(audit )?labels|policy|answers of .*|texts under .*)$/,
      );
    const trained = stages.filter(({ trainingTokens }) => trainingTokens !== undefined).map(({ stage }) => stage);
    expect(trained).toEqual(["supervised", "preference model", "policy"]);
  });

  it("follow the settings", async () => {
    const base = await estimateRun(await opened(supervisedRecipe));
    const more = await estimateRun(
      await opened(
        supervisedRecipe
          .replace("epochs: 2", "epochs: 4")
          .replace("critique: { critique:", "critique: { critiques: none, candidates: 3, critique:"),
      ),
    );
    const trained = (estimate: RunEstimate) => stageOf(estimate, "supervised").trainingTokens!;
    expect(trained(more) / trained(base)).toBeCloseTo(2, 3);
    expect(stageOf(more, "chains").roles).toMatchObject([{ role: "reviser", completionTokens: 12 * 2 * 3 * 16 }]);
    const swapped = await estimateRun(await opened(everything));
    const once = await estimateRun(await opened(everything.replace("swap: true", "swap: false")));
    const asked = (estimate: RunEstimate) => stageOf(estimate, "labels").roles[0]!.promptTokens;
    expect(asked(swapped) / asked(once)).toBeCloseTo(2, 2);
    // Four iterations of four replies of 8 tokens, sampled once and gone through twice.
    expect(stageOf(swapped, "policy")).toMatchObject({
      roles: [{ role: "policy", completionTokens: 4 * 4 * 8 }],
      trainingTokens: 4 * 4 * 8 * 2,
    });
  });

  it("take a round's rate from what that round's settings went through", async () => {
    const rounds = (epochs: string) =>
      everything.replace("policy:\n", `arrangement: { rounds: 2, schedule: { policy.epochs: ${epochs} } }\n$&`);
    const open = await opened(rounds("[1, 3]"));
    const store = openStore(join(home, "rates"));
    try {
      const run = store.begin(runSpec(open));
      const checkpoints = notesOf(arrange({ ...open, options: {} }));
      run.event({
        kind: "opened",
        data: { file: open.file, model: open.recipe.model, constitution: null, checkpoints },
      });
      const stage = run.stage({ name: "policy 2", kind: "policy", identity: hashOf("policy 2") });
      stage.usage("policy", { calls: 1, promptTokens: 100, completionTokens: 100, seconds: 1e-6 });
      await sleep(20);
      stage.finish({ output: { report: { algorithm: "ppo", history: [{ episode: 32 }] } } });
      run.end("done");
      const { seconds } = store.stage(run.id, "policy 2")!;
      const { trainingTokens, seconds: expected } = stageOf(
        await estimateRun(await openRecipe(open.file, { text: rounds("[2, 2]") }), { store }),
        "policy 2",
      );
      // 32 replies of 8 tokens, three times.
      expect(expected! / trainingTokens!).toBeCloseTo(seconds / (32 * 8 * 3), 5);
    } finally {
      store.close();
    }
  });

  it("come with the recipe, defaults filled in and paths as they were written", async () => {
    const text = resolvedRecipe(await opened(supervisedRecipe));
    expect(text).toContain("constitution: constitution.yaml");
    expect(text).toMatch(/schedule: constant/);
    expect(text).not.toContain(home);
  });
});
