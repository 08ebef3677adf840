/**
 * SHA-256 of every tensor of a checkpoint as float32, to be compared with `checksums.py`; timings and config go to stderr.
 *
 *     npx tsx --conditions=source packages/lm/test/checkpoint/checksums.ts MODEL.gguf > ours.txt
 */
import { createHash } from "node:crypto";
import { openCheckpoint } from "../../src/checkpoint/index.ts";

const path = process.argv[2];
if (path === undefined) throw new Error("Give the path of a checkpoint.");
const opening = performance.now();
const checkpoint = await openCheckpoint(path);
const opened = performance.now() - opening;
const lines: string[] = [];
const spent = new Map<string, { ms: number; stored: number; values: number }>();
for (const [name, { shape, dtype, bytes }] of checkpoint.tensors) {
  const start = performance.now();
  const values = await checkpoint.read(name);
  const total = spent.get(dtype) ?? { ms: 0, stored: 0, values: 0 };
  total.ms += performance.now() - start;
  total.stored += bytes;
  total.values += values.byteLength;
  spent.set(dtype, total);
  lines.push(`${name} [${shape.join(",")}] ${createHash("sha256").update(values).digest("hex")}`);
}
console.log(lines.sort().join("\n"));
console.error(checkpoint.config);
console.error(`opened in ${opened.toFixed(0)} ms`);
for (const [dtype, { ms, stored, values }] of spent) {
  const rate = (bytes: number) => `${(bytes / 1e3 / ms).toFixed(0)} MB/s`;
  console.error(`${dtype}: ${ms.toFixed(0)} ms, ${rate(stored)} from the file, ${rate(values)} of float32`);
}
await checkpoint.close();
