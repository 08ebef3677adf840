import { compile, grad, input } from "@tenet/tensor";
import { describe, expect, it } from "vitest";
import {
  bytesOf,
  familyNames,
  graphWeights,
  largestDifference,
  readFamily,
  withCheckpoint,
} from "../../test/golden/families.ts";
import { parseConfig } from "../checkpoint/config.ts";
import { causalAttention, decoder, headName, rotaryFrequencies, rotaryTables, weightShapes } from "./index.ts";

describe.each(await familyNames())("%s against transformers in float64", (name) => {
  it("gives the logits of a checkpoint folder", async () => {
    const golden = await readFamily(name);
    const difference = await withCheckpoint(golden, async (checkpoint) => {
      const { config, tensors } = checkpoint;
      const shapes = Object.fromEntries([...tensors].map(([name, { shape }]) => [name, shape]));
      expect(shapes).toEqual(weightShapes(config));
      const weight = await graphWeights(checkpoint);
      const program = await compile(() => {
        const hidden = decoder(input("tokens", "int32", golden.tokens.shape), { config, weight });
        return { logits: hidden.matmul(weight(headName(config)), { transB: true }) };
      });
      const { logits } = await program.run({ tokens: new Int32Array(bytesOf(golden.tokens.data)) });
      await program.dispose();
      return largestDifference(logits.data, new Float32Array(bytesOf(golden.logits.data)));
    });
    expect(difference).toBeLessThanOrEqual(2e-5);
  });
});

interface RotaryGolden {
  cases: { config: Record<string, unknown>; length: number; frequencies: number[]; attentionFactor: number }[];
}

describe("rotary frequencies", async () => {
  const { cases } = await readFamily<RotaryGolden>("rotary");
  it.each(cases.map((golden) => ({ golden, rope: JSON.stringify(golden.config.rope_parameters) })))(
    "$rope, $golden.length tokens",
    ({ golden }) => {
      const config = parseConfig(golden.config, "config.json");
      const frequencies = rotaryFrequencies(config, golden.length);
      expect(frequencies).toHaveLength(golden.frequencies.length);
      // The reference is float32.
      frequencies.forEach((f, i) => void expect(Math.abs(f / golden.frequencies[i]! - 1)).toBeLessThan(2e-6));
      const { scale } = rotaryTables(config, 1);
      expect(scale).toBeCloseTo(golden.attentionFactor ** 2 / Math.sqrt(config.head_dim), 12);
    },
  );

  it("divides by the factors a GGUF file holds", () => {
    const config = parseConfig(cases[0]!.config, "config.json");
    const plain = rotaryFrequencies({ ...config, rope_scaling: null }, 10);
    const factors = plain.map((_, i) => 1 + i);
    const scaled = rotaryFrequencies({ ...config, rope_scaling: { rope_type: "frequency_factors", factors } }, 10);
    expect(scaled).toEqual(plain.map((frequency, i) => frequency / (1 + i)));
  });
});

describe("causalAttention with a window", () => {
  const [heads, time, size] = [2, 9, 4];
  const count = heads * time * size;
  const draw = (seed: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(seed + 1.3 * i * i));
  const data = { q: draw(1), k: draw(2), v: draw(3), dy: draw(4) };

  /** Output and gradients; `segments` marks a packed row. */
  async function results(window: number | null, block: number, segments?: Int32Array) {
    const program = await compile(() => {
      const [q, k, v, dy] = ["q", "k", "v", "dy"].map((name) => input(name, "float32", [1, heads, time, size]));
      const packed = segments ? { segments: input("segments", "int32", [1, time]) } : {};
      const out = causalAttention(q!, k!, v!, { scale: 0.5, window, block, ...packed });
      return { values: [out, ...grad(out.mul(dy!).sum(), [q!, k!, v!])] };
    });
    const { values } = await program.run(segments ? { ...data, segments } : data);
    await program.dispose();
    return values.map((value) => value.data as Float32Array);
  }

  it("is softmax over the last `window` keys", async () => {
    const window = 3;
    const [out] = await results(window, 64);
    const row = (x: Float32Array, head: number, at: number) =>
      x.subarray((head * time + at) * size, (head * time + at + 1) * size);
    for (let head = 0; head < heads; head++)
      for (let at = 0; at < time; at++) {
        const keys = Array.from({ length: time }, (_, i) => i).filter((key) => key <= at && at - key < window);
        const weights = keys.map((key) =>
          Math.exp(0.5 * row(data.q, head, at).reduce((sum, x, i) => sum + x * row(data.k, head, key)[i]!, 0)),
        );
        const total = weights.reduce((a, b) => a + b);
        const expected = Array.from({ length: size }, (_, i) =>
          keys.reduce((sum, key, j) => sum + (weights[j]! / total) * row(data.v, head, key)[i]!, 0),
        );
        expect(largestDifference(row(out!, head, at), expected)).toBeLessThan(1e-6);
      }
  });

  it("does not depend on how queries are grouped, nor do its gradients", async () => {
    const segments = Int32Array.of(0, 0, 0, 0, 0, 1, 1, 1, 1);
    for (const packed of [undefined, segments]) {
      const whole = await results(3, 64, packed);
      for (const block of [1, 2, 4])
        (await results(3, block, packed)).forEach(
          (x, i) => void expect(largestDifference(x, whole[i]!)).toBeLessThan(2e-6),
        );
    }
  });

  it("is plain attention where the window holds the sequence", async () => {
    const all = await results(null, 64);
    (await results(time, 4)).forEach((x, i) => void expect(largestDifference(x, all[i]!)).toBeLessThan(2e-6));
  });
});
