import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ExampleRow, PreferenceRow, PromptRow } from "@tenet/data";
import { writeTalkingModel } from "@tenet/fixtures";
import { type LocalModel, openLocalModel } from "@tenet/lm";
import {
  AdamW,
  clipByGlobalNorm,
  compile,
  gatherAlong,
  grad,
  input,
  logSoftmax,
  matmul,
  ParameterSet,
  reshape,
} from "@tenet/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { trainerOptions } from "./actor.ts";
import { avoidance, imitation } from "./imitate.ts";
import { LocalTrainer, openLocalTrainer } from "./local-trainer.ts";
import { policyLoss, sftLoss, unlikelihoodLoss } from "./losses.ts";
import { completionSequence, type Item } from "./packing.ts";
import { type TrainPolicyOptions, trainPolicy } from "./policy.ts";
import { rewardOf } from "./reward/index.ts";
import { rlooSettingsSchema } from "./rloo.ts";
import { cosineOfParts, type LossTerm, openTerms, takeStep } from "./terms.ts";

type Rows = number[][];
type Of<T> = Record<"policy" | "imitate" | "avoid", T>;
interface Golden {
  epsilon: number;
  lambda: number;
  mu: number;
  weight: Rows;
  states: Of<Rows>;
  tokens: Of<number[]>;
  old: number[];
  advantages: number[];
  losses: Of<number>;
  gradients: Of<Rows> & { all: Rows };
  cosine: number;
  norm: number;
  after: Rows;
}
const golden: Golden = JSON.parse(readFileSync(new URL("./terms.golden.json", import.meta.url), "utf8"));

function expectClose(got: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(got.length).toBe(expected.length);
  for (let i = 0; i < got.length; i++)
    expect(Math.abs(got[i]! - expected[i]!), `value ${i}: ${got[i]} for ${expected[i]}`).toBeLessThanOrEqual(tolerance);
}

describe("a combined loss against PyTorch", () => {
  const { lambda, mu, epsilon } = golden;

  /** Losses of the golden policy, and the gradient of their weighted sum. */
  async function evaluate(weights: Of<number>) {
    const [vocabulary, width] = [golden.weight.length, golden.weight[0]!.length];
    const program = await compile(() => {
      const weight = input("weight", "float32", [vocabulary, width]);
      const logprobsOf = (name: keyof Of<Rows>) => {
        const n = golden.states[name].length;
        const logits = matmul(input(`${name} states`, "float32", [n, width]), weight, { transB: true });
        return reshape(gatherAlong(logSoftmax(logits), input(`${name} tokens`, "int32", [n, 1])), [n]);
      };
      const evenly = (name: keyof Of<Rows>) => {
        const n = golden.states[name].length;
        return input(`${name} weights`, "float32", [n]);
      };
      const policy = policyLoss(
        {
          logprobs: logprobsOf("policy"),
          oldLogprobs: input("old", "float32", [golden.old.length]),
          advantages: input("advantages", "float32", [golden.advantages.length]),
          weights: evenly("policy"),
        },
        epsilon,
      ).loss;
      const imitate = sftLoss(logprobsOf("imitate"), evenly("imitate"));
      const avoid = unlikelihoodLoss(logprobsOf("avoid"), evenly("avoid"));
      const loss = policy.mul(weights.policy).add(imitate.mul(weights.imitate)).add(avoid.mul(weights.avoid));
      return { policy, imitate, avoid, ...grad(loss, { slope: weight }) };
    });
    const feeds: Record<string, Float32Array | Int32Array> = {
      weight: Float32Array.from(golden.weight.flat()),
      old: Float32Array.from(golden.old),
      advantages: Float32Array.from(golden.advantages),
    };
    for (const name of ["policy", "imitate", "avoid"] as const) {
      const n = golden.states[name].length;
      feeds[`${name} states`] = Float32Array.from(golden.states[name].flat());
      feeds[`${name} tokens`] = Int32Array.from(golden.tokens[name]);
      feeds[`${name} weights`] = new Float32Array(n).fill(1 / n);
    }
    const found = await program.run(feeds);
    await program.dispose();
    return found;
  }

  it("has its losses, and the gradients of each alone and of all together", async () => {
    const all = await evaluate({ policy: 1, imitate: lambda, avoid: mu });
    for (const name of ["policy", "imitate", "avoid"] as const) {
      expectClose(all[name].data, [golden.losses[name]], 1e-5);
      const alone = await evaluate({ policy: 0, imitate: 0, avoid: 0, [name]: 1 });
      // 1 − π is known to a few 1e-5 of itself where a token is all but certain.
      expectClose(alone.slope.data, golden.gradients[name].flat(), name === "avoid" ? 1e-4 : 1e-5);
    }
    expectClose(all.slope.data, golden.gradients.all.flat(), 1e-4);
    const [own, sum] = [golden.gradients.policy.flat(), golden.gradients.all.flat()];
    expect(cosineOfParts(own, sum)).toBeCloseTo(golden.cosine, 9);
    expect(cosineOfParts(own, own)).toBeUndefined();
  });

  it("takes the clipped step that AdamW takes there", async () => {
    const { slope } = await evaluate({ policy: 1, imitate: lambda, avoid: mu });
    const parameters = new ParameterSet({ weight: [golden.weight.length, golden.weight[0]!.length] });
    parameters.data.set(golden.weight.flat());
    const gradient = Float32Array.from(slope.data as Float32Array);
    expect(clipByGlobalNorm(gradient, 0.1)).toBeCloseTo(golden.norm, 4);
    new AdamW(parameters, { learningRate: 1e-2, betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0 }).step(
      gradient,
      1e-2,
    );
    expectClose(parameters.data, golden.after.flat(), 2e-6);
  });
});

describe("unlikelihood", () => {
  async function at(logprobs: readonly number[]) {
    const program = await compile(() => {
      const [x, weights] = ["x", "weights"].map((name) => input(name, "float32", [logprobs.length]));
      const loss = unlikelihoodLoss(x!, weights!);
      return { loss, ...grad(loss, { slope: x! }) };
    });
    const found = await program.run({
      x: Float32Array.from(logprobs),
      weights: new Float32Array(logprobs.length).fill(1),
    });
    await program.dispose();
    return { loss: found.loss.data[0]!, slope: [...(found.slope.data as Float32Array)] };
  }

  it("has the slope of its finite differences", async () => {
    const exact = (lp: number) => -Math.log1p(-Math.exp(lp));
    for (const lp of [-0.01, -0.1, -0.7, -3, -8]) {
      const { loss, slope } = await at([lp]);
      const h = 1e-6;
      const difference = (exact(Math.fround(lp) + h) - exact(Math.fround(lp) - h)) / (2 * h);
      expect(loss / exact(Math.fround(lp))).toBeCloseTo(1, 3);
      expect(slope[0]! / difference).toBeCloseTo(1, 3);
    }
  });

  it("is finite and still pulls down where a token is certain, and says nothing of one that is impossible", async () => {
    const { loss, slope } = await at([0, -1e-9, -1e-5, -200]);
    expect(loss).toBeGreaterThan(3 * 9);
    expect(loss).toBeLessThan(3 * 9.5);
    for (const s of slope.slice(0, 3)) expect(s).toBeCloseTo(1e4, -2);
    expect(slope[3]).toBe(0);
  });
});

const cpu = { device: "cpu", threads: 1 } as const;
let folder: string;
let model: LocalModel;
let runs = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-terms-"));
  await writeTalkingModel(folder);
  model = await openLocalModel(folder, { ...cpu, cacheDir: folder });
});

afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

const prompts = Array.from({ length: 5 }, (_, i): PromptRow => {
  return { id: `prompt-${i}`, origin: { parents: [] }, prompt: [{ role: "user", content: `Say ${i}` }] };
});
const example = (i: number, completion: string): ExampleRow => {
  return { id: `example ${i}`, origin: { parents: [] }, prompt: prompts[i % 5]!.prompt, completion, weight: 1 };
};
// Longer than any reply of the policy: rows are laid out for the terms too.
const examples = Array.from({ length: 6 }, (_, i) => example(i, `D${"MD".repeat(i === 0 ? 60 : 2)}`));
const flagged = Array.from({ length: 4 }, (_, i) => example(i, "KKK"));
const pairs = Array.from({ length: 6 }, (_, i): PreferenceRow => {
  const { id, origin, prompt } = example(i, "x");
  return { id, origin, prompt, a: `M${i}`, b: "no", p: 0.9, weight: 1, label: "check", explanation: [] };
});
const reward = rewardOf("letter", (requests) => requests.map(({ response }) => Number(response.includes("M"))));
const lora = { rank: 2, alpha: 4 };
const online = { iterations: 2, maxTokens: 4, learningRate: 5e-3, lora };
const algorithms = {
  ppo: { ...online, algorithm: "ppo", promptsPerIteration: 8, epochs: 2, minibatches: 2 },
  grpo: { ...online, algorithm: "grpo", promptsPerIteration: 2, samplesPerPrompt: 4 },
  rloo: { ...online, algorithm: "rloo", promptsPerIteration: 2, samplesPerPrompt: 4 },
  dpo: { algorithm: "dpo", lora, batchSize: 3, learningRate: 5e-3, checkpointEvery: 1 },
} as const;

type Given = Partial<TrainPolicyOptions> & Pick<TrainPolicyOptions, "settings">;
async function train(options: Given) {
  const into = join(folder, `run-${runs++}`);
  const run = trainPolicy({ model, prompts, rows: pairs, reward, seed: 3, folder: into, ...cpu, ...options });
  let next = await run.next();
  while (!next.done) next = await run.next();
  const { path, report } = next.value;
  return { report, bytes: (await readFile(join(path, "adapter_model.safetensors"))).toString("base64") };
}

describe("terms of the loss", () => {
  it("add λ times their gradient to the algorithm's, in one step", async () => {
    const settings = rlooSettingsSchema.parse({ algorithm: "rloo", lora, maxGradNorm: 0 });
    const term = imitation({ model, rows: examples, seed: 1, settings: { weight: 0.3, batchSize: 4, maxLength: 256 } });
    const items = ["M1", "no M", "DDD"].map((reply, i): Item => {
      const encode = (text: string) => model.text.encodeBehind([...prompts[i]!.prompt], [text]);
      const { prompt, texts } = encode(reply);
      return { sequences: [completionSequence(prompt, texts[0]!)], values: { advantage: i - 1 } };
    });
    /** The gradient of a step with these losses, and what the step says of it. */
    const gradientOf = async (own: boolean, terms: readonly LossTerm[]) => {
      const options = await trainerOptions({ model, seed: 1 }, settings, {
        updates: 1,
        expected: [items, ...term.expected],
      });
      const trainer = await openLocalTrainer({ ...options, model, ...cpu });
      const open = openTerms(trainer, terms);
      const objective = trainer.objective((graph) => {
        const loss = graph.perSequence(graph.tokens().logprobs).mul(reshape(graph.item("advantage"), ["items", 1]));
        return { loss: loss.sum().mul(own ? -1 : 0) };
      });
      let gradient = new Float32Array();
      trainer.update = () => {
        gradient = trainer.gradient().slice();
        return LocalTrainer.prototype.update.call(trainer);
      };
      const { gradNorm, metrics } = await takeStep(trainer, objective, items, open);
      await trainer.close();
      return { gradient, gradNorm, metrics };
    };
    const [rl, cai, both] = [
      await gradientOf(true, []),
      await gradientOf(false, [{ ...term, weight: 1 }]),
      await gradientOf(true, [term]),
    ];
    const expected = rl.gradient.map((value, i) => value + 0.3 * cai.gradient[i]!);
    const scale = Math.sqrt(expected.reduce((sum, x) => sum + x * x, 0));
    const apart = Math.sqrt(both.gradient.reduce((sum, x, i) => sum + (x - expected[i]!) ** 2, 0));
    expect(apart / scale).toBeLessThan(1e-6);
    expect(both.gradNorm).toBeCloseTo(scale, 5);
    expect(both.metrics["policy/gradient_cosine"]).toBeCloseTo(cosineOfParts(rl.gradient, both.gradient)!, 4);
    expect(both.metrics["loss/imitate"]).toBeCloseTo(cai.metrics["loss/imitate"]!, 5);
    expect(cai.metrics).not.toHaveProperty("policy/gradient_cosine");
  });

  it.each(Object.keys(algorithms) as (keyof typeof algorithms)[])(
    "stand beside %s: of weight 0 they are none, and what they are it need not know",
    async (algorithm) => {
      const settings = algorithms[algorithm];
      const plain = await train({ settings });
      const none = await train({ settings: { ...settings, imitate: { weight: 0 } } });
      expect(none.bytes).toBe(plain.bytes);
      expect(none.report.history[0]).not.toHaveProperty("policy/gradient_cosine");
      const { items, expected, digest, aside, build } = imitation({
        ...{ model, rows: examples, seed: 2, settings: { weight: 1, batchSize: 2, maxLength: 256 } },
      });
      const made: LossTerm = { name: "made up", weight: 0.5, items, expected, digest, aside, build };
      const joint = await train({
        settings: { ...settings, imitate: { weight: 0.5, batchSize: 3 }, avoid: { weight: 0.2, batchSize: 2 } },
        ...{ examples, flagged, terms: [made] },
      });
      expect(joint.bytes).not.toBe(plain.bytes);
      const last = joint.report.history.at(-1)!;
      for (const name of ["imitate", "avoid", "made up"]) expect(last[`loss/${name}`]).toBeGreaterThan(0);
      expect(Math.abs(last["policy/gradient_cosine"]!)).toBeLessThan(1);
    },
    240_000,
  );

  it("are learnt: the loss of what is imitated falls, the chance of what is avoided too", async () => {
    const settings = { ...algorithms.grpo, iterations: 6, learningRate: 2e-2, epochs: 2 };
    const flagged = [example(0, "MMM")];
    const { report } = await train({
      settings: { ...settings, imitate: { weight: 1, batchSize: 6 }, avoid: { weight: 1 } },
      ...{ examples: examples.slice(1), flagged },
    });
    const [first, last] = [report.history[0]!, report.history.at(-1)!];
    for (const name of ["loss/imitate", "loss/avoid"]) expect(last[name]).toBeLessThan(first[name]! * 0.8);
  });

  it("go on where a stopped training had them", async () => {
    const settings = { ...algorithms.ppo, imitate: { weight: 0.5, batchSize: 4 } };
    const whole = await train({ settings, examples });
    const into = join(folder, "stopped");
    const control = new AbortController();
    let asked = 0;
    const stopping = rewardOf("letter", (requests) => {
      if (++asked === 2) control.abort(new Error("enough"));
      return requests.map(({ response }) => Number(response.includes("M")));
    });
    const { signal } = control;
    await expect(train({ settings, examples, folder: into, signal, reward: stopping })).rejects.toThrow("enough");
    expect((await train({ settings, examples, folder: into })).bytes).toBe(whole.bytes);
    const others = [...examples, example(9, "M")];
    await expect(train({ settings, examples: others, folder: into })).rejects.toThrow(/terms/);
  }, 240_000);

  it("need what they learn from, and count what they cannot use", async () => {
    const settings = { ...algorithms.grpo, iterations: 1 };
    expect(() =>
      trainPolicy({ model, folder, prompts, reward, seed: 1, settings: { ...settings, imitate: {} } }),
    ).toThrow(/examples to imitate/);
    const long = example(7, "M".repeat(300));
    const short = { weight: 0.1, maxLength: 100 };
    await expect(train({ settings: { ...settings, avoid: short }, flagged: [long] })).rejects.toThrow(
      /avoid: none of the 1 replies.*more than 100.*policy.avoid/,
    );
    const { report } = await train({ settings: { ...settings, imitate: short }, examples: [examples[1]!, long] });
    expect(report.aside).toEqual([{ id: "example 7", reason: expect.stringContaining("more than 100") }]);
  });

  it("unlearn a reply's words, not where it ends", () => {
    const term = avoidance({ model, rows: flagged, seed: 1, settings: { weight: 1, batchSize: 1, maxLength: 64 } });
    const [item] = term.items(0);
    const { texts } = model.text.encodeBehind([...prompts[0]!.prompt], ["KKK"]);
    expect(item!.sequences[0]!.chosen.length).toBe(texts[0]!.length);
  });
});
