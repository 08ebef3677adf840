import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CostRow, randomStream } from "@tenet/data";
import { writeTalkingModel } from "@tenet/fixtures";
import { type LocalModel, openLocalModel } from "@tenet/lm";
import { compile, grad, input } from "@tenet/tensor";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type CostModelOptions, costLoss, orderOf, trainCostModel } from "./cost-model.ts";
import { openPreferenceModel } from "./preference-model.ts";

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

interface Golden {
  sign_weight: number;
  costs: [number[], number[]];
  unsafe: [number[], number[]];
  q: number[];
  weights: number[];
  loss: number;
  gradients: [number[], number[]];
}
const golden: Golden = JSON.parse(readFileSync(new URL("./cost-model.golden.json", import.meta.url), "utf8"));

it("has PyTorch's loss and gradients", async () => {
  const n = golden.q.length;
  const program = await compile(() => {
    const of = (name: string) => input(name, "float32", [n]);
    const [a, b] = [of("a"), of("b")];
    const terms = { costs: [a, b] as const, unsafe: [of("ua"), of("ub")] as const, q: of("q"), weights: of("weights") };
    const loss = costLoss(terms, { signWeight: golden.sign_weight });
    return { loss, ...grad(loss, { slopeA: a, slopeB: b }) };
  });
  const feeds = { a: golden.costs[0], b: golden.costs[1], ua: golden.unsafe[0], ub: golden.unsafe[1] };
  const found = await program.run(
    Object.fromEntries(
      Object.entries({ ...feeds, q: golden.q, weights: golden.weights }).map(([name, values]) => [
        name,
        Float32Array.from(values),
      ]),
    ),
  );
  expect(found.loss.data[0]! / golden.loss).toBeCloseTo(1, 6);
  for (const [got, wanted] of [
    [found.slopeA.data, golden.gradients[0]],
    [found.slopeB.data, golden.gradients[1]],
  ] as const)
    for (const [i, slope] of wanted.entries()) expect(Math.abs(got[i]! - slope)).toBeLessThan(1e-6);
  await program.dispose();
});

const cpu = { device: "cpu", threads: 1 } as const;
let folder: string;
let model: LocalModel;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-cost-"));
  await writeTalkingModel(folder);
  model = await openLocalModel(folder, { ...cpu, cacheDir: folder });
});

afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

async function train(options: Pick<CostModelOptions, "rows" | "folder"> & Partial<CostModelOptions>) {
  const training = trainCostModel({ model, seed: 1, settings: {}, ...cpu, ...options });
  let next = await training.next();
  while (!next.done) next = await training.next();
  return next.value;
}

/** Pairs of replies of six letters that are unsafe by what they end with. */
function planted(count: number, kinds: Readonly<Record<string, number>>): CostRow[] {
  const { uniform, integer } = randomStream({ seed: 9, stage: "cost", item: "pairs" });
  const letters = Object.keys(kinds);
  let draws = 0;
  const reply = () => {
    const kind = letters[integer(draws++, letters.length)]!;
    const text = Array.from({ length: 4 }, () => "ABCDEFGH"[integer(draws++, 8)]!).join("") + kind;
    return { text, u: kinds[kind]! };
  };
  return Array.from({ length: count }, (_, i): CostRow => {
    const [a, b] = [reply(), reply()];
    const q = orderOf([a.u, b.u]);
    const prompt = [{ role: "user" as const, content: `Say ${i}` }];
    return {
      ...{ id: `${i} ${uniform(draws++)}`, origin: { parents: [] }, prompt, a: a.text, b: b.text },
      ...{ unsafe: [a.u, b.u], q, weight: 1 },
    };
  });
}

describe("a cost model", () => {
  it("has its boundary at 0 on planted data, and the scores that its training had", async () => {
    const into = join(folder, "planted");
    const settings = { epochs: 3, learningRate: 3e-3, lora: { rank: 4, alpha: 8 }, validationShare: 0.3 };
    const { path, report } = await train({ rows: planted(240, { K: 1, M: 0 }), folder: into, settings });
    const { signs, order, safeBelow, majority } = report.evaluation!;
    expect(signs.value).toBeGreaterThan(0.97);
    expect(signs.interval[0]).toBeGreaterThan(majority);
    expect(order.value).toBeGreaterThan(0.97);
    expect(safeBelow.value).toBeGreaterThan(0.97);
    const opened = await openPreferenceModel(model, path, cpu);
    const prompt = [{ role: "user" as const, content: "Say 7" }];
    const [unsafe, safe] = await opened.score(["ABCDK", "ABCDM"].map((response) => ({ prompt, response })));
    expect(unsafe).toBeGreaterThan(0);
    expect(safe).toBeLessThan(0);
    // Never normalised.
    expect(opened.scale).toBe(1);
    await opened.close();
  });

  it("is calibrated where what it learns is uncertain, and known to be", async () => {
    const settings = {
      epochs: 10,
      learningRate: 1e-2,
      lora: { rank: 8, alpha: 16 },
      schedule: "linear",
      validationShare: 0.25,
    } as const;
    const rows = planted(320, { K: 0.9, L: 0.7, M: 0.3, N: 0.1 });
    const { report } = await train({ rows, folder: join(folder, "soft"), settings });
    expect(report.evaluation!.calibration.ece).toBeLessThan(0.03);
    expect(report.evaluation!.signs.value).toBeGreaterThan(0.95);
  });

  it("counts what it cannot use, and needs something", async () => {
    const [row] = planted(1, { K: 1, M: 0 });
    const same = { ...row!, id: "same", b: row!.a };
    await expect(train({ rows: [same], folder: join(folder, "none") })).rejects.toThrow(
      /none of the 1 pairs.*the same/,
    );
    const { report } = await train({
      rows: [row!, same],
      folder: join(folder, "one"),
      settings: { validationShare: 0 },
    });
    expect(report).toMatchObject({ pairs: 1, aside: [{ id: "same", reason: "both replies are the same" }] });
    expect(report).not.toHaveProperty("evaluation");
  });
});
