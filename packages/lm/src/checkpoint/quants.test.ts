import { describe, expect, it } from "vitest";
import golden from "../../test/checkpoint/quants.golden.json" with { type: "json" };
import { BF16, type Codec, encodeBF16, encodeF16, F16, F32, float16Table } from "./floats.ts";
import * as quants from "./quants.ts";

const CODECS: Record<string, Codec> = { F32, F16, BF16, ...quants };

const bytesOf = (base64: string) => new Uint8Array(Buffer.from(base64, "base64"));

describe("blocks equal the reference's float32, bit for bit", () => {
  it("covers every type that is read", () => {
    expect(new Set(golden.cases.map((c) => c.type))).toEqual(new Set(Object.keys(CODECS)));
  });

  it.each(golden.cases.map((c) => [c.type, c.source, c] as const))("%s, %s", (type, _, { blocks, values }) => {
    const codec = CODECS[type]!;
    const bytes = bytesOf(blocks);
    const expected = new Float32Array(bytesOf(values).buffer);
    const count = bytes.length / codec.blockBytes;
    const out = new Float32Array(count * codec.blockSize + 7).fill(7);
    codec.decode(bytes, out, 3, count);
    // Object.is: -0 is not 0, and NaN is NaN whatever its payload.
    for (let i = 0; i < expected.length; i++) {
      if (!Object.is(out[i + 3], expected[i])) expect.fail(`number ${i}: ${out[i + 3]}, reference ${expected[i]}`);
    }
    expect([...out.subarray(0, 3), ...out.subarray(-4)], "the surroundings are untouched").toEqual(Array(7).fill(7));
  });
});

describe("rounding to 16 bits", () => {
  const every = Uint16Array.from({ length: 1 << 16 }, (_, i) => i);
  const isNaN16 = (h: number) => (h & 0x7fff) > 0x7c00;

  it("returns every float16 to itself", () => {
    const back = new Uint16Array(1 << 16);
    encodeF16(float16Table(), back);
    for (const h of every) if (!isNaN16(h) && back[h] !== h) expect.fail(`0x${h.toString(16)} became ${back[h]}`);
    expect(isNaN16(back[0x7e00]!) && isNaN16(back[0xfc01]!)).toBe(true);
  });

  it("rounds to the nearest float16, ties to even", () => {
    // Between neighbours: the midpoint goes to the even one, a nudge either way to the nearer one.
    const table = float16Table();
    const from: number[] = [];
    const expected: number[] = [];
    const nudged = new Float32Array(1);
    const bits = new Uint32Array(nudged.buffer);
    for (let h = 0; h < 0x7bff; h++) {
      const middle = (table[h]! + table[h + 1]!) / 2;
      const even = h + (h & 1);
      nudged[0] = middle;
      from.push(middle);
      expected.push(even);
      bits[0]! += 1;
      from.push(nudged[0]);
      expected.push(h + 1);
      bits[0]! -= 2;
      from.push(nudged[0]);
      expected.push(h);
    }
    const to = new Uint16Array(from.length);
    encodeF16(Float32Array.from(from), to);
    for (let i = 0; i < to.length; i++)
      if (to[i] !== expected[i]) expect.fail(`${from[i]}: ${to[i]}, not ${expected[i]}`);
  });

  it("overflows to infinity where float16 does", () => {
    const to = new Uint16Array(4);
    encodeF16(Float32Array.of(65519.996, 65520, -1e30, Number.POSITIVE_INFINITY), to);
    expect([...to]).toEqual([0x7bff, 0x7c00, 0xfc00, 0x7c00]);
  });

  it("rounds to the nearest bfloat16, ties to even, and keeps NaN", () => {
    const words = Uint32Array.of(0x3f800000, 0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0x7f800001, 0x7f7fffff);
    const to = new Uint16Array(words.length);
    encodeBF16(new Float32Array(words.buffer), to);
    expect([...to]).toEqual([0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x3f80, 0x7fc0, 0x7f80]);
  });
});
