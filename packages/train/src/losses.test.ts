import { readFileSync } from "node:fs";
import { compile, fill, grad, input, type Outputs, scatterAdd, type Tensor } from "@tenet/tensor";
import { describe, expect, it } from "vitest";
import { gae, groupAdvantages, leaveOneOut, moments, tokenRewards, whiten } from "./advantages.ts";
import { adaptKl, type KlEstimator, klEstimate } from "./kl.ts";
import { dpoLoss, klLoss, policyLoss, valueLoss } from "./losses.ts";

type Rows = number[][];

interface Golden {
  inputs: Record<"logprobs" | "old_logprobs" | "ref_logprobs" | "values" | "old_values" | "rewards", Rows>;
  gae: { gamma: number; lambda: number; advantages: Rows; whitened: Rows; returns: Rows };
  ppo: {
    epsilon: number;
    policy: number;
    policy_gradient: Rows;
    ratio: number;
    clip_fraction: number;
    approx_kl: number;
    value: number;
    value_gradient: Rows;
    value_clip_fraction: number;
  };
  whiten_kept_mean: number[];
  variance: number;
  adaptive: { initial: number; target: number; horizon: number; seen: [number, number][]; coefficients: number[] };
  kl: Record<KlEstimator | "k3_gradient_of_mean", Rows>;
  group: { rewards: number[]; advantages: number[]; leave_one_out: number[] };
  grpo: { beta: number; epsilon: number; advantages: number[]; loss: number; gradient: Rows };
  rloo: { epsilon: number; advantages: number[]; loss: number; gradient: Rows };
  dpo: Record<"a" | "b" | "reference_a" | "reference_b", number[]> & {
    beta: number;
    cases: (Record<"p" | "gradient_a" | "gradient_b" | "reward_a" | "reward_b", number[]> & { loss: number })[];
  };
}

const golden: Golden = JSON.parse(readFileSync(new URL("./losses.golden.json", import.meta.url), "utf8"));
const { inputs } = golden;
const lengths = inputs.logprobs.map((row) => row.length);
const tokens = lengths.reduce((a, b) => a + b, 0);

function expectClose(got: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-5): void {
  expect(got.length).toBe(expected.length);
  for (let i = 0; i < got.length; i++)
    expect(Math.abs(got[i]! - expected[i]!), `value ${i}: ${got[i]} for ${expected[i]}`).toBeLessThanOrEqual(
      tolerance * Math.max(1, Math.abs(expected[i]!)),
    );
}

/** Runs a graph over flat inputs, padded by `padding` tokens of garbage whose weight is 0. */
async function evaluate<O extends Outputs>(
  values: Record<string, ArrayLike<number>>,
  build: (tensors: Record<string, Tensor>) => O,
) {
  const program = await compile(() =>
    build(
      Object.fromEntries(Object.entries(values).map(([name, data]) => [name, input(name, "float32", [data.length])])),
    ),
  );
  try {
    return await program.run(
      Object.fromEntries(Object.entries(values).map(([name, data]) => [name, Float32Array.from(data)])),
    );
  } finally {
    await program.dispose();
  }
}

const padding = [3, -40, 7];
const padded = (rows: Rows) => [...rows.flat(), ...padding];
const evenly = [...Array.from({ length: tokens }, () => 1 / tokens), 0, 0, 0];
const nothing = [0, 0, 0];

describe("losses against TRL and PyTorch", () => {
  it("PPO's policy loss", async () => {
    const { ppo, gae } = golden;
    const values = {
      logprobs: [...inputs.logprobs.flat(), -2, 300, -500],
      old: [...inputs.old_logprobs.flat(), -1, -1, 0],
      advantages: padded(gae.whitened),
      weights: evenly,
    };
    const got = await evaluate(values, ({ logprobs, old, advantages, weights }) => {
      const terms = policyLoss(
        { logprobs: logprobs!, oldLogprobs: old!, advantages: advantages!, weights: weights! },
        ppo.epsilon,
      );
      return { ...terms, ...grad(terms.loss, { slope: logprobs! }) };
    });
    expectClose(got.loss.data, [ppo.policy]);
    expectClose(got.slope.data, [...ppo.policy_gradient.flat(), ...nothing]);
    expectClose(got.ratio.data, [ppo.ratio]);
    expectClose(got.clipFraction.data, [ppo.clip_fraction]);
    expect(ppo.clip_fraction).toBeGreaterThan(0);
    expectClose(got.approxKl.data, [ppo.approx_kl]);
  });

  it("PPO's value loss", async () => {
    const { ppo, gae } = golden;
    const values = {
      values: padded(inputs.values),
      old: padded(inputs.old_values),
      returns: padded(gae.returns),
      weights: evenly,
    };
    const got = await evaluate(values, ({ values, old, returns, weights }) => {
      const terms = valueLoss({ values: values!, oldValues: old!, returns: returns!, weights: weights! }, ppo.epsilon);
      return { ...terms, ...grad(terms.loss, { slope: values! }) };
    });
    expectClose(got.loss.data, [ppo.value]);
    expectClose(got.slope.data, [...ppo.value_gradient.flat(), ...nothing]);
    expectClose(got.clipFraction.data, [ppo.value_clip_fraction]);
    expect(ppo.value_clip_fraction).toBeGreaterThan(0);
  });

  it("GRPO's loss: clipped tokens and β·k3, a mean over responses of means over their tokens", async () => {
    const { grpo } = golden;
    const perToken = (per: (response: number) => number) =>
      lengths.flatMap((length, i) => Array.from({ length }, () => per(i)));
    const values = {
      logprobs: inputs.logprobs.flat(),
      old: inputs.old_logprobs.flat(),
      reference: inputs.ref_logprobs.flat(),
      advantages: perToken((i) => grpo.advantages[i]!),
      weights: perToken((i) => 1 / (lengths.length * lengths[i]!)),
    };
    const got = await evaluate(values, ({ logprobs, old, reference, advantages, weights }) => {
      const terms = { logprobs: logprobs!, oldLogprobs: old!, advantages: advantages!, weights: weights! };
      const kl = klLoss(logprobs!, reference!, weights!);
      const loss = policyLoss(terms, grpo.epsilon).loss.add(kl.mul(grpo.beta));
      return { loss, ...grad(loss, { slope: logprobs! }) };
    });
    expectClose(got.loss.data, [grpo.loss]);
    expectClose(got.slope.data, grpo.gradient.flat());
  });

  it("RLOO's loss: the clipped ratio of whole sequences", async () => {
    const { rloo } = golden;
    const count = lengths.length;
    const values = {
      logprobs: inputs.logprobs.flat(),
      old: inputs.old_logprobs.map((row) => row.reduce((a, b) => a + b, 0)),
      advantages: rloo.advantages,
      weights: lengths.map(() => 1 / count),
      sequences: lengths.flatMap((length, i) => Array.from({ length }, () => i)),
    };
    const got = await evaluate(values, ({ logprobs, old, advantages, weights, sequences }) => {
      const sums = scatterAdd(fill([count], 0), sequences!.cast("int32"), logprobs!);
      const terms = { logprobs: sums, oldLogprobs: old!, advantages: advantages!, weights: weights! };
      const { loss } = policyLoss(terms, rloo.epsilon);
      return { loss, ...grad(loss, { slope: logprobs! }) };
    });
    expectClose(got.loss.data, [rloo.loss]);
    expectClose(got.slope.data, rloo.gradient.flat());
  });

  it.each(golden.dpo.cases)("DPO's loss with targets $p", async (expected) => {
    const { a, b, reference_a, reference_b, beta } = golden.dpo;
    const values = { a, b, reference_a, reference_b, p: expected.p, weights: a.map(() => 1 / a.length) };
    const got = await evaluate(values, ({ a, b, reference_a, reference_b, p, weights }) => {
      const terms = { a: a!, b: b!, referenceA: reference_a!, referenceB: reference_b!, p: p!, weights: weights! };
      const outputs = dpoLoss(terms, beta);
      return { ...outputs, ...grad(outputs.loss, { slopeA: a!, slopeB: b! }) };
    });
    expectClose(got.loss.data, [expected.loss]);
    expectClose(got.slopeA.data, expected.gradient_a);
    expectClose(got.slopeB.data, expected.gradient_b);
    expectClose(got.rewardA.data, expected.reward_a);
    expectClose(got.rewardB.data, expected.reward_b);
  });

  it("k3 and its gradient", async () => {
    const values = {
      // What stands on padding would overflow.
      logprobs: [...inputs.logprobs.flat(), -300, -1, 0],
      reference: [...inputs.ref_logprobs.flat(), 0, -300, 0],
      weights: evenly,
    };
    const got = await evaluate(values, ({ logprobs, reference, weights }) => {
      const loss = klLoss(logprobs!, reference!, weights!);
      return { loss, ...grad(loss, { slope: logprobs! }) };
    });
    expectClose(got.loss.data, [golden.kl.k3.flat().reduce((a, b) => a + b, 0) / tokens]);
    expectClose(got.slope.data, [...golden.kl.k3_gradient_of_mean.flat(), ...nothing]);
  });
});

describe("advantages against TRL", () => {
  it("GAE over real tokens is TRL's over padded ones, and so are returns", () => {
    const { gamma, lambda, advantages, returns } = golden.gae;
    inputs.rewards.forEach((rewards, i) => {
      const got = gae(rewards, inputs.old_values[i]!, { gamma, lambda });
      expectClose(got.advantages, advantages[i]!, 1e-8);
      expectClose(got.returns, returns[i]!, 1e-8);
    });
  });

  it("a response's reward lands on its last real token, the penalty on every token", () => {
    expectClose(tokenRewards([-1, -2, -3], [-1.5, -2, -2], { beta: 0.1, reward: 2 }), [-0.05, 0, 0.1 + 2], 1e-12);
    expect([...tokenRewards([], [], { beta: 0.1, reward: 2 })]).toEqual([]);
    // With γ = λ = 1 and no values the advantage of every token is the reward to come.
    expectClose(gae([0, 0, 5], [0, 0, 0], { gamma: 1, lambda: 1 }).advantages, [5, 5, 5], 1e-12);
  });

  it("whitening is TRL's, with and without shifting the mean, and its variance unbiased", () => {
    expectClose(whiten(golden.gae.advantages.flat()), golden.gae.whitened.flat(), 1e-8);
    expectClose(whiten(inputs.rewards.flat(), { shiftMean: false }), golden.whiten_kept_mean, 1e-8);
    expectClose([moments(inputs.rewards.flat()).variance], [golden.variance], 1e-8);
    expect([...whiten([4])]).toEqual([4]);
  });

  it("GRPO's group advantages and RLOO's baseline", () => {
    const { rewards, advantages, leave_one_out } = golden.group;
    expectClose(groupAdvantages(rewards), advantages, 1e-8);
    expectClose(leaveOneOut(rewards), leave_one_out, 1e-8);
    expect([...groupAdvantages([0.5, 0.5, 0.5])]).toEqual([0, 0, 0]);
  });
});

describe("KL against PyTorch and TRL", () => {
  it.each(["k1", "k2", "k3"] as const)("%s", (estimator) => {
    inputs.logprobs.forEach((row, i) => {
      const got = row.map((logprob, t) => klEstimate(logprob - inputs.ref_logprobs[i]![t]!, estimator));
      expectClose(got, golden.kl[estimator][i]!, 1e-8);
    });
  });

  it("k3 keeps its digits near zero", () => {
    expect(klEstimate(1e-6, "k3") / 5e-13).toBeCloseTo(1, 3);
  });

  it("the adaptive controller", () => {
    const { initial, seen, coefficients, ...target } = golden.adaptive;
    let coefficient = initial;
    const got = seen.map(([kl, responses]) => (coefficient = adaptKl(coefficient, { kl, responses }, target)));
    expectClose(got, coefficients, 1e-9);
  });

  it("the adaptive controller never pays for divergence, however many responses an iteration has", () => {
    const target = { target: 6, horizon: 10 };
    expect(adaptKl(0.05, { kl: 1, responses: 64 }, target)).toBeCloseTo(0.04, 12);
    expect(adaptKl(0.05, { kl: 1, responses: 10 }, target)).toBeCloseTo(0.04, 12);
  });
});
