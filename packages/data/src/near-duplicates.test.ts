import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { likenessTo, nearDuplicates, normalForm } from "./near-duplicates.ts";

/** The definition, pair by pair: shingles of five characters, Jaccard. */
function byDefinition(texts: readonly string[], threshold: number): string[] {
  const shingles = texts.map((text) => {
    const form = [...normalForm(text)];
    const runs = form.length < 5 ? [form.join("")] : form.slice(4).map((_, i) => form.slice(i, i + 5).join(""));
    return new Set(runs.filter((run) => run !== ""));
  });
  return texts.flatMap((_, i) =>
    texts.flatMap((_, j) => {
      const [a, b] = [shingles[i]!, shingles[j]!];
      if (j <= i || a.size === 0 || b.size === 0) return [];
      const shared = [...a].filter((run) => b.has(run)).length;
      return shared / new Set([...a, ...b]).size >= threshold ? [`${i} ${j}`] : [];
    }),
  );
}

const pairs = (sets: Record<string, string[]>, threshold?: number) =>
  nearDuplicates(sets, threshold === undefined ? {} : { threshold }).map(
    ({ first, second }) => `${first.set} ${first.index} ~ ${second.set} ${second.index}`,
  );

describe("nearDuplicates", () => {
  it("finds texts of the same normal form, across sets and within one", () => {
    const found = nearDuplicates({
      train: ["My knee hurts.", "Name a bone."],
      heldOut: ["my knee  hurts!", "What is a knee?", "NAME A BONE"],
    });
    expect(found.map(({ first, second, similarity }) => [first.index, second.index, similarity])).toEqual([
      [0, 0, 1],
      [1, 2, 1],
    ]);
    expect(found[0]!.first).toEqual({ set: "train", index: 0, text: "My knee hurts." });
    expect(pairs({ train: ["One and only.", "one and only"] })).toEqual(["train 0 ~ train 1"]);
  });
  it("finds a changed word, and not another question about the same thing", () => {
    const train = ["I've had a dull ache behind my left eye for three days. What is it?"];
    expect(pairs({ train, other: ["I have had a dull ache behind my right eye for three days. What is it?"] })).toEqual(
      ["train 0 ~ other 0"],
    );
    expect(pairs({ train, other: ["My left eye waters in the wind. What can I do about it?"] })).toEqual([]);
  });
  it("works without spaces between words", () => {
    expect(pairs({ a: ["我的膝盖疼了一个星期，怎么办？"], b: ["我的膝盖疼了一个星期，怎么办"] })).toEqual([
      "a 0 ~ b 0",
    ]);
    expect(pairs({ a: ["我的膝盖疼了一个星期，怎么办？"], b: ["今天天气很好，我们去公园走走吧。"] })).toEqual([]);
  });
  it("takes texts without words as like none, and short ones whole", () => {
    expect(pairs({ a: ["…", "!!", ""], b: ["...", "?"] })).toEqual([]);
    expect(pairs({ a: ["Hi!"], b: ["hi", "ho"] })).toEqual(["a 0 ~ b 0"]);
  });
  it("reports the likest first", () => {
    const found = nearDuplicates({
      a: ["one two three four five"],
      b: ["one two three four six", "One two three four five."],
    });
    expect(found.map(({ first, second }) => [first.index, second.index])).toEqual([
      [0, 1],
      [0, 0],
      [0, 1],
    ]);
    expect(found.map(({ similarity }) => similarity)).toEqual([1, 15 / 22, 15 / 22]);
  });
  it("agrees with the definition at every threshold", () => {
    const word = fc.constantFrom("knee", "hurts", "my", "son", "badly", "the", "left", "é", "膝盖");
    const text = fc.array(word, { maxLength: 8 }).map((words) => words.join(" "));
    fc.assert(
      fc.property(
        fc.array(text, { maxLength: 12 }),
        fc.constantFrom(0.1, 0.25, 1 / 3, 0.5, 0.6, 0.8, 1),
        (texts, threshold) => {
          const found = nearDuplicates({ all: texts }, { threshold });
          expect(found.map(({ first, second }) => `${first.index} ${second.index}`).sort()).toEqual(
            byDefinition(texts, threshold).sort(),
          );
        },
      ),
      { numRuns: 300 },
    );
  });
  it.each([0, -1, 1.01, Number.NaN])("refuses the threshold %d", (threshold) => {
    expect(() => nearDuplicates({}, { threshold })).toThrow(`threshold is ${threshold}; expected a number above 0`);
  });
  it("compares thousands of texts in a moment", () => {
    const many = Array.from(
      { length: 6000 },
      (_, i) => `text number ${i} of ${(i * 7919) % 6007} about ${i % 97} things`,
    );
    const start = performance.now();
    nearDuplicates({ many }, { threshold: 0.95 });
    expect(performance.now() - start).toBeLessThan(20_000);
  });
});

describe("likenessTo", () => {
  it("finds what nearDuplicates finds across two sets", () => {
    const text = fc
      .array(fc.constantFrom("my ", "knee ", "hurts ", "a bone ", "!", "Two "), { maxLength: 8 })
      .map((parts) => parts.join(""));
    fc.assert(
      fc.property(fc.array(text, { maxLength: 6 }), fc.array(text, { maxLength: 6 }), (a, b) => {
        const like = likenessTo(a, { threshold: 0.6 });
        const found = b.flatMap((one, j) => like(one).map(({ index, similarity }) => `${index} ${j} ${similarity}`));
        const pairs = nearDuplicates({ a, b }, { threshold: 0.6 }).filter(
          ({ first, second }) => first.set !== second.set,
        );
        expect(found.sort()).toEqual(
          pairs.map(({ first, second, similarity }) => `${first.index} ${second.index} ${similarity}`).sort(),
        );
      }),
    );
  });
  it("refuses a threshold that is none", () => expect(() => likenessTo([], { threshold: 0 })).toThrow(RangeError));
});
