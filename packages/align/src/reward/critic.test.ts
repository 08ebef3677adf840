import { type LanguageModel, scriptedModel } from "@tenet/lm";
import { hashOf } from "@tenet/runs";
import { describe, expect, it } from "vitest";
import type { Memo } from "../ask.ts";
import { constitutionHash, principleHash } from "../constitution/index.ts";
import { constitutionOf } from "../feedback/fixture.ts";
import { type Critic, criticOf, judgeReplies, type PanelOptions, panelDependsOn } from "./critic.ts";
import { type Breach, constitutionScore, violationProbability } from "./verdict.ts";

const levels = constitutionOf([
  { id: "privacy", text: "Name nobody.", authority: "root" },
  { id: "brief", text: "Be brief.", authority: "user" },
  { id: "step", text: "End with a next step.", authority: "guideline", weight: 2 },
]);
const rules = constitutionOf([
  { id: "privacy", text: "Name nobody." },
  { id: "brief", text: "Be brief." },
]);
const prompt = [{ role: "user" as const, content: "Tell me all about it, at length." }];
const reply = { id: "1", prompt, response: "Well, to begin with" };
const settings = { by: "critic", principles: "all", seed: 1 } as const;

/** Says yes, or no where it finds these words in what it is asked. */
const answering = (no?: string) =>
  scriptedModel({
    choice: { value: (option, text) => ((option === "Yes.") === !(no && text.includes(no)) ? 50 : -50) },
  });

const criticBy = (model: LanguageModel, memo?: Memo): Critic =>
  criticOf({ critic: model, identity: "c", seed: 1, local: true, memo });

async function breachesOf(panel: PanelOptions, model = answering()): Promise<readonly Breach[]> {
  const [verdict] = await judgeReplies([reply], panel, criticBy(model), { round: 0, asker: 0 });
  if (!verdict || !("breaches" in verdict)) throw new Error("no verdict");
  return verdict.breaches;
}

describe("a critic under levels of authority", () => {
  it("is asked of a default with what lifts it, and of a rule without", async () => {
    const breaches = await breachesOf({ ...settings, constitution: levels }, answering("unless the person"));
    expect(breaches.map(({ principle, breaks }) => [principle, Math.round(breaks)])).toEqual([
      ["privacy", 1],
      ["brief", 0],
      ["step", 0],
    ]);
  });

  it("weighs by the level of what is broken in R_const, which is a violation at whatever level", async () => {
    const breaches = await breachesOf({ ...settings, constitution: levels });
    // 1 − 2·(1·1 + 1·½ + 2·¼) / 4
    expect(constitutionScore(breaches)).toBeCloseTo(0, 12);
    const guideline = breaches.filter(({ principle }) => principle === "step");
    expect(constitutionScore(guideline)).toBeCloseTo(0.5, 12);
    expect(violationProbability(guideline)).toBeCloseTo(1, 12);
  });

  it("counts beside a check as much as that does: the worse of the two, each by the level", async () => {
    const checks = [{ characters: { max: 3 }, severity: 0.6 }];
    const both = constitutionOf([{ id: "brief", text: "Be brief.", authority: "user", checks }]);
    const [harsh] = await breachesOf({ ...settings, by: "both", constitution: both });
    expect(harsh).toMatchObject({ by: "critic", breaks: expect.closeTo(1, 12), factor: 0.5 });
    expect(constitutionScore([harsh!])).toBeCloseTo(0, 12);
    // Half sure of half a violation is less than the check's 0.6 of one.
    const unsure = scriptedModel({ choice: { value: () => 0 } });
    const [checked] = await breachesOf({ ...settings, by: "both", constitution: both }, unsure);
    expect(checked).toMatchObject({ by: "checks", breaks: expect.closeTo(0.3, 12) });
  });
});

describe("what was kept of a critic", () => {
  const keysUnder = async (constitution: PanelOptions["constitution"]) => {
    const keys: string[] = [];
    const memo: Memo = {
      recall(questions) {
        keys.push(...questions.map(({ key }) => key));
        return new Map();
      },
      keep() {},
    };
    await judgeReplies([reply], { ...settings, constitution }, criticBy(answering(), memo), { round: 0, asker: 0 });
    return keys;
  };
  const plainKeys = ({ principles }: PanelOptions["constitution"]) =>
    principles.map((principle) =>
      hashOf(["verdict", 1, "c", principleHash(principle), reply.prompt, reply.response, null]),
    );

  it("is known again where no level bears on what it was asked", async () => {
    expect(await keysUnder(rules)).toEqual(plainKeys(rules));
    const [privacy, ...defaults] = await keysUnder(levels);
    expect(privacy).toBe(plainKeys(levels)[0]);
    for (const key of defaults) expect(plainKeys(levels)).not.toContain(key);
    expect(await breachesOf({ ...settings, constitution: rules })).toEqual(
      ["privacy", "brief"].map((principle) => ({ principle, weight: 1, breaks: expect.closeTo(1, 12), by: "critic" })),
    );
  });

  it("is what its verdicts depend on, and the checks' do not", () => {
    const depends = (constitution: PanelOptions["constitution"], by: PanelOptions["by"]) =>
      panelDependsOn({ ...settings, constitution, by });
    for (const by of ["checks", "critic", "both"] as const)
      expect(depends(rules, by)).toEqual([constitutionHash(rules), by, "all"]);
    expect(depends(levels, "checks")).toEqual([constitutionHash(levels), "checks", "all"]);
    for (const by of ["critic", "both"] as const)
      expect(depends(levels, by)).not.toEqual([constitutionHash(levels), by, "all"]);
  });
});
