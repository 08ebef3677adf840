/** Arrays of a request or a reply, by name. */
export type Tensors = Readonly<Record<string, TensorOf>>;

export interface TensorOf {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Float64Array;
}

const kinds = [
  ["F32", Float32Array],
  ["I32", Int32Array],
  ["F64", Float64Array],
] as const;

/** A body that cannot be read. */
export class BodyError extends Error {
  override readonly name = "BodyError";
}

/** JSON and arrays as one safetensors file. */
export function writeBody(json: unknown, tensors: Tensors): Uint8Array<ArrayBuffer> {
  const header: Record<string, unknown> = { __metadata__: { json: JSON.stringify(json) } };
  let at = 0;
  const parts = Object.entries(tensors).map(([name, { shape, data }]) => {
    const [dtype] = kinds.find(([, kind]) => data instanceof kind)!;
    header[name] = { dtype, shape, data_offsets: [at, at + data.byteLength] };
    at += data.byteLength;
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  });
  const text = Buffer.from(JSON.stringify(header));
  // Padded, so that what follows stands at a multiple of eight.
  const length = Math.ceil(text.length / 8) * 8;
  const body = new Uint8Array(8 + length + at);
  new DataView(body.buffer).setBigUint64(0, BigInt(length), true);
  body.fill(0x20, 8, 8 + length);
  body.set(text, 8);
  let place = 8 + length;
  for (const part of parts) {
    body.set(part, place);
    place += part.length;
  }
  return body;
}

/** The JSON and the arrays of such a file. Errors: BodyError. */
export function readBody(body: Uint8Array): { json: unknown; tensors: Record<string, TensorOf> } {
  try {
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    const length = Number(view.getBigUint64(0, true));
    const header = JSON.parse(Buffer.from(body.subarray(8, 8 + length)).toString("utf8")) as Record<string, unknown>;
    const { __metadata__: metadata, ...entries } = header as { __metadata__?: { json?: string } };
    const tensors: Record<string, TensorOf> = {};
    for (const [name, entry] of Object.entries(entries)) {
      const {
        dtype,
        shape,
        data_offsets: offsets,
      } = entry as {
        dtype: string;
        shape: number[];
        data_offsets: [number, number];
      };
      const kind = kinds.find(([known]) => known === dtype)?.[1];
      if (!kind)
        throw new BodyError(`tensor ${name} is ${dtype}; expected ${kinds.map(([known]) => known).join(", ")}`);
      const [from, to] = offsets.map((offset) => 8 + length + offset) as [number, number];
      // A copy: typed arrays want their elements aligned.
      const bytes = body.slice(from, to);
      const count = shape.reduce((a, b) => a * b, 1);
      if (bytes.byteLength !== count * kind.BYTES_PER_ELEMENT)
        throw new BodyError(`tensor ${name} of ${shape.join(" × ")} has ${bytes.byteLength} bytes`);
      tensors[name] = { shape, data: new kind(bytes.buffer, bytes.byteOffset, count) };
    }
    return { json: JSON.parse(metadata?.json ?? "{}"), tensors };
  } catch (error) {
    if (error instanceof BodyError) throw error;
    throw new BodyError(`no safetensors file with JSON in its metadata: ${(error as Error).message}`, { cause: error });
  }
}
