import { adapterFactors, type Factors, requireMergeable } from "../adapter/folder.ts";
import type { ModelConfig } from "../checkpoint/config.ts";
import { ggufName } from "../checkpoint/gguf-names.ts";
import { interleaved } from "./export.ts";
import { ggufArchitecture } from "./settings.ts";
import { type GgufTensorToWrite, writeGguf } from "./write.ts";

/**
 * Writes a LoRA adapter as a GGUF file, in float32, to be loaded beside a GGUF file of its base (`llama-server --lora`).
 *
 * llama.cpp scales every product by one alpha over its rank; what a matrix's own scale differs from that by is taken into its B.
 * @throws CheckpointError for an adapter that is not of a model of `config`, or has a scalar head
 */
export async function exportGgufAdapter(
  adapter: Factors,
  path: string,
  { config, name }: { readonly config: ModelConfig; readonly name?: string },
): Promise<void> {
  requireMergeable(adapter, { config, path }, path);
  await writeGguf(
    path,
    {
      "general.architecture": { type: "string", value: ggufArchitecture(config) },
      "general.type": { type: "string", value: "adapter" },
      ...(name === undefined ? {} : { "general.name": { type: "string", value: name } }),
      "general.file_type": { type: "u32", value: 0 },
      "adapter.type": { type: "string", value: "lora" },
      "adapter.lora.alpha": { type: "f32", value: adapter.lora.alpha },
    },
    ggufAdapterTensors(adapter, config),
  );
}

/** The tensors of an adapter's file. */
export function ggufAdapterTensors(adapter: Factors, config: ModelConfig): GgufTensorToWrite[] {
  const { alpha } = adapter.lora;
  return [...adapterFactors(adapter).factors].flatMap(([module, { rank, scale, a, b }]): GgufTensorToWrite[] => {
    const stored = ggufName(`${module}.weight`);
    const shape = [b.length / rank, rank];
    const own = (scale * rank) / alpha;
    return [
      { name: `${stored}.lora_a`, type: "F32", shape: [rank, a.length / rank], data: () => a },
      {
        ...{ name: `${stored}.lora_b`, type: "F32", shape },
        data: () => interleaved(own === 1 ? b : b.map((value) => value * own), stored, shape, { config }),
      },
    ];
  });
}
