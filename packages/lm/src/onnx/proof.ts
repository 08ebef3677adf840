import { type FileHandle, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { OnnxFile, type OnnxValue, TensorError } from "@tenet/tensor";
import { CheckpointError, type ModelConfig, openShell } from "../checkpoint/index.ts";
import type { WantedWeights } from "../gguf/faults.ts";
import type { ExportRuntime } from "../proof/index.ts";
import { openText } from "../text/index.ts";
import { onnxGraph, onnxNames } from "./export.ts";
import { cacheNames } from "./graph.ts";
import { encodeMatrix, exportedWeight, type OnnxWriteType, WeightLayout } from "./weights.ts";

/**
 * Holds a written folder's graph and weights, byte for byte, against what is written for a checkpoint. Gives what is wrong, a sentence;
 * nothing for files that are as they should be. Throws CheckpointError where they cannot be read.
 */
export async function onnxFaults(
  folder: string,
  { checkpoint, adapter, type, compensated }: WantedWeights<OnnxWriteType>,
): Promise<readonly string[]> {
  const path = join(folder, "onnx", onnxNames[type].file);
  const layout = new WeightLayout(checkpoint.config, type);
  const graph = await onnxGraph(checkpoint, adapter, layout, `${path}_data`);
  const faults: string[] = [];
  if (!(await there(readFile(path), path)).equals(graph))
    faults.push("the graph is not that of the checkpoint: another base, other biases or norms, or a damaged file");
  const handle = await there(open(`${path}_data`), `${path}_data`);
  try {
    const { size } = await handle.stat();
    if (size !== layout.size)
      faults.push(`the file of weights has ${size} bytes instead of ${layout.size}: it was cut short`);
    const wrong: string[] = [];
    for (const matrix of layout.matrices) {
      const pieces = encodeMatrix(matrix, await exportedWeight(checkpoint, adapter, matrix.name), {
        file: path,
        compensated,
      });
      for (const [i, wanted] of pieces.entries())
        if (!(await bytesAt(handle, matrix.offsets[i]!, wanted.length)).equals(wanted)) {
          wrong.push(matrix.name);
          break;
        }
    }
    if (wrong.length > 0)
      faults.push(
        `${wrong.length} of ${layout.matrices.length} matrices are not those of the checkpoint, the first of them ${JSON.stringify(wrong[0])}: another adapter, another base or a damaged file`,
      );
  } finally {
    await handle.close();
  }
  return faults;
}

async function there<T>(reading: Promise<T>, file: string): Promise<T> {
  return reading.catch((error: Error) => {
    throw new CheckpointError({ file, expected: "a file of the export", found: error.message });
  });
}

async function bytesAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  let read = 0;
  while (read < length) {
    const { bytesRead } = await handle.read(bytes, read, length - read, position + read);
    if (bytesRead === 0) break;
    read += bytesRead;
  }
  return bytes.subarray(0, read);
}

/**
 * An exported folder as ONNX Runtime runs it: prompts by the folder's own tokenizer and template, tokens one at a time behind cached
 * keys and values, ends as `generation_config.json` says. Errors: CheckpointError for what cannot be opened or run.
 */
export async function openOnnxRuntime(
  folder: string,
  type: OnnxWriteType,
  { threads }: { readonly threads?: number } = {},
): Promise<ExportRuntime> {
  const settings = await openShell(folder);
  const text = await openText(settings);
  // openText adds the template's own end of turn, which other programs do not look for.
  const ends = new Set(settings.config.eos_token_ids);
  const path = join(folder, "onnx", onnxNames[type].file);
  const run = <T>(work: Promise<T>) =>
    work.catch((error: Error) => {
      if (!(error instanceof TensorError)) throw error;
      throw new CheckpointError({ file: path, expected: "a graph that ONNX Runtime runs", found: error.message });
    });
  const file = await run(OnnxFile.open(path, threads === undefined ? {} : { threads }));
  const decoder = (): Decoder => new Decoder(settings.config, (feeds) => run(file.run(feeds)));
  return {
    name: "ONNX Runtime",
    promptTokens: async (prompt) => text.encodePrompt(prompt),
    async replyLogprobs(prompt, { tokens }) {
      const one = decoder();
      let logits = await one.append(text.encodePrompt(prompt));
      const found: number[] = [];
      for (const { id } of tokens) {
        if (id === undefined) break;
        found.push(logprobOf(logits, id));
        if (found.length < tokens.length) logits = await one.append([id]);
      }
      return found;
    },
    async reply(prompt, maxTokens) {
      const one = decoder();
      const reply: number[] = [];
      let next = text.encodePrompt(prompt);
      while (reply.length < maxTokens) {
        const id = likeliest(await one.append(next));
        if (ends.has(id)) break;
        reply.push(id);
        next = [id];
      }
      return text.decode(reply, { skipSpecial: true });
    },
    endsAt: async (token) => ends.has(token),
    close: () => file.close(),
  };
}

/** One text, read piece by piece. */
class Decoder {
  readonly #config: ModelConfig;
  readonly #run: (feeds: Record<string, OnnxValue>) => Promise<Record<string, OnnxValue>>;
  #cached: Record<string, OnnxValue> = {};
  #length = 0;

  constructor(config: ModelConfig, run: (feeds: Record<string, OnnxValue>) => Promise<Record<string, OnnxValue>>) {
    this.#config = config;
    this.#run = run;
    const { num_key_value_heads, head_dim } = config;
    for (const { past } of this.#names())
      this.#cached[past] = { data: new Float32Array(0), shape: [1, num_key_value_heads, 0, head_dim] };
  }

  /** Logits behind the last of some further tokens. */
  async append(tokens: readonly number[]): Promise<Float32Array> {
    const [start, end] = [this.#length, this.#length + tokens.length];
    const { logits, ...fresh } = await this.#run({
      ...this.#cached,
      input_ids: { data: tokens, shape: [1, tokens.length] },
      attention_mask: { data: new Array<number>(end).fill(1), shape: [1, end] },
      position_ids: { data: tokens.map((_, i) => start + i), shape: [1, tokens.length] },
    });
    this.#length = end;
    this.#cached = Object.fromEntries(this.#names().map(({ past, present }) => [past, fresh[present]!]));
    return (logits!.data as Float32Array).subarray(-this.#config.vocab_size);
  }

  #names() {
    return Array.from({ length: this.#config.num_hidden_layers }, (_, layer) => cacheNames(layer)).flat();
  }
}

/** log softmax(logits)[id], in double precision. */
function logprobOf(logits: Float32Array, id: number): number {
  let most = Number.NEGATIVE_INFINITY;
  for (const value of logits) most = Math.max(most, value);
  let sum = 0;
  for (const value of logits) sum += Math.exp(value - most);
  return logits[id]! - most - Math.log(sum);
}

function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id]! > logits[best]!) best = id;
  return best;
}
