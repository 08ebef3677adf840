import { givenBefore, type PreferenceRow, preferenceRowSchema, turned } from "@tenet/data";
import { describe, expect, it } from "vitest";
import { principlesFor } from "../reward/index.ts";
import { constitutionOf } from "./fixture.ts";
import { type GivenSettings, givenSettingsSchema, underPrinciples } from "./given.ts";

const constitution = constitutionOf([
  { id: "doctor", text: "Send people to a doctor.", negation: "Send people home." },
  { id: "brief", text: "Be brief.", checks: [{ characters: { max: 12 } }] },
  { id: "kind", text: "Be kind.", weight: 0 },
]);

interface Reading {
  readonly principle: string;
  readonly p: number;
  /** Of the other order; absent where it was not asked. */
  readonly exchanged?: number;
}

function pair(item: number, readings: readonly Reading[], more: Partial<PreferenceRow> = {}): PreferenceRow {
  const explanation = readings.flatMap(({ principle, p, exchanged }) => [
    { step: "reading", principle, first: "a", p },
    ...(exchanged === undefined ? [] : [{ step: "reading", principle, first: "b", p: exchanged }]),
  ]);
  return preferenceRowSchema.parse({
    ...{ id: `pair-${item}`, origin: { parents: [] }, prompt: [{ role: "user", content: `Question ${item}` }] },
    ...{ a: "See a doctor.", b: "Rest.", p: 0.6, label: "ai", explanation, ...more },
  });
}

function under(rows: readonly PreferenceRow[], settings: Partial<GivenSettings> = {}, seed = 1) {
  const { outcomes, counts } = underPrinciples(rows, {
    ...{ constitution, seed, settings: givenSettingsSchema.parse(settings) },
  });
  return {
    counts,
    made: outcomes.flatMap((one) => ("row" in one ? [one.row] : [])),
    aside: outcomes.flatMap((one) => ("aside" in one ? [one.aside] : [])),
  };
}

const many = (count: number, readings: (i: number) => readonly Reading[]) =>
  Array.from({ length: count }, (_, i) => pair(i, readings(i)));

describe("underPrinciples", () => {
  it("shows a principle or its opposite, and turns what is preferred with it", () => {
    const { made, counts } = under(many(400, () => [{ principle: "doctor", p: 0.9, exchanged: 0.7 }]));
    expect(counts).toEqual({ given: 400, unread: 0, aside: 0 });
    for (const { p, given } of made) {
      const [shown] = given!.principles;
      expect(given!.decidedBy).toBe("doctor");
      expect(p).toBeCloseTo(shown!.negated ? 0.2 : 0.8, 12);
      expect([shown!.says, shown!.otherwise]).toEqual(
        shown!.negated
          ? ["Send people home.", "Send people to a doctor."]
          : ["Send people to a doctor.", "Send people home."],
      );
    }
    const negated = made.filter(({ given }) => given!.principles[0]!.negated).length;
    // Four deviations of a fair coin.
    expect(Math.abs(negated - 200)).toBeLessThan(40);
    expect(new Set(made.map(({ id }) => id)).size).toBe(400);
  });

  it("has the surest principle decide, by its own scale, and none whose answer follows the order", () => {
    // "brief" is always very sure, so that it says less when it is: its scale is larger.
    const rows = many(60, (i) => [
      { principle: "brief", p: i % 2 === 0 ? 0.98 : 0.02 },
      { principle: "doctor", p: i === 0 ? 0.95 : i % 2 === 0 ? 0.55 : 0.45 },
    ]);
    const first = under(rows, { most: 2, negate: 0, draws: 20 }).made.filter(({ id: _, ...row }) =>
      row.origin.parents.includes("pair-0"),
    );
    const both = first.filter(({ given }) => given!.principles.length === 2);
    expect(both.length).toBeGreaterThan(5);
    for (const row of both) {
      expect(row.given!.decidedBy).toBe("doctor");
      expect(row.p).toBe(0.95);
    }
    const torn = many(100, () => [
      { principle: "brief", p: 0.99, exchanged: 0.01 },
      { principle: "doctor", p: 0.6, exchanged: 0.55 },
    ]);
    const { made, aside } = under(torn, { most: 2, negate: 0 });
    for (const { given } of made) expect(given!.decidedBy).toBe("doctor");
    // Where it is drawn alone, nobody decides.
    expect(aside.length).toBeGreaterThan(0);
    expect(aside.length + made.length).toBe(100);
    expect(aside[0]!.reason).toBe("no drawn principle says which of the replies is better");
  });

  it("draws how many by SALMON's geometric distribution, up to the most", () => {
    const rows = many(600, () => [
      { principle: "doctor", p: 0.9 },
      { principle: "brief", p: 0.8 },
      { principle: "kind", p: 0.3 },
    ]);
    const { made } = under(rows, { most: 3 });
    const share = (count: number) => made.filter(({ given }) => given!.principles.length === count).length / 600;
    expect(Math.abs(share(1) - 0.2)).toBeLessThan(0.07);
    expect(Math.abs(share(2) - 0.16)).toBeLessThan(0.07);
    expect(Math.abs(share(3) - 0.64)).toBeLessThan(0.08);
    for (const { given } of made)
      expect(new Set(given!.principles.map(({ principle }) => principle)).size).toBe(given!.principles.length);
    expect(under(rows, { most: 1 }).made.every(({ given }) => given!.principles.length === 1)).toBe(true);
  });

  it("does not depend on what stands beside a pair, but for the scale, and is another under another seed", () => {
    const rows = many(30, () => [{ principle: "doctor", p: 0.9 }]);
    const shown = (some: readonly PreferenceRow[], seed?: number) =>
      new Map(under(some, {}, seed).made.map(({ origin, given }) => [origin.parents[0], given]));
    const whole = shown(rows);
    for (const [id, given] of shown(rows.slice(10, 20).reverse())) expect(given).toEqual(whole.get(id));
    expect([...shown(rows, 2)]).not.toEqual([...whole]);
  });

  it("reads contrast pairs and labels by checks too; people's words and weighed labels stay without principles", () => {
    const contrast = pair(1, [], { label: "contrast", p: 0, origin: { principles: ["doctor"], parents: [] } });
    const checked = pair(2, [], { label: "check", p: 0 });
    const human = pair(3, [{ principle: "doctor", p: 0.9 }], { label: "human", p: 1 });
    const weighed = pair(4, []);
    weighed.explanation = [...pair(4, [{ principle: "doctor", p: 0.9 }]).explanation, { step: "weigh", found: "x" }];
    const { made, counts } = under([contrast, checked, human, weighed], { negate: 0 });
    expect(counts).toEqual({ given: 2, unread: 2, aside: 0 });
    expect(made.map(({ p, given }) => [p, given?.decidedBy])).toEqual([
      [0, "doctor"],
      // "See a doctor." has 13 characters, "Rest." 5.
      [0, "brief"],
      [1, undefined],
      [0.6, undefined],
    ]);
    expect(made[2]).toBe(human);
  });
});

describe("principlesFor", () => {
  const settings = { count: 1, always: ["kind"], negate: ["doctor"], categories: { urgent: ["doctor"] } };
  const of = (id: string, more: { category?: string; iteration?: number } = {}) =>
    principlesFor({ id, prompt: [], ...more }, { constitution, settings, seed: 1 });

  it("has those that are always shown, those of the category, and drawn ones; each once", () => {
    const urgent = of("1", { category: "urgent" });
    expect(urgent.map(({ principle, negated }) => [principle, negated])).toEqual([
      ["doctor", true],
      ["kind", false],
      ["brief", false],
    ]);
    expect(urgent[0]!.says).toBe("Send people home.");
    expect(of("1")).toHaveLength(2);
    expect(of("1")[0]!.principle).toBe("kind");
  });

  it("draws the same for all replies to a prompt in a round, and for all looks at a model", () => {
    const drawn = (iteration?: number) =>
      Array.from({ length: 30 }, (_, i) => of(`${i}`, iteration === undefined ? {} : { iteration })[1]!.principle);
    expect(drawn(3)).toEqual(drawn(3));
    expect(drawn(3)).not.toEqual(drawn(4));
    expect(drawn(-1)).toEqual(drawn(-7));
    expect(drawn(-1)).toEqual(drawn());
    expect(new Set(drawn(3))).toEqual(new Set(["doctor", "brief"]));
  });
});

describe("givenBefore", () => {
  it("is a system turn, or the beginning of the one that there is", () => {
    const prompt = [{ role: "user" as const, content: "Hello" }];
    const given = under([pair(1, [{ principle: "doctor", p: 1 }])], { negate: 0 }).made[0]!.given!.principles;
    expect(givenBefore(prompt, given)[0]!.content).toBe("Judge by these principles:\n- Send people to a doctor.");
    expect(givenBefore(prompt, turned(given))[0]!.content).toBe("Judge by these principles:\n- Send people home.");
    expect(turned(turned(given))).toEqual(given);
    const system = { role: "system" as const, content: "You are Ada." };
    expect(givenBefore([system, ...prompt], given)).toEqual([
      { role: "system", content: "Judge by these principles:\n- Send people to a doctor.\n\nYou are Ada." },
      ...prompt,
    ]);
    expect(givenBefore(prompt, [])).toEqual(prompt);
  });
});
