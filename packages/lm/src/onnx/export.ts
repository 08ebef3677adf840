import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { encodeOnnx, numel } from "@tenet/tensor";
import { type Factors, inNewFolder, requireMergeable, writeJson } from "../adapter/folder.ts";
import { mergedConfig } from "../adapter/merge.ts";
import type { Checkpoint, ModelConfig } from "../checkpoint/index.ts";
import { wholeFile, writeAll } from "../checkpoint/whole-file.ts";
import { weightShapes } from "../decoder/index.ts";
import type { CompensatedBlocks } from "../gguf/encode.ts";
import { openText } from "../text/index.ts";
import { decoderWithPast, wideInputs } from "./graph.ts";
import { encodeMatrix, exportedWeight, graphWeights, type OnnxWriteType, WeightLayout } from "./weights.ts";

export interface OnnxExportOptions {
  /** Of the matrices; what is computed is float32. Default F32. */
  readonly type?: OnnxWriteType;
  /** Merged into the weights. */
  readonly adapter?: Factors;
  /** Matrices that are rounded already. */
  readonly compensated?: CompensatedBlocks;
}

/** What transformers.js calls a type, and what it puts behind the name of its file. */
export const onnxNames: Record<OnnxWriteType, { readonly dtype: string; readonly file: string }> = {
  F32: { dtype: "fp32", file: "model.onnx" },
  F16: { dtype: "fp16", file: "model_fp16.onnx" },
  Q8_0: { dtype: "q8", file: "model_quantized.onnx" },
  Q4_0: { dtype: "q4", file: "model_q4.onnx" },
};

/** Bytes that WebAssembly addresses, which a browser's runtime holds weights, keys and values in. */
const browserMemory = 2 ** 32;

/**
 * Writes a model as a folder for transformers.js, ONNX Runtime in browsers and elsewhere: `onnx/model.onnx` with its weights beside
 * it, `config.json`, `generation_config.json` and the tokenizer with its chat template. The folder must be new; it appears whole.
 * One tensor is in memory at a time.
 * @throws CheckpointError for weights that the type cannot hold, or a config that cannot be written
 * @example
 * await exportOnnx(checkpoint, "out/onnx", { type: "F32", adapter: await loadAdapter(folder, checkpoint.config) });
 */
export async function exportOnnx(
  checkpoint: Checkpoint,
  folder: string,
  { type = "F32", adapter, compensated }: OnnxExportOptions = {},
): Promise<{ readonly notices: readonly string[] }> {
  const { config } = checkpoint;
  if (adapter) requireMergeable(adapter, checkpoint, folder);
  const { dtype, file } = onnxNames[type];
  const settings = await mergedConfig(checkpoint, "F32");
  const files = await checkpoint.tokenizer();
  const text = await openText(checkpoint);
  const layout = new WeightLayout(config, type);
  await inNewFolder(folder, async (into) => {
    await mkdir(join(into, "onnx"));
    const graph = join(into, "onnx", file);
    const bytes = await onnxGraph(checkpoint, adapter, layout, `${graph}_data`);
    await wholeFile(graph, (handle) => writeAll(handle, bytes));
    await writeWeights(checkpoint, { adapter, compensated, layout, path: `${graph}_data` });
    await writeJson(join(into, "config.json"), {
      ...settings,
      "transformers.js_config": { dtype, use_external_data_format: { [file]: 1 } },
    });
    const { bos_token_id, pad_token_id } = config;
    await writeJson(join(into, "generation_config.json"), {
      ...(bos_token_id === null ? {} : { bos_token_id }),
      eos_token_id: [...text.endIds],
      ...(pad_token_id === null ? {} : { pad_token_id }),
    });
    await writeJson(join(into, "tokenizer.json"), files.tokenizer);
    // Readers of this format look for the template here alone.
    const { chatTemplate } = checkpoint;
    await writeJson(join(into, "tokenizer_config.json"), {
      ...files.config,
      ...(chatTemplate === undefined ? {} : { chat_template: chatTemplate }),
    });
  });
  return { notices: noticesOf(config, layout) };
}

function noticesOf({ vocab_size, hidden_size, rope_scaling, ...config }: ModelConfig, layout: WeightLayout): string[] {
  const floats = layout.matrices.reduce((sum, { pieces: [first] }) => sum + numel(first!.shape), 0);
  const most = Math.max(layout.size, 4 * floats);
  return [
    ...(most > browserMemory / 2
      ? ["browsers address 4 GiB: this model is for ONNX Runtime outside of them, or for one with more memory"]
      : []),
    ...(rope_scaling?.rope_type === "dynamic"
      ? [`texts end at ${config.max_position_embeddings} tokens: one graph has one table of positions`]
      : []),
  ];
}

/** The graph's bytes, its matrices at their places in a file of this path. */
export async function onnxGraph(
  checkpoint: Checkpoint,
  adapter: Factors | undefined,
  layout: WeightLayout,
  path: string,
): Promise<Uint8Array> {
  const vectors = new Map<string, Float32Array>();
  for (const [name, shape] of Object.entries(weightShapes(checkpoint.config)))
    if (shape.length === 1) vectors.set(name, await exportedWeight(checkpoint, adapter, name));
  return encodeOnnx(decoderWithPast(checkpoint.config, graphWeights(layout, path, vectors)), { wide: wideInputs });
}

async function writeWeights(
  checkpoint: Checkpoint,
  {
    adapter,
    compensated,
    layout: { matrices, size },
    path,
  }: {
    readonly adapter: Factors | undefined;
    readonly compensated: CompensatedBlocks | undefined;
    readonly layout: WeightLayout;
    readonly path: string;
  },
): Promise<void> {
  await wholeFile(path, async (handle) => {
    let at = 0;
    const upTo = async (offset: number) => {
      await writeAll(handle, new Uint8Array(offset - at));
      at = offset;
    };
    for (const matrix of matrices) {
      const pieces = encodeMatrix(matrix, await exportedWeight(checkpoint, adapter, matrix.name), {
        file: path,
        compensated,
      });
      for (const [i, bytes] of pieces.entries()) {
        await upTo(matrix.offsets[i]!);
        await writeAll(handle, bytes);
        at += bytes.length;
      }
    }
    await upTo(size);
  });
}
