import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { completionSequence, extentsOf, type Item, PackingError, pack, rowTimes } from "./packing.ts";

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
          expect(batch.slots.length).toBe(batch.rows * batch.time);
          expect([batch.tokens.length, batch.order.length]).toEqual([batch.tokenCount, batch.tokenCount]);
          expect([...batch.order].map((place) => batch.slots[place])).toEqual([...batch.order.keys()]);
          const sequences = batch.items.flatMap((index) => items[index]!.sequences);
          sequences.forEach((sequence, owner) => {
            const places = [...batch.segments.keys()].filter((at) => batch.segments[at] === owner);
            expect(places.map((at) => batch.tokens[batch.slots[at]!])).toEqual([...(sequence.tokens as number[])]);
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

describe("pack with shared beginnings", () => {
  const shared = { ...options, shareBeginnings: true };
  const alike = { ...options, families: true };

  /** Two sequences that begin alike, and then differ. */
  function pair(beginning: number, tails: readonly number[], from = 1): Item {
    const alike = Array.from({ length: beginning }, (_, i) => from + i);
    return {
      sequences: tails.map((tail, k) => {
        const tokens = [...alike, ...Array.from({ length: tail }, (_, i) => 1000 * (k + 1) + from + i)];
        const chosen = beginning > 0 ? [beginning - 1, tokens.length - 1] : [tokens.length - 1];
        return { tokens, chosen, values: { twice: chosen.map((position) => 2 * tokens[position]!) } };
      }),
    };
  }

  const pairs = fc.array(
    fc.record({
      beginning: fc.integer({ min: 0, max: 20 }),
      tails: fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 2, maxLength: 2 }),
    }),
    { minLength: 1, maxLength: 20 },
  );

  it("shows every sequence its own tokens in order, beginning included, and no others", () => {
    fc.assert(
      fc.property(pairs, (drawn) => {
        const items = drawn.map(({ beginning, tails }, i) => pair(beginning, tails, 50 * i + 1));
        let tokens = 0;
        for (const batch of pack(items, shared)) {
          expectWhole(batch, items);
          tokens += batch.tokenCount;
        }
        const once = drawn.map(({ beginning, tails: [a, b] }) => beginning + a! + b!);
        const twice = drawn.map(({ beginning, tails: [a, b] }) => 2 * beginning + a! + b!);
        // Together only where the row that holds the longer one holds both.
        const longer = drawn.map(({ beginning, tails }) => beginning + Math.max(...tails));
        const expected = once.map((sum, i) => (sum <= (longer[i]! <= 16 ? 16 : 32) ? sum : twice[i]!));
        expect(tokens).toBe(expected.reduce((a, b) => a + b));
      }),
    );
  });

  /** Items of one sequence each: some of a few prompts, with replies of their own. */
  const replies = fc
    .array(fc.record({ prompt: fc.integer({ min: 0, max: 3 }), reply: fc.integer({ min: 1, max: 12 }) }), {
      minLength: 1,
      maxLength: 40,
    })
    .map((drawn) =>
      drawn.map(({ prompt, reply }, i): Item => {
        const tokens = [
          ...Array.from({ length: 9 }, (_, at) => 1 + at),
          ...Array.from({ length: 3 * prompt }, () => 100 + prompt),
          ...Array.from({ length: reply }, (_, at) => 1000 * (i + 1) + at),
        ];
        const chosen = [8, tokens.length - 1];
        return { sequences: [{ tokens, chosen, values: { twice: chosen.map((place) => 2 * tokens[place]!) } }] };
      }),
    );

  /** Holds that each sequence of a batch sees its own tokens in order, and no others, and that what is chosen of it is its own. */
  function expectWhole(batch: ReturnType<typeof pack>[number], items: readonly Item[]): void {
    let at = 0;
    const sequences = batch.items.flatMap((index) => items[index]!.sequences);
    sequences.forEach((sequence, owner) => {
      const last = batch.order[batch.chosen[at + sequence.chosen.length - 1]!]!;
      const [segment, beginning] = [batch.segments[last]!, batch.beginnings[last]!];
      expect(segment).toBe(owner);
      const row = Math.floor(last / batch.time) * batch.time;
      const seen = Array.from({ length: last - row + 1 }, (_, i) => row + i).filter(
        (place) => batch.segments[place] === segment || batch.segments[place] === beginning,
      );
      expect(seen.map((place) => batch.tokens[batch.slots[place]!])).toEqual([...(sequence.tokens as number[])]);
      expect(seen.map((place) => batch.positions[place])).toEqual(seen.map((_, i) => i));
      for (const position of sequence.chosen as number[]) {
        expect(batch.tokens[batch.chosen[at]!]).toBe(sequence.tokens[position]);
        expect(batch.targets[at]).toBe(sequence.tokens[position + 1] ?? 0);
        expect(batch.values.twice![at]).toBe(2 * sequence.tokens[position]!);
        expect(batch.owners[at++]).toBe(owner);
      }
    });
  }

  it("items of one sequence stand behind what their family begins with, once a row, and each is whole", () => {
    fc.assert(
      fc.property(replies, (items) => {
        const batches = pack(items, alike);
        expect(batches.flatMap(({ items }) => items).sort((a, b) => a - b)).toEqual([...items.keys()]);
        for (const batch of batches) {
          expectWhole(batch, items);
          expect(batch.rows * batch.time).toBeLessThanOrEqual(alike.tokens);
          // A row says no beginning twice.
          for (let row = 0; row < batch.rows; row++) {
            const starts = [...batch.segments.subarray(row * batch.time, (row + 1) * batch.time)].filter(
              (segment, place) => segment < -1 && batch.positions[row * batch.time + place] === 0,
            );
            expect(new Set(starts).size).toBe(starts.length);
          }
        }
        const laid = (some: typeof batches) => some.reduce((sum, { tokenCount }) => sum + tokenCount, 0);
        expect(laid(batches)).toBeLessThanOrEqual(laid(pack(items, options)));
        expect(pack(items, alike)).toEqual(batches);
        // Without being asked to they share nothing.
        expect(pack(items, shared)).toEqual(pack(items, options));
      }),
    );
  });

  it("four replies to each of two prompts take a row each, and their prompt once", () => {
    const reply = (prompt: number, own: number): Item => {
      const tokens = [...Array.from({ length: 12 }, () => prompt), own, own, own, own];
      return { sequences: [{ tokens, chosen: [tokens.length - 1] }] };
    };
    const items = [0, 1, 2, 3].flatMap((own) => [reply(7, 100 + own), reply(8, 200 + own)]);
    const [batch, ...others] = pack(items, { ...alike, times: [32] });
    expect(others).toEqual([]);
    expect(batch).toMatchObject({ rows: 2, time: 32, tokenCount: 2 * (12 + 4 * 4), items: [0, 1, 2, 3, 4, 5, 6, 7] });
  });

  it("equal replies share no more than their prompt, so that no place is chosen more often than there are tokens", () => {
    const prompt = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    const items = Array.from({ length: 4 }, (): Item => ({ sequences: [completionSequence(prompt, [5, 5, 5, 5])] }));
    const [batch, ...others] = pack(items, { ...alike, times: [32] });
    expect(others).toEqual([]);
    expect(batch).toMatchObject({ tokenCount: 9 + 4 * 4, lengths: [4, 4, 4, 4] });
  });

  it("rows are chosen for what families begin with once", () => {
    const items = Array.from({ length: 8 }, (_, own): Item => {
      return { sequences: [{ tokens: [...Array(100).fill(7), ...Array(20).fill(100 + own)], chosen: [119] }] };
    });
    const times = (families: boolean) => rowTimes([extentsOf(items, { families })], { tokens: 1024 });
    expect(times(false)).toEqual([128]);
    expect(times(true)).toEqual([272]);
  });

  it("leaves each sequence a token of its own where one is the beginning of the other", () => {
    const tokens = [1, 2, 3, 4, 5, 6];
    const item = {
      sequences: [tokens, tokens.slice(0, 4)].map((some) => ({ tokens: some, chosen: [some.length - 1] })),
    };
    const [batch] = pack([item], shared);
    expect(batch!.tokenCount).toBe(3 + 3 + 1);
    expect([...batch!.chosen.slice(0, 2)].map((token) => batch!.positions[batch!.order[token]!])).toEqual([5, 3]);
  });
});

describe("rowTimes", () => {
  const single = (...lengths: number[]) => lengths.map((length) => ({ lengths: [length], shared: 0 }));
  const limits = { tokens: 1024 };

  it.each([
    [[1], [64]],
    [[64], [64]],
    [[65], [80]],
    [[300], [304]],
    [[512], [512]],
    [[513], [512, 1024]],
    [[3000], [512, 1024, 2048, 4096]],
  ])("of one sequence of %j: the shortest that holds it", (lengths, times) => {
    expect(rowTimes([single(...lengths)], limits)).toEqual(times);
  });

  it("takes rows for two where those for one would be half empty", () => {
    expect(rowTimes([single(100, 154, 130, 118, 104, 148, 120, 150)], limits)).toEqual([272]);
  });

  it("takes short rows where all are of one length, and longer ones cost more attention", () => {
    expect(rowTimes([single(...Array.from({ length: 8 }, () => 128))], limits)).toEqual([128]);
  });

  it("holds the longest of all batches", () => {
    expect(rowTimes([single(60, 60), single(60, 200)], limits)[0]).toBeGreaterThanOrEqual(200);
  });

  it("counts a shared beginning once", () => {
    const pairs = Array.from({ length: 4 }, () => ({ lengths: [200, 210], shared: 160 }));
    expect(rowTimes([pairs], limits)).toEqual([256]);
  });

  it("goes in steps", () => {
    expect(rowTimes([single(130)], { ...limits, step: 64 })).toEqual([192]);
    expect(rowTimes([single(200)], { ...limits, step: 64 })).toEqual([256]);
  });

  it("has no row longer than a micro-batch may be, unless a sequence is", () => {
    const lengths = Array.from({ length: 12 }, () => 43);
    expect(rowTimes([single(...lengths)], { ...limits, tokens: 128 })[0]).toBeLessThanOrEqual(128);
    expect(rowTimes([single(...lengths, 150)], { ...limits, tokens: 128 })).toEqual([160]);
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
