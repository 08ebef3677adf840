import { describe, expect, it } from "vitest";
import {
  answeredPlaces,
  constitutionalReward,
  constitutionTerm,
  isScored,
  mostUnanswered,
  penalised,
  preferenceReward,
  RewardError,
  type Rewarded,
  type RewardRequest,
  rewardFrom,
  rewardOf,
  rewardSettingsSchema,
  weightedSum,
  weightedTerms,
} from "./index.ts";

const request = (response: string, finished = true): RewardRequest => ({
  id: `prompt of ${response}`,
  prompt: [{ role: "user", content: "Hello" }],
  response,
  finished,
  length: response.length,
});
const requests = [request("yes"), request("no", false)];

const preference = preferenceReward({
  score: async (rows) => rows.map(({ response }) => (response === "yes" ? 2 : -1)),
});
const constitution = constitutionalReward(({ response }) => (response === "yes" ? -1 : 0.5));
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
/** The number that a response is worth. */
const worth = (rewarded: Rewarded | undefined) => (rewarded && isScored(rewarded) ? rewarded.reward : undefined);
const settings = (given: object) => rewardSettingsSchema.parse({ missingEndPenalty: 0, ...given });

describe("rewards", () => {
  it("are weighed and keep their raw parts", async () => {
    const joined = weightedSum([
      { reward: preference, weight: 1 },
      { reward: constitution, weight: 0.5 },
    ]);
    expect(await joined.score(requests)).toEqual([
      { reward: 1.5, parts: { preference: 2, constitution: -1 } },
      { reward: -0.75, parts: { preference: -1, constitution: 0.5 } },
    ]);
  });

  it("are shaped as σ(r) + λ·R_const", async () => {
    const shaped = rewardFrom(settings({ constitution: 0.3, shape: "sigmoid" }), { preference, constitution });
    const [yes, no] = await shaped.score(requests);
    expect(worth(yes)).toBeCloseTo(sigmoid(2) - 0.3, 12);
    expect(worth(no)).toBeCloseTo(sigmoid(-1) + 0.15, 12);
    expect(no!.parts.preference).toBe(-1);
  });

  it("cost what a missing end and every token cost", async () => {
    const [yes, no] = await penalised(preference, { missingEnd: 4, perToken: 0.1 }).score(requests);
    expect(yes).toEqual({ reward: 2 - 0.3, parts: { preference: 2, missing_end: 0, length: 3 } });
    expect(worth(no)).toBeCloseTo(-1 - 4 - 0.2, 12);
    expect(no!.parts.missing_end).toBe(1);
  });

  it("of a recipe's defaults are the preference score less 1 for a missing end", async () => {
    const [yes, no] = await rewardFrom(rewardSettingsSchema.parse({}), { preference }).score(requests);
    expect(worth(yes)).toBe(2);
    expect(worth(no)).toBe(-2);
  });

  it("need what is given a weight", () => {
    expect(() => rewardFrom(settings({}), { constitution })).toThrow(
      /reward.preference has weight 1.*preference model/,
    );
    expect(() => rewardFrom(settings({ constitution: 0.5 }), { preference })).toThrow(/no constitution/);
    expect(() => rewardFrom(settings({ preference: 0 }), { preference })).toThrow(/every weight is 0/);
    expect(() => rewardSettingsSchema.parse({ konstitution: 1 })).toThrow();
  });

  it("that are no numbers are refused by name", async () => {
    const broken = rewardOf("broken", () => [1, Number.NaN]);
    await expect(broken.score(requests)).rejects.toThrow(/"broken" of a response to prompt prompt of no.*got NaN/);
    await expect(rewardOf("short", () => [1]).score(requests)).rejects.toThrow(RewardError);
    await expect(constitutionalReward(() => 1.5).score(requests)).rejects.toThrow(/-1 to 1, got 1.5/);
    expect(await broken.score([])).toEqual([]);
  });

  it("have no number where a judge has none, and what others said stays", async () => {
    const critic = rewardOf("critic", (all) =>
      all.map(({ response }) => (response === "yes" ? 1 : { unanswered: "status 400" })),
    );
    const joined = penalised(
      weightedSum([
        { reward: critic, weight: 2 },
        { reward: preference, weight: 1 },
      ]),
      { missingEnd: 1, perToken: 0 },
    );
    const form = { missing_end: 1, length: 2 };
    const judged = await joined.score(requests);
    expect(judged[0]).toMatchObject({ reward: 4 });
    expect(judged[1]).toEqual({ unanswered: "critic: status 400", parts: { preference: -1, ...form } });
    expect(answeredPlaces([judged], { most: 0.5, when: "iteration 1" })).toEqual([0]);
    expect(() => answeredPlaces([judged], { most: 0.4, when: "iteration 1" })).toThrow(
      /1 of 2 replies of iteration 1 were not judged, more than 40 %.*failures.most.*critic: status 400/,
    );
    const all = judged.map((): Rewarded => ({ unanswered: "down", parts: {} }));
    expect(() => answeredPlaces([all], { most: 1, when: "iteration 1" })).toThrow(RewardError);
    expect(answeredPlaces([judged, all.slice(0, 0).concat(judged)], { most: 1, when: "" })).toEqual([0]);
  });

  it("weigh a constitutional term and a judge by a mapping, and say what each needs", () => {
    const long = { preference: 0, constitution: { weight: 0.5, by: "critic" } };
    expect(constitutionTerm(settings(long))).toEqual({ weight: 0.5, by: "critic", principles: "all" });
    expect(constitutionTerm(settings({ constitution: 0.2 }))).toMatchObject({ weight: 0.2, by: "checks" });
    expect(weightedTerms(settings({ ...long, judge: { weight: 1 } }))).toEqual(["constitution", "judge"]);
    expect(() => rewardFrom(settings({ judge: { weight: 1 } }), { preference })).toThrow(/no labeller to rate/);
    expect(mostUnanswered(settings({}))).toBe(0.1);
    // A recipe of before has the parsed settings that it had: stages are known by them.
    expect(Object.keys(settings({})).sort()).toEqual(
      ["constitution", "lengthPenalty", "missingEndPenalty", "preference", "shape"].sort(),
    );
    expect(settings({ judge: { weight: 1 } }).judge).toEqual({ weight: 1 });
    expect(settings({ judge: { weight: 1, asking: { format: "prometheus-2" } } }).judge).toEqual({
      weight: 1,
      asking: { format: "prometheus-2", samples: 1, retries: 3, maxTokens: 1024 },
    });
  });

  it("stop when told to", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(constitution.score(requests, { signal })).rejects.toThrow("enough");
  });
});
