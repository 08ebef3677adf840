import { cast, compile, input } from "@tenet/tensor";
import { expect, it } from "vitest";
import { type SamplingOptions, sampleToken } from "../language-model/index.ts";
import { blockFeeds } from "./block.ts";
import { drawTokens } from "./draw.ts";

/** With TENET_TEST_DRAWS=100000 they are what the docs tell of. */
const draws = Number(process.env.TENET_TEST_DRAWS ?? 5000);
const [rows, vocabulary] = [50, 2048];

const plain = { temperature: 1, topP: 1, topK: 0, minP: 0, repetitionPenalty: 1 };
/** Logits of one unit's spread are flat, those of eight leave a few tokens that matter. */
const cases: Record<string, { sampling: typeof plain; spread: number; halves?: boolean }> = {
  plain: { sampling: plain, spread: 2 },
  "among equals": { sampling: { ...plain, topK: 9 }, spread: 2, halves: true },
  nucleus: { sampling: { ...plain, temperature: 0.8, topP: 0.9 }, spread: 4 },
  "least share": { sampling: { ...plain, temperature: 1.3, minP: 0.05 }, spread: 8 },
  "all filters": { sampling: { ...plain, temperature: 0.7, topK: 40, topP: 0.8, minP: 0.01 }, spread: 4 },
};

it("a graph draws what sampleToken draws", { timeout: 3_600_000 }, async () => {
  let state = 7;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  const graphs = new Map<boolean, Awaited<ReturnType<typeof drawing>>>();
  for (const filtered of [false, true]) graphs.set(filtered, await drawing(filtered));
  const told: Record<string, { drawn: number; left: number; other: number; furthest: number }> = {};
  for (const [name, { sampling, spread, halves }] of Object.entries(cases)) {
    const count = { drawn: 0, left: 0, other: 0, furthest: 0 };
    told[name] = count;
    for (let call = 0; call < draws / Object.keys(cases).length / rows; call++) {
      const logits = Float32Array.from({ length: rows * vocabulary }, () =>
        halves ? Math.round(normal() * spread * 2) / 2 : normal() * spread,
      );
      const numbers = Array.from({ length: rows }, uniform);
      const row = (at: number) => ({ last: 0, left: 1, barring: 0, sampling: sampling as SamplingOptions, uniform: () => numbers[at]! }); // biome-ignore format: one value
      const { feeds, filtered } = blockFeeds(Array.from({ length: rows }, (_, at) => row(at)), 1); // biome-ignore format: one call
      const { tokens: _, left: __, barring: ___, ...sampled } = feeds;
      const out = await graphs.get(filtered)!.run({
        ...sampled,
        logits: { data: logits, shape: [rows, vocabulary] },
        barred: { data: new Int32Array(rows), shape: [rows] },
      });
      for (let at = 0; at < rows; at++) {
        const piece = logits.subarray(at * vocabulary, (at + 1) * vocabulary);
        const expected = sampleToken(piece, { ...sampling, logprobs: 0 }, numbers[at]!);
        const token = out.token.data[at]!;
        if (token < 0) count.left++;
        else if (token !== expected.token) count.other++;
        else count.furthest = Math.max(count.furthest, Math.abs(out.logprob.data[at]! - expected.logprob!));
        count.drawn++;
      }
    }
  }
  if (process.env.TENET_TEST_DRAWS) console.log(JSON.stringify(told, null, 1));
  for (const [name, { drawn, left, other, furthest }] of Object.entries(told)) {
    expect(other, name).toBe(0);
    // A nucleus wider than what is looked at is left to a single step, and here there is none.
    expect(left, name).toBeLessThan(drawn / 100);
    expect(furthest, name).toBeLessThan(1e-5);
  }
  for (const graph of graphs.values()) await graph.dispose();
});

/** Draws alone, of logits that are fed. */
function drawing(filtered: boolean) {
  return compile(() => {
    const perRow = (name: string, dtype: "int32" | "float64" | "bool") => input(name, dtype, ["rows"]);
    const { token, logprob } = drawTokens(
      input("logits", "float32", ["rows", vocabulary]),
      {
        scale: perRow("scale", "float64"),
        greedy: perRow("greedy", "bool"),
        uniform: input("uniform", "float64", [1, "rows"]).reshape(["rows"]),
        barred: cast(perRow("barred", "int32"), "bool"),
        ...(filtered && {
          filters: { topP: perRow("topP", "float64"), topK: perRow("topK", "int32"), minP: perRow("minP", "float64") },
        }),
      },
      { vocabulary, ends: [0] },
    );
    return { token, logprob };
  });
}
