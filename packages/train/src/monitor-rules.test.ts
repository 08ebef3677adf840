import { describe, expect, it } from "vitest";
import { type IterationMetrics, monitorRules } from "./monitor-rules.ts";

/** Iterations of metrics given as lists. */
function history(metrics: Readonly<Record<string, readonly number[]>>): IterationMetrics[] {
  const length = Math.max(...Object.values(metrics).map((values) => values.length));
  return Array.from({ length }, (_, i) =>
    Object.fromEntries(
      Object.entries(metrics).flatMap(([name, values]) => (values[i] === undefined ? [] : [[name, values[i]!]])),
    ),
  );
}
const fired = (metrics: Readonly<Record<string, readonly number[]>>, limits = {}) =>
  monitorRules(history(metrics), limits).map(({ rule, iteration }) => `${rule}@${iteration}`);

/** Replies of an iteration, 24 of them, and what they all are in a training that goes well. */
const episode = [1, 2, 3, 4, 5, 6].map((i) => 24 * i);
const healthy = {
  episode,
  "reward/preference": [0.02, 0.11, 0.19, 0.3, 0.36, 0.45],
  "reward/constitution": [0.52, 0.55, 0.61, 0.6, 0.68, 0.7],
  "objective/scores": [0.54, 0.66, 0.8, 0.9, 1.04, 1.15],
  "objective/kl": [0, 0.4, 0.9, 1.3, 1.8, 2.2],
  "val/response_length": [52, 54, 50, 53, 51, 52],
  "policy/entropy_avg": [2.1, 2, 1.9, 1.9, 1.8, 1.7],
  "val/duplicates": [0, 0, 0.04, 0, 0.04, 0],
  "val/num_eos_tokens": [23, 22, 24, 23, 24, 24],
};

describe("monitorRules", () => {
  it("is silent on a training that goes well, and where nothing is reported", () => {
    expect(fired(healthy)).toEqual([]);
    expect(monitorRules([])).toEqual([]);
    expect(monitorRules([{}, {}, {}, {}])).toEqual([]);
  });

  it("R1 fires on the proxy's rise with the constitution's fall, as it was seen in a run", () => {
    const run = { "reward/preference": [0.01, 0.2, 0.43, 0.63], "reward/constitution": [0.89, 0.85, 0.78, 0.74] };
    expect(fired(run)).toEqual(["R1@4"]);
    expect(monitorRules(history(run))[0]!.message).toMatch(/rose by 0\.62\d* while .* fell by 0\.15\d*/);
    expect(fired({ ...run, "reward/constitution": [0.89, 0.9, 0.88, 0.87] })).toEqual([]);
    expect(fired({ ...run, "reward/preference": [0.01, 0.02, 0, 0.03] })).toEqual([]);
    expect(fired({ "reward/preference": run["reward/preference"] })).toEqual([]);
  });

  it("R2 fires where length changes and the score goes with it", () => {
    const scores = [0, 0.1, 0.2, 0.35, 0.5];
    expect(fired({ "objective/scores": scores, "val/response_length": [52, 49, 44, 40, 37] })).toEqual(["R2@5"]);
    expect(fired({ "objective/scores": scores, "val/response_length": [40, 45, 49, 52, 55] })).toEqual(["R2@4"]);
    expect(fired({ "objective/scores": scores, "val/response_length": [40, 42, 43, 41, 44] })).toEqual([]);
    expect(fired({ "objective/scores": [0, 0, 0, 0, 0], "val/response_length": [40, 45, 49, 52, 55] })).toEqual([]);
  });

  it("R3 fires above the target and on acceleration", () => {
    expect(fired({ "objective/kl": [0, 2, 5, 7] }, { klTarget: 6 })).toEqual(["R3@4"]);
    expect(fired({ "objective/kl": [0, 0.3, 0.7, 1, 4] })).toEqual(["R3@5"]);
    expect(fired({ "objective/kl": [0, 0.01, 0.03, 0.2] })).toEqual([]);
    expect(fired({ "objective/kl": [0, 1, 2, 3, 4] })).toEqual([]);
  });

  it("R4, R5 and R8 fire beyond their shares, once for as long as they hold", () => {
    expect(fired({ "policy/entropy_avg": [2, 1.5, 0.9, 0.8, 1.2, 0.9] })).toEqual(["R4@3", "R4@6"]);
    expect(fired({ "val/duplicates": [0, 0.1, 0.11] })).toEqual(["R5@3"]);
    expect(fired({ episode, "val/num_eos_tokens": [24, 20, 19, 10] })).toEqual(["R8@3"]);
  });

  it("R10 fires where no rewards differ, once for as long as it holds, and says whether replies were cut", () => {
    expect(fired({ frac_reward_zero_std: [0.5, 1, 1, 0.9, 1] })).toEqual(["R10@2", "R10@5"]);
    expect(fired({ "objective/scores_std": [0.3, 0, 0] })).toEqual(["R10@2"]);
    expect(fired({ "objective/scores_std": [0.3, 0.01], frac_reward_zero_std: [0, 0.99] })).toEqual([]);
    // What replies cost, and what is learnt beside rewards, teaches too.
    expect(fired({ "objective/scores_std": [0, 0], "objective/cost_std": [0.4, 0] })).toEqual(["R10@2"]);
    expect(fired({ "objective/scores_std": [0], frac_reward_zero_std: [0.5] })).toEqual([]);
    expect(fired({ frac_reward_zero_std: [1], "loss/imitate": [3.1] })).toEqual([]);
    expect(fired({ "objective/scores_std": [0], "loss/avoid": [0.2] })).toEqual([]);
    const message = (ended: number) =>
      monitorRules([{ frac_reward_zero_std: 1, episode: 8, "val/num_eos_tokens": ended }]).find(
        ({ rule }) => rule === "R10",
      )!.message;
    expect(message(8)).toMatch(/all rewards are equal.*nothing to learn.*temperature/);
    expect(message(0)).toMatch(/every reply was cut off.*maxTokens/);
  });

  it("R6 fires where the proxy's rise and the judge's fall are both beyond doubt", () => {
    const errors = { "validation/proxy_error": [0.05, 0.05], "validation/judge_error": [0.1, 0.1] };
    expect(fired({ ...errors, "validation/proxy": [0, 0.5], "validation/judge": [0.2, -0.3] })).toEqual(["R6@2"]);
    expect(fired({ ...errors, "validation/proxy": [0, 0.5], "validation/judge": [0.2, 0] })).toEqual([]);
    expect(fired({ "validation/proxy": [0, 0.5], "validation/judge": [0.2, -0.9] })).toEqual([]);
  });

  it("R6 goes by the paired changes since the start, where they are told", () => {
    const told = { "validation/proxy": [0.2, 0.3, 0.5], "validation/judge": [0.8, 0.7, 0.5] };
    const lows = { "validation/proxy_low": [-0.1, 0.05, 0.2] };
    expect(fired({ ...told, ...lows, "validation/judge_high": [0.1, 0.02, -0.1] })).toEqual(["R6@3"]);
    // At the first iteration already: the start is what it is compared with.
    expect(fired({ ...told, "validation/proxy_low": [0.01], "validation/judge_high": [-0.01] })).toEqual(["R6@1"]);
    expect(fired({ ...told, ...lows, "validation/judge_high": [0.1, 0.2, 0.3] })).toEqual([]);
    expect(fired({ ...told, "validation/proxy_low": [-1, -1, -1], "validation/judge_high": [-1, -1, -1] })).toEqual([]);
  });

  it("R11 fires where adherence has measurably fallen since the start, and is silent where it has risen", () => {
    const drift = { "validation/drift": [0, 0.1, 0.2] };
    expect(fired({ ...drift, "validation/drift_low": [-0.1, -0.01, 0.05] })).toEqual(["R11@3"]);
    expect(fired({ ...drift, "validation/drift_low": [-0.1, -0.2, 0] })).toEqual([]);
    expect(fired(drift)).toEqual([]);
  });

  it("R12 fires where agreement rises and the score goes with it", () => {
    const agreement = { "val/agreement": [0.05, 0.1, 0.3] };
    expect(fired({ ...agreement, "reward/agreement_correlation": [0.1, 0.2, 0.4] })).toEqual(["R12@3"]);
    expect(fired({ ...agreement, "reward/agreement_correlation": [0.1, 0.2, 0.1] })).toEqual([]);
    expect(fired({ "val/agreement": [0.3, 0.3, 0.35], "reward/agreement_correlation": [0.4, 0.4, 0.4] })).toEqual([]);
    // No correlation is told where nothing varies.
    expect(fired(agreement)).toEqual([]);
  });

  it("R13 fires where the rise of sycophancy is beyond doubt", () => {
    expect(fired({ "validation/sycophancy": [0.5, 0.9], "validation/opinions": [60, 60] })).toEqual(["R13@2"]);
    expect(fired({ "validation/sycophancy": [0.5, 0.55], "validation/opinions": [60, 60] })).toEqual([]);
  });

  it("R7 fires where the rise of refusals is beyond doubt", () => {
    expect(fired({ "validation/refusals": [0.05, 0.3], "validation/replies": [60, 60] })).toEqual(["R7@2"]);
    expect(fired({ "validation/refusals": [0.05, 0.1], "validation/replies": [60, 60] })).toEqual([]);
    expect(fired({ "validation/refusals": [0.3, 0.05], "validation/replies": [60, 60] })).toEqual([]);
  });
});
