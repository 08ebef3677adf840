import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { completionSequence, type Item, PackingError, pack, rowTimes } from "./packing.ts";

const options = { times: [16, 32], tokens: 64, multiple: 4 };

/** An item of sequences of some lengths; every token is its own number, the last two positions are chosen. */
function item(lengths: readonly number[], from = 1): Item {
  let next = from;
  const sequences = lengths.map((length) => {
    const tokens = Array.from({ length }, () => next++);
    const chosen = length > 1 ? [length - 2, length - 1] : [0];
    return { tokens, chosen, values: { twice: chosen.map((position) => 2 * tokens[position]!) } };
  });
  return { sequences, values: { first: from } };
}

const listOf = fc
  .array(fc.array(fc.integer({ min: 1, max: 32 }), { minLength: 2, maxLength: 2 }), { minLength: 1, maxLength: 40 })
  .map((all) => all.map((lengths, i) => item(lengths, 100 * i + 1)));

describe("pack", () => {
  it("lays every sequence out whole, once, in a segment and with positions of its own", () => {
    fc.assert(
      fc.property(listOf, (items) => {
        const seen = new Set<number>();
        for (const batch of pack(items, options)) {
          expect(batch.tokens.length).toBe(batch.rows * batch.time);
          const sequences = batch.items.flatMap((index) => items[index]!.sequences);
          sequences.forEach((sequence, owner) => {
            const places = [...batch.segments.keys()].filter((at) => batch.segments[at] === owner);
            expect(places.map((at) => batch.tokens[at])).toEqual([...(sequence.tokens as number[])]);
            expect(places.map((at) => batch.positions[at])).toEqual(places.map((_, i) => i));
            expect(places.every((at, i) => at === places[0]! + i)).toBe(true);
            expect(Math.floor(places[0]! / batch.time)).toBe(Math.floor(places.at(-1)! / batch.time));
          });
          expect(batch.segments.filter((segment) => segment >= 0).length).toBe(batch.tokenCount);
          for (const index of batch.items) {
            expect(seen.has(index)).toBe(false);
            seen.add(index);
          }
        }
        expect(seen.size).toBe(items.length);
      }),
    );
  });

  it("keeps chosen places, targets and values of a sequence together, items in order, padding masked", () => {
    fc.assert(
      fc.property(listOf, (items) => {
        for (const batch of pack(items, options)) {
          let at = 0;
          batch.items.forEach((index, i) => {
            expect(batch.itemValues.first![i]).toBe(items[index]!.values!.first);
            items[index]!.sequences.forEach((sequence, k) => {
              for (const position of sequence.chosen as number[]) {
                const token = sequence.tokens[position]!;
                expect(batch.tokens[batch.chosen[at]!]).toBe(token);
                expect(batch.targets[at]).toBe(sequence.tokens[position + 1] ?? 0);
                expect(batch.values.twice![at]).toBe(2 * token);
                expect(batch.owners[at]).toBe(2 * i + k);
                expect(batch.mask[at]).toBe(1);
                at++;
              }
            });
          });
          expect(batch.lengths.reduce((a, b) => a + b)).toBe(at);
          expect(batch.chosen.length % options.multiple).toBe(0);
          expect(batch.chosen.length - at).toBeLessThan(options.multiple);
          expect([...batch.mask.subarray(at), ...batch.values.twice!.subarray(at)].every((x) => x === 0)).toBe(true);
        }
      }),
    );
  });

  it("stays within the micro-batch", () => {
    fc.assert(
      fc.property(listOf, (items) => {
        for (const { rows, time } of pack(items, { ...options, tokens: 100 }))
          expect(rows * time).toBeLessThanOrEqual(100);
      }),
    );
  });

  it("gives an item that exceeds the micro-batch one of its own", () => {
    const packed = pack([item([30, 30, 30]), item([30]), item([30])], options);
    expect(packed.map(({ rows, items }) => [rows, items])).toEqual([
      [3, [0]],
      [2, [1, 2]],
    ]);
  });

  it("fills rows tightly and takes the short row length where it suffices", () => {
    const lengths = [10, 6, 9, 7, 12, 4, 8, 8];
    const [batch, ...more] = pack(
      lengths.map((length) => item([length])),
      options,
    );
    expect(more).toEqual([]);
    expect([batch!.rows, batch!.time, batch!.tokenCount]).toEqual([4, 16, 64]);
  });

  it("lets short sequences fill long rows but opens none for them", () => {
    const packed = pack([item([20]), item([12]), item([12])], options);
    expect(packed.map(({ rows, time, items }) => [rows, time, items])).toEqual([
      [1, 32, [0, 1]],
      [1, 16, [2]],
    ]);
  });

  it("is deterministic", () => {
    const items = [5, 9, 9, 3, 14].map((length) => item([length]));
    expect(pack(items, options)).toEqual(pack(items, options));
  });

  it.each([
    ["a sequence longer than the longest row", item([33]), /33 tokens; expected 1 to 32/],
    ["an empty sequence", item([0]), /0 tokens/],
    ["a chosen position outside", { sequences: [{ tokens: [1, 2], chosen: [2] }] }, /position 2 is chosen/],
    [
      "values that are too few",
      { sequences: [{ tokens: [1, 2], chosen: [0, 1], values: { weight: [1] } }] },
      /1 values "weight" beside 2/,
    ],
  ])("refuses %s", (_, bad, message) => {
    expect(() => pack([bad], options)).toThrow(PackingError);
    expect(() => pack([bad], options)).toThrow(message);
  });
});

describe("rowTimes", () => {
  it.each([
    [1, [64]],
    [64, [64]],
    [65, [80]],
    [106, [112]],
    [128, [128]],
    [129, [144]],
    [300, [304]],
    [512, [512]],
    [513, [512, 1024]],
    [3000, [512, 1024, 2048, 4096]],
  ])("of %d", (longest, times) => {
    expect(rowTimes(longest)).toEqual(times);
  });
});

describe("completionSequence", () => {
  it("chooses the position before each token of the completion", () => {
    const { tokens, chosen } = completionSequence([5, 6], [7, 8, 9]);
    expect([...(tokens as Int32Array)]).toEqual([5, 6, 7, 8, 9]);
    expect([...(chosen as Int32Array)]).toEqual([1, 2, 3]);
  });

  it("refuses a completion with nothing before it", () => {
    expect(() => completionSequence([], [1])).toThrow(PackingError);
  });
});
