import { join } from "node:path";
import * as z from "zod";
import { CheckpointError, quote } from "../checkpoint/errors.ts";
import { readJson } from "../checkpoint/file.ts";
import { type LoraConfig, type Projection, projections } from "../decoder/index.ts";

export const CONFIG_FILE = "adapter_config.json";
export const WEIGHTS_FILE = "adapter_model.safetensors";

/** What is used of PEFT's `adapter_config.json`, under its names. */
const published = z.looseObject({
  peft_type: z.string(),
  r: z.int().min(1).max(65_536),
  lora_alpha: z.number().positive(),
  target_modules: z.union([z.string(), z.array(z.string()).max(10_000)]).nullish(),
  base_model_name_or_path: z.string().nullish(),
  modules_to_save: z.array(z.string()).nullish(),
});

export interface AdapterConfig {
  readonly rank: number;
  readonly alpha: number;
  /** The listed modules; undefined where they are a pattern, which the weights' names then answer. */
  readonly targets: readonly Projection[] | undefined;
  readonly baseModel: string | undefined;
}

/** Values under which a setting of PEFT changes nothing; with any other, the factors alone are not the adapter. */
const PLAIN: Record<string, readonly unknown[]> = {
  bias: ["none"],
  use_rslora: [false],
  use_dora: [false],
  use_qalora: [false],
  use_bdlora: [false],
  lora_bias: [false],
  fan_in_fan_out: [false],
  rank_pattern: [{}],
  alpha_pattern: [{}],
  layers_to_transform: [],
  layer_replication: [],
  trainable_token_indices: [],
  target_parameters: [[]],
  alora_invocation_tokens: [],
  arrow_config: [],
  kasa_config: [],
  monteclora_config: [],
  velora_config: [],
};

/** Initialisations that also change the base's weights. */
const CHANGED_BASE = /^(pissa|olora|corda|loftq)/i;

/**
 * Reads and checks `adapter_config.json`.
 * @throws CheckpointError naming the setting when it is malformed or asks for more than plain LoRA
 */
export async function readAdapterConfig(folder: string): Promise<AdapterConfig> {
  const file = join(folder, CONFIG_FILE);
  const parsed = published.safeParse(await readJson(file));
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw new CheckpointError({
      file,
      where: path.join("."),
      expected: "an adapter_config.json as PEFT writes it",
      found: message,
      fix: "Save the adapter again with PEFT's save_pretrained.",
    });
  }
  const config = parsed.data;
  const refuse = (where: string, expected: string, fix: string) => {
    throw new CheckpointError({ file, where, expected, found: quote(config[where]), fix });
  };
  if (config.peft_type !== "LORA") refuse("peft_type", '"LORA"', "Only LoRA adapters can be loaded.");
  for (const [name, values] of Object.entries(PLAIN)) {
    const value = config[name] ?? null;
    if (value === null || values.some((plain) => JSON.stringify(plain) === JSON.stringify(value))) continue;
    const expected = values.length > 0 ? JSON.stringify(values[0]) : "nothing";
    refuse(name, expected, "Merge the adapter into its model with PEFT (merge_and_unload) and load the result.");
  }
  const start = config.init_lora_weights;
  if (typeof start === "string" && CHANGED_BASE.test(start))
    refuse(
      "init_lora_weights",
      "true",
      "Save it with PEFT's path_initial_model_for_weight_conversion: it needs another base.",
    );
  const saved = config.modules_to_save ?? [];
  if (saved.some((name) => name !== "score" && name !== "classifier"))
    refuse(
      "modules_to_save",
      'nothing, or the scalar head "score"',
      "Only LoRA factors and a scalar head can be loaded.",
    );
  return {
    rank: config.r,
    alpha: config.lora_alpha,
    targets: Array.isArray(config.target_modules) ? listed(config.target_modules, file) : undefined,
    baseModel: config.base_model_name_or_path ?? undefined,
  };
}

function listed(names: readonly string[], file: string): Projection[] {
  const targets = new Set(names.map((name) => target(name, file)));
  return projections.filter((projection) => targets.has(projection));
}

/** PEFT lists names that hold in every layer, or full paths; whether all layers are there the weights will show. */
function target(name: string, file: string): Projection {
  const last = name.slice(name.lastIndexOf(".") + 1) as Projection;
  if (projections.includes(last)) return last;
  throw new CheckpointError({
    file,
    where: "target_modules",
    expected: `modules among ${projections.join(", ")}`,
    found: quote(name),
    fix: "Train the adapter on these modules, in every layer.",
  });
}

export interface AdapterConfigToWrite {
  readonly lora: LoraConfig;
  readonly baseModel: string | undefined;
  /** Whether a scalar head is saved beside the factors. */
  readonly head: boolean;
}

/** What PEFT reads back; settings that are not here have its defaults. */
export function adapterConfigJson({ lora, baseModel, head }: AdapterConfigToWrite): Record<string, unknown> {
  return {
    base_model_name_or_path: baseModel ?? null,
    bias: "none",
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    lora_alpha: lora.alpha,
    lora_dropout: 0,
    modules_to_save: head ? ["score"] : null,
    peft_type: "LORA",
    r: lora.rank,
    target_modules: [...(lora.targets ?? projections)],
    task_type: head ? "SEQ_CLS" : "CAUSAL_LM",
    use_dora: false,
    use_rslora: false,
  };
}
