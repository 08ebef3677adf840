import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PromptRow } from "@tenet/data";
import { writeTalkingModel } from "@tenet/fixtures";
import { type LocalModel, openLocalModel } from "@tenet/lm";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { gae, tokenRewards, whiten } from "./advantages.ts";
import { Checkpoints } from "./checkpoint.ts";
import { Constraint, constraintSettingsSchema } from "./constraint.ts";
import { LocalTrainer } from "./local-trainer.ts";
import { monitorRules } from "./monitor-rules.ts";
import { type TrainPolicyOptions, trainPolicy } from "./policy.ts";
import { RewardError, type RewardRequest, rewardOf } from "./reward/index.ts";
import { promptsOf as drawnPrompts } from "./rollout.ts";

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

interface Golden
  extends Record<"bound" | "rate" | "start" | "most" | "delay" | "window" | "beta" | "gamma" | "lambda", number> {
  iterations: {
    replies: (Record<"logprobs" | "reference" | "values" | "cost_values", number[]> &
      Record<"reward" | "cost", number>)[];
    mean: number;
    multiplier: number;
    advantages: number[][];
    whitened: number[];
  }[];
}
const golden: Golden = JSON.parse(readFileSync(new URL("./constraint.golden.json", import.meta.url), "utf8"));

describe("PPO-Lagrangian against NumPy", () => {
  it("has its multipliers and advantages", () => {
    const { bound, rate, start, most, delay, window, beta, gamma, lambda } = golden;
    const settings = constraintSettingsSchema.parse({ bound, multiplier: { rate, start, most, delay, window } });
    const constraint = new Constraint(settings, {});
    for (const [iteration, { replies, ...expected }] of golden.iterations.entries()) {
      constraint.observe(replies.map(({ cost }) => cost));
      constraint.move(iteration);
      expect(Math.abs(constraint.mean - expected.mean)).toBeLessThan(1e-8);
      expect(Math.abs(constraint.multiplier - expected.multiplier)).toBeLessThan(1e-8);
      const advantages = replies.map(({ logprobs, reference, values, cost_values, reward, cost }) => {
        const estimate = (sign: number, number: number, network: number[]) =>
          gae(tokenRewards(logprobs, reference, { beta: sign * beta, reward: number }), network, { gamma, lambda });
        const [own, other] = [estimate(1, reward, values), estimate(-1, cost, cost_values)];
        return [...own.advantages].map((a, t) => constraint.combine(a, other.advantages[t]!));
      });
      const flat = (rows: readonly (readonly number[])[]) => rows.flat();
      const close = (got: readonly number[], wanted: readonly number[]) => {
        expect(got.length).toBe(wanted.length);
        for (const [i, x] of got.entries()) expect(Math.abs(x - wanted[i]!)).toBeLessThan(1e-8);
      };
      close(flat(advantages), flat(expected.advantages));
      close([...whiten(flat(advantages))], expected.whitened);
    }
    const multipliers = golden.iterations.map(({ multiplier }) => multiplier);
    // The reference shows the delay, the end and the way back.
    expect(multipliers[0]).toBeCloseTo(start, 12);
    expect(Math.max(...multipliers)).toBeCloseTo(most, 12);
    expect(multipliers.at(-1)).toBeLessThan(most);
  });

  it("of multiplier 0 leaves what it weighs as it is, whatever it costs", () => {
    const settings = constraintSettingsSchema.parse({ bound: 0.1 });
    const kept = { constraint: { logMultiplier: Number.NEGATIVE_INFINITY, window: [] } };
    const constraint = new Constraint(settings, kept);
    constraint.observe([1, 1, 0]);
    constraint.move(0);
    expect(constraint.multiplier).toBe(0);
    const number = fc.double({ noNaN: true, noDefaultInfinity: true });
    fc.assert(
      fc.property(number, number, (reward, cost) => Object.is(constraint.combine(reward, cost) + 0, reward + 0)),
    );
  });

  it("answers faster to costs of 0 and 1 than to a cost model's, where the recipe says nothing", () => {
    const after = (cost: string) => {
      const constraint = new Constraint(constraintSettingsSchema.parse({ cost, bound: 0 }), {});
      constraint.observe([1, 0]);
      constraint.move(0);
      return Math.log(constraint.multiplier);
    };
    expect(after("checks")).toBeCloseTo(0.5, 12);
    expect(after("model")).toBeCloseTo(0.05, 12);
  });

  it("sounds an alarm when the multiplier stays at its end", () => {
    const stuck = {
      "constraint/at_most": 1,
      "constraint/lambda": 5,
      "constraint/window": 0.4,
      "constraint/violation": 0.3,
    };
    const history = Array.from({ length: 12 }, (_, i) => ({ ...stuck, "constraint/at_most": i === 0 ? 0 : 1 }));
    expect(monitorRules(history.slice(0, 10))).toEqual([]);
    const [alarm, ...others] = monitorRules(history);
    expect(others).toEqual([]);
    expect(alarm).toMatchObject({ rule: "R9", iteration: 11 });
    expect(alarm!.message).toMatch(/at its end, 5, for 10 iterations.*0.3 more than the bound/);
  });
});

const cpu = { device: "cpu", threads: 1 } as const;
let folder: string;
let model: LocalModel;
let runs = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-constraint-"));
  await writeTalkingModel(folder);
  model = await openLocalModel(folder, { ...cpu, cacheDir: folder });
});

afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

const promptsOf = (count: number) =>
  Array.from({ length: count }, (_, i): PromptRow => {
    return { id: `prompt-${i}`, origin: { parents: [] }, prompt: [{ role: "user", content: `Say ${i}` }] };
  });
const prompts = promptsOf(8);
const saysM = ({ response }: RewardRequest) => Number(response.includes("M"));
const letter = rewardOf("letter", (requests) => requests.map(saysM));
const violations = rewardOf("violations", (requests) => requests.map(saysM));
const lora = { rank: 2, alpha: 4 };
const small = { iterations: 2, maxTokens: 4, learningRate: 5e-3, lora };

type Given = Partial<TrainPolicyOptions> & Pick<TrainPolicyOptions, "settings">;
async function train(options: Given) {
  const into = join(folder, `run-${runs++}`);
  const given = { model, prompts, reward: letter, cost: violations, seed: 3, folder: into, ...cpu };
  const run = trainPolicy({ ...given, ...options });
  let next = await run.next();
  while (!next.done) next = await run.next();
  const { path, report } = next.value;
  return { report, bytes: (await readFile(join(path, "adapter_model.safetensors"))).toString("base64") };
}

describe("a constrained policy", () => {
  it.each([
    ["ppo", { promptsPerIteration: 8, epochs: 1, minibatches: 2 }],
    ["grpo", { promptsPerIteration: 2, samplesPerPrompt: 4 }],
    ["rloo", { promptsPerIteration: 2, samplesPerPrompt: 4 }],
  ] as const)(
    "of %s has a multiplier that follows the latest costs, and goes on where it was stopped",
    async (algorithm, size) => {
      const constraint = { bound: 0.1, multiplier: { window: 10, rate: 1 } };
      const settings = { ...small, ...size, algorithm, constraint, iterations: 3 } as TrainPolicyOptions["settings"];
      const whole = await train({ settings });
      let logLambda = 0;
      let window: number[] = [];
      for (const metrics of whole.report.history) {
        const share = metrics["objective/cost"]!;
        expect(share).toBe(metrics["cost/violations"]);
        // Which of the replies cost does not matter to a window that holds the last 8 and 2 of those before.
        expect(metrics["constraint/violation"]).toBeCloseTo(metrics["constraint/window"]! - 0.1, 12);
        logLambda = Math.min(Math.log(5), logLambda + metrics["constraint/violation"]! * Math.exp(logLambda));
        expect(metrics["constraint/lambda"]).toBeCloseTo(Math.exp(logLambda), 9);
        window = [...window, share];
      }
      expect(window).toHaveLength(3);
      if (algorithm === "ppo")
        for (const name of ["loss/cost_value_avg", "val/cost_clipfrac_avg", "val/cost_explained_variance"])
          expect(whole.report.history[0]).toHaveProperty([name]);

      const into = join(folder, `stopped ${algorithm}`);
      const control = new AbortController();
      let asked = 0;
      const stopping = rewardOf("letter", (requests) => {
        if (++asked === 3) control.abort(new Error("enough"));
        return requests.map(saysM);
      });
      await expect(train({ settings, folder: into, signal: control.signal, reward: stopping })).rejects.toThrow(
        "enough",
      );
      const resumed = await train({ settings, folder: into });
      expect(resumed.bytes).toBe(whole.bytes);
      // As JSON, to which checkpoints turn them: it knows no −0.
      const timeless = ({ report }: typeof whole) =>
        JSON.stringify(report.history.map(({ eps: _, ...metrics }) => metrics));
      expect(timeless(resumed)).toBe(timeless(whole));
      await expect(train({ settings, cost: undefined })).rejects.toThrow(/needs what the constraint bounds/);
    },
  );

  // λ so small that 1 + λ is 1, and a bound that nothing exceeds: what is learnt from is the reward's advantage to the last bit.
  it.each([
    ["ppo", { promptsPerIteration: 8, epochs: 2, minibatches: 2 }, "iteration"],
    ["ppo", { promptsPerIteration: 8, epochs: 2, minibatches: 2, whitenRewards: true }, "update"],
    ["ppo", { promptsPerIteration: 8, epochs: 1, minibatches: 2, value: { trunk: "shared" } }, "iteration"],
    ["grpo", { promptsPerIteration: 2, samplesPerPrompt: 4 }, "iteration"],
    ["rloo", { promptsPerIteration: 2, samplesPerPrompt: 4 }, "iteration"],
  ] as const)("that cannot bind is the one of %s alone, bit for bit: %o, every %s", async (algorithm, size, every) => {
    const settings = { ...small, ...size, algorithm } as TrainPolicyOptions["settings"];
    const cost = rewardOf("length", (requests) => requests.map(({ length }) => length / small.maxTokens));
    const bounded = (start: number) => {
      const constraint = { bound: 1, multiplier: { start, every } };
      return train({ settings: { ...settings, constraint } as typeof settings, cost });
    };
    const alone = await train({ settings, cost: undefined });
    const constrained = await bounded(1e-300);
    expect(constrained.bytes).toBe(alone.bytes);
    const history = constrained.report.history.map((metrics) => {
      expect(metrics["constraint/lambda"]! / 1e-300).toBeCloseTo(1, 9);
      expect(metrics["objective/cost"]).toBeGreaterThan(0);
      return Object.fromEntries(Object.entries(metrics).filter(([name]) => !/cost|constraint|eps/.test(name)));
    });
    expect(history).toEqual(alone.report.history.map(({ eps: _, ...metrics }) => metrics));
    // It is the multiplier that makes them one.
    expect((await bounded(1)).bytes).not.toBe(alone.bytes);
  });

  it("keeps what it remembers in its checkpoints", async () => {
    const kept: unknown[] = [];
    const { save } = Checkpoints.prototype;
    const spy = vi.spyOn(Checkpoints.prototype, "save").mockImplementation(function (this: Checkpoints, checkpoint) {
      kept.push(structuredClone((checkpoint.progress as { state: object }).state));
      return save.call(this, checkpoint);
    });
    try {
      const multiplier = { window: 6, every: "update", delay: 1 } as const;
      const constraint = { bound: 0.9, multiplier };
      const size = { promptsPerIteration: 4, epochs: 1, minibatches: 2 };
      await train({ settings: { ...small, ...size, algorithm: "ppo", constraint } });
      expect(kept).toEqual([
        { beta: 0.05, constraint: { logMultiplier: 0, window: expect.any(Array) } },
        { beta: 0.05, constraint: { logMultiplier: expect.any(Number), window: expect.any(Array) } },
      ]);
      const windows = kept.map((state) => (state as { constraint: { window: number[] } }).constraint.window);
      expect(windows.map(({ length }) => length)).toEqual([4, 6]);
      expect(windows[1]!.slice(0, 2)).toEqual(windows[0]!.slice(2));
    } finally {
      spy.mockRestore();
    }
  });

  // The problem is bilinear: single iterations swing about the bound, the mean over a window stays at it.
  it.each([
    { bound: 0.2, iterations: 14, learningRate: 1.5e-3 },
    { bound: 0.5, iterations: 18, learningRate: 2e-3 },
  ])("that is paid for a letter says it as often as the bound of $bound allows", async ({ bound, ...steps }) => {
    const constraint = { bound, multiplier: { rate: 0.5, window: 64 }, value: { learningRate: 1e-2 } };
    const size = { promptsPerIteration: 64, epochs: 1, minibatches: 4 };
    const settings = {
      ...small,
      ...size,
      ...steps,
      kl: { coefficient: 0.1 },
      value: { learningRate: 1e-2 },
      constraint,
    };
    const { report } = await train({ settings: { ...settings, algorithm: "ppo" } });
    const costs = report.history.slice(-12).map((metrics) => metrics["objective/cost"]!);
    expect(Math.abs(costs.reduce((sum, cost) => sum + cost, 0) / costs.length - bound)).toBeLessThan(0.05);
  });
});

describe("responses that were not judged", () => {
  const many = promptsOf(20);
  const size = (some: readonly PromptRow[]) => ({ seed: 3, iteration: 0, count: some.length });
  /**
   * So ordered that an iteration draws them as it draws them among all: updates then have the same replies in the same micro-batches, and
   * what is left between two gradients is how the passes over all replies before them were laid out.
   */
  function inDrawnOrder(some: readonly PromptRow[]): PromptRow[] {
    const drawn = drawnPrompts(many, size(many)).filter((row) => some.includes(row));
    const places = drawnPrompts(some, size(some)).map((row) => some.indexOf(row));
    const ordered: PromptRow[] = [];
    for (const [i, place] of places.entries()) ordered[place] = drawn[i]!;
    return ordered;
  }

  /** The gradients of one iteration's update of PPO, on these prompts, where those of some are not judged. */
  async function gradients(some: readonly PromptRow[], unjudged: readonly string[]) {
    const seen: Float32Array[] = [];
    const { update } = LocalTrainer.prototype;
    const spy = vi.spyOn(LocalTrainer.prototype, "update").mockImplementation(function (this: LocalTrainer) {
      seen.push(this.gradient().slice());
      return update.call(this);
    });
    try {
      const reward = rewardOf("letter", (requests) =>
        requests.map((request) => (unjudged.includes(request.id) ? { unanswered: "status 400" } : saysM(request))),
      );
      const size = { promptsPerIteration: some.length, epochs: 1, minibatches: 1, iterations: 1 };
      const settings = { ...small, ...size, algorithm: "ppo", reward: { failures: { most: 0.3 } } } as const;
      const { report } = await train({ settings, reward, prompts: some });
      return { seen, metrics: report.history[0]! };
    } finally {
      spy.mockRestore();
    }
  }

  it.each([0, 1, 2, 6])("have no part in the gradient: %d of 20", async (count) => {
    const unjudged = many.slice(3, 3 + count).map(({ id }) => id);
    const left = inDrawnOrder(many.filter(({ id }) => !unjudged.includes(id)));
    const [masked, alone] = [await gradients(many, unjudged), await gradients(left, [])];
    expect(masked.seen).toHaveLength(2);
    for (const [k, gradient] of masked.seen.entries()) {
      const other = alone.seen[k]!;
      const norm = Math.sqrt(other.reduce((sum, x) => sum + x * x, 0));
      expect(norm).toBeGreaterThan(0);
      const apart = Math.sqrt(gradient.reduce((sum, x, i) => sum + (x - other[i]!) ** 2, 0));
      // Values and log-probabilities of the passes before differ by units of 2⁻²⁴ (6e-8), and whitening hands that on.
      expect(apart / norm).toBeLessThan(1e-6);
    }
    expect(masked.metrics["reward/unanswered"]).toBe(count === 0 ? undefined : count / 20);
    expect(masked.metrics["objective/scores"]).toBeCloseTo(alone.metrics["objective/scores"]!, 12);
  });

  it("stop the training where they are too many; it goes on by the same command", async () => {
    const into = join(folder, "too many");
    const settings = { ...small, algorithm: "grpo", promptsPerIteration: 2, samplesPerPrompt: 4 } as const;
    const whole = await train({ settings });
    let down = true;
    const reward = rewardOf("letter", (requests) =>
      requests.map((request) =>
        down && request.iteration === 1 && request.id === requests[0]!.id
          ? { unanswered: "status 500" }
          : saysM(request),
      ),
    );
    await expect(train({ settings, reward, folder: into })).rejects.toThrow(RewardError);
    await expect(train({ settings, reward, folder: into })).rejects.toThrow(
      /4 of 8 replies of iteration 2.*status 500/,
    );
    down = false;
    expect((await train({ settings, reward, folder: into })).bytes).toBe(whole.bytes);
  });
});
