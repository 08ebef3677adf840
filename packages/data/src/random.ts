import { createHash } from "node:crypto";

/** Names one stream of random numbers. Equal keys give equal streams, in any process and any order. */
export interface StreamKey {
  seed: number;
  /** What the numbers are for, e.g. "generate" or "principle". */
  stage: string;
  item: string | number;
  sample?: number;
}

/** A stream: `uniform(i)` is its i-th number in [0, 1), the same whenever it is asked for. */
export interface RandomStream {
  uniform(draw: number): number;
  /** An integer in [0, below). */
  integer(draw: number, below: number): number;
}

/**
 * The stream of (seed, stage, item, sample): Philox 4×32-10 under a 64-bit key hashed from the four.
 *
 * Being a function of the counter instead of a state, its numbers do not depend on batch order, on neighbours or on
 * restarts. Units: uniform in [0, 1) with 53 bits. Errors: none.
 * Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).
 *
 * @example
 * const stream = randomStream({ seed: 7, stage: "principle", item: "prompt-12" });
 * stream.uniform(0) === stream.uniform(0); // true
 */
export function randomStream({ seed, stage, item, sample = 0 }: StreamKey): RandomStream {
  // JSON keeps ("a", "bc") and ("ab", "c") apart, and 1 from "1".
  const digest = createHash("sha256")
    .update(JSON.stringify([seed, stage, item, sample]))
    .digest();
  const key: [number, number] = [digest.readUInt32LE(0), digest.readUInt32LE(4)];
  const uniform = (draw: number) => {
    const [high, low] = philox4x32([draw >>> 0, Math.floor(draw / 2 ** 32) >>> 0, 0, 0], key);
    return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
  };
  return { uniform, integer: (draw, below) => Math.floor(uniform(draw) * below) };
}

type Words = [number, number, number, number];

/** Ten Philox rounds: counter (four 32-bit words) and key (two) to four random words. */
export function philox4x32(counter: Words, key: [number, number]): Words {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0);
    const high1 = multiplyHigh(0xcd9e8d57, c2);
    const low0 = Math.imul(0xd2511f53, c0);
    const low1 = Math.imul(0xcd9e8d57, c2);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

/** The upper 32 bits of a 32 × 32-bit product. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = aLow * bHigh + (middle & 0xffff);
  return aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(carry / 65536);
}
