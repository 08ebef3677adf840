/** How float32 becomes the bytes of one type: fixed blocks of `blockSize` numbers in `blockBytes` bytes. */
export interface Encoder {
  readonly blockSize: number;
  readonly blockBytes: number;
  /** Encodes whole blocks; `out` holds `values.length / blockSize * blockBytes` bytes. */
  encode(values: Float32Array, out: Uint8Array): void;
}
