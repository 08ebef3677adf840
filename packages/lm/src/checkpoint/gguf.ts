import { type ModelConfig, parseConfig } from "./config.ts";
import { allocate, decodeInto, type Segment } from "./decode.ts";
import { CheckpointError, quote } from "./errors.ts";
import { openRanges, type RangeFile } from "./file.ts";
import { configFromGguf } from "./gguf-config.ts";
import { type GgufHeader, type GgufTensorInfo, type GgufValue, readGgufHeader } from "./gguf-header.ts";
import { huggingFaceName, interleavedHeads, unpermute } from "./gguf-names.ts";
import { absent } from "./safetensors.ts";

/** Llama 3.1's frequency factors: a setting stored as a tensor. */
const FREQUENCY_FACTORS = "rope_freqs.weight";

/** One tensor of a GGUF file, under its Hugging Face name. */
export interface GgufTensor extends Omit<GgufTensorInfo, "codec" | "elements"> {
  /** Its name in the file. */
  stored: string;
  /** Heads whose rows have to be put back in Hugging Face's order while reading; undefined where they are in it. */
  interleavedHeads: number | undefined;
}

/** An open GGUF file of a known architecture. */
export interface Gguf {
  readonly config: ModelConfig;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** By Hugging Face name; a tensor that has none keeps its own. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** The tensor dequantised to float32, row-major, rows in Hugging Face's order; throws CheckpointError for an absent name. */
  read(name: string): Promise<Float32Array>;
  /** As `read`, into a target of exactly the tensor's length. */
  readInto(name: string, target: Float32Array): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a GGUF file: reads and checks its header, and no weights.
 *
 * Reads F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K, IQ4_NL and IQ4_XS. Throws CheckpointError for an unknown
 * architecture or tensor type, for one part of a split model, and for anything in the header that does not hold.
 */
export async function openGguf(path: string): Promise<Gguf> {
  const file = await openRanges(path);
  try {
    return await describe(file, await readGgufHeader(file));
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function describe(file: RangeFile, header: GgufHeader): Promise<Gguf> {
  const { metadata } = header;
  const parts = metadata.get("split.count");
  if (typeof parts === "number" && parts > 1) {
    throw new CheckpointError({
      file: file.path,
      where: `metadata "split.count"`,
      expected: "a whole model in one file",
      found: `one of ${parts} parts`,
      fix: "Join the parts with `llama-gguf-split --merge`.",
    });
  }
  if (metadata.get("general.type") === "adapter") {
    throw new CheckpointError({
      file: file.path,
      where: `metadata "general.type"`,
      expected: "a model",
      found: "an adapter",
      fix: "Give the model's file here, and as its adapter the folder that PEFT saved.",
    });
  }
  const config = parseConfig(configFromGguf(header, await frequencyFactors(file, header)), file.path);
  const factors = header.tensors.get(FREQUENCY_FACTORS)?.elements;
  if (factors !== undefined && factors !== config.head_dim / 2) {
    const expected = `${config.head_dim / 2} numbers, half of head_dim`;
    throw new CheckpointError({
      file: file.path,
      where: `tensor "${FREQUENCY_FACTORS}"`,
      expected,
      found: `${factors}`,
    });
  }
  const tensors = new Map<string, GgufTensor>();
  const segments = new Map<string, Segment>();
  for (const [stored, { codec, elements, ...info }] of header.tensors) {
    if (stored === FREQUENCY_FACTORS) continue;
    const name = huggingFaceName(stored) ?? stored;
    if (tensors.has(name)) {
      const [expected, found] = ["each tensor once", `another called ${quote(name)}`];
      throw new CheckpointError({ file: file.path, where: `tensor ${quote(stored)}`, expected, found });
    }
    const heads = interleavedHeads(config.model_type, stored, config);
    tensors.set(name, { ...info, stored, interleavedHeads: heads });
    const segment: Segment = { file, name, codec, offset: info.offset, elements };
    if (heads !== undefined) segment.rows = restoreRows(file, stored, info.shape, heads);
    segments.set(name, segment);
  }
  const find = (name: string): Segment => {
    const segment = segments.get(name);
    if (segment === undefined) throw absent(file.path, name, segments.keys());
    return segment;
  };
  return {
    config,
    metadata,
    tensors,
    async read(name) {
      const segment = find(name);
      const out = allocate(segment);
      await decodeInto(segment, out);
      return out;
    },
    readInto: async (name, target) => decodeInto(find(name), target),
    close: () => file.close(),
  };
}

function restoreRows(file: RangeFile, stored: string, shape: number[], heads: number): NonNullable<Segment["rows"]> {
  const [rows = 0, columns = 1] = shape;
  const headRows = rows / heads;
  if (shape.length > 2 || headRows % 2 !== 0) {
    throw new CheckpointError({
      file: file.path,
      where: `tensor ${quote(stored)}`,
      expected: `rows in ${heads} heads of an even size`,
      found: `shape ${quote(shape)}`,
    });
  }
  return { columns, order: (row) => unpermute(row, headRows) };
}

async function frequencyFactors(file: RangeFile, header: GgufHeader): Promise<Float32Array | undefined> {
  const info = header.tensors.get(FREQUENCY_FACTORS);
  if (info === undefined) return undefined;
  if (info.elements > 4096) {
    const found = `${info.elements}`;
    const where = `tensor "${FREQUENCY_FACTORS}"`;
    throw new CheckpointError({ file: file.path, where, expected: "a factor a frequency, at most 4096", found });
  }
  const out = new Float32Array(info.elements);
  await decodeInto({ ...info, file, name: FREQUENCY_FACTORS }, out);
  return out;
}
