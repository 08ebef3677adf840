import { type PreferenceRow, randomStream, rowId } from "@tenet/data";
import { scriptedModel } from "@tenet/lm";
import { describe, expect, it } from "vitest";
import { agreementMatrix, enoughReadings, pulledApart } from "./agreement-matrix.ts";
import { constitutionOf, outcomes, pairRow } from "./fixture.ts";
import { labelPairs } from "./label.ts";

const principles = ["kind", "brief", "honest", "odd"].map((id) => ({ id, text: `The answer is ${id}.` }));
const constitution = constitutionOf(principles);

/** What the readings of a pair by each principle say: p in both orders; nothing where it was not read. */
type Read = Record<string, readonly number[]>;

function label(i: number, read: Read, { turned = false }: { turned?: boolean } = {}): PreferenceRow {
  const pair = turned ? pairRow(`Question ${i}?`, "two", "one") : pairRow(`Question ${i}?`, "one", "two");
  const readings = Object.entries(read).flatMap(([principle, all]) =>
    all.map((p, order) => {
      return { step: "reading", principle, first: order === 0 ? "a" : "b", p: turned ? 1 - p : p };
    }),
  );
  return {
    ...pair,
    ...{ id: rowId("preference", pair.id), p: 0.5, weight: 1, label: "ai", explanation: readings },
    origin: { principles: Object.keys(read), parents: [pair.id] },
  };
}

/** Labels of which "kind" prefers a side at random, "brief" nearly always the same, "honest" nearly always the other, "odd" any. */
const planted = Array.from({ length: 80 }, (_, i) => {
  const { uniform } = randomStream({ seed: 5, stage: "planted", item: String(i) });
  const side = (prefersFirst: boolean) => (prefersFirst ? [0.9, 0.6] : [0.45, 0.1]);
  const kind = uniform(0) < 0.5;
  const slip = i % 10 === 0;
  const read = {
    kind: side(kind),
    brief: side(kind !== slip),
    honest: side(kind === slip),
    odd: side(uniform(1) < 0.5),
  };
  return label(i, read, { turned: i % 2 === 0 });
});

const of = (found: ReturnType<typeof agreementMatrix>, one: string, other: string) =>
  found.matrix.find(({ principles: [first, second] }) => first === one && second === other)!;

describe("planted principles", () => {
  const found = agreementMatrix(planted, { constitution });

  it("agree, pull apart, or have nothing to do with each other", () => {
    expect(found.pairs).toBe(80);
    expect(found.matrix.map(({ principles: two }) => two.join(" "))).toEqual([
      ...["kind brief", "kind honest", "kind odd", "brief honest", "brief odd", "honest odd"],
    ]);
    // By hand: Wilson's interval of 72 of 80.
    expect(of(found, "kind", "brief").same).toEqual({
      value: 0.9,
      interval: [expect.closeTo(0.8149, 4), expect.closeTo(0.9485, 4)],
      n: 80,
    });
    expect(of(found, "kind", "honest").same).toMatchObject({ value: 0.1, n: 80 });
    expect(of(found, "brief", "honest").same.value).toBe(0);
    const [low, high] = of(found, "kind", "odd").same.interval;
    expect(low).toBeLessThan(0.5);
    expect(high).toBeGreaterThan(0.5);
  });

  it("are found where they pull apart, and nowhere else", () => {
    expect(pulledApart(found)).toEqual([
      {
        kind: "pull apart",
        principles: ["kind", "honest"],
        why: "they prefer the same reply in 0.10 [0.05, 0.19] of 80 pairs",
      },
      { kind: "pull apart", principles: ["brief", "honest"], why: expect.stringContaining("0.00 [0.00, 0.05] of 80") },
    ]);
  });

  it("are read from labels as a labeller makes them", async () => {
    // Of what only the position tells apart one half is left.
    const three = constitutionOf([
      { id: "yes", text: "Say yes.", preferenceQuestion: "Which says yes?" },
      { id: "no", text: "Say no.", preferenceQuestion: "Which says no?" },
      { id: "first", text: "Be first.", preferenceQuestion: "Which is first?" },
    ]);
    const value = (option: string, asked: string) => (asked.includes(`Which says ${option}?`) ? 2 : 0);
    const labeller = scriptedModel({ choice: { value, positionBias: 1 } });
    const pairs = Array.from({ length: 12 }, (_, i) => pairRow(`Question ${i}?`, "yes", "no"));
    const labels = await outcomes(labelPairs(pairs, { constitution: three, labeller, principles: 3, seed: 1 }));
    const read = agreementMatrix(
      [...labels.values()].flatMap(({ rows }) => rows),
      { constitution: three },
    );
    expect(read.matrix).toMatchObject([
      { principles: ["yes", "no"], same: { value: 0, n: 12 }, halves: 0, unread: 0 },
      { principles: ["yes", "first"], same: { n: 0 }, halves: 12, unread: 0 },
      { principles: ["no", "first"], same: { n: 0 }, halves: 12, unread: 0 },
    ]);
    expect(pulledApart(read)).toMatchObject([{ principles: ["yes", "no"] }]);
  });
});

it("counts halves and what was not read, and neither for a side", () => {
  const rows = [
    label(1, { kind: [0.9, 0.9], brief: [0.9, 0.2] }),
    label(2, { kind: [0.9, 0.1], brief: [0.9, 0.9] }),
    label(3, { kind: [0.9, 0.9], brief: [] }),
    label(4, { kind: [], brief: [] }),
    label(5, { kind: [0.9, 0.9] }),
  ];
  const found = agreementMatrix(rows, { constitution });
  expect(found).toMatchObject({ pairs: 4, leftOut: [] });
  expect(found.matrix).toEqual([
    { principles: ["kind", "brief"], same: expect.objectContaining({ value: 1, n: 1 }), halves: 1, unread: 2 },
  ]);
});

it("takes a pair that was labelled twice, in either order, for one", () => {
  const [once, again] = [false, true].map((turned) => label(1, { kind: [0.9, 0.8], brief: [0.2, 0.3] }, { turned }));
  const found = agreementMatrix([once!, again!], { constitution });
  expect(found.pairs).toBe(1);
  expect(found.matrix[0]!.same).toMatchObject({ value: 0, n: 1 });
  // What is read of it by one label and by the other is of the same replies.
  const apart = [label(2, { kind: [0.9, 0.8] }), label(2, { brief: [0.9, 0.8] }, { turned: true })];
  expect(agreementMatrix(apart, { constitution }).matrix[0]!.same).toMatchObject({ value: 1, n: 1 });
});

it("finds nothing without enough readings, however they fall", () => {
  const opposed = (count: number) =>
    Array.from({ length: count }, (_, i) => label(i, { kind: [0.9, 0.8], brief: [0.2, 0.3] }));
  const few = agreementMatrix(opposed(enoughReadings - 1), { constitution });
  expect(few.matrix[0]!.same).toMatchObject({ value: 0, n: enoughReadings - 1 });
  expect(pulledApart(few)).toEqual([]);
  expect(pulledApart(agreementMatrix(opposed(enoughReadings), { constitution }))).toHaveLength(1);
});

it("leaves out what is asked otherwise now, and what is there no more", () => {
  const now = constitutionOf([
    principles[0]!,
    { ...principles[1]!, preferenceQuestion: "Which one is shorter?" },
    principles[2]!,
  ]);
  const found = agreementMatrix(planted, { constitution: now, asked: constitution });
  expect(found.leftOut).toEqual(["brief", "odd"]);
  expect(found.matrix.map(({ principles: two }) => two)).toEqual([["kind", "honest"]]);
});
