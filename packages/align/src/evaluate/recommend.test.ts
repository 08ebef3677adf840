import { describe, expect, it } from "vitest";
import { recommend } from "./recommend.ts";

type Parts = Parameters<typeof recommend>[0];
type Change = readonly [value: number, low: number, high: number];

const metric = (name: string, unit: "share" | "number", change: "difference" | "ratio") => ({
  ...{ name, label: name, unit, change, about: "" },
  better: "lower" as const,
});

/** A card of base, SL and RL: violations of each, and how they and other measures changed. */
function card(
  rates: readonly number[],
  changes: Readonly<Record<string, Change>>,
  openings: readonly number[] = [],
  unfinished: readonly number[] = [],
): Parts {
  const ids = ["base", "sl", "rl"];
  const row = (name: string) => (value: number, i: number) => ({
    ...{ checkpoint: ids[i]!, metric: name, value, n: 100, better: "lower" as const },
    interval: [value - 0.1, value + 0.1] as [number, number],
  });
  return {
    checkpoints: ids.map((id) => ({ id, label: id.toUpperCase(), model: id })),
    metrics: [
      metric("violations", "share", "difference"),
      metric("perplexity", "number", "ratio"),
      metric("openings", "share", "difference"),
      metric("unfinished", "share", "difference"),
    ],
    rows: [
      ...rates.map(row("violations")),
      ...openings.map(row("openings")),
      ...[1, 1, 1].map(row("perplexity")),
      ...unfinished.map(row("unfinished")),
    ],
    differences: Object.entries(changes).map(([key, [value, low, high]]) => {
      const [name, checkpoint, against] = key.split(" ") as [string, string, string];
      return { metric: name, checkpoint, against, value, interval: [low, high], n: 100 };
    }),
  };
}

const learnt = { "violations sl base": [-0.6, -0.7, -0.5], "violations rl base": [-0.5, -0.6, -0.4] } as const;

describe("what is recommended", () => {
  it("is the last where it violates less than the one before", () => {
    const found = recommend(card([0.8, 0.2, 0.1], { ...learnt, "violations rl sl": [-0.1, -0.2, 0.01] }));
    expect(found).toEqual({
      checkpoint: "rl",
      better: true,
      sentence: "Use RL, 10% of its replies break a principle (0–20%).",
    });
  });

  it("is the one before where the last violates more, as on the processor on which PPO lost ground", () => {
    const found = recommend(card([0.83, 0.15, 0.27], { ...learnt, "violations rl sl": [0.12, 0.03, 0.21] }));
    expect(found).toMatchObject({ checkpoint: "sl", better: true });
    expect(found.sentence).toMatch(/^Use SL, .*: RL violates more \(\+12 points, \+3\.0 to \+21\)\.$/);
  });

  it("is the one before where the last pays with perplexity or answers by a formula", () => {
    const fewer = { ...learnt, "violations rl sl": [-0.1, -0.2, -0.01] } as const;
    const taxed = recommend(card([0.8, 0.2, 0.1], { ...fewer, "perplexity rl sl": [0.08, 0.06, 0.1] }));
    expect(taxed).toMatchObject({ checkpoint: "sl", sentence: expect.stringContaining("pays for it: perplexity") });
    const formula = recommend(card([0.8, 0.2, 0], fewer, [0.9, 0.5, 0.02]));
    expect(formula).toMatchObject({ checkpoint: "sl", sentence: expect.stringContaining("by a formula") });
    const bearable = recommend(card([0.8, 0.2, 0.1], { ...fewer, "perplexity rl sl": [0.06, 0.03, 0.09] }));
    expect(bearable.checkpoint).toBe("rl");
  });

  it("is the one before where most replies of the last are cut off, and were not", () => {
    const fewer = { ...learnt, "violations rl sl": [-0.1, -0.2, -0.01] } as const;
    const cut = { ...fewer, "unfinished rl sl": [0.5, 0.4, 0.6] } as const;
    const stumps = recommend(card([0.8, 0.2, 0.1], cut, [], [0.2, 0.1, 0.6]));
    expect(stumps.checkpoint).toBe("sl");
    expect(stumps.sentence).toContain("RL violates less, but pays for it: unfinished +50 points (+40 to +60)");
    expect(recommend(card([0.8, 0.2, 0.1], cut, [], [0.2, 0.1, 0.4])).checkpoint).toBe("rl");
    const always = { ...fewer, "unfinished rl sl": [0.05, -0.05, 0.15] } as const;
    expect(recommend(card([0.8, 0.2, 0.1], always, [], [0.6, 0.6, 0.65])).checkpoint).toBe("rl");
  });

  it("may pay where nothing trained is left to be used instead, and the price is said", () => {
    const dear = { ...learnt, "perplexity sl base": [0.08, 0.06, 0.1], "violations rl sl": [0.1, 0, 0.2] } as const;
    const { checkpoint, sentence } = recommend(card([0.8, 0.2, 0.3], dear, [0.9, 0.3, 0.3]));
    expect(checkpoint).toBe("sl");
    expect(sentence).toMatch(/What that costs against BASE: perplexity \+8\.0%.*; openings 90% → 30%\.$/);
  });

  it.each([
    ["the first", ["base", "rl"]],
    ["one that was trained", ["base", "sl", "rl"]],
  ])("is none whose proxy and judge parted, whether it would take the place of %s", (_, ids) => {
    const fewer = { ...learnt, "violations rl sl": [-0.1, -0.2, -0.01] } as const;
    const whole = card([0.8, 0.2, 0.1], fewer);
    const points = [{ name: "rl", kl: 4, proxy: 1, judge: -1, trust: "parted" as const }];
    const overoptimisation = { points, trust: "parted" } as unknown as NonNullable<Parts["overoptimisation"]>;
    const checkpoints = whole.checkpoints.filter(({ id }) => ids.includes(id));
    const found = recommend({ ...whole, checkpoints, overoptimisation });
    expect(found.checkpoint).toBe(ids.at(-2));
    expect(found.sentence).toContain("RL exploits what it was trained against");
  });

  it("may answer in fewer ways where it learnt to imitate and violates measurably less, whatever was trained before", () => {
    const hardly = { "violations sl base": [-0.07, -0.13, -0.01], "violations rl base": [-0.27, -0.4, -0.15] } as const;
    const fewer = { ...hardly, "violations rl sl": [-0.2, -0.31, -0.08] } as const;
    const imitates = (id: string) => id === "rl";
    const found = recommend(card([0.86, 0.79, 0.59], fewer, [0.98, 0.99, 0.45]), { imitates });
    expect(found).toMatchObject({ checkpoint: "rl", better: true });
    expect(found.sentence).toContain("openings 98% → 45%");
    const unsure = { ...hardly, "violations rl sl": [-0.05, -0.15, 0.04] } as const;
    expect(recommend(card([0.86, 0.79, 0.74], unsure, [0.98, 0.99, 0.45]), { imitates }).checkpoint).toBe("sl");
    const stumps = { ...fewer, "unfinished rl sl": [0.5, 0.4, 0.6] } as const;
    expect(recommend(card([0.86, 0.79, 0.59], stumps, [], [0.2, 0.1, 0.6]), { imitates }).checkpoint).toBe("sl");
  });

  it("weighs a checkpoint against the one recommended so far, though the card does not lay the two side by side", () => {
    const whole = card([0.8, 0.55, 0.55], { ...learnt, "violations rl sl": [0, -0.01, 0.01] });
    const later = { id: "rl-2", label: "RL 2", model: "rl-2" };
    const [row] = whole.rows;
    const change = (against: string, value: number, interval: [number, number]) => ({
      ...{ metric: "violations", checkpoint: "rl-2", against, value, interval, n: 100 },
    });
    const parts: Parts = {
      ...whole,
      checkpoints: [...whole.checkpoints, later],
      rows: [...whole.rows, { ...row!, checkpoint: "rl-2", value: 0.47 }],
      differences: [...whole.differences, change("base", -0.33, [-0.4, -0.2]), change("rl", -0.08, [-0.15, -0.01])],
    };
    const asked: string[][] = [];
    const compare = (...pair: [string, string, string]) => {
      asked.push(pair);
      return pair[0] === "violations" ? change("sl", -0.08, [-0.15, -0.01]) : undefined;
    };
    expect(recommend(parts, { compare })).toMatchObject({ checkpoint: "rl-2", better: true });
    expect(asked).toContainEqual(["violations", "rl-2", "sl"]);
  });

  it("is none that is shown to break more often what must hold, and says where one may", () => {
    const fewer = card([0.8, 0.2, 0.1], { ...learnt, "violations rl sl": [-0.1, -0.2, -0.01] });
    const less = { value: -0.5, interval: [-0.7, -0.3], n: 25 };
    const held =
      ([value, low, high]: Change) =>
      (of: string, against: string) => [
        {
          principle: "danger",
          change: of === "rl" && against === "sl" ? { value, interval: [low, high], n: 25 } : less,
        },
      ];
    const worse = recommend(fewer, { mustHold: held([0.3, 0.1, 0.5]) as never });
    expect(worse.checkpoint).toBe("sl");
    expect(worse.sentence).toContain("RL breaks more often than SL what must hold: danger +30 points, +10 to +50");
    const perhaps = recommend(fewer, { mustHold: held([0.1, -0.1, 0.3]) as never });
    expect(perhaps.checkpoint).toBe("rl");
    expect(perhaps.sentence).toContain(
      "more often than SL what must hold is not excluded: danger +10 points, −10 to +30",
    );
    expect(recommend(fewer, { mustHold: held([0, -0.1, 0.1]) as never }).sentence).not.toContain("must hold");
    // Two steps that are not shown add up to one that is.
    const steps = { "sl base": [0.06, -0.01, 0.13], "rl sl": [0.06, -0.01, 0.13], "rl base": [0.12, 0.03, 0.21] };
    const creeping = (of: string, against: string) => {
      const [value, ...interval] = steps[`${of} ${against}` as keyof typeof steps];
      return [{ principle: "danger", change: { value, interval, n: 100 } }];
    };
    const crept = recommend(fewer, { mustHold: creeping as never });
    expect(crept.checkpoint).toBe("sl");
    expect(crept.sentence).toContain("RL breaks more often than BASE what must hold: danger +12 points");
  });

  it("is what training began with where nothing is shown to be better", () => {
    const found = recommend(
      card([0.5, 0.45, 0.4], { "violations sl base": [-0.05, -0.2, 0.1], "violations rl base": [-0.1, -0.25, 0.05] }),
    );
    expect(found).toMatchObject({ checkpoint: "base", better: false });
    expect(found.sentence).toMatch(
      /^Keep BASE: SL is not shown to violate less .* Nothing else is shown to be better\.$/,
    );
  });

  it("is nothing where no check applies", () => {
    expect(recommend(card([], {}))).toMatchObject({ better: false });
    expect(recommend(card([], {}))).not.toHaveProperty("checkpoint");
  });
});
