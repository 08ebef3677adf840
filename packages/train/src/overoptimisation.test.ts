import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeTalkingModel } from "@tenet/fixtures";
import { type LocalModel, openLocalModel } from "@tenet/lm";
import { afterAll, beforeAll, expect, it } from "vitest";
import { promptsOf } from "../test/prompts.ts";
import type { MetricEvent } from "./loop.ts";
import { monitorRules } from "./monitor-rules.ts";
import { trainPolicy } from "./policy.ts";
import { rewardOf } from "./reward/index.ts";

/*
 * Over-optimisation staged on purpose: the reward loves length, and a rule that training never hears of forbids it.
 */

// Of a model this small a second thread only waits.
const cpu = { device: "cpu", threads: 1 } as const;
let folder: string;
let model: LocalModel;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-overoptimisation-"));
  await writeTalkingModel(folder, { endBias: 2 });
  model = await openLocalModel(folder, { ...cpu, cacheDir: folder });
});

afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

const long = (response: string) => response.length > 6;

interface Staged {
  readonly history: readonly Readonly<Record<string, number>>[];
  /** Of each look at the policy, its start the first: of each response whether it is too long, and its length. */
  readonly looks: readonly (readonly { readonly broken: boolean; readonly length: number }[])[];
}

async function staged(seed: number, coefficient: number): Promise<Staged> {
  const looks: { broken: boolean; length: number }[][] = [];
  const training = trainPolicy({
    ...{ model, prompts: promptsOf("Say", 8), seed, folder: join(folder, `${seed}-${coefficient}`), ...cpu },
    reward: rewardOf("length", (requests) => requests.map(({ length }) => length / 4)),
    selection: {
      ...{ prompts: promptsOf("Watch", 40), every: 1, sampling: { temperature: 1, maxTokens: 12 } },
      violates(requests) {
        looks.push(requests.map(({ response, length }) => ({ broken: long(response), length })));
        return requests.map(({ response }) => long(response));
      },
      ...{ digest: "short", independent: true },
    },
    settings: {
      ...{ algorithm: "rloo", iterations: 8, promptsPerIteration: 8, samplesPerPrompt: 8, maxTokens: 12 },
      ...{ learningRate: 3e-3, lora: { rank: 4, alpha: 8 }, kl: { coefficient } },
      reward: { missingEndPenalty: 0 },
    },
  });
  const events: MetricEvent[] = [];
  for (let next = await training.next(); ; next = await training.next()) {
    if (next.done) return { history: next.value.report.history, looks };
    events.push(next.value);
  }
}

/** Two-sided p of the exact sign test on those that changed: McNemar's, of which the bootstrap of the alarm knows nothing. */
function signTest(better: number, worse: number): number {
  const n = better + worse;
  let [tail, term] = [0, 0.5 ** n];
  for (let k = 0; k <= n; k++) {
    if (k <= Math.min(better, worse)) tail += term;
    term = (term * (n - k)) / (k + 1);
  }
  return Math.min(1, 2 * tail);
}

/** The first look by which both have moved beyond doubt, by the sign test; undefined where none has. */
function partedAt({ looks }: Staged): number | undefined {
  const [start, ...later] = looks;
  const at = later.findIndex((look) => {
    const count = (of: (was: (typeof look)[number], is: (typeof look)[number]) => boolean) =>
      look.filter((is, i) => of(start![i]!, is)).length;
    const broke = count((was, is) => is.broken && !was.broken);
    const mended = count((was, is) => was.broken && !is.broken);
    const longer = count((was, is) => is.length > was.length);
    const shorter = count((was, is) => is.length < was.length);
    return (
      broke > mended && longer > shorter && [signTest(mended, broke), signTest(shorter, longer)].every((p) => p < 0.05)
    );
  });
  return at < 0 ? undefined : at + 1;
}

const alarms = ({ history }: Staged) =>
  monitorRules(history).flatMap(({ rule, iteration }) => (rule === "R6" || rule === "R11" ? [[rule, iteration]] : []));

it.each([1, 2, 3])(
  "the alarm sounds where the policy parts from what was wanted, and not where it is held to its start, seed %i",
  async (seed) => {
    const free = await staged(seed, 0);
    const right = partedAt(free)!;
    expect(right).toBeGreaterThan(0);
    const sounded = new Map(alarms(free) as [string, number][]);
    for (const rule of ["R6", "R11"]) expect(Math.abs(sounded.get(rule)! - right), rule).toBeLessThanOrEqual(1);
    const last = free.history.at(-1)!;
    expect(last["validation/proxy_low"]).toBeGreaterThan(0);
    expect(last["validation/judge_high"]).toBeLessThan(0);
    expect(last["reward/length_correlation"]).toBeGreaterThan(0.9);

    const held = await staged(seed, 2);
    expect(partedAt(held)).toBeUndefined();
    expect(alarms(held)).toEqual([]);
  },
  240_000,
);
