/**
 * Feeds damaged checkpoints to the readers: each must be read or refused with a CheckpointError, in bounded time and memory.
 *
 *     npx tsx --conditions=source packages/lm/test/checkpoint/fuzz.ts --seconds 600 --seed 1
 *
 * Cases are numbered; `--seed S --case N` runs one again. Exits 1 at the first violation and leaves its files behind.
 */
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { CheckpointError, openCheckpoint } from "../../src/checkpoint/index.ts";
import { as, ggufBytes, SMALL_MODEL, SMALL_TENSORS, safetensorsBytes, tensorsOf } from "./build.ts";
import gguf from "./gguf.golden.json" with { type: "json" };
import safetensors from "./safetensors.golden.json" with { type: "json" };

/** Of the processor: by the clock a case also waits for whatever else the machine does. */
const SLOWEST_MS = 1000;
/** Over the start; seeds are under 60 kB, so this is all slack for the garbage collector. */
const LARGEST_GROWTH = 400e6;

/** A damaged checkpoint: files by name, and the one to open. */
type Files = Record<string, Uint8Array>;
interface Seed {
  name: string;
  files: Files;
  /** The files that get damaged. */
  targets: string[];
  open: string;
}

const config = {
  ...{ model_type: "llama", hidden_size: 4, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 2 },
  ...{ vocab_size: 10, max_position_embeddings: 16, rms_norm_eps: 1e-5, eos_token_id: [2] },
  rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 8 },
};
const json = (value: unknown) => Buffer.from(JSON.stringify(value));
const base64 = (text: string) => Buffer.from(text, "base64");

function seeds(): Seed[] {
  const settings: Files = {
    "config.json": json(config),
    "generation_config.json": json({ eos_token_id: 3 }),
    "tokenizer_config.json": json({ chat_template: [{ name: "default", template: "{{ messages }}" }] }),
    "tokenizer.json": json({ model: { type: "BPE", vocab: { a: 0 }, merges: [] } }),
  };
  const model = Object.entries(tensorsOf(config));
  const shards = { "a.safetensors": model.slice(0, 5), "b.safetensors": model.slice(5) };
  const weight_map = Object.entries(shards).flatMap(([file, part]) => part.map(([name]) => [name, file]));
  const index = { metadata: { total_size: 8 }, weight_map: Object.fromEntries(weight_map) };
  const rope = ggufBytes({
    metadata: { ...SMALL_MODEL, "tokenizer.ggml.tokens": as.strings(["a", "b"]), "general.alignment": as.u32(32) },
    tensors: Object.entries({ ...SMALL_TENSORS, "rope_freqs.weight": [1] }).map(([name, dimensions]) => {
      return { name, dimensions, ...(name.includes("attn_k") ? { type: 1 } : {}) };
    }),
  });
  // Factors of frequencies must not be zero.
  rope.fill(Buffer.from(Float32Array.of(1).buffer), rope.length - 4096);
  const weights = "model.safetensors";
  return [
    { name: "gguf", files: { "m.gguf": base64(gguf.file) }, targets: ["m.gguf"], open: "m.gguf" },
    { name: "small gguf", files: { "m.gguf": rope }, targets: ["m.gguf"], open: "m.gguf" },
    {
      name: "floats",
      files: { ...settings, [weights]: base64(safetensors.floats) },
      targets: [weights],
      open: weights,
    },
    { name: "mixed", files: { ...settings, [weights]: base64(safetensors.mixed) }, targets: [weights], open: weights },
    {
      name: "settings",
      files: { ...settings, [weights]: floats(model) },
      targets: [...Object.keys(settings), weights],
      open: "",
    },
    {
      name: "shards",
      files: {
        ...settings,
        [`${weights}.index.json`]: json(index),
        ...Object.fromEntries(Object.entries(shards).map(([file, part]) => [file, floats(part)])),
      },
      targets: [`${weights}.index.json`, "a.safetensors"],
      open: "",
    },
  ];
}

/** A safetensors file of such tensors, of every type that is read, all zero. */
function floats(tensors: [name: string, { shape: readonly number[] }][]): Uint8Array {
  let end = 0;
  const entries = tensors.map(([name, { shape }], i) => {
    const start = end;
    end += (i % 3 ? 2 : 4) * shape.reduce((product, size) => product * size, 1);
    return [name, { dtype: ["F32", "F16", "BF16"][i % 3], shape, data_offsets: [start, end] }];
  });
  return safetensorsBytes(Object.fromEntries(entries), new Uint8Array(end));
}

/** A small seeded generator (mulberry32); whole numbers below `n`. */
function random(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n);
  };
}

const LENGTHS = [0n, 1n, 2n, 7n, 8n, 255n, 65536n, 10_000_000n, 99_999_999n, 100_000_001n, 2n ** 31n - 1n, 2n ** 31n];
LENGTHS.push(2n ** 32n - 1n, 2n ** 32n, 2n ** 40n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 61n, 2n ** 63n, 2n ** 64n - 1n);
const NUMBERS = [
  "-1",
  "0",
  "1",
  "2",
  "3",
  "1.5",
  "1e9",
  "4294967296",
  "9007199254740991",
  "9007199254740993",
  "1e308",
  "007",
];
const WORDS = [
  `"__proto__"`,
  `"constructor"`,
  `"dtype"`,
  `"F16"`,
  `"I64"`,
  "null",
  "[]",
  "{}",
  "true",
  `"\\ud800"`,
  `"../a"`,
];

type Mutation = (bytes: Buffer, pick: (n: number) => number, other: Buffer) => Buffer;

/** Replaces one match of `pattern` in the text of the file by one of `values`, keeping the header's length true. */
function substitute(pattern: RegExp, values: readonly string[]): Mutation {
  return (bytes, pick) => {
    const claimed = bytes.length >= 8 ? bytes.readBigUInt64LE(0) : 0n;
    const prefixed = claimed > 0n && claimed <= BigInt(bytes.length - 8);
    const [start, end] = prefixed ? [8, 8 + Number(claimed)] : [0, bytes.length];
    const text = bytes.toString("latin1", start, end);
    const matches = [...text.matchAll(pattern)];
    const match = matches[pick(matches.length)];
    if (match === undefined) return bytes;
    const after = text.slice(match.index + match[0].length);
    const changed = Buffer.from(text.slice(0, match.index) + values[pick(values.length)]! + after, "latin1");
    const prefix = Buffer.alloc(prefixed ? 8 : 0);
    if (prefixed) prefix.writeBigUInt64LE(BigInt(changed.length));
    return Buffer.concat([prefix, changed, bytes.subarray(end)]);
  };
}

/** Mostly near the start, where the header is. */
const place = (bytes: Buffer, pick: (n: number) => number) =>
  pick([64, 512, 4096, bytes.length][pick(4)]!) % (bytes.length || 1);

const MUTATIONS: Mutation[] = [
  function flip(bytes, pick) {
    for (let i = pick(8) + 1; i > 0 && bytes.length > 0; i--) bytes[place(bytes, pick)]! ^= 1 << pick(8);
    return bytes;
  },
  function overwrite(bytes, pick) {
    for (let i = pick(16); i > 0 && bytes.length > 0; i--) bytes[place(bytes, pick)] = pick(256);
    return bytes;
  },
  function truncate(bytes, pick) {
    return bytes.subarray(0, place(bytes, pick));
  },
  function extend(bytes, pick) {
    return Buffer.concat([bytes, Buffer.alloc(pick(4096), pick(256))]);
  },
  function lengthField(bytes, pick) {
    const at = place(bytes, pick);
    if (at + 8 > bytes.length) return bytes;
    const value = pick(4) === 0 ? BigInt(bytes.length - pick(16)) : LENGTHS[pick(LENGTHS.length)]!;
    if (pick(2) === 0) bytes.writeBigUInt64LE(BigInt.asUintN(64, value), at);
    else bytes.writeUInt32LE(Number(BigInt.asUintN(32, value)), at);
    return bytes;
  },
  /** A number the file already has as 8 bytes is most likely a length, a count, a dimension or an offset. */
  function knownLength(bytes, pick) {
    let at = place(bytes, pick);
    while (at + 8 <= bytes.length && !(bytes.readUInt32LE(at + 4) === 0 && bytes.readUInt32LE(at) > 0)) at++;
    if (at + 8 <= bytes.length) bytes.writeBigUInt64LE(LENGTHS[pick(LENGTHS.length)]!, at);
    return bytes;
  },
  function remove(bytes, pick) {
    const at = place(bytes, pick);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + pick(64))]);
  },
  function splice(bytes, pick, other) {
    const [at, from] = [place(bytes, pick), place(other, pick)];
    const piece = other.subarray(from, from + 1 + pick(256));
    return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at + (pick(2) ? piece.length : 0))]);
  },
  function repeat(bytes, pick) {
    const at = place(bytes, pick);
    const piece = bytes.subarray(at, at + 1 + pick(128));
    return Buffer.concat([bytes.subarray(0, at), ...Array(1 + pick(4)).fill(piece), bytes.subarray(at)]);
  },
  substitute(/\d+/g, NUMBERS),
  substitute(/"[^"]*"/g, WORDS),
  substitute(/"[^"]*":/g, ["", ...WORDS.slice(0, 4).map((word) => `${word}:`)]),
];

export interface FuzzReport {
  cases: number;
  read: number;
  refused: number;
  slowestMs: number;
  slowestCase: number;
  grownBytes: number;
  /** How often each complaint came, by what was expected. */
  complaints: Map<string, number>;
}

/** Thrown when a reader does anything else than read or refuse. */
export class FuzzViolation extends Error {}

/**
 * Runs numbered cases: for `seconds`, or `cases` of them however long they take, or the one numbered `only`.
 *
 * Throws FuzzViolation at the first that fails with another error, takes over a second, or makes memory grow.
 */
export async function fuzz({
  seconds = Number.POSITIVE_INFINITY,
  cases = Number.POSITIVE_INFINITY,
  seed = 1,
  only,
}: {
  seconds?: number;
  cases?: number;
  seed?: number;
  only?: number | undefined;
}): Promise<FuzzReport> {
  const all = seeds();
  const report: FuzzReport = {
    cases: 0,
    read: 0,
    refused: 0,
    slowestMs: 0,
    slowestCase: 0,
    grownBytes: 0,
    complaints: new Map(),
  };
  const folder = await mkdtemp(join(tmpdir(), "tenet-fuzz-"));
  const violation = (number: number, what: string, cause?: unknown) =>
    new FuzzViolation(`seed ${seed}, case ${number}: ${what}; its files are in ${folder}`, { cause });
  const until = performance.now() + seconds * 1000;
  let atStart = 0;
  const handles = await openHandles();
  const more = (number: number) => number < cases && performance.now() < until;
  for (let number = only ?? 0; only === undefined ? more(number) : number === only; number++) {
    const pick = random(Math.imul(seed, 0x9e3779b1) ^ Math.imul(number, 0x85ebca6b));
    const chosen = all[pick(all.length)]!;
    const path = join(folder, chosen.open);
    await damage(chosen, all, pick, folder);
    const start = process.cpuUsage();
    const error = await useAll(path).catch((thrown: unknown) => thrown ?? new Error("nothing was thrown"));
    const { user, system } = process.cpuUsage(start);
    const ms = (user + system) / 1000;
    report.cases++;
    if (error === undefined) {
      report.read++;
    } else if (error instanceof CheckpointError && error.message.length < 3000) {
      report.refused++;
      const kind = error.expected.replace(/"[^"]*"|\d+/g, "#").slice(0, 60);
      report.complaints.set(kind, (report.complaints.get(kind) ?? 0) + 1);
    } else {
      throw violation(number, `${chosen.name}: ${error}`, error);
    }
    if (ms > report.slowestMs) Object.assign(report, { slowestMs: ms, slowestCase: number });
    if (ms > SLOWEST_MS) throw violation(number, `${chosen.name}: ${ms.toFixed(0)} ms of processor time`);
    // The first cases load code and tables.
    const memory = process.memoryUsage.rss();
    if (report.cases === 200 || (only !== undefined && atStart === 0)) atStart = memory;
    if (report.cases > 200) report.grownBytes = Math.max(report.grownBytes, memory - atStart);
    if (report.grownBytes > LARGEST_GROWTH) throw violation(number, `${chosen.name}: ${report.grownBytes} bytes more`);
  }
  const open = (await openHandles()) - handles;
  if (open > 0) throw violation(report.cases, `${open} files were left open`);
  await rm(folder, { recursive: true, force: true });
  return report;
}

/** Where the system tells; 0 elsewhere. */
const openHandles = async () => (await readdir("/proc/self/fd").catch(() => [])).length;

async function damage(chosen: Seed, all: Seed[], pick: (n: number) => number, folder: string): Promise<void> {
  for (const stale of await readdir(folder)) if (!Object.hasOwn(chosen.files, stale)) await rm(join(folder, stale));
  const target = chosen.targets[pick(chosen.targets.length)]!;
  const other = all[pick(all.length)]!;
  const donor = Buffer.from(other.files[other.targets[0]!]!);
  for (const [name, content] of Object.entries(chosen.files)) {
    let bytes = Buffer.from(content);
    if (name === target) {
      for (let i = 1 + pick(3); i > 0; i--) bytes = Buffer.from(MUTATIONS[pick(MUTATIONS.length)]!(bytes, pick, donor));
    }
    await writeFile(join(folder, name), bytes);
  }
}

/** Everything a caller would do with a checkpoint; what is read must have the shape that was promised. */
async function useAll(path: string): Promise<CheckpointError | undefined> {
  const checkpoint = await openCheckpoint(path);
  let refusal: CheckpointError | undefined;
  const refusable = async (work: Promise<unknown>) => {
    await work.catch((error) => {
      if (!(error instanceof CheckpointError)) throw error;
      refusal ??= error;
    });
  };
  try {
    for (const [name, { shape }] of checkpoint.tensors) {
      const length = shape.reduce((product, size) => product * size, 1);
      await refusable(
        checkpoint.read(name).then((values) => {
          if (values.length !== length) throw new Error(`${values.length} numbers for shape ${shape}`);
        }),
      );
    }
    await refusable(checkpoint.tokenizer());
  } finally {
    await checkpoint.close();
  }
  return refusal;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const options = { seconds: { type: "string" }, seed: { type: "string" }, case: { type: "string" } } as const;
  const { values } = parseArgs({ options });
  const only = values.case === undefined ? undefined : Number(values.case);
  const report = await fuzz({ seconds: Number(values.seconds ?? 10), seed: Number(values.seed ?? 1), only });
  const { complaints, ...figures } = report;
  console.log(figures);
  for (const [kind, times] of [...complaints].sort(([, a], [, b]) => b - a))
    console.log(String(times).padStart(8), kind);
}
