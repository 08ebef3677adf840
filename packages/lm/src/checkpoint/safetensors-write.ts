import type { FileHandle } from "node:fs/promises";
import { numel } from "@tenet/tensor";
import { CheckpointError, quote } from "./errors.ts";
import { encodeBF16, encodeF16 } from "./floats.ts";
import { wholeFile, writeAll } from "./whole-file.ts";

/** A tensor to be written; `data` as a function is asked for when its turn comes, so that only one is in memory. */
export interface TensorToWrite {
  name: string;
  dtype: "F32" | "F16" | "BF16";
  shape: readonly number[];
  data: Float32Array | (() => Float32Array | Promise<Float32Array>);
}

const ENCODERS = { F16: encodeF16, BF16: encodeBF16 };

/** The order of the reference writer: wider alignment first, then by name, compared as UTF-8. */
const DTYPE_ORDER = { F32: 0, BF16: 1, F16: 2 };

/** Numbers converted at a time. */
const CHUNK = 1 << 16;

/**
 * Writes a safetensors file: header, then each tensor in turn; the file appears whole or not at all.
 *
 * Header and order are those of the reference implementation, so equal tensors give equal bytes (metadata keys are sorted; the
 * reference leaves their order to chance). Numbers are rounded to nearest even. Tensors with a repeated name or `data` of another
 * length than `shape` throw CheckpointError; what the disk refuses is thrown as it is.
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const sorted = [...tensors].sort(
    (a, b) => DTYPE_ORDER[a.dtype] - DTYPE_ORDER[b.dtype] || Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)),
  );
  await wholeFile(path, async (handle) => {
    await writeAll(handle, encodeHeader(path, sorted, metadata));
    for (const tensor of sorted) await writeTensor(handle, path, tensor);
  });
}

function encodeHeader(path: string, tensors: readonly TensorToWrite[], metadata: Readonly<Record<string, string>>) {
  const seen = new Set(["__metadata__"]);
  const fields: string[] = [];
  const keys = Object.keys(metadata).sort();
  if (keys.length > 0) {
    const pairs = keys.map((key) => `${JSON.stringify(key)}:${JSON.stringify(metadata[key])}`);
    fields.push(`"__metadata__":{${pairs.join(",")}}`);
  }
  let end = 0;
  for (const { name, dtype, shape } of tensors) {
    if (seen.has(name)) {
      const fix = "Rename one of them.";
      throw new CheckpointError({ file: path, expected: "a name for each tensor", found: `${quote(name)} twice`, fix });
    }
    seen.add(name);
    const start = end;
    end += numel(shape) * (dtype === "F32" ? 4 : 2);
    const offsets = `[${start},${end}]`;
    fields.push(`${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join(",")}],"data_offsets":${offsets}}`);
  }
  const json = Buffer.from(`{${fields.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  const header = Buffer.alloc(8 + length, " ");
  header.writeBigUInt64LE(BigInt(length), 0);
  json.copy(header, 8);
  return header;
}

async function writeTensor(handle: FileHandle, path: string, { name, dtype, shape, data }: TensorToWrite) {
  const values = typeof data === "function" ? await data() : data;
  if (values.length !== numel(shape)) {
    throw new CheckpointError({
      file: path,
      where: `tensor ${quote(name)}`,
      expected: `${numel(shape)} numbers for shape ${quote([...shape])}`,
      found: `${values.length}`,
      fix: "Give data that fill the shape.",
    });
  }
  if (dtype === "F32") return writeAll(handle, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  const chunk = new Uint16Array(Math.min(CHUNK, values.length));
  for (let at = 0; at < values.length; at += CHUNK) {
    const part = values.subarray(at, at + CHUNK);
    ENCODERS[dtype](part, chunk);
    await writeAll(handle, new Uint8Array(chunk.buffer, 0, part.length * 2));
  }
}
