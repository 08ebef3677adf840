import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PreferenceRow, randomStream } from "@tenet/data";
import { writeTalkingModel } from "@tenet/fixtures";
import { type LanguageModel, openLocalModel, scriptedModel } from "@tenet/lm";
import { trainPreference } from "@tenet/train";
import { describe, expect, it } from "vitest";
import { parseConstitution } from "../constitution/index.ts";
import { criticOf } from "../reward/index.ts";
import { constitutionOf } from "./fixture.ts";
import { judgePairs, type PairVerdict, pairVerdictSchema } from "./pair-verdicts.ts";
import { type WeighSettings, weigh, weighSettingsSchema } from "./weigh.ts";

const constitution = parseConstitution(
  `name: letters
version: "1"
principles:
  - id: no-k
    text: Do not say K.
    weight: 2
    checks: [{ mustNot: "K", severity: 0.5 }]
  - id: kind
    text: Be kind.
`,
  { file: "letters.yaml" },
).value;

function label(id: string, p: number, a = "M", b = "K", weight = 1): PreferenceRow {
  const prompt = [{ role: "user" as const, content: `Say ${id}` }];
  return { id, origin: { parents: [] }, prompt, a, b, p, weight, label: "ai", explanation: [] };
}

/** What the checks say of both replies. */
async function checked(rows: readonly PreferenceRow[]): Promise<Map<string, PairVerdict>> {
  const verdicts = new Map<string, PairVerdict>();
  const options = { constitution, by: "checks", principles: "all", seed: 1 } as const;
  for await (const { rows: made } of judgePairs(rows, options, undefined))
    for (const verdict of made) verdicts.set(verdict.pair, verdict);
  return verdicts;
}

const settings = (given: Partial<WeighSettings> = {}) => weighSettingsSchema.parse(given);

describe("labels held against the constitution", () => {
  it.each([
    // [replies, label, settings, what is learnt: p, or undefined where it is set aside]
    ["right", "M", "K", 0.9, {}, 0.9],
    ["undecided", "M", "K", 0.5, {}, 0.5],
    ["both keep to it", "M", "D", 0.2, {}, 0.2],
    ["both violate", "K", "KK", 0.8, {}, undefined],
    ["both violate, kept", "K", "KK", 0.8, { bothViolate: "keep" }, 0.8],
    ["contradicted, turned round", "K", "M", 0.9, {}, 0.1],
    ["contradicted, dropped", "K", "M", 0.9, { contradicted: "drop" }, undefined],
    ["contradicted, half as sure", "M", "K", 0.1, { contradicted: "soften" }, 0.3],
    ["contradicted, kept", "K", "M", 0.9, { contradicted: "keep" }, 0.9],
  ] as const)("%s", async (_, a, b, p, given, expected) => {
    const rows = [label("1", p, a, b)];
    const { weighed } = weigh(rows, await checked(rows), settings(given));
    const [only] = weighed;
    if (expected === undefined)
      expect(only).toMatchObject({ aside: { input: "1", reason: expect.stringMatching(/violate/) } });
    else {
      if (!only || !("row" in only)) throw new Error("set aside");
      expect(only.row.p).toBeCloseTo(expected, 12);
      expect(only.row.weight).toBe(1);
      if (expected === p) expect(only.row).toBe(rows[0]);
      else expect(only.row.explanation).toEqual([{ step: "weigh", found: expect.any(String), before: p }]);
    }
  });

  it("weigh 1 + α·(R_const of the preferred − of the other), and keep their mean", async () => {
    // R_const is 1 without a K and, its severity being ½, 0 with one.
    const rows = [label("1", 0.9), label("2", 0.9, "M", "D"), label("3", 0.2, "M", "K", 2), label("4", 0.5)];
    const { weighed, counts } = weigh(rows, await checked(rows), settings({ reweight: 3 }));
    const weights = weighed.map((one) => ("row" in one ? one.row.weight : 0));
    const scale = 5 / (4 + 1 + 2 * 4 + 1);
    for (const [i, factor] of [4, 1, 8, 1].entries()) expect(weights[i]).toBeCloseTo(factor * scale, 12);
    expect(weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(5, 12);
    expect(counts).toEqual({ agreeing: 3, contradicted: 1, bothViolate: 0, unanswered: 0 });
  });

  it("weigh less where a critic finds that the other breaks what may be overridden", async () => {
    const critic = scriptedModel({
      choice: { value: (option, text) => ((option === "Yes.") === text.includes("Assistant: K") ? 50 : -50) },
    });
    const rows = [label("1", 0.9), label("2", 0.9, "M", "D")];
    const shareOf = async (authority: string | undefined) => {
      const own = constitutionOf([{ id: "no-k", text: "Do not say K.", authority }]);
      const options = { constitution: own, by: "critic", principles: "all", seed: 1 } as const;
      const verdicts = new Map<string, PairVerdict>();
      for await (const { rows: made } of judgePairs(
        rows,
        options,
        criticOf({ critic, identity: "c", seed: 1, local: true }),
      ))
        for (const verdict of made) verdicts.set(verdict.pair, pairVerdictSchema.parse(verdict));
      const { weighed } = weigh(rows, verdicts, settings({ reweight: 1 }));
      const [first, second] = weighed.map((one) => ("row" in one ? one.row.weight : 0));
      return first! / second!;
    };
    // 1 + R_const of M, 1, less that of K: 1 − 2·(1, ¾, ½ or ¼).
    for (const [authority, ratio] of [
      [undefined, 3],
      ["root", 3],
      ["developer", 2.5],
      ["user", 2],
      ["guideline", 1.5],
    ] as const)
      expect(await shareOf(authority)).toBeCloseTo(ratio, 9);
  });

  it("stay as they are where the critic does not answer, and are counted", async () => {
    const base = scriptedModel({ fallback: "That is for others to say." });
    const critic: LanguageModel = {
      ...base,
      capabilities: async () => ({
        ...(await base.capabilities()),
        ...{ prefill: false, topLogprobs: null, score: { raw: "none", chat: "none" } },
      }),
    };
    const rows = [label("1", 0.9)];
    const options = { constitution, by: "critic", principles: "all", seed: 1 } as const;
    const asides: string[] = [];
    // It speaks, and names no letter.
    const asked = criticOf({ critic, identity: "c", seed: 1, local: true });
    for await (const { rows: made, aside } of judgePairs(rows, options, asked)) {
      expect(made).toEqual([]);
      asides.push(aside!);
    }
    expect(asides).toEqual([expect.stringContaining("could not be read")]);
    const { weighed, counts } = weigh(rows, new Map(), settings());
    expect(weighed).toEqual([{ row: rows[0] }]);
    expect(counts.unanswered).toBe(1);
  });
});

it("planted flips: what is learnt of corrected labels is right on clean pairs, what is learnt of flipped ones is not", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tenet-weigh-"));
  const cpu = { device: "cpu", threads: 1 } as const;
  try {
    await writeTalkingModel(folder);
    const model = await openLocalModel(folder, { ...cpu, cacheDir: folder });
    const { uniform, integer } = randomStream({ seed: 4, stage: "weigh", item: "pairs" });
    let draws = 0;
    const text = (bad: boolean) => {
      const letters = Array.from({ length: 6 }, () => "ABCDEFGH"[integer(draws++, 8)]!);
      if (bad) letters[integer(draws++, 6)] = "K";
      return letters.join("");
    };
    const pair = (i: number, flips: number): PreferenceRow => {
      const worse = uniform(draws++) < 0.5 ? "a" : "b";
      const right = worse === "a" ? 0 : 1;
      const p = uniform(draws++) < flips ? 1 - right : right;
      return label(`${i}`, p, text(worse === "a"), text(worse === "b"));
    };
    const rows = Array.from({ length: 48 }, (_, i) => pair(i, 0.3));
    const clean = Array.from({ length: 150 }, (_, i) => pair(1000 + i, 0));
    const { weighed, counts } = weigh(rows, await checked(rows), settings());
    const flipped = counts.contradicted / rows.length;
    expect(Math.abs(flipped - 0.3)).toBeLessThan(0.15);
    const accuracy = async (name: string, some: readonly PreferenceRow[]) => {
      const training = trainPreference({
        ...{ model, rows: some, validation: clean, seed: 1, folder: join(folder, name), ...cpu },
        settings: { epochs: 10, batchSize: 8, learningRate: 3e-3, lora: { rank: 4, alpha: 8 } },
      });
      let next = await training.next();
      while (!next.done) next = await training.next();
      return next.value.report.evaluation!.accuracy;
    };
    const noisy = await accuracy("flipped", rows);
    const corrected = await accuracy(
      "corrected",
      weighed.flatMap((one) => ("row" in one ? [one.row] : [])),
    );
    expect(corrected.interval[0]).toBeGreaterThan(noisy.interval[1]);
    expect(corrected.value).toBeGreaterThan(0.9);
    await model.close();
  } finally {
    await rm(folder, { recursive: true });
  }
}, 240_000);
