import { basename, dirname, join } from "node:path";
import { type Factors, requireMergeable } from "../adapter/folder.ts";
import { mergedWeight } from "../adapter/merge.ts";
import { ggufName, interleavedHeads, unpermute } from "../checkpoint/gguf-names.ts";
import type { Checkpoint } from "../checkpoint/index.ts";
import { wholeFile } from "../checkpoint/whole-file.ts";
import { openText, templateVariables } from "../text/index.ts";
import { type CompensatedBlocks, encoders, type GgufWriteType } from "./encode.ts";
import { modelfile } from "./modelfile.ts";
import { ggufArchitecture, ggufSettings } from "./settings.ts";
import { ggufVocabulary } from "./vocabulary.ts";
import { type GgufMetadata, type GgufTensorToWrite, type TensorContent, writeGguf } from "./write.ts";

export interface GgufExportOptions {
  /** Of the matrices; norms and biases are always float32; in Q4_0 and Q4_K the embeddings and the output head are Q8_0, in Q4_0 the values' matrices too. Default F16. */
  readonly type?: GgufWriteType;
  /** Merged into the weights. */
  readonly adapter?: Factors;
  /** For people, as `general.name`. */
  readonly name?: string;
  /** Matrices that are rounded already. */
  readonly compensated?: CompensatedBlocks;
  /** Write Ollama's `Modelfile` beside the file too. */
  readonly modelfile?: boolean;
}

export interface GgufExport {
  /** What the format or llama.cpp cannot do as the engine does, a sentence each. */
  readonly notices: readonly string[];
}

/**
 * Writes a model as one GGUF file for llama.cpp and what is built on it: weights, config, tokenizer, chat template and ends of a
 * reply. The file appears whole or not at all; one tensor is in memory at a time.
 * @throws CheckpointError for a model that llama.cpp cannot run as it is, naming the setting
 * @example
 * await exportGguf(checkpoint, "model-F16.gguf", { type: "F16", adapter: await loadAdapter(folder, checkpoint.config) });
 */
export async function exportGguf(
  checkpoint: Checkpoint,
  path: string,
  { type = "F16", adapter, compensated, name, modelfile: withModelfile = false }: GgufExportOptions = {},
): Promise<GgufExport> {
  const { config } = checkpoint;
  if (adapter) requireMergeable(adapter, checkpoint, path);
  const files = await checkpoint.tokenizer();
  const settings = ggufSettings(config, type, checkpoint.path);
  const text = await openText(checkpoint);
  const { chatTemplate } = checkpoint;
  const vocabulary = ggufVocabulary({ files, text, chatTemplate, rows: config.vocab_size, file: checkpoint.path });
  const tensors = [...checkpoint.tensors].map(([name, { shape }]): GgufTensorToWrite => {
    const blocks = compensated?.get(name);
    const data = () => blocks ?? (adapter ? mergedWeight(checkpoint, adapter, name) : checkpoint.read(name));
    const stored = ggufName(name);
    return {
      name: stored,
      type: typeOf(name, shape, type),
      shape,
      data: async () => interleaved(await data(), stored, shape, checkpoint),
    };
  });
  const { frequencyFactors } = settings;
  if (frequencyFactors)
    tensors.push({
      name: "rope_freqs.weight",
      type: "F32",
      shape: [frequencyFactors.length],
      data: () => frequencyFactors,
    });
  const metadata: GgufMetadata = {
    ...settings.metadata,
    ...(name === undefined ? {} : { "general.name": { type: "string", value: name } }),
    ...vocabulary.metadata,
  };
  await writeGguf(path, metadata, tensors);
  if (withModelfile) {
    const { addsBos } = vocabulary;
    const variables = templateVariables(files.config);
    const content = modelfile({ model: basename(path), chatTemplate, text, variables, addsBos });
    await wholeFile(join(dirname(path), "Modelfile"), (handle) => handle.writeFile(content));
  }
  return { notices: [...settings.notices, ...vocabulary.notices] };
}

/**
 * The type that a tensor is written in: vectors whole; rows that are no whole blocks as Q8_0 or F16. What one value head holds is read by all
 * query heads that share it, so Q4_0 leaves those matrices in Q8_0: few numbers whose rounding costs most.
 */
export function typeOf(name: string, shape: readonly number[], wanted: GgufWriteType): GgufWriteType {
  if (shape.length < 2) return "F32";
  const table = name === "model.embed_tokens.weight" || name === "lm_head.weight";
  const width = shape.at(-1)!;
  const coarse = wanted === "Q4_0" || wanted === "Q4_K";
  const tooNarrow = wanted === "Q4_K" && width % encoders.Q4_K.blockSize !== 0;
  const shared = wanted === "Q4_0" && name.endsWith(".v_proj.weight");
  const type = (table && coarse) || tooNarrow || shared ? "Q8_0" : wanted;
  return width % encoders[type].blockSize === 0 ? type : "F16";
}

/** The rows of a query's or key's matrix in the order that llama.cpp rotates them in; others as they are. */
export function interleaved<Content extends TensorContent>(
  values: Content,
  stored: string,
  shape: readonly number[],
  { config }: Pick<Checkpoint, "config">,
): Content {
  const heads = interleavedHeads(ggufArchitecture(config), stored, config);
  if (heads === undefined) return values;
  const [rows = 0] = shape;
  const columns = values.length / rows;
  const moved = values.slice() as Content;
  for (let row = 0; row < rows; row++) {
    const from = unpermute(row, rows / heads) * columns;
    moved.set(values.subarray(from, from + columns), row * columns);
  }
  return moved;
}
