/**
 * How the bytes of one tensor type become float32: fixed blocks of `blockBytes` bytes holding `blockSize` numbers.
 *
 * `decode` turns `blocks` blocks at the start of `bytes` into `blocks * blockSize` numbers at `out[at]`. `bytes` starts
 * on a multiple of 4 in its buffer, so that it can be viewed as wider integers.
 */
export interface Codec {
  readonly blockSize: number;
  readonly blockBytes: number;
  decode(bytes: Uint8Array, out: Float32Array, at: number, blocks: number): void;
}

// Typed arrays have the machine's byte order; checkpoints are little-endian, as is every platform this runtime ships for.
if (new Uint8Array(Uint32Array.of(1).buffer)[0] !== 1) throw new Error("Checkpoints need a little-endian machine.");

let table: Float32Array | undefined;

/**
 * All 65,536 float16 values as float32, by their bits: one load per number instead of a branchy conversion.
 *
 * Source: IEEE 754-2008 binary16. NaN payloads move to the top of the wider significand.
 */
export function float16Table(): Float32Array {
  if (table !== undefined) return table;
  table = new Float32Array(1 << 16);
  const bits = new Uint32Array(table.buffer);
  for (let h = 0; h < 1 << 16; h++) {
    const sign = (h & 0x8000) << 16;
    const exponent = (h >> 10) & 31;
    const fraction = h & 0x3ff;
    if (exponent === 0) {
      table[h] = fraction * 2 ** -24;
      bits[h]! |= sign;
    } else {
      bits[h] = sign | ((exponent === 31 ? 255 : exponent + 112) << 23) | (fraction << 13);
    }
  }
  return table;
}

/** Numbers in a tensor's bytes, viewed without a copy. */
const halves = (bytes: Uint8Array, n: number) => new Uint16Array(bytes.buffer, bytes.byteOffset, n);
const words = (floats: Float32Array) => new Uint32Array(floats.buffer, floats.byteOffset, floats.length);

export const F32: Codec = {
  blockSize: 1,
  blockBytes: 4,
  decode(bytes, out, at, blocks) {
    out.set(new Float32Array(bytes.buffer, bytes.byteOffset, blocks), at);
  },
};

export const F16: Codec = {
  blockSize: 1,
  blockBytes: 2,
  decode(bytes, out, at, blocks) {
    const from = halves(bytes, blocks);
    const bits = new Uint32Array(float16Table().buffer);
    const to = words(out);
    // Through integers: a float load and store may quieten a signalling NaN.
    for (let i = 0; i < blocks; i++) to[at + i] = bits[from[i]!]!;
  },
};

export const BF16: Codec = {
  blockSize: 1,
  blockBytes: 2,
  decode(bytes, out, at, blocks) {
    const from = halves(bytes, blocks);
    const to = words(out);
    for (let i = 0; i < blocks; i++) to[at + i] = from[i]! << 16;
  },
};

/** Rounds float32 to float16 bits, to nearest even; overflow becomes infinity, NaN stays NaN. */
export function encodeF16(from: Float32Array, to: Uint16Array): void {
  const bits = words(from);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i]!;
    const sign = (word >>> 16) & 0x8000;
    const magnitude = word & 0x7fffffff;
    if (magnitude > 0x7f800000) {
      to[i] = sign | 0x7e00 | ((magnitude >>> 13) & 0x3ff);
    } else if (magnitude >= 0x477ff000) {
      to[i] = sign | 0x7c00; // from 65520 on, the nearest float16 is infinity
    } else if (magnitude >= 0x38800000) {
      to[i] = sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
    } else if (magnitude >= 0x33000000) {
      // Below 2^-14 float16 is fixed point with a unit of 2^-24.
      const shift = 126 - (magnitude >>> 23);
      const significand = (magnitude & 0x7fffff) | 0x800000;
      const kept = significand >>> shift;
      const rest = significand & ((1 << shift) - 1);
      const half = 1 << (shift - 1);
      to[i] = sign | (kept + (rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0));
    } else {
      to[i] = sign;
    }
  }
}

/** Rounds float32 to bfloat16 bits, to nearest even; NaN stays NaN. */
export function encodeBF16(from: Float32Array, to: Uint16Array): void {
  const bits = words(from);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i]!;
    const notANumber = (word & 0x7fffffff) > 0x7f800000;
    to[i] = notANumber ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
}
