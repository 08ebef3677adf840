import { type Factors, mergedWeight } from "../adapter/index.ts";
import { decodeInto } from "../checkpoint/decode.ts";
import { openRanges } from "../checkpoint/file.ts";
import { readGgufHeader } from "../checkpoint/gguf-header.ts";
import type { Checkpoint, ModelConfig } from "../checkpoint/index.ts";
import { ggufAdapterTensors } from "./adapter.ts";
import { type CompensatedBlocks, decoded, type GgufWriteType, rounded } from "./encode.ts";
import { typeOf } from "./export.ts";

/** What the weights of an export are to be. */
export interface WantedWeights<Type extends GgufWriteType> {
  readonly checkpoint: Checkpoint;
  /** Merged in. */
  readonly adapter?: Factors | undefined;
  readonly type: Type;
  /** Matrices that were not rounded number for number. */
  readonly compensated?: CompensatedBlocks | undefined;
}

/**
 * Holds every weight of a written file against what it is to be: the model's, with the adapter merged in, rounded to the file's type.
 * Gives what is wrong, a sentence; nothing for a file that is as it should be. Throws CheckpointError where the file cannot be read.
 */
export async function weightFaults(
  written: Checkpoint,
  { checkpoint, adapter, type, compensated }: WantedWeights<GgufWriteType>,
): Promise<readonly string[]> {
  const wrong: string[] = [];
  for (const [name, { shape }] of checkpoint.tensors) {
    if (!written.tensors.has(name)) {
      wrong.push(name);
      continue;
    }
    const expected = adapter ? await mergedWeight(checkpoint, adapter, name) : await checkpoint.read(name);
    const found = await written.read(name);
    const [blocks, own] = [compensated?.get(name), typeOf(name, shape, type)];
    const wanted = blocks ? decoded(blocks, own) : rounded(expected, own);
    if (found.length !== wanted.length || found.some((value, i) => value !== wanted[i])) wrong.push(name);
  }
  if (wrong.length === 0) return [];
  return [
    `${wrong.length} of ${checkpoint.tensors.size} weights are not those of the checkpoint, the first of them ${JSON.stringify(wrong[0])}: another adapter, another base or a damaged file`,
  ];
}

/** As `weightFaults`, of an adapter written by `exportGgufAdapter`: its tensors are to be those that are written for `adapter`. */
export async function ggufAdapterFaults(
  path: string,
  adapter: Factors,
  config: ModelConfig,
): Promise<readonly string[]> {
  const file = await openRanges(path);
  try {
    const { tensors, metadata } = await readGgufHeader(file);
    const expected = ggufAdapterTensors(adapter, config);
    const wrong: string[] = [];
    for (const { name, shape, data } of expected) {
      const info = tensors.get(name);
      const [found, wanted] = [new Float32Array(info?.elements ?? 0), await data()];
      if (info) await decodeInto({ ...info, file, name }, found);
      if (`${info?.shape}` !== `${shape}` || found.some((value, i) => value !== wanted[i])) wrong.push(name);
    }
    if (tensors.size !== expected.length || metadata.get("adapter.lora.alpha") !== Math.fround(adapter.lora.alpha))
      wrong.push("adapter.lora.alpha, or another number of factors");
    return wrong.length > 0 ? [`${JSON.stringify(wrong[0])} is not as the checkpoint's adapter has it`] : [];
  } finally {
    await file.close();
  }
}
