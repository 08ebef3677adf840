import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ExampleRow } from "@tenet/data";
import { writeTalkingModel } from "@tenet/fixtures";
import { type LocalModel, openLocalModel } from "@tenet/lm";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { promptsOf } from "../test/prompts.ts";
import { bestOfN } from "./best-of-n.ts";
import { Checkpoints } from "./checkpoint.ts";
import type { MetricEvent } from "./loop.ts";
import { monitorRules } from "./monitor-rules.ts";
import { trainPolicy } from "./policy.ts";
import { rewardOf } from "./reward/index.ts";
import { keptAsNow, type Observation, type SelectionOptions, whyBehind } from "./selection.ts";
import { trainSft } from "./sft.ts";

// Of a model this small a second thread only waits.
const cpu = { device: "cpu", threads: 1 } as const;
let folder: string;
let model: LocalModel;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-selection-"));
  await writeTalkingModel(folder);
  model = await openLocalModel(folder, { ...cpu, cacheDir: folder });
});

afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

/** A reward for the letter M, whatever the rules say. */
const reward = rewardOf("letter", (requests) => requests.map(({ response }) => Number(response.includes("M"))));

const watching = (violates: (response: string) => boolean | undefined): SelectionOptions => ({
  prompts: promptsOf("Watch", 24),
  every: 1,
  sampling: { temperature: 1, maxTokens: 6 },
  violates: (requests) => requests.map(({ response }) => violates(response)),
  digest: "rules of a test",
});

async function drain<Result>(run: AsyncGenerator<MetricEvent, Result>, most = Number.POSITIVE_INFINITY) {
  const events: MetricEvent[] = [];
  for (let next = await run.next(); ; next = await run.next()) {
    if (next.done) return { events, result: next.value };
    events.push(next.value);
    if (events.length < most) continue;
    await run.return(undefined as never);
    return { events, result: undefined as never };
  }
}

const learn = (name: string, selection: SelectionOptions | undefined, iterations = 6) =>
  trainPolicy({
    ...{ model, prompts: promptsOf("Say", 8), reward, selection, seed: 2, folder: join(folder, name), ...cpu },
    settings: {
      ...{ algorithm: "rloo", iterations, promptsPerIteration: 8, samplesPerPrompt: 8, maxTokens: 6 },
      ...{ learningRate: 1e-2, lora: { rank: 4, alpha: 8 }, kl: { coefficient: 0 } },
    },
  });

const adapterOf = (name: string) => readFile(join(folder, name, "adapter", "adapter_model.safetensors"));

describe("a training that is watched", () => {
  it("returns its start, and ends early, where what it maximises breaks the rules", async () => {
    const { events, result } = await drain(
      learn(
        "gamed",
        watching((response) => response.includes("M")),
        12,
      ),
    );
    const { selection, history } = result.report;
    expect(selection!.kept).toBe(0);
    expect(selection!.ended).toMatch(/violations on 24 validation prompts are measurably above those of step 0/);
    expect(history.length).toBeLessThan(12);
    expect(events[0]).toMatchObject({ step: 0, metrics: { "validation/violations": expect.any(Number) } });
    expect(history.at(-1)!["validation/letter"]).toBeGreaterThan(events[0]!.metrics["validation/letter"]! + 0.2);
    // The start's factors give nothing: what is returned speaks as the base does.
    const { result: start } = await drain(learn("start", undefined, 1));
    expect(start.report.selection).toBeUndefined();
    expect(await adapterOf("gamed")).not.toEqual(await adapterOf("start"));
  }, 120_000);

  it("leaves out a prompt that leaves no room for a reply, and counts it", async () => {
    const watched = watching(() => false);
    const [first] = watched.prompts;
    const content = "Say ".repeat(model.config.max_position_embeddings);
    const long = { ...first!, id: "long", prompt: [{ role: "user" as const, content }] };
    const { result } = await drain(learn("long", { ...watched, prompts: [...watched.prompts, long] }, 1));
    expect(result.report.selection).toMatchObject({ prompts: 24, refused: 1 });
  }, 120_000);

  it("says where rewards that are all the same taught nothing, whatever they are", async () => {
    const flat = rewardOf("flat", (requests) => requests.map(() => -0.7));
    const { result } = await drain(
      trainPolicy({
        ...{ model, prompts: promptsOf("Say", 8), reward: flat, seed: 2, folder: join(folder, "flat"), ...cpu },
        settings: { algorithm: "rloo", iterations: 1, promptsPerIteration: 6, samplesPerPrompt: 4, maxTokens: 6 },
      }),
    );
    const [metrics] = result.report.history;
    expect(metrics).toMatchObject({ frac_reward_zero_std: 1, "objective/scores_std": 0 });
    expect(metrics).not.toHaveProperty("reward/length_correlation");
    expect(monitorRules(result.report.history).map(({ rule }) => rule)).toContain("R10");
  }, 120_000);

  it("returns the best of its steps where the rules and the reward agree", async () => {
    const { result } = await drain(
      learn(
        "agreed",
        watching((response) => !response.includes("M")),
      ),
    );
    const { observations, kept, ended } = result.report.selection!;
    const rates = observations.map(({ metrics }) => metrics["validation/violations"]!);
    expect(kept).toBe(observations[rates.indexOf(Math.min(...rates))]!.step);
    expect(kept).toBeGreaterThan(0);
    expect(Math.min(...rates)).toBeLessThan(rates[0]! - 0.2);
    expect(ended).toBeUndefined();
  }, 120_000);

  it("returns the last where no rule says what is better", async () => {
    const { result } = await drain(
      learn(
        "silent",
        watching(() => undefined),
        2,
      ),
    );
    expect(result.report.selection).toMatchObject({ prompts: 24 });
    expect(result.report.selection!.kept).toBeUndefined();
    await drain(learn("unwatched", undefined, 2));
    expect(await adapterOf("silent")).toEqual(await adapterOf("unwatched"));
  }, 120_000);

  it("continues after interruptions, and ends with the same bytes", async () => {
    const rule = watching((response) => response.includes("M"));
    const whole = await drain(learn("whole", rule, 4));
    for (const steps of [1, 3]) await drain(learn("parts", rule, 4), steps);
    const rest = await drain(learn("parts", rule, 4));
    expect(rest.result.report.selection).toEqual(whole.result.report.selection);
    expect(await adapterOf("parts")).toEqual(await adapterOf("whole"));
    await expect(drain(learn("parts", { ...rule, digest: "other rules" }, 4))).rejects.toThrow(/selection/);
  }, 120_000);
});

describe("fine-tuning that is watched", () => {
  const rows = promptsOf("Say", 8).map(({ id, prompt, origin }): ExampleRow => {
    return { id, prompt, origin, completion: "MMMM", weight: 1 };
  });
  const tune = (name: string, selection: SelectionOptions, mayPay?: SelectionOptions["mayPay"], more = {}) =>
    trainSft({
      ...{ model, rows, selection: { ...selection, mayPay }, seed: 1, folder: join(folder, name), ...cpu },
      settings: {
        epochs: 3,
        batchSize: 4,
        learningRate: 2e-2,
        lora: { rank: 4, alpha: 8 },
        checkpointEvery: 1,
        ...more,
      },
    });

  it("keeps what breaks the fewest rules, the start included", async () => {
    const worse = await drain(
      tune(
        "worse",
        watching((response) => response.includes("M")),
        "imitating",
      ),
    );
    expect(worse.result.report.selection!.kept).toBe(0);
    const better = await drain(
      tune(
        "better",
        watching((response) => !response.includes("M")),
        "imitating",
      ),
    );
    expect(better.result.report.selection!.kept).toBeGreaterThan(0);
    const steps = better.result.report.selection!.observations.map(({ step }) => step);
    expect(steps).toEqual([0, 2, 4, 6]);
  }, 120_000);

  it("keeps what the rules say is best, and not the lowest validation loss", async () => {
    const rule = watching((response) => response.includes("M"));
    const settings = { validationShare: 0.25, patience: 9 };
    const { result } = await drain(tune("both", rule, "imitating", settings));
    expect(result.report.evaluations.length).toBeGreaterThan(1);
    expect(result.report).toMatchObject({ selection: { kept: 0 } });
    expect(result.report.best).toBeUndefined();
    const { result: byLoss } = await drain(
      tune(
        "by loss",
        watching(() => undefined),
        "imitating",
        settings,
      ),
    );
    expect(byLoss.report.best).toBeDefined();
    expect(await adapterOf("both")).not.toEqual(await adapterOf("by loss"));
  }, 120_000);

  it("keeps no formula where nothing may be paid, however few rules it breaks", async () => {
    const rule = watching((response) => !response.includes("M"));
    const { result } = await drain(tune("formula", rule));
    const { observations, kept, unmeasured } = result.report.selection!;
    expect(observations.at(-1)!.metrics["validation/openings"]).toBeLessThan(0.3);
    expect(observations.at(-1)!.metrics["validation/violations"]).toBeLessThan(0.1);
    expect(kept).toBe(0);
    expect(observations.at(-1)!.turnedDown).toMatch(
      /^violates less than step 0, and pays for it against step 0: openings /,
    );
    expect(unmeasured).toEqual(["perplexity", "over-refusal", "evasive"]);
  }, 120_000);

  it("continues after interruptions, and ends with the same bytes", async () => {
    const rule = watching((response) => !response.includes("M"));
    await drain(tune("tuned", rule, "imitating"));
    // Also where a checkpoint was written before a better one was found.
    for (const steps of [3, 5]) {
      const name = `retuned ${steps}`;
      await drain(tune(name, rule, "imitating"), steps);
      const { result } = await drain(tune(name, rule, "imitating"));
      expect(result.report.best).toBeUndefined();
      expect(await adapterOf(name)).toEqual(await adapterOf("tuned"));
    }
    for (const steps of [1, 3]) await drain(tune("retuned", rule, "imitating"), steps);
    await drain(tune("retuned", rule, "imitating"));
    expect(await adapterOf("retuned")).toEqual(await adapterOf("tuned"));
  }, 120_000);
});

describe("killed right behind a checkpoint", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });
  /** As of a process that is killed when its second checkpoint is on the disk. */
  const killed = () => {
    const { save } = Checkpoints.prototype;
    let saved = 0;
    vi.spyOn(Checkpoints.prototype, "save").mockImplementation(async function (this: Checkpoints, checkpoint) {
      await save.call(this, checkpoint);
      if (++saved === 2) throw new Error("killed");
    });
  };
  const rows = promptsOf("Say", 8).map(({ id, prompt, origin }): ExampleRow => {
    return { id, prompt, origin, completion: "MMMM", weight: 1 };
  });
  const shared = (name: string) => ({ model, seed: 1, folder: join(folder, name), ...cpu });
  const trainings: [string, (name: string) => AsyncGenerator<MetricEvent, unknown>, steps: number][] = [
    ["a policy", (name) => learn(name, undefined, 3), 3],
    [
      "fine-tuning",
      (name) => trainSft({ ...shared(name), rows, settings: { epochs: 2, batchSize: 4, checkpointEvery: 1 } }),
      4,
    ],
    [
      "best of n",
      (name) =>
        bestOfN({
          ...{ ...shared(name), prompts: promptsOf("Say", 8), reward },
          settings: { n: 2, maxTokens: 6, promptsAtOnce: 2 },
        }),
      4,
    ],
  ];

  it.each(trainings)(
    "%s has told every step that it does not take again",
    async (name, start, steps) => {
      killed();
      const told = new Set<number>();
      const listen = async () => {
        for await (const { step } of start(`killed ${name}`)) told.add(step);
      };
      await expect(listen()).rejects.toThrow("killed");
      vi.restoreAllMocks();
      await listen();
      expect([...told]).toEqual(Array.from({ length: steps }, (_, i) => i + 1));
    },
    120_000,
  );
});

describe("of two looks", () => {
  const prompts = 100;
  /** Shares of a hundred responses: who violates, is evasive, is cut; the first ones each. */
  const look = (
    step: number,
    violations: number,
    { openings = 0.5, evasive = 0, unfinished = 0 } = {},
  ): Observation => {
    const first = (share: number) => Array.from({ length: prompts }, (_, i) => i < share * prompts);
    return {
      step,
      metrics: { "validation/violations": violations, "validation/openings": openings },
      violates: first(violations),
      faults: { evasive: first(evasive), unfinished: first(unfinished) },
    };
  };
  const start = look(0, 0.3);

  it.each<[string, Observation, RegExp | undefined]>([
    ["violates less and pays nothing", look(2, 0.29), undefined],
    ["violates as much", look(2, 0.3), /^$/],
    ["violates more", look(2, 0.31), /^$/],
    ["opens all responses alike", look(2, 0.29, { openings: 0.24 }), /openings 0.500 → 0.240/],
    ["opens more of them alike", look(2, 0.29, { openings: 0.26 }), undefined],
    ["is evasive", look(2, 0.29, { evasive: 0.2 }), /evasive 0.000 → 0.200/],
    ["is hardly more evasive", look(2, 0.29, { evasive: 0.05 }), undefined],
    ["is cut off most of the time", look(2, 0.29, { unfinished: 0.6 }), /unfinished 0.000 → 0.600/],
    ["is cut off at times", look(2, 0.29, { unfinished: 0.4 }), undefined],
    ["violates far less, and pays", look(2, 0, { openings: 0.1 }), /openings/],
  ])("the later, which %s, takes the place or not", (_, now, turnedDown) => {
    const found = whyBehind(now, { best: start, start });
    if (turnedDown === undefined) expect(found).toBeUndefined();
    else expect(found!.turnedDown ?? "").toMatch(turnedDown);
  });

  it("one that pays little by little pays against the start", () => {
    const best = look(2, 0.28, { openings: 0.3 });
    const now = look(4, 0.26, { openings: 0.2 });
    expect(whyBehind(now, { best, start })).toEqual({
      turnedDown: "violates less than step 2, and pays for it against step 0: openings 0.500 → 0.200",
    });
  });

  it("one that learns revisions may answer alike, and pay against the start where it is shown to violate less", () => {
    const paying = { openings: 0.1, evasive: 0.2 };
    const against = (best: Observation) => ({ best, start, mayPay: "imitating" as const });
    expect(whyBehind(look(2, 0.29, paying), against(start))!.turnedDown).toMatch(/evasive/);
    expect(whyBehind(look(2, 0.1, { ...paying, unfinished: 0.9 }), against(start))).toBeUndefined();
    const best = look(2, 0.2, { openings: 0.4 });
    expect(whyBehind(look(4, 0.05, paying), against(best))!.turnedDown).toMatch(/evasive/);
    expect(whyBehind(look(4, 0.19, { openings: 0.1 }), against(best))).toBeUndefined();
  });

  it("a policy of the untrained model may pay against it where it is shown to violate less, with a formula or stumps never", () => {
    const against = (best: Observation) => ({ best, start, mayPay: "untrained" as const });
    const paying = { evasive: 0.2 };
    expect(whyBehind(look(2, 0.29, paying), against(start))!.turnedDown).toMatch(/evasive/);
    expect(whyBehind(look(2, 0.1, paying), against(start))).toBeUndefined();
    expect(whyBehind(look(2, 0.1, { openings: 0.2 }), against(start))!.turnedDown).toMatch(/openings/);
    expect(whyBehind(look(2, 0.1, { unfinished: 0.6 }), against(start))!.turnedDown).toMatch(/unfinished/);
    // What the best paid is paid, and of anything more nothing may be.
    const best = look(2, 0.1, paying);
    expect(whyBehind(look(4, 0.05, paying), against(best))).toBeUndefined();
    expect(whyBehind(look(4, 0.05, { evasive: 0.5 }), against(best))!.turnedDown).toMatch(/step 2: evasive/);
    expect(whyBehind(look(4, 0.05, { unfinished: 0.51 }), against(look(2, 0.1, { unfinished: 0.5 })))).toEqual({
      turnedDown: "violates less than step 2, and pays for it against step 0: unfinished 0.000 → 0.510",
    });
  });

  it("one is no formula that opens as variedly as the start, however variedly the best opened", () => {
    const first = look(0, 0.3, { openings: 0.3 });
    const best = look(2, 0.28, { openings: 0.7 });
    const now = look(4, 0.26, { openings: 0.34 });
    for (const mayPay of [undefined, "untrained"] as const)
      expect(whyBehind(now, { best, start: first, mayPay })).toBeUndefined();
  });
});

it("a training from before prices counted is kept where nothing that took a place then pays now", () => {
  const report = (...looks: (readonly [violations: number, openings: number, refusals: number, cut: number])[]) => ({
    selection: {
      observations: looks.map(([violations, openings, refusals, cut], step) => ({
        step,
        metrics: {
          ...{ "validation/violations": violations, "validation/openings": openings },
          ...{ "validation/refusals": refusals, "validation/cut": cut },
        },
      })),
    },
  });
  const kept = (...looks: Parameters<typeof report>) => keptAsNow(report(...looks), { imitating: false });
  expect(kept([0.5, 0.8, 0, 0], [0.3, 0.7, 0, 0.2], [0.2, 0.6, 0, 0.4])).toBe(true);
  // What violates more, or had learnt a formula, was kept then no more than now.
  expect(kept([0.5, 0.8, 0, 0], [0.6, 0.1, 1, 1], [0.4, 0.3, 1, 1])).toBe(true);
  expect(kept([0.5, 0.4, 0, 0], [0.4, 0.9, 0, 0], [0.3, 0.3, 0, 0])).toBe(true);
  expect(kept([0.5, 0.8, 0, 0], [0.3, 0.7, 0.1, 0])).toBe(false);
  expect(kept([0.5, 0.8, 0, 0.2], [0.3, 0.7, 0, 0.7])).toBe(false);
  expect(kept([0.5, 0.8, 0, 0.8], [0.3, 0.7, 0, 0.7])).toBe(true);
  const alike = report([0.5, 0.8, 0, 0], [0.3, 0.1, 0, 0]);
  expect([true, false].map((imitating) => keptAsNow(alike, { imitating }))).toEqual([true, true]);
  expect(keptAsNow({ selection: { observations: [] } }, { imitating: false })).toBe(true);
  const untold = {
    selection: { observations: [0.5, 0.4].map((rate) => ({ metrics: { "validation/violations": rate } })) },
  };
  expect(keptAsNow(untold, { imitating: true })).toBe(false);
});
