import { jackknife } from "@tenet/data";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { JudgedResponse } from "./adherence.ts";
import { promptKey } from "./refusal.ts";
import { commonestOpening, distinctN, kindsOfOpenings, openingOf, selfOverlap, wordsOf } from "./variety.ts";

const reply = (prompt: string, response: string): JudgedResponse => ({
  row: {
    id: `${prompt} ${response}`,
    origin: { parents: [] },
    prompt: [{ role: "user", content: prompt }],
    response,
    finishReason: "stop",
  },
  verdicts: [],
});
const each = (...texts: string[]) => texts.map((text, i) => reply(`question ${i}`, text));

const someReplies = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 5 }), fc.array(fc.constantFrom("a", "b", "c", "d"), { minLength: 1 })), {
    minLength: 3,
    maxLength: 12,
  })
  .map((some) => some.map(([prompt, words]) => reply(`${prompt}`, words.join(" "))));

/** As the formula is written, pair by pair. */
function overlapByPairs(responses: readonly JudgedResponse[]): number {
  const sets = responses.map(({ row }) => {
    const words = ["<", ...wordsOf(row.response), ">"];
    return { prompt: promptKey(row), pairs: new Set(words.slice(1).map((word, i) => `${words[i]} ${word}`)) };
  });
  const of = sets.map((one) => {
    const others = sets.filter(({ prompt }) => prompt !== one.prompt);
    const shares = others.map(({ pairs }) => [...one.pairs].filter((pair) => pairs.has(pair)).length / one.pairs.size);
    return shares.reduce((a, b) => a + b, 0) / shares.length;
  });
  return of.reduce((a, b) => a + b, 0) / of.length;
}

describe("variety of replies", () => {
  it("counts n-grams and openings by hand", () => {
    const two = each("I can't say. Ask a doctor.", "i can't say, sorry");
    // i can't say ask a doctor | i can't say sorry
    expect(distinctN(two, 1)!.value).toBe(7 / 10);
    expect(distinctN(two, 2)!.value).toBe(6 / 8);
    expect(distinctN(two, 3)!.value).toBe(5 / 6);
    expect(kindsOfOpenings(two)!.value).toBe(1);
    expect(openingOf(reply("it hurts", "I’m sorry that you have it"))).toBe("i’m sorry that you");
    expect(commonestOpening(each("a b c d", "e", "e", "a b c d f"))).toBe("a b c d");
    expect(wordsOf("頭が痛いです").length).toBeGreaterThan(1);
  });

  it("finds that one reply to everybody says one thing", () => {
    const same = each(...Array.from({ length: 50 }, () => "Please see a doctor about this."));
    expect(selfOverlap(same)!.value).toBe(1);
    expect(kindsOfOpenings(same)!.value).toBe(1 / 50);
    expect(distinctN(same, 2)!.value).toBe(1 / 50);
    expect(selfOverlap(each("Rest.", "Drink."))!.value).toBe(0);
    expect(selfOverlap(each("Yes", "Yes"))!.value).toBe(1);
  });

  it("is nothing of nothing", () => {
    for (const of of [selfOverlap, kindsOfOpenings, (some: readonly JudgedResponse[]) => distinctN(some, 1)])
      expect(of([])).toBeUndefined();
    expect(distinctN(each("one word", "two"), 3)).toBeUndefined();
    expect(selfOverlap([reply("same", "a"), reply("same", "b")])).toBeUndefined();
    expect(commonestOpening([])).toBeUndefined();
  });

  it("takes self-overlap as its formula says, with and without each prompt", () => {
    fc.assert(
      fc.property(someReplies, (responses) => {
        const keys = [...new Set(responses.map(({ row }) => promptKey(row)))];
        const found = selfOverlap(responses);
        if (keys.length < 2) {
          expect(found).toBeUndefined();
          return;
        }
        expect(found!.value).toBeCloseTo(overlapByPairs(responses), 12);
        if (keys.length < 3) expect(found!.without).toEqual([]);
        else
          for (const [i, key] of keys.entries())
            expect(found!.without[i]).toBeCloseTo(
              overlapByPairs(responses.filter(({ row }) => promptKey(row) !== key)),
              12,
            );
      }),
    );
  });

  it("leaves a prompt out as if it had not been asked", () => {
    fc.assert(
      fc.property(someReplies, (responses) => {
        const keys = [...new Set(responses.map(({ row }) => promptKey(row)))];
        if (keys.length < 2) return;
        const expected = keys.map(
          (key) => kindsOfOpenings(responses.filter(({ row }) => promptKey(row) !== key))!.value,
        );
        expect(kindsOfOpenings(responses)!.without).toEqual(expected);
      }),
    );
  });

  it("says nothing of the interval where every reply is the same", () => {
    const same = each("a b", "a b", "a b", "a b");
    expect(jackknife(selfOverlap(same)!).interval.every((bound) => !Number.isFinite(bound))).toBe(true);
  });
});
