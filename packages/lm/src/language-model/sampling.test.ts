import { readFileSync } from "node:fs";
import { randomStream } from "@tenet/data";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageError } from "./errors.ts";
import { type FilterOptions, largest, logSoftmax, sampleToken, samplingDistribution } from "./sampling.ts";

const plain: FilterOptions = { temperature: 1, topP: 1, topK: 0, minP: 0, repetitionPenalty: 1 };

interface Golden {
  versions: { transformers: string };
  order: string[];
  cases: {
    options: Partial<FilterOptions>;
    history: number[];
    logits: number[];
    kept: number[];
    probabilities: number[];
    logprobs: number[];
  }[];
}
const golden = JSON.parse(readFileSync(new URL("sampling.golden.json", import.meta.url), "utf8")) as Golden;

describe(`against transformers ${golden.versions.transformers}`, () => {
  it("applies in the same order", () => {
    expect(golden.order.map((name) => name.replace(/Logits(Processor|Warper)/, ""))).toEqual([
      "RepetitionPenalty",
      "Temperature",
      "TopK",
      "TopP",
      "MinP",
    ]);
  });

  it.each(golden.cases.map((one) => [JSON.stringify(one.options), one] as const))("%s", (_, one) => {
    const logits = Float32Array.from(one.logits);
    const given = samplingDistribution(logits, { ...plain, ...one.options }, one.history);
    const kept = [...given.keys()].filter((id) => given[id]! > 0);
    expect(kept).toEqual(one.kept);
    // The reference computes in 32 bits.
    one.kept.forEach((id, i) => {
      expect(Math.abs(given[id]! / one.probabilities[i]! - 1)).toBeLessThan(2e-5);
    });
    const logprobs = logSoftmax(logits);
    one.logprobs.forEach((logprob, id) => {
      expect(logprobs[id]).toBeCloseTo(logprob, 5);
    });
  });
});

// Multiples of 1/64, so that ties happen and are exact.
const logitsArbitrary = fc
  .array(fc.integer({ min: -700, max: 700 }), { minLength: 1, maxLength: 60 })
  .map((xs) => Float32Array.from(xs, (x) => x / 64));
const optionsArbitrary = fc.record({
  temperature: fc.double({ min: 0.05, max: 4, noNaN: true }),
  topK: fc.integer({ min: 0, max: 70 }),
  topP: fc.oneof(fc.constant(1), fc.double({ min: 0.01, max: 0.999, noNaN: true })),
  minP: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1, noNaN: true })),
  repetitionPenalty: fc.oneof(fc.constant(1), fc.double({ min: 0.5, max: 2, noNaN: true })),
});

/** The definition, by sorting everything: what the selection must agree with. `slack` moves the edge of the nucleus. */
function bySorting(logits: Float32Array, options: FilterOptions, slack: number): number[] {
  const max = Math.max(...logits);
  let kept = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]! || a - b);
  if (options.topK > 0 && options.topK < kept.length) {
    const kth = logits[kept[options.topK - 1]!]!;
    kept = kept.filter((id) => logits[id]! >= kth);
  }
  const weight = (id: number) => Math.exp((logits[id]! - max) / options.temperature);
  if (options.topP < 1) {
    const total = kept.reduce((sum, id) => sum + weight(id), 0);
    let before = 0;
    kept = kept.filter((id) => {
      const inside = before < options.topP * total * (1 + slack);
      before += weight(id);
      return inside;
    });
  }
  return kept.filter((id) => weight(id) >= options.minP && weight(id) > 0);
}

describe("sampleToken", () => {
  it("keeps exactly the tokens that the definition keeps", () => {
    fc.assert(
      fc.property(logitsArbitrary, optionsArbitrary, (logits, drawn) => {
        const options = { ...drawn, repetitionPenalty: 1 };
        const given = samplingDistribution(logits, options);
        const kept = new Set([...given.keys()].filter((id) => given[id]! > 0));
        // Sums in another order round otherwise, so the edge of the nucleus is allowed one part in 10^9.
        for (const id of bySorting(logits, options, -1e-9)) expect(kept).toContain(id);
        const most = bySorting(logits, options, 1e-9);
        for (const id of kept) expect(most).toContain(id);
        expect(given.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 9);
      }),
      { numRuns: 1000 },
    );
  });

  it("ends the nucleus at the right token, however near its edge the mass is", () => {
    const place = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
    fc.assert(
      fc.property(
        logitsArbitrary,
        fc.double({ min: 0.05, max: 4 }),
        place,
        fc.constantFrom(-1e-7, 1e-7),
        (...drawn) => {
          const [logits, temperature, at, beside] = drawn;
          const max = Math.max(...logits);
          const weights = [...logits].map((x) => Math.exp((x - max) / temperature)).sort((a, b) => b - a);
          const sum = (count: number) => weights.slice(0, count).reduce((a, b) => a + b, 0);
          const topP = (sum(1 + Math.floor(at * logits.length)) / sum(logits.length)) * (1 + beside);
          if (topP >= 1) return;
          const options = { ...plain, temperature, topP };
          const given = samplingDistribution(logits, options);
          const kept = [...given.keys()].filter((id) => given[id]! > 0);
          expect(kept).toEqual(bySorting(logits, options, 0).sort((a, b) => a - b));
        },
      ),
      { numRuns: 1000 },
    );
  });

  it("never draws a filtered token and leaves the logits alone", () => {
    fc.assert(
      fc.property(
        logitsArbitrary,
        optionsArbitrary,
        fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
        (logits, options, uniform) => {
          const before = logits.slice();
          const history = [0, 3, 3];
          const { token } = sampleToken(logits, options, uniform, history);
          expect(samplingDistribution(logits, options, history)[token]).toBeGreaterThan(0);
          expect(logits).toEqual(before);
        },
      ),
    );
  });

  it("draws in proportion: frequencies of 20,000 draws within five standard deviations", () => {
    fc.assert(
      fc.property(logitsArbitrary, optionsArbitrary, fc.nat(), (logits, options, seed) => {
        const draws = 20_000;
        const stream = randomStream({ seed, stage: "test", item: "frequencies" });
        const counts = new Float64Array(logits.length);
        for (let i = 0; i < draws; i++) {
          const { token } = sampleToken(logits, options, stream.uniform(i));
          counts[token] = counts[token]! + 1;
        }
        samplingDistribution(logits, options).forEach((p, id) => {
          const deviation = Math.sqrt(draws * p * (1 - p));
          expect(Math.abs(counts[id]! - draws * p)).toBeLessThan(5 * deviation + 3);
        });
      }),
      { numRuns: 25, seed: 11 },
    );
  });

  it("reports the unmodified distribution whatever the filters", () => {
    const logits = Float32Array.from({ length: 50 }, (_, i) => Math.sin(i * 7) * 4);
    const reference = logSoftmax(logits);
    for (const options of [plain, { ...plain, temperature: 0 }, { ...plain, topK: 3, temperature: 2, topP: 0.5 }]) {
      const { token, logprob, top } = sampleToken(
        logits,
        { ...options, repetitionPenalty: 1.5, logprobs: 4 },
        0.3,
        [1],
      );
      expect(logprob).toBeCloseTo(reference[token]!, 10);
      expect(top!.map((one) => one.token)).toEqual(largest(logits, 4));
      for (const one of top!) expect(one.logprob).toBeCloseTo(reference[one.token]!, 10);
    }
    expect(sampleToken(logits, plain, 0.3).logprob).toBeUndefined();
  });

  it("is greedy at temperature 0, ties to the lower id", () => {
    expect(sampleToken(Float32Array.of(1, 4, 4, 0), { ...plain, temperature: 0 }, 0.99).token).toBe(1);
    expect(
      sampleToken(Float32Array.of(3, 4, 0), { ...plain, temperature: 0, repetitionPenalty: 2 }, 0, [1]).token,
    ).toBe(0);
  });

  it("penalises a token once, however often it was said", () => {
    const logits = Float32Array.of(3, -2, 1, 0.5);
    const options = { ...plain, repetitionPenalty: 1.7 };
    const once = samplingDistribution(logits, options, [0, 1]);
    expect(samplingDistribution(logits, options, [0, 1, 0, 1, 1])).toEqual(once);
    expect(once[0]! / once[2]!).toBeCloseTo(Math.exp(3 / 1.7 - 1), 6);
    expect(once[1]! / once[2]!).toBeCloseTo(Math.exp(-2 * 1.7 - 1), 6);
  });

  it("takes no more tied tokens into the nucleus than it needs", () => {
    const given = samplingDistribution(new Float32Array(10), { ...plain, topP: 0.5 });
    expect([...given]).toEqual([0.2, 0.2, 0.2, 0.2, 0.2, 0, 0, 0, 0, 0]);
  });

  it("never draws a banned token, and refuses logits that mean nothing", () => {
    const banned = Float32Array.of(Number.NEGATIVE_INFINITY, 0, Number.NEGATIVE_INFINITY);
    for (const uniform of [0, 0.5, 1 - 2 ** -53]) expect(sampleToken(banned, plain, uniform).token).toBe(1);
    for (const bad of [[Number.NaN, 1], [Number.POSITIVE_INFINITY, 1], [Number.NEGATIVE_INFINITY], []])
      expect(() => sampleToken(Float32Array.from(bad), plain, 0.5)).toThrow(UsageError);
  });
});

describe("largest", () => {
  it("agrees with a stable sort", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -5, max: 5 })), fc.integer({ min: 0, max: 40 }), (values, k) => {
        const sorted = [...values.keys()].sort((a, b) => values[b]! - values[a]! || a - b);
        expect(largest(Float32Array.from(values), k)).toEqual(sorted.slice(0, k));
      }),
    );
  });
});
