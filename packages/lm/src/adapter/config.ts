import { join } from "node:path";
import { RE2JS } from "re2js";
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
  use_rslora: z.boolean().nullish(),
  /** By patterns of modules' names; the first that matches holds. */
  rank_pattern: z.record(z.string().max(1000), z.int().min(1).max(65_536)).nullish(),
  alpha_pattern: z.record(z.string().max(1000), z.number().positive()).nullish(),
  target_modules: z.union([z.string(), z.array(z.string()).max(10_000)]).nullish(),
  exclude_modules: z.union([z.string().max(1000), z.array(z.string()).max(10_000)]).nullish(),
  layers_to_transform: z.union([z.int(), z.array(z.int()).max(10_000)]).nullish(),
  layers_pattern: z.union([z.string(), z.array(z.string())]).nullish(),
  base_model_name_or_path: z.string().nullish(),
  modules_to_save: z.array(z.string()).nullish(),
});

export interface AdapterConfig {
  /** Of the adapter as a whole, without `targets`. */
  readonly lora: LoraConfig;
  /** Whether a module of the model is adapted; undefined where a pattern says so, which the weights' names then answer. */
  readonly adapts: ((path: string) => boolean) | undefined;
  /** Rank and alpha of a module. */
  size(path: string): Pick<LoraConfig, "rank" | "alpha">;
  readonly baseModel: string | undefined;
}

/** Values under which a setting of PEFT changes nothing; with any other, the factors alone are not the adapter. */
const PLAIN: Record<string, readonly unknown[]> = {
  bias: ["none"],
  use_dora: [false],
  use_qalora: [false],
  use_bdlora: [false],
  lora_bias: [false],
  layer_replication: [],
  trainable_token_indices: [],
  target_parameters: [[]],
  alora_invocation_tokens: [],
  arrow_config: [],
  kasa_config: [],
  monteclora_config: [],
  velora_config: [],
};

/** Settings that are read; of others that are called `use_…` nobody knows what they ask for. */
const USED = new Set(["use_rslora"]);

/** Initialisations that also change the base's weights. */
const CHANGED_BASE = /^(pissa|olora|corda|loftq)/i;

/** What to do with an adapter that is more than factors and a scale a module. */
export const MERGE = "Merge the adapter into its model with PEFT (merge_and_unload) and load the result.";

/**
 * Reads and checks `adapter_config.json`.
 * @throws CheckpointError naming the setting when it is malformed or asks for more than factors of the decoder's matrices
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
  const unknown = Object.keys(config).filter((name) => name.startsWith("use_") && !USED.has(name));
  for (const name of new Set([...Object.keys(PLAIN), ...unknown])) {
    const values = PLAIN[name] ?? [false];
    const value = config[name] ?? null;
    if (value === null || values.some((plain) => JSON.stringify(plain) === JSON.stringify(value))) continue;
    refuse(name, values.length > 0 ? JSON.stringify(values[0]) : "nothing", MERGE);
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
    refuse("modules_to_save", 'nothing, or the scalar head "score": modules trained whole are not read', MERGE);
  if ([config.layers_pattern ?? []].flat().some((name) => name !== "" && name !== "layers"))
    refuse("layers_pattern", 'nothing, or "layers", as the decoder calls them', MERGE);

  const { r: rank, lora_alpha: alpha } = config;
  const ranks = patterns("rank_pattern", config.rank_pattern, file);
  const alphas = patterns("alpha_pattern", config.alpha_pattern, file);
  return {
    lora: { rank, alpha, ...(config.use_rslora ? { rslora: true } : {}) },
    adapts: adapted(config, file),
    size: (path) => ({ rank: ranks(path) ?? rank, alpha: alphas(path) ?? alpha }),
    baseModel: config.base_model_name_or_path ?? undefined,
  };
}

/** The value of the first pattern that matches a module's path, or its end behind a dot, as PEFT looks it up. */
function patterns(where: string, table: Readonly<Record<string, number>> | null | undefined, file: string) {
  const compiled = Object.entries(table ?? {}).map(([pattern, value]) => {
    return { matches: whole(`(?:.*\\.)?(?:${pattern})`, { file, where, pattern }), value };
  });
  return (path: string) => compiled.find(({ matches }) => matches(path))?.value;
}

/** A test of whole texts against a pattern from the file: RE2's, which no text can stall. */
function whole(expression: string, { file, where, pattern }: { file: string; where: string; pattern: string }) {
  try {
    const compiled = RE2JS.compile(expression);
    return (text: string) => compiled.matcher(text).matches();
  } catch (cause) {
    throw new CheckpointError({
      file,
      where,
      expected: "patterns of modules' names without lookaround and backreferences",
      found: quote(pattern),
      fix: "Name the modules one by one, by the ends of their paths.",
      cause,
    });
  }
}

/** Which modules a list of targets means: full paths or their ends, in some layers, but for some that are excluded. */
function adapted(config: z.infer<typeof published>, file: string): AdapterConfig["adapts"] {
  const { target_modules: targets, exclude_modules: excluded } = config;
  if (typeof targets === "string" && targets.toLowerCase() !== "all-linear") return undefined;
  if (targets === null || targets === undefined) return undefined;
  const names = typeof targets === "string" ? [...projections] : targets;
  for (const name of names) requireProjection(name, file);
  const named = (path: string, list: readonly string[]) =>
    list.some((name) => path === name || path.endsWith(`.${name}`));
  const layers = config.layers_to_transform == null ? [] : [config.layers_to_transform].flat();
  // PEFT heeds the layers where a module is named by its end, not where its whole path is given.
  const inLayer = (path: string) => {
    return layers.length === 0 || names.includes(path) || layers.includes(Number(/\.(\d+)\./.exec(path)?.[1]));
  };
  const out =
    typeof excluded === "string"
      ? whole(excluded, { file, where: "exclude_modules", pattern: excluded })
      : (path: string) => named(path, excluded ?? []);
  return (path) => named(path, names) && inLayer(path) && !out(path);
}

/** PEFT lists names that hold in every layer, or full paths; whether all layers are there the weights will show. */
function requireProjection(name: string, file: string): void {
  const last = name.slice(name.lastIndexOf(".") + 1) as Projection;
  if (projections.includes(last)) return;
  throw new CheckpointError({
    file,
    where: "target_modules",
    expected: `modules among ${projections.join(", ")}`,
    found: quote(name),
    fix: /^(lm_head|embed_tokens)$/.test(last) ? MERGE : "Train the adapter on these modules.",
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
  const own = Object.entries(lora.modules ?? {});
  const differing = (what: "rank" | "alpha") => {
    return Object.fromEntries(
      own.filter(([, size]) => size[what] !== lora[what]).map(([path, size]) => [path, size[what]]),
    );
  };
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
    target_modules: lora.modules ? own.map(([path]) => path) : [...(lora.targets ?? projections)],
    task_type: head ? "SEQ_CLS" : "CAUSAL_LM",
    use_dora: false,
    use_rslora: lora.rslora ?? false,
    ...(lora.modules ? { rank_pattern: differing("rank"), alpha_pattern: differing("alpha") } : {}),
  };
}
