import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { TensorError } from "../errors.ts";
import { ParameterSet } from "../parameters.ts";
import { AdamW, decodeAdamW, encodeAdamW } from "./adamw.ts";
import { clipByGlobalNorm, GradientAccumulator, globalNorm } from "./gradients.ts";
import { type ScheduleOptions, schedule } from "./schedule.ts";

type Values = Record<string, number[]>;

interface Golden {
  adamw: {
    shapes: Record<string, number[]>;
    initial: Values;
    gradients: Values[];
    cases: {
      name: string;
      lr: number;
      betas: [number, number];
      eps: number;
      weight_decay: number;
      schedule: { name: ScheduleOptions["kind"]; warmup_steps: number; total_steps: number } | null;
      float64: { snapshots: { step: number; parameters: Values }[]; first_moments: Values; second_moments: Values };
    }[];
  };
  schedules: { name: string; warmup_steps: number; total_steps: number; factors: number[] }[];
  clip_grad_norm: { name: string; max_norm: number; gradients: Values; float64: { norm: number; clipped: Values } }[];
}

const golden: Golden = JSON.parse(
  readFileSync(new URL("../../test/golden/optim.golden.json", import.meta.url), "utf8"),
);

const flat = (values: Values, names = Object.keys(values)) => Float32Array.from(names.flatMap((name) => values[name]!));

function expectClose(got: ArrayLike<number>, expected: ArrayLike<number>, relative: number, absolute: number): void {
  expect(got.length).toBe(expected.length);
  for (let i = 0; i < got.length; i++)
    expect(Math.abs(got[i]! - expected[i]!), `value ${i}: ${got[i]} for ${expected[i]}`).toBeLessThanOrEqual(
      relative * Math.abs(expected[i]!) + absolute,
    );
}

describe("AdamW against torch.optim.AdamW in float64", () => {
  const { shapes, initial, gradients, cases } = golden.adamw;
  const names = Object.keys(shapes);
  const fresh = () => {
    const parameters = new ParameterSet(shapes);
    parameters.data.set(flat(initial, names));
    return parameters;
  };

  it.each(cases)("$name", ({ lr, betas, eps, weight_decay, schedule: plan, float64 }) => {
    const parameters = fresh();
    const optimizer = new AdamW(parameters, { learningRate: lr, betas, epsilon: eps, weightDecay: weight_decay });
    const rate = plan
      ? schedule({ kind: plan.name, peak: lr, warmup: plan.warmup_steps, steps: plan.total_steps })
      : () => lr;
    gradients.forEach((gradient, step) => {
      optimizer.step(flat(gradient, names), rate(step));
      const snapshot = float64.snapshots.find((taken) => taken.step === step + 1);
      if (snapshot) expectClose(parameters.data, flat(snapshot.parameters, names), 1e-5, 1e-6);
    });
    const state = optimizer.state();
    expect(state.step).toBe(gradients.length);
    expectClose(state.firstMoment, flat(float64.first_moments, names), 1e-4, 1e-7);
    expectClose(state.secondMoment, flat(float64.second_moments, names), 1e-4, 1e-7);
  });

  it("continues from a saved state as if it had not stopped", () => {
    const [whole, halves] = [fresh(), fresh()];
    const optimizer = new AdamW(whole);
    for (const gradient of gradients) optimizer.step(flat(gradient, names));
    const first = new AdamW(halves);
    for (const gradient of gradients.slice(0, 40)) first.step(flat(gradient, names));
    const second = new AdamW(halves);
    second.restore(decodeAdamW(encodeAdamW(first.state())));
    for (const gradient of gradients.slice(40)) second.step(flat(gradient, names));
    expect(halves.data).toEqual(whole.data);
    expect(second.state()).toEqual(optimizer.state());
  });

  it("decays only what it is told to", () => {
    const parameters = new ParameterSet({ matrix: [2], bias: [2], other: [1] });
    parameters.data.fill(1);
    const options = { learningRate: 0.1, weightDecay: 0.5, decays: (name: string) => name !== "bias" };
    new AdamW(parameters, options).step(new Float32Array(5));
    expect([...parameters.data]).toEqual([0.95, 0.95, 1, 1, 0.95].map(Math.fround));
  });

  it("refuses options out of range, gradients of another length and damaged states", () => {
    const parameters = new ParameterSet({ x: [2] });
    const optimizer = new AdamW(parameters);
    expect(() => new AdamW(parameters, { betas: [0.9, 1] })).toThrow(/betas\[1\] in \[0, 1\), got 1/);
    expect(() => new AdamW(parameters, { learningRate: -1 })).toThrow(TensorError);
    expect(() => optimizer.step(new Float32Array(3))).toThrow(/2 values, got 3/);
    const bytes = encodeAdamW(optimizer.state());
    expect(() => decodeAdamW(bytes.subarray(0, bytes.length - 1))).toThrow(/bytes, got/);
    expect(() => decodeAdamW(new Uint8Array(40))).toThrow(/does not begin as one/);
    const other = new AdamW(new ParameterSet({ x: [3] }));
    expect(() => optimizer.restore(other.state())).toThrow(/3 values, the parameters 2/);
  });
});

describe("schedules against transformers' get_scheduler", () => {
  it.each(golden.schedules)(
    "$name, warm-up $warmup_steps of $total_steps",
    ({ name, warmup_steps, total_steps, factors }) => {
      // transformers has a name of its own for a constant rate with a warm-up.
      const kind = name.replace("_with_warmup", "") as ScheduleOptions["kind"];
      const rate = schedule({ kind, peak: 2, warmup: warmup_steps, steps: total_steps });
      factors.forEach((factor, step) => void expect(rate(step), `step ${step}`).toBeCloseTo(2 * factor, 12));
    },
  );

  it("stays at its end after the last step, and refuses a warm-up longer than the run", () => {
    expect(schedule({ kind: "cosine", peak: 1, steps: 10 })(25)).toBeCloseTo(0, 12);
    expect(() => schedule({ kind: "linear", peak: 1, warmup: 11, steps: 10 })).toThrow(/10 steps of the run, got 11/);
  });
});

describe("gradients", () => {
  it.each(golden.clip_grad_norm)("clipped by norm as torch does: $name", ({ max_norm, gradients, float64 }) => {
    const names = Object.keys(gradients);
    const gradient = flat(gradients, names);
    expectClose([clipByGlobalNorm(gradient, max_norm)], [float64.norm], 1e-6, 1e-12);
    expectClose(gradient, flat(float64.clipped, names), 1e-6, 1e-12);
  });

  it("accumulate to the gradient of the whole, by weight", () => {
    const accumulator = new GradientAccumulator(2);
    accumulator.add(Float32Array.of(1, 2), 3);
    accumulator.add(Float32Array.of(5, 6), 1);
    expect([...accumulator.take()]).toEqual([2, 3]);
    expect(() => accumulator.take()).toThrow(/nothing was added/);
    accumulator.add(Float32Array.of(3, 4));
    expect(globalNorm(accumulator.take())).toBe(5);
    expect(() => accumulator.add(new Float32Array(3))).toThrow(/expected 2 values, got 3/);
  });
});
