import { describe, expect, it } from "vitest";
import {
  constitutionalReward,
  penalised,
  preferenceReward,
  RewardError,
  type RewardRequest,
  rewardFrom,
  rewardOf,
  rewardSettingsSchema,
  weightedSum,
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
    expect(yes!.reward).toBeCloseTo(sigmoid(2) - 0.3, 12);
    expect(no!.reward).toBeCloseTo(sigmoid(-1) + 0.15, 12);
    expect(no!.parts.preference).toBe(-1);
  });

  it("cost what a missing end and every token cost", async () => {
    const [yes, no] = await penalised(preference, { missingEnd: 4, perToken: 0.1 }).score(requests);
    expect(yes).toEqual({ reward: 2 - 0.3, parts: { preference: 2, missing_end: 0, length: 3 } });
    expect(no!.reward).toBeCloseTo(-1 - 4 - 0.2, 12);
    expect(no!.parts.missing_end).toBe(1);
  });

  it("of a recipe's defaults are the preference score less 1 for a missing end", async () => {
    const [yes, no] = await rewardFrom(rewardSettingsSchema.parse({}), { preference }).score(requests);
    expect(yes!.reward).toBe(2);
    expect(no!.reward).toBe(-2);
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

  it("stop when told to", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(constitution.score(requests, { signal })).rejects.toThrow("enough");
  });
});
