const bits = new Uint32Array(1);
const single = new Float32Array(bits.buffer);

/** The IEEE 754 half-precision pattern nearest to x, ties to even. */
export function toHalf(x: number): number {
  single[0] = x;
  // Rounding twice must not turn a near tie into a tie: what float32 loses goes on in its last bit (rounding to odd).
  const nearest = single[0]!;
  if (nearest !== x) bits[0] = (bits[0]! - (Math.abs(nearest) > Math.abs(x) ? 1 : 0)) | 1;
  const word = bits[0]!;
  const sign = (word >>> 16) & 0x8000;
  const exponent = (word >>> 23) & 0xff;
  const fraction = word & 0x7fffff;
  if (exponent === 0xff) return sign | (fraction ? 0x7e00 : 0x7c00);
  const e = exponent - 112;
  if (e >= 31) return sign | 0x7c00;
  if (e < -10) return sign;
  // A normal half drops 13 bits; a subnormal one shifts its hidden bit in as well.
  const mantissa = e > 0 ? fraction : fraction | 0x800000;
  const drop = e > 0 ? 13 : 14 - e;
  const kept = (e > 0 ? e << 10 : 0) + (mantissa >>> drop);
  const rest = mantissa & ((1 << drop) - 1);
  const half = 1 << (drop - 1);
  // Rounding up carries into the exponent where it must.
  return sign | (kept + (rest > half || (rest === half && kept & 1) ? 1 : 0));
}

/** The number a half-precision pattern stands for. */
export function fromHalf(pattern: number): number {
  const sign = pattern & 0x8000 ? -1 : 1;
  const exponent = (pattern >>> 10) & 0x1f;
  const fraction = pattern & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
