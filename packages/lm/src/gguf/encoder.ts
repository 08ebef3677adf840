import { encodeF16, float16Table } from "../checkpoint/floats.ts";

/** How float32 becomes the bytes of one type: fixed blocks of `blockSize` numbers in `blockBytes` bytes. */
export interface Encoder {
  readonly blockSize: number;
  readonly blockBytes: number;
  /** Encodes whole blocks; `out` holds `values.length / blockSize * blockBytes` bytes. */
  encode(values: Float32Array, out: Uint8Array): void;
}

const single = new Float32Array(1);
const bits = new Uint16Array(1);

/** Writes a float16 and gives the number that it is. */
export function writeHalf(value: number, out: Uint8Array, at: number): number {
  single[0] = value;
  encodeF16(single, bits);
  out[at] = bits[0]! & 255;
  out[at + 1] = bits[0]! >> 8;
  return float16Table()[bits[0]!]!;
}
