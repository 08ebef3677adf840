import { type Codec, float16Table } from "./floats.ts";

/**
 * The block-quantised types of GGML, as float32.
 *
 * A block is one or two float16 scales and the small integers they multiply. Products of a float16 and such integers
 * have at most 24 significant bits except in Q6_K, and double precision holds every intermediate sum exactly: each
 * number is rounded once, when it is stored, so results equal the reference's float32 arithmetic bit for bit.
 * Source of the layouts: ggml-common.h and the reference package `gguf` (`quants.py`) of llama.cpp.
 */

/** Builds a codec from a function that decodes one block: bytes from `p` on, numbers from `o` on. */
function blocks(
  blockSize: number,
  blockBytes: number,
  one: (b: Uint8Array, p: number, out: Float32Array, o: number, half: Float32Array) => void,
): Codec {
  return {
    blockSize,
    blockBytes,
    decode(bytes, out, at, count) {
      const half = float16Table();
      for (let i = 0; i < count; i++) one(bytes, i * blockBytes, out, at + i * blockSize, half);
    },
  };
}

/** w = d · (q − 8); q in 0..15, the first 16 in low nibbles, the rest in high ones. */
export const Q4_0 = blocks(32, 18, (b, p, out, o, half) => {
  const d = half[b[p]! | (b[p + 1]! << 8)]!;
  for (let j = 0; j < 16; j++) {
    const q = b[p + 2 + j]!;
    out[o + j] = d * ((q & 15) - 8);
    out[o + 16 + j] = d * ((q >> 4) - 8);
  }
});

/** w = d · q + m */
export const Q4_1 = blocks(32, 20, (b, p, out, o, half) => {
  const d = half[b[p]! | (b[p + 1]! << 8)]!;
  const m = half[b[p + 2]! | (b[p + 3]! << 8)]!;
  for (let j = 0; j < 16; j++) {
    const q = b[p + 4 + j]!;
    out[o + j] = d * (q & 15) + m;
    out[o + 16 + j] = d * (q >> 4) + m;
  }
});

/** w = d · (q − 16); the fifth bits of all 32 numbers stand together before the nibbles. */
export const Q5_0 = blocks(32, 22, (b, p, out, o, half) => {
  const d = half[b[p]! | (b[p + 1]! << 8)]!;
  const high = b[p + 2]! | (b[p + 3]! << 8) | (b[p + 4]! << 16) | (b[p + 5]! << 24);
  for (let j = 0; j < 16; j++) {
    const q = b[p + 6 + j]!;
    out[o + j] = d * (((q & 15) | (((high >> j) & 1) << 4)) - 16);
    out[o + 16 + j] = d * (((q >> 4) | (((high >> (j + 16)) & 1) << 4)) - 16);
  }
});

/** w = d · q + m, with fifth bits as in Q5_0. */
export const Q5_1 = blocks(32, 24, (b, p, out, o, half) => {
  const d = half[b[p]! | (b[p + 1]! << 8)]!;
  const m = half[b[p + 2]! | (b[p + 3]! << 8)]!;
  const high = b[p + 4]! | (b[p + 5]! << 8) | (b[p + 6]! << 16) | (b[p + 7]! << 24);
  for (let j = 0; j < 16; j++) {
    const q = b[p + 8 + j]!;
    out[o + j] = d * ((q & 15) | (((high >> j) & 1) << 4)) + m;
    out[o + 16 + j] = d * ((q >> 4) | (((high >> (j + 16)) & 1) << 4)) + m;
  }
});

/** w = d · q; q a signed byte. */
export const Q8_0 = blocks(32, 34, (b, p, out, o, half) => {
  const d = half[b[p]! | (b[p + 1]! << 8)]!;
  for (let j = 0; j < 32; j++) out[o + j] = d * ((b[p + 2 + j]! << 24) >> 24);
});

/**
 * The scale and the minimum of sub-block `s` (0..7), 6 bits each, packed in 12 bytes from `p` on, as scale | minimum << 8.
 *
 * The first four pairs are the low 6 bits of bytes s and s + 4; the others have their low 4 bits in byte s + 4 and
 * their high 2 bits on top of the first four.
 */
function scaleAndMin(b: Uint8Array, p: number, s: number): number {
  if (s < 4) return (b[p + s]! & 63) | ((b[p + s + 4]! & 63) << 8);
  const low = b[p + s + 4]!;
  return (low & 15) | ((b[p + s - 4]! >> 6) << 4) | (((low >> 4) | ((b[p + s]! >> 6) << 4)) << 8);
}

/** w = d · scale · q − dmin · minimum, in eight sub-blocks of 32; two sub-blocks share 32 bytes of nibbles. */
export const Q4_K = blocks(256, 144, (b, p, out, o, half) => {
  const d = half[b[p]! | (b[p + 1]! << 8)]!;
  const dmin = half[b[p + 2]! | (b[p + 3]! << 8)]!;
  for (let pair = 0; pair < 4; pair++) {
    const even = scaleAndMin(b, p + 4, 2 * pair);
    const odd = scaleAndMin(b, p + 4, 2 * pair + 1);
    const d0 = d * (even & 255);
    const m0 = dmin * (even >> 8);
    const d1 = d * (odd & 255);
    const m1 = dmin * (odd >> 8);
    const qs = p + 16 + 32 * pair;
    const to = o + 64 * pair;
    for (let j = 0; j < 32; j++) {
      const q = b[qs + j]!;
      out[to + j] = d0 * (q & 15) - m0;
      out[to + 32 + j] = d1 * (q >> 4) - m1;
    }
  }
});

/** As Q4_K, with a fifth bit: bit s of byte j of the 32 before the nibbles belongs to number j of sub-block s. */
export const Q5_K = blocks(256, 176, (b, p, out, o, half) => {
  const d = half[b[p]! | (b[p + 1]! << 8)]!;
  const dmin = half[b[p + 2]! | (b[p + 3]! << 8)]!;
  for (let pair = 0; pair < 4; pair++) {
    const even = scaleAndMin(b, p + 4, 2 * pair);
    const odd = scaleAndMin(b, p + 4, 2 * pair + 1);
    const d0 = d * (even & 255);
    const m0 = dmin * (even >> 8);
    const d1 = d * (odd & 255);
    const m1 = dmin * (odd >> 8);
    const qs = p + 48 + 32 * pair;
    const to = o + 64 * pair;
    for (let j = 0; j < 32; j++) {
      const q = b[qs + j]!;
      const high = b[p + 16 + j]! >> (2 * pair);
      out[to + j] = d0 * ((q & 15) | ((high & 1) << 4)) - m0;
      out[to + 32 + j] = d1 * ((q >> 4) | ((high & 2) << 3)) - m1;
    }
  }
});

/** w = d · scale · (q − 32), in sixteen sub-blocks of 16 with signed 8-bit scales; q has 4 low and 2 high bits. */
export const Q6_K = blocks(256, 210, (b, p, out, o, half) => {
  const d = half[b[p + 208]! | (b[p + 209]! << 8)]!;
  for (let part = 0; part < 16; part++) {
    // Sub-blocks (0, 1), (2, 3), (4, 5), (6, 7) of each half: 32 numbers each, at another place of the same bytes.
    const group = (part >> 1) & 3;
    const offset = 16 * (part & 1);
    const low = p + 64 * (part >> 3) + 32 * (group & 1) + offset;
    const high = p + 128 + 32 * (part >> 3) + offset;
    const lowShift = 4 * (group >> 1);
    const highShift = 2 * group;
    const scale = d * ((b[p + 192 + part]! << 24) >> 24);
    const to = o + 16 * part;
    for (let j = 0; j < 16; j++) {
      out[to + j] = scale * ((((b[low + j]! >> lowShift) & 15) | (((b[high + j]! >> highShift) & 3) << 4)) - 32);
    }
  }
});

/** w = d · scale · q − dmin · minimum, in sixteen sub-blocks of 16; scale and minimum are the nibbles of one byte. */
export const Q2_K = blocks(256, 84, (b, p, out, o, half) => {
  const d = half[b[p + 80]! | (b[p + 81]! << 8)]!;
  const dmin = half[b[p + 82]! | (b[p + 83]! << 8)]!;
  for (let part = 0; part < 16; part++) {
    const scale = d * (b[p + part]! & 15);
    const minimum = dmin * (b[p + part]! >> 4);
    const [qs, shift] = twoBits(p + 16, part);
    for (let j = 0; j < 16; j++) out[o + 16 * part + j] = scale * ((b[qs + j]! >> shift) & 3) - minimum;
  }
});

/** w = d · (scale − 32) · q, in sixteen sub-blocks of 16; q has 2 low bits and a third that, where it is absent, takes 4 off. */
export const Q3_K = blocks(256, 110, (b, p, out, o, half) => {
  const d = half[b[p + 108]! | (b[p + 109]! << 8)]!;
  for (let part = 0; part < 16; part++) {
    // Low nibbles of all sixteen scales in eight bytes, their two high bits in the four after.
    const low = (b[p + 96 + (part & 7)]! >> (4 * (part >> 3))) & 15;
    const high = (b[p + 104 + (part & 3)]! >> (2 * (part >> 2))) & 3;
    const scale = d * ((low | (high << 4)) - 32);
    const [qs, shift] = twoBits(p + 32, part);
    const [mask, bit] = [p + 16 * (part & 1), part >> 1];
    for (let j = 0; j < 16; j++) {
      const q = (b[qs + j]! >> shift) & 3;
      out[o + 16 * part + j] = scale * (q - ((b[mask + j]! >> bit) & 1 ? 0 : 4));
    }
  }
});

/** Where the 2-bit numbers of sub-block `part` stand: four times 32 of them share 32 bytes, each at another shift. */
function twoBits(from: number, part: number): [at: number, shift: number] {
  return [from + 32 * (part >> 3) + 16 * (part & 1), 2 * ((part >> 1) & 3)];
}

/** The sixteen steps of the non-linear 4-bit types: finer around 0. Source: ggml-common.h of llama.cpp. */
const STEPS = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/** Sixteen bytes at `from` are 32 steps, low nibbles first, times `scale`. */
function steps(b: Uint8Array, from: number, scale: number, out: Float32Array, to: number): void {
  for (let j = 0; j < 16; j++) {
    out[to + j] = scale * STEPS[b[from + j]! & 15]!;
    out[to + 16 + j] = scale * STEPS[b[from + j]! >> 4]!;
  }
}

/** w = d · step[q] */
export const IQ4_NL = blocks(32, 18, (b, p, out, o, half) => {
  steps(b, p + 2, half[b[p]! | (b[p + 1]! << 8)]!, out, o);
});

/** w = d · (scale − 32) · step[q], in eight sub-blocks of 32; a scale has 4 low bits in a nibble and 2 high ones apart. */
export const IQ4_XS = blocks(256, 136, (b, p, out, o, half) => {
  const d = half[b[p]! | (b[p + 1]! << 8)]!;
  const highs = b[p + 2]! | (b[p + 3]! << 8);
  for (let part = 0; part < 8; part++) {
    const low = (b[p + 4 + (part >> 1)]! >> (4 * (part & 1))) & 15;
    const scale = (low | (((highs >> (2 * part)) & 3) << 4)) - 32;
    steps(b, p + 8 + 16 * part, d * scale, out, o + 32 * part);
  }
});
