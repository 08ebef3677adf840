import { hasHeadNorms, type Projection, projections, weightShapes } from "../decoder/modules.ts";
import type { ModelConfig } from "./config.ts";
import { CheckpointError, quote } from "./errors.ts";
import { others, refusePackedTensors } from "./packed.ts";

/** What the check needs to know of a tensor. */
interface Stored {
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** Buffers that older versions of transformers and llama.cpp saved; every reader computes them from the config. */
const HARMLESS = /(^|\.)(rotary_emb\.(inv_freq|cos_cached|sin_cached)|position_ids|masked_bias|attn_rot_embd\.weight)$/;

const EMBEDDINGS = "model.embed_tokens.weight";
const HEAD = "lm_head.weight";

export interface Fit<T extends Stored> {
  /** The tensors that the config asks for, and no others. */
  readonly tensors: Map<string, T>;
  /** The output head beside embeddings that the config ties it to: it must be their copy. */
  readonly copy: string | undefined;
}

/**
 * Holds a checkpoint's tensors against its config: none is missing, none has another shape, and none is left over that
 * would change what the model says.
 * @throws CheckpointError naming tensor, expected and found shape, and what in the config speaks against it
 */
export function fitWeights<T extends Stored>(all: ReadonlyMap<string, T>, config: ModelConfig, file: string): Fit<T> {
  refusePackedTensors(all, file);
  const expected = weightShapes(config);
  refuseShapes(all, expected, config, file);
  const tensors = new Map<string, T>();
  const extra: string[] = [];
  const copy = config.tie_word_embeddings && all.has(HEAD) ? HEAD : undefined;
  for (const [name, tensor] of all) {
    if (Object.hasOwn(expected, name)) tensors.set(name, tensor);
    else if (name !== copy && !HARMLESS.test(name)) extra.push(name);
  }
  if (extra.length > 0) throw unread(extra, config, file);
  const missing = Object.keys(expected).filter((name) => !all.has(name));
  if (missing.length > 0) throw absentWeights(missing, expected, config, file);
  return { tensors, copy };
}

function refuseShapes(
  all: ReadonlyMap<string, Stored>,
  expected: Record<string, readonly number[]>,
  config: ModelConfig,
  file: string,
): void {
  const wrong = Object.entries(expected).filter(([name, shape]) => {
    const found = all.get(name)?.shape;
    return found !== undefined && `${found}` !== `${shape}`;
  });
  if (wrong.length === 0) return;
  // Embeddings first: a resized vocabulary is what happens most.
  const [name, shape] = wrong[0]!;
  const found = all.get(name)!.shape;
  const rows = found[0];
  const transposed = shape.length === 2 && `${[...found].reverse()}` === `${shape}`;
  const resized = (name === EMBEDDINGS || name === HEAD) && found.length === 2 && found[1] === shape[1];
  throw new CheckpointError({
    file,
    where: `tensor ${quote(name)}`,
    expected: `the shape ${quote([...shape])}${reason(name, config)}`,
    found: `${quote([...found])}${others(wrong)}`,
    fix: transposed
      ? "The matrix is transposed: convert the checkpoint again; rows are a layer's outputs."
      : resized
        ? `Set vocab_size to ${rows} in config.json if tokens were added to the model, else take weights and config of one model.`
        : "Weights and config are of different models: take the config that was published with these weights.",
  });
}

/** Which settings make up a shape. */
function reason(name: string, { hidden_size: hidden }: ModelConfig): string {
  if (name === EMBEDDINGS || name === HEAD) return " (vocab_size × hidden_size)";
  const queries = "num_attention_heads · head_dim";
  const keys = "num_key_value_heads · head_dim";
  const inner = "intermediate_size";
  const sides: Record<Projection, [string, string]> = {
    q_proj: [queries, "hidden_size"],
    k_proj: [keys, "hidden_size"],
    v_proj: [keys, "hidden_size"],
    o_proj: ["hidden_size", queries],
    gate_proj: [inner, "hidden_size"],
    up_proj: [inner, "hidden_size"],
    down_proj: ["hidden_size", inner],
  };
  const [module, kind] = name.split(".").slice(-2);
  const projection = projections.find((one) => one === module);
  if (projection) return ` (${kind === "bias" ? sides[projection][0] : sides[projection].join(" × ")})`;
  return /\.[qk]_norm$/.test(`.${module}`) ? " (head_dim)" : ` (hidden_size ${hidden})`;
}

interface Explanation {
  /** Follows the names. */
  readonly why: string;
  readonly fix: string;
}

/** Tensors that the config has no place for, by what they tell about the checkpoint. */
const EXTRA: readonly [RegExp, Explanation][] = [
  [
    /(^|\.)(_orig_mod|module)\./,
    {
      why: "names with the prefix of a wrapper (_orig_mod of torch.compile, module of data parallelism)",
      fix: "Save the model inside the wrapper with save_pretrained.",
    },
  ],
  [
    /\.lora_|^base_model\./,
    {
      why: "factors of an adapter among the weights",
      fix: "Merge the adapter with PEFT (merge_and_unload), or give the base model and the adapter's folder apart.",
    },
  ],
  [
    /experts|block_sparse_moe|_exps\.|gate_inp|mlp\.gate\./,
    { why: "a mixture of experts, which is not built", fix: "Use a dense model of one of the families." },
  ],
  [
    /(^|\.)(score|classifier|v_head|value_head|summary|qa_outputs)\./,
    {
      why: "the head of a classifier or a reward model",
      fix: "Use the language model; a preference model is trained here as an adapter with a scalar head.",
    },
  ],
  [
    /(^|\.)(visual|vision\w*|language_model|multi_modal_projector)\./,
    { why: "parts of a model of text and pictures, which is not built", fix: "Use the text model alone." },
  ],
  [
    /^(embed_tokens|norm|layers\.\d+)\./,
    {
      why: "a model's body without the language model around it",
      fix: "Save it with AutoModelForCausalLM, whose names begin with model.",
    },
  ],
];

function unread(names: readonly string[], config: ModelConfig, file: string): CheckpointError {
  const { why, fix } = explain(names[0]!, config);
  return new CheckpointError({
    file,
    expected: "no tensors but those of the config",
    found: `${quote(names[0])}${others(names)}: ${why}`,
    fix,
  });
}

function explain(name: string, config: ModelConfig): Explanation {
  for (const [pattern, explanation] of EXTRA) if (pattern.test(name)) return explanation;
  const { model_type: family, num_hidden_layers: layers } = config;
  const layer = Number(/^model\.layers\.(\d+)\./.exec(name)?.[1] ?? -1);
  if (layer >= layers)
    return {
      why: `layer ${layer} of a model whose num_hidden_layers is ${layers}`,
      fix: "Take the config that was published with these weights.",
    };
  if (/\.[qk]_norm\.weight$/.test(name) && !hasHeadNorms(config))
    return {
      why: `norms of queries and keys, which the family ${family} does not have (qwen3 does)`,
      fix: "Take the model_type that was published with these weights.",
    };
  if (/_proj\.bias$/.test(name)) {
    const setting = name.includes(".mlp.") ? "mlp_bias" : "attention_bias";
    return {
      why: `a bias that a ${family} does not have with ${setting} ${config[setting]}`,
      fix: `Set ${setting} to true if the model's published config does (llama and qwen3 heed it), else take the config that was published with these weights.`,
    };
  }
  return {
    why: `nothing that a model of the family ${family} has; without it the model would say something else`,
    fix: "Use a checkpoint whose architecture is the published one of its family.",
  };
}

function absentWeights(
  names: readonly string[],
  shapes: Record<string, readonly number[]>,
  config: ModelConfig,
  file: string,
): CheckpointError {
  const name = names[0]!;
  const layer = Number(/^model\.layers\.(\d+)\./.exec(name)?.[1] ?? -1);
  const whole = names.filter((other) => other.startsWith(`model.layers.${layer}.`)).length;
  const perLayer = Object.keys(shapes).filter((other) => other.startsWith("model.layers.0.")).length;
  let fix = "The checkpoint is incomplete: download all its files again.";
  if (name === HEAD)
    fix = "Set tie_word_embeddings to true if the model's published config does; else the checkpoint is incomplete.";
  else if (name.endsWith(".bias"))
    fix = `Set ${name.includes(".mlp.") ? "mlp_bias" : "attention_bias"} to false if the model's published config does; else the checkpoint is incomplete.`;
  else if (layer >= 0 && whole === perLayer)
    fix = `The config's num_hidden_layers is ${config.num_hidden_layers}: take the config that was published with these weights, or download all their files again.`;
  return new CheckpointError({
    file,
    expected: `a tensor ${quote(name)} of shape ${quote([...shapes[name]!])}`,
    found: `none of that name${others(names)}`,
    fix,
  });
}
