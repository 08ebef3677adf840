import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomStream } from "@tenet/data";
import { writeTalkingModel } from "@tenet/fixtures";
import { type LocalModel, loadAdapter, openLocalModel, SCORE_WEIGHT } from "@tenet/lm";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { openLocalTrainer } from "./local-trainer.ts";
import { policyLoss } from "./losses.ts";
import { completionSequence, type Item } from "./packing.ts";
import { type PpoOptions, trainPpo } from "./ppo.ts";
import { rewardOf } from "./reward/index.ts";
import { finish } from "./self-test/distance.ts";
import type { BuildLoss } from "./trainer.ts";
import { valueTerm } from "./value-network.ts";

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const cpu = { device: "cpu", threads: 1 } as const;
let folder: string;
let model: LocalModel;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-trunk-"));
  await writeTalkingModel(folder);
  model = await openLocalModel(folder, { ...cpu, cacheDir: folder });
});

afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

const prompts = Array.from({ length: 4 }, (_, i) => {
  const prompt = [{ role: "user" as const, content: `Say ${"1".repeat(i)}` }];
  return { id: `prompt-${i}`, origin: { parents: [] }, prompt };
});
const letter = rewardOf("letter", (requests) => requests.map(({ response }) => Number(response.includes("M"))));
const small = { promptsPerIteration: 4, maxTokens: 5, lora: { rank: 2, alpha: 4 }, iterations: 2, learningRate: 1e-2 };

const train = (name: string, settings: PpoOptions["settings"], more: Partial<PpoOptions> = {}) =>
  finish(
    trainPpo({
      ...{ model, prompts, reward: letter, seed: 1, folder: join(folder, name), ...cpu },
      settings: { ...small, ...settings },
      ...more,
    }),
  );
const weightsIn = (path: string) => readFile(join(path, "adapter_model.safetensors"));

/** Replies with numbers beside each token as a rollout leaves them; weights are of a mean over all of them. */
function minibatch(): Item[] {
  const { uniform } = randomStream({ seed: 1, stage: "trunk", item: "numbers" });
  let draw = 0;
  const numbers = (count: number, scale: number) =>
    Float32Array.from({ length: count }, () => scale * (uniform(draw++) - 0.5));
  const lengths = [4, 6, 3];
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  return lengths.map((length, i) => ({
    sequences: [
      completionSequence(
        [65, 66 + i, 67],
        Int32Array.from({ length }, (_, t) => 70 + ((3 * i + t) % 20)),
        {
          // About a uniform distribution over 259 tokens: ratios near 1, most of them inside the clipping.
          logprob: numbers(length, 0.1).map((x) => x - 5.5),
          ...{ advantage: numbers(length, 2), value: numbers(length, 0.2), return: numbers(length, 2) },
          weight: new Float32Array(length).fill(1 / tokens),
        },
      ),
    ],
  }));
}

it("learns by the gradient of policy loss + coefficient · value loss: the sum of both, and the slope of finite differences", async () => {
  const trainer = await openLocalTrainer({
    ...{ model, tuning: { lora: { rank: 2, alpha: 4 }, head: true }, seed: 1, ...cpu },
    optimizer: {
      ...({ learningRate: 1e-2, schedule: "constant", warmupSteps: 0, steps: 10 } as const),
      ...({ betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0, maxGradNorm: 0 } as const),
    },
  });
  const { uniform } = randomStream({ seed: 1, stage: "trunk", item: "start" });
  trainer.parameters.data.forEach((_, i, data) => {
    data[i] = 0.3 * (uniform(i) - 0.5);
  });
  const coefficient = 0.7;
  const policy: BuildLoss = (graph) => {
    const terms = {
      ...{ logprobs: graph.tokens().logprobs, oldLogprobs: graph.value("logprob") },
      ...{ advantages: graph.value("advantage"), weights: graph.value("weight") },
    };
    return { loss: policyLoss(terms, 0.2).loss };
  };
  const value: BuildLoss = (graph) => ({ loss: valueTerm(graph, graph.scores(), 0.2).loss });
  const both: BuildLoss = (graph) => ({ loss: policy(graph).loss.add(value(graph).loss.mul(coefficient)) });
  const items = minibatch();
  const start = await trainer.state();
  const gradientOf = async (build: BuildLoss) => {
    const { loss } = await trainer.objective(build).accumulate(items);
    const gradient = Float64Array.from(trainer.gradient());
    // What was accumulated is dropped.
    await trainer.update();
    await trainer.restore(start);
    return { loss, gradient };
  };
  const [ofPolicy, ofValue, ofBoth] = [await gradientOf(policy), await gradientOf(value), await gradientOf(both)];
  const norm = (x: Float64Array) => Math.sqrt(x.reduce((sum, y) => sum + y * y, 0));
  const size = norm(ofBoth.gradient);
  expect(ofBoth.loss).toBeCloseTo(ofPolicy.loss + coefficient * ofValue.loss, 5);
  const apart = ofBoth.gradient.map((x, i) => x - ofPolicy.gradient[i]! - coefficient * ofValue.gradient[i]!);
  expect(norm(apart) / size).toBeLessThan(1e-5);
  // Neither is nothing, in factors and head.
  expect(norm(ofPolicy.gradient)).toBeGreaterThan(0.01 * size);
  expect(norm(ofValue.gradient)).toBeGreaterThan(0.01 * size);

  const objective = trainer.objective(both);
  const at = Float32Array.from(trainer.parameters.data);
  const lossAlong = async (direction: Float64Array, step: number) => {
    trainer.parameters.data.set(at.map((x, i) => x + step * direction[i]!));
    return (await objective.evaluate(items)).loss;
  };
  const random = Float64Array.from(at, (_, i) => uniform(at.length + i) - 0.5);
  for (const along of [ofBoth.gradient, ofValue.gradient, random]) {
    const direction = along.map((x) => x / norm(along));
    const expected = direction.reduce((sum, x, i) => sum + x * ofBoth.gradient[i]!, 0);
    const step = 4e-3;
    const slope = ((await lossAlong(direction, step)) - (await lossAlong(direction, -step))) / (2 * step);
    expect(Math.abs(slope - expected)).toBeLessThan(0.02 * size);
  }
  await trainer.close();
});

it("reports one gradient, saves no head, goes on where it was stopped, and leaves an own network as it is", async () => {
  const settings = { value: { trunk: "shared" } } as const;
  const whole = await train("whole", settings);
  for (const metrics of whole.events) {
    expect(metrics["loss/value_avg"]).toBeGreaterThan(0);
    expect(metrics).toHaveProperty("val/explained_variance");
    expect(metrics).not.toHaveProperty("val/grad_norm_avg");
    expect(Object.values(metrics).every(Number.isFinite)).toBe(true);
  }
  // The ratio of a first pass is 1 with values in the same graph too.
  expect(Math.abs(whole.events[0]!["objective/kl"]!)).toBeLessThan(1e-5);
  const { parameters } = await loadAdapter(whole.path, model.config);
  expect(parameters.ranges.map(({ name }) => name)).not.toContain(SCORE_WEIGHT);

  const control = new AbortController();
  let asked = 0;
  const reward = rewardOf("letter", (requests) => {
    if (++asked > 1) control.abort(new Error("enough"));
    return requests.map(({ response }) => Number(response.includes("M")));
  });
  await expect(train("broken", settings, { reward, signal: control.signal })).rejects.toThrow("enough");
  const resumed = await train("broken", settings);
  expect((await weightsIn(resumed.path)).equals(await weightsIn(whole.path))).toBe(true);

  const [own, absent] = [await train("own", { value: { trunk: "own" } }), await train("absent", {})];
  expect((await weightsIn(own.path)).equals(await weightsIn(absent.path))).toBe(true);
  expect((await weightsIn(own.path)).equals(await weightsIn(whole.path))).toBe(false);
});

it("learns values: a reward that is always the same is foretold after some passes", async () => {
  const reward = rewardOf("two", (requests) => requests.map(() => 2));
  const passes = { iterations: 6, epochs: 8, minibatches: 1, lambda: 1, kl: { coefficient: 0 } };
  const { events } = await train(
    "values",
    { ...passes, value: { trunk: "shared", coefficient: 1, clip: 10 } },
    { reward },
  );
  expect(events.at(-1)!["loss/value_avg"]!).toBeLessThan(events[0]!["loss/value_avg"]! / 4);
});

it("keeps a network of its own for the cost of a constraint, and has no warm-up", async () => {
  const cost = rewardOf("long", (requests) => requests.map(({ length }) => length / 10));
  const constraint = { bound: 0.2, cost: "checks" } as never;
  const { events } = await train("cost", { iterations: 1, constraint, value: { trunk: "shared" } }, { cost });
  expect(events[0]).toHaveProperty("val/cost_grad_norm_avg");
  expect(events[0]).toHaveProperty("loss/value_avg");
  await expect(train("warm", { value: { trunk: "shared", warmup: 2 } })).rejects.toThrow(/value\.warmup goes with/);
});
