import { CheckpointError, quote } from "./errors.ts";

const REMEDY = "Use the model's unquantised checkpoint (safetensors in BF16, F16 or F32) or a GGUF file of it.";

/**
 * What tools that pack weights call the parts, by the ends of tensors' names, the telling ones first.
 * Source: the layouts that AutoGPTQ, AutoAWQ, compressed-tensors, bitsandbytes, MLX, HQQ, quanto and transformers save.
 */
const PARTS: readonly [ending: RegExp, tool: string][] = [
  [/[._](qweight|qzeros|g_idx)$/, "GPTQ or AWQ"],
  [/\.(weight_packed|weight_shape|weight_zero_point|weight_g_idx)$/, "compressed-tensors"],
  [/(\.(absmax|quant_map|nested_absmax|nested_quant_map|SCB|weight_format)|\.quant_state\.\w+)$/, "bitsandbytes"],
  [/\.biases$/, "MLX"],
  [/[._](blocks|weight_blocks)$/, "MXFP4"],
  [/\.W_q$/, "HQQ"],
  [/\.(codes|codebooks|Qidxs)$/, "AQLM or QuIP#"],
  [/\.weight\._(data|scale|shift)$/, "quanto"],
  [/\.(weight_scale_inv|weight_scale|weight_scale_2|input_scale|output_scale|[qkv]_scale|scale)$/, "FP8 or another"],
  [/[._](scales|weight_scales|qscale)$/, "MLX, EETQ or another"],
];

/** Types of a matrix whose numbers mean nothing without a scale that stands elsewhere. */
const PACKED_TYPES = new Set(["I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64", "F8_E4M3", "F8_E5M2", "F8_E8M0"]);

/**
 * Refuses a config that says its weights are packed; `raw` is the parsed `config.json`.
 * @throws CheckpointError naming the method
 */
export function refusePackedConfig(raw: Record<string, unknown>, file: string): void {
  for (const field of ["quantization_config", "compression_config", "quantization"]) {
    const settings = raw[field];
    if (settings === null || settings === undefined || settings === false) continue;
    const method = methodOf(settings) ?? (field === "quantization" ? "MLX" : undefined);
    throw new CheckpointError({
      file,
      where: field,
      expected: "weights that are not quantised",
      found: method === undefined ? quote(settings) : `${method}: ${quote(settings)}`,
      fix: `${REMEDY} If the weights here were restored to full precision, take "${field}" out of config.json.`,
    });
  }
}

function methodOf(settings: unknown): string | undefined {
  if (typeof settings !== "object" || settings === null) return undefined;
  const { quant_method: method, load_in_4bit, load_in_8bit } = settings as Record<string, unknown>;
  if (typeof method === "string") return quote(method);
  return load_in_4bit || load_in_8bit ? "bitsandbytes" : undefined;
}

/**
 * Refuses tensors that are parts of packed weights, by their names and types.
 * @throws CheckpointError naming one of them and the tools that write such
 */
export function refusePackedTensors(tensors: ReadonlyMap<string, { readonly dtype: string }>, file: string): void {
  const names = [...tensors.keys()];
  for (const [ending, tool] of PARTS) {
    const parts = names.filter((name) => ending.test(name));
    if (parts.length > 0) throw packed(file, `${quote(parts[0])}${others(parts)}, as ${tool} packing calls its parts`);
  }
  const numbers = names.filter((name) => name.endsWith(".weight") && PACKED_TYPES.has(tensors.get(name)!.dtype));
  const first = numbers[0];
  if (first !== undefined)
    throw packed(file, `${quote(first)} as ${tensors.get(first)!.dtype}${others(numbers)}, which needs a scale`);
}

function packed(file: string, found: string): CheckpointError {
  return new CheckpointError({ file, expected: "weights that are not quantised", found, fix: REMEDY });
}

/** How many more there are than the one that is named. */
export function others({ length }: readonly unknown[]): string {
  return length > 1 ? ` (and ${length - 1} more)` : "";
}
