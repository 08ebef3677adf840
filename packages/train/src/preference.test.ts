import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PreferenceRow, rowId } from "@tenet/data";
import { writeTinyModel } from "@tenet/fixtures";
import { adapterShapes, type LocalModel, openLocalModel, saveAdapter } from "@tenet/lm";
import { compile, grad, input, ParameterSet } from "@tenet/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NoExamplesError } from "./errors.ts";
import type { MetricEvent } from "./loop.ts";
import { evaluationOf, type Pair, preparePairs } from "./pairs.ts";
import { type PreferenceOptions, type PreferenceResult, preferenceLoss, trainPreference } from "./preference.ts";
import { openPreferenceModel, PreferenceModelError } from "./preference-model.ts";

let folder: string;
let model: LocalModel;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-preference-"));
  model = await openLocalModel(await writeTinyModel(join(folder, "base")), { device: "cpu", cacheDir: folder });
});

afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

function pair(prompt: string, a: string, b: string, p: number, more: Partial<PreferenceRow> = {}): PreferenceRow {
  const id = rowId("preference", prompt, a, b, p);
  const common = { id, origin: { parents: [] }, prompt: [{ role: "user" as const, content: prompt }], a, b, p };
  return { ...common, weight: 1, label: "ai", explanation: [], ...more };
}

/** Replies are letters; the later in the alphabet, the better: p = σ(0.5 · distance). */
const letters = [..."abcdefgh"];
const worth = (letter: string) => 0.5 * letters.indexOf(letter);
const preferred = (a: string, b: string) => 1 / (1 + Math.exp(worth(b) - worth(a)));

function letterPairs(prompt: string): PreferenceRow[] {
  const ordered = letters.flatMap((a) => letters.filter((b) => b !== a).map((b) => [a, b] as const));
  return ordered.map(([a, b]) => pair(prompt, a, b, preferred(a, b)));
}

async function train(
  options: Omit<PreferenceOptions, "model" | "seed"> & { readonly seed?: number },
): Promise<{ events: MetricEvent[]; result: PreferenceResult }> {
  const run = trainPreference({ model, seed: 1, ...options });
  const events: MetricEvent[] = [];
  for (let next = await run.next(); ; next = await run.next()) {
    if (next.done) return { events, result: next.value };
    events.push(next.value);
  }
}

const quick = { learningRate: 1e-2, batchSize: 16, lora: { rank: 8, alpha: 16 } };

describe("preferenceLoss", () => {
  it("and its gradient agree with PyTorch", async () => {
    const golden = JSON.parse(await readFile(new URL("preference.golden.json", import.meta.url), "utf8")) as Record<
      "difference" | "p" | "weights" | "gradient",
      number[]
    > & { loss: number };
    const program = await compile(() => {
      const [difference, p, weights] = ["difference", "p", "weights"].map((name) => input(name, "float32", [16]));
      const loss = preferenceLoss(difference!, p!, weights!);
      return { loss, gradient: grad(loss, [difference!])[0]! };
    });
    const { loss, gradient } = await program.run({
      difference: Float32Array.from(golden.difference),
      p: Float32Array.from(golden.p),
      weights: Float32Array.from(golden.weights),
    });
    expect(Math.abs(loss.data[0]! / golden.loss - 1)).toBeLessThan(1e-5);
    golden.gradient.forEach((value, i) => void expect(Math.abs(gradient.data[i]! - value)).toBeLessThan(1e-5));
    await program.dispose();
  });
});

describe("trainPreference", () => {
  it.each([1, 2, 3])(
    "recovers the probabilities behind soft targets of pairs it has not seen, not behind hard ones, seed %i",
    async (seed) => {
      // Of every distance between letters one pair, in both orders, is only asked about.
      const held = ({ a, b }: PreferenceRow) => [6, 7].includes(letters.indexOf(a) + letters.indexOf(b));
      const rows = ["Pick", "Choose", "Say", "Take"].flatMap(letterPairs).filter((row) => !held(row));
      const validation = letterPairs("Name").filter(held);
      const evaluations = [];
      for (const targets of ["soft", "hard"] as const) {
        const settings = { ...quick, targets, epochs: 10, schedule: "linear" as const };
        const { result } = await train({
          rows,
          validation,
          settings,
          folder: join(folder, `${targets}-${seed}`),
          seed,
        });
        evaluations.push(result.report.evaluation!);
      }
      const [soft, hard] = evaluations;
      expect(soft!.accuracy.value).toBe(1);
      expect(soft!.calibration.ece).toBeLessThan(0.03);
      // It tells most of the better replies, and nothing of how much better they are.
      expect(hard!.accuracy.value).toBeGreaterThan(0.8);
      expect(hard!.calibration.ece).toBeGreaterThan(0.08);
    },
  );

  it("scores replies under the base it shares, normalised, whatever their company", async () => {
    const rows = letterPairs("Pick");
    const { result } = await train({ rows, settings: { ...quick, epochs: 4 }, folder: join(folder, "scores") });
    const opened = await openPreferenceModel(model, result.path, { microBatchTokens: 256 });
    const requests = letters.map((response) => ({ prompt: rows[0]!.prompt, response }));
    const scores = await opened.score(requests);
    const mean = scores.reduce((a, b) => a + b) / scores.length;
    // Every letter is in as many training replies as any other.
    expect(Math.abs(mean)).toBeLessThan(0.05);
    expect(Math.sqrt(scores.reduce((sum, score) => sum + (score - mean) ** 2, 0) / scores.length)).toBeCloseTo(1, 1);
    expect(opened.scale).toBeCloseTo(result.report.scores.deviation, 6);
    expect(await opened.score([])).toEqual([]);
    for (const [i, request] of requests.entries())
      expect((await opened.score([request]))[0]).toBeCloseTo(scores[i]!, 4);
    const reversed = await opened.score([...requests].reverse());
    for (const [i, score] of reversed.reverse().entries()) expect(score).toBeCloseTo(scores[i]!, 4);
    await expect(opened.score(requests, { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
    await expect(opened.score([{ ...requests[0]!, response: "a".repeat(3000) }])).rejects.toThrow(PreferenceModelError);
    await opened.close();

    const sharing = await openPreferenceModel(model, result.path, { microBatchTokens: 256, shareBeginnings: true });
    for (const [i, score] of (await sharing.score(requests)).entries()) expect(score).toBeCloseTo(scores[i]!, 4);
    await sharing.close();

    const raw = await train({ rows, settings: { ...quick, epochs: 4, normalise: false }, folder: join(folder, "raw") });
    const unscaled = await openPreferenceModel(model, raw.result.path);
    const { mean: centre, deviation } = result.report.scores;
    for (const [i, score] of (await unscaled.score(requests)).entries())
      expect((score - centre) / deviation).toBeCloseTo(scores[i]!, 3);
    await unscaled.close();
  });

  it("learns rankings first, ten times as fast, and fine-tunes what they taught", async () => {
    const ranked = letterPairs("Pick").map((row) => ({ ...row, p: Math.round(row.p), label: "ranking" as const }));
    const rows = letterPairs("Choose").slice(0, 32);
    const settings = { ...quick, learningRate: 1e-3, pretraining: { epochs: 3 }, validationShare: 0 };
    const { events, result } = await train({ rows, pretraining: ranked, settings, folder: join(folder, "pmp") });
    expect(events.map(({ step }) => step)).toEqual(Array.from({ length: 14 }, (_, i) => i + 1));
    expect(events.every(({ of }) => of === 14)).toBe(true);
    expect(events.map(({ metrics }) => metrics.learning_rate)).toEqual([...Array(12).fill(1e-2), 1e-3, 1e-3]);
    // The first pairs of fine-tuning are new, but their order is known by then.
    expect(events[12]!.metrics.accuracy).toBeGreaterThan(0.8);
    expect(events[12]!.metrics.margin).toBeGreaterThan(events[0]!.metrics.margin! + 0.5);
    expect(result.report).toMatchObject({ pairs: 32, pretrainingPairs: 56, steps: 14 });
    expect(result.report.evaluation).toBeUndefined();
  });

  it("continues after an interruption in either phase, and ends with the same bytes", async () => {
    const pretraining = letterPairs("Pick").slice(0, 32);
    const rows = letterPairs("Choose").slice(0, 40);
    const options = { rows, pretraining, settings: { ...quick, checkpointEvery: 2 } };
    const whole = await train({ ...options, folder: join(folder, "whole") });
    const parts = join(folder, "parts");
    // A step is told before it is saved: who stops behind the fifth has four.
    for (const steps of [1, 5]) {
      const run = trainPreference({ model, seed: 1, ...options, folder: parts });
      for (let i = 0; i < steps; i++) await run.next();
      await run.return(undefined as never);
    }
    const rest = await train({ ...options, folder: parts });
    expect(rest.events).toEqual(whole.events.slice(4));
    expect(rest.result.report).toEqual(whole.result.report);
    for (const file of ["adapter_model.safetensors", "preference.json"])
      expect(await readFile(join(parts, "adapter", file))).toEqual(await readFile(join(whole.result.path, file)));
  });

  it("sets useless pairs aside with the reason", async () => {
    const rows = [
      ...letterPairs("Pick").slice(0, 4),
      pair("Pick", "same", "same", 1),
      pair("Pick", "x", "y", 1, { weight: 0 }),
      pair("Pick", "x", "y".repeat(90), 1),
      pair("Pick", "x", "y", 0.5, { label: "check" }),
    ];
    const settings = { ...quick, maxLength: 80, targets: "hard" as const, validationShare: 0 };
    const { result } = await train({ rows, settings, folder: join(folder, "aside") });
    expect(result.report.aside.map(({ reason }) => reason)).toEqual([
      "both replies are the same",
      "its weight is 0",
      expect.stringMatching(/more than 80/),
      "its label prefers neither, and targets are hard",
    ]);
    await expect(train({ rows: rows.slice(4), settings, folder: join(folder, "none") })).rejects.toThrow(
      NoExamplesError,
    );
  });

  it("weighs pairs and sources, and reports by source", async () => {
    const human = letterPairs("Pick")
      .slice(0, 16)
      .map((row, i) => ({ ...row, p: 1, origin: { source: `human:${i + 1}`, parents: [] }, label: "human" as const }));
    // The same pairs with the opposite label, which weigh nothing to speak of.
    const wrong = human.map((row, i) => ({ ...row, p: 0, origin: { source: `wrong#${i},${i + 1}`, parents: [] } }));
    const rows = [...human, ...wrong];
    const settings = { ...quick, epochs: 8, sourceWeights: { wrong: 1e-3 } };
    const { result } = await train({ rows, validation: rows, settings, folder: join(folder, "sources") });
    const { bySource, accuracy, lengthCorrelation } = result.report.evaluation!;
    expect(bySource.human!.value).toBeGreaterThan(0.75);
    expect(bySource.wrong!.value).toBeCloseTo(1 - bySource.human!.value, 6);
    expect(accuracy.value).toBeCloseTo(0.5, 6);
    // All replies have one letter.
    expect(lengthCorrelation).toBeNaN();
  });
});

describe("evaluationOf", () => {
  // Ten pairs whose preferred reply is given 4 : 1, which is right in eight.
  const scores = Array.from({ length: 10 }, (_, i) => (i < 8 ? [Math.log(4), 0] : [0, Math.log(4)]));
  const pairOf = (p: number): Pair => ({
    ...{ item: { sequences: [] }, tokens: 8, lengths: [4, 4], p, target: p, weight: 1, source: "human" },
    prompt: "one",
  });
  const evaluation = evaluationOf(
    scores.map(() => pairOf(1)),
    scores,
  );

  it("finds a model calibrated that is right as often as it says, though A is the preferred reply of every pair", () => {
    expect(evaluation.accuracy.value).toBe(0.8);
    expect(evaluation.calibration.ece).toBeCloseTo(0, 12);
    expect(evaluation.calibration.brier).toBeCloseTo(0.8 * 0.2, 12);
  });

  it("does not depend on which reply is A", () => {
    const exchanged = evaluationOf(
      scores.map((_, i) => pairOf(i % 3 === 0 ? 0 : 1)),
      scores.map(([a, b], i) => (i % 3 === 0 ? [b!, a!] : [a!, b!])),
    );
    expect(exchanged.accuracy).toEqual(evaluation.accuracy);
    expect(exchanged.loss).toBeCloseTo(evaluation.loss, 12);
    expect(exchanged.calibration.ece).toBeCloseTo(0, 12);
    expect(exchanged.calibration.brier).toBeCloseTo(evaluation.calibration.brier, 12);
  });
});

describe("pairs that are judged by principles", () => {
  const shout = { principle: "shout", negated: false, says: "Shout.", otherwise: "Ask." };
  const given = (...principles: (typeof shout)[]) => ({ decidedBy: principles[0]!.principle, principles });

  it("are right under principles and opposites, or not read at all", () => {
    const judged = (p: number, decidedBy: string): Pair => {
      const item = { sequences: [] };
      const common = { item, tokens: 2, lengths: [1, 1] as const, p, target: p, weight: 1, source: "ai" };
      return { ...common, prompt: `${decidedBy} ${p}`, given: { decidedBy, turned: item } };
    };
    const { given: _, ...plain } = judged(1, "none");
    const pairs = [judged(1, "shout"), plain, judged(0, "shout"), judged(0.9, "small"), judged(0.5, "small")];
    // The model is right on all but the third, and its word turns in the first alone.
    const scores = [
      [2, 1],
      [2, 1],
      [2, 1],
      [2, 1],
      [2, 1],
    ];
    const turnedScores = [
      [1, 2],
      [1, 2],
      [2, 1],
      [1, 2],
    ];
    const { accuracy, given: found } = evaluationOf(pairs, scores, turnedScores);
    expect([accuracy.value, accuracy.n]).toEqual([0.75, 4]);
    expect([found!.flip.value, found!.flip.n]).toEqual([1 / 3, 3]);
    expect(found!.byPrinciple.shout).toMatchObject({ value: 0.5, n: 2 });
    expect(found!.byPrinciple.small).toMatchObject({ value: 1, n: 1 });
    expect(evaluationOf([plain], [[2, 1]]).given).toBeUndefined();
  });

  it("are encoded behind their principles, and set aside where the opposites are too long", () => {
    const settings = { maxLength: 128, targets: "soft" as const, sourceWeights: {} };
    const rows = [
      pair("Name one", "A!", "A?", 1, { given: given(shout) }),
      pair("Name two", "A!", "A?", 1, { given: given({ ...shout, otherwise: "Ask. ".repeat(30) }) }),
      pair("Name one", "A!", "A?", 1),
    ];
    const aside: { id: string; reason: string }[] = [];
    const [first, plain] = preparePairs(rows, model, settings, aside);
    expect(aside).toEqual([
      { id: rows[1]!.id, reason: expect.stringMatching(/under the opposites of its principles/) },
    ]);
    const text = (tokens: ArrayLike<number>) => model.text.decode([...Array.from(tokens)]);
    expect(text(first!.item.sequences[0]!.tokens as number[])).toContain("- Shout.");
    expect(text(first!.given!.turned.sequences[0]!.tokens as number[])).toContain("- Ask.");
    expect(first!.lengths).toEqual(plain!.lengths);
    // One prompt, whatever it is judged by: both stand on one side when pairs are held out.
    expect(first!.prompt).toBe(plain!.prompt);
  });
});

describe("openPreferenceModel", () => {
  it("refuses an adapter without a scalar head, and a damaged normalisation", async () => {
    const lora = { rank: 2, alpha: 4 };
    const { config } = model;
    for (const head of [false, true]) {
      const parameters = new ParameterSet(adapterShapes(config, lora, { head }));
      await saveAdapter(join(folder, `head-${head}`), { lora, parameters, baseModel: undefined, config });
    }
    await expect(openPreferenceModel(model, join(folder, "head-false"))).rejects.toThrow(PreferenceModelError);
    const path = join(folder, "head-true");
    // One of someone else's scores as it is.
    const plain = await openPreferenceModel(model, path);
    expect(await plain.score([{ prompt: [{ role: "user", content: "x" }], response: "y" }])).toEqual([0]);
    await plain.close();
    await writeFile(join(path, "preference.json"), '{"normalisation": {"mean": 0, "deviation": 0}}');
    await expect(openPreferenceModel(model, path)).rejects.toThrow(/deviation/);
  });
});
