import {
  addMatmul,
  and,
  type CompileOptions,
  compile,
  concat,
  type Dim,
  equal,
  expandDims,
  flattenRows,
  gather,
  input,
  iota,
  less,
  matmul,
  or,
  type Program,
  reshape,
  rmsNorm,
  sizeOf,
  softmax,
  split,
  type Tensor,
  transpose,
} from "@tenet/tensor";
import type { ModelConfig } from "../checkpoint/index.ts";
import {
  attentionBias,
  attentionOutput,
  attentionWindow,
  feedForward,
  hasBias,
  headName,
  type LayerContext,
  modulePath,
  type QueryKeyValue,
  queryKeyValue,
  rotaryTables,
  sees,
} from "../decoder/index.ts";
import { readout } from "./readout.ts";

export interface GraphOptions extends CompileOptions {
  readonly config: ModelConfig;
  readonly weight: (name: string) => Tensor;
  /** Tokens a row may hold in all. */
  readonly context: number;
  /** Modules an adapter changes, by path. */
  readonly adapted: readonly string[];
  /** Tokens that end a text. */
  readonly ends: readonly number[];
}

export type GenerationGraph = Program<{ fresh: Tensor } & ReturnType<typeof readout>>;

/**
 * Rows of new tokens, each a packed row of stretches: prompts to continue, or a prompt and the continuations to score. A
 * token sees the prefix that all rows share, where the graph has one, and the tokens before it of its own segment or its
 * trunk: a continuation's trunk is its prompt.
 *
 * Constant matrices are not rearranged: at so many tokens in a call that costs little, and any number of these graphs
 * then takes no memory beside the weights' file.
 */
export function compilePrompt(options: GraphOptions & { prefixed: boolean }): Promise<GenerationGraph> {
  const { config, prefixed } = options;
  return compileDecoder({ ...options, prepack: false }, ({ positions }) => {
    const segments = input("segments", "int32", ["rows", "time"]);
    const trunks = input("trunks", "int32", ["rows", "time"]);
    const own = (x: Tensor) => reshape(x, [1, "rows", 1, "time", 1]);
    const other = (x: Tensor) => reshape(x, [1, "rows", 1, 1, "time"]);
    const related = or(equal(own(segments), other(segments)), equal(own(trunks), other(segments)));
    const ordered = and(related, before());
    return biasPerWindow(config, (window) => {
      const near = window === null ? ordered : and(ordered, sees(own(positions), other(positions), window));
      const prefix = prefixed && window !== null ? prefixBias(own(positions), window) : null;
      return { fresh: attentionBias(near), prefix };
    })((qkv, layer, scale, bias) =>
      promptAttention(qkv, prefixed ? prefixOf(config, layer) : null, bias.fresh, bias.prefix, scale),
    );
  });
}

/**
 * A row a sample, with one new token or, with drafts, a few: each sees the prefix that all rows share (which may be
 * empty), its row's cached positions and the new tokens before it. Keys and values of new tokens leave the graph (all
 * layers in one output) and are written into the cache by the caller.
 */
export function compileDecode(options: GraphOptions): Promise<GenerationGraph> {
  const { config } = options;
  const { num_key_value_heads: kvHeads, head_dim: size } = config;
  return compileDecoder(options, ({ positions }) => {
    const cached = input("cached", "int32", ["rows"]);
    const own = (x: Tensor) => reshape(x, ["rows", 1, 1, "time", 1]);
    const other = (x: Tensor) => reshape(x, ["rows", 1, 1, 1, "time"]);
    const place = reshape(iota("capacity"), [1, 1, 1, 1, "capacity"]);
    const filled = less(place, reshape(cached, ["rows", 1, 1, 1, 1]));
    return biasPerWindow(config, (window) => {
      if (window === null) return { cached: attentionBias(filled), fresh: attentionBias(before()), prefix: null };
      const near = sees(own(positions), place.add(sizeOf("shared")), window);
      return {
        cached: attentionBias(and(filled, near)),
        fresh: attentionBias(and(before(), sees(own(positions), other(positions), window))),
        prefix: prefixBias(own(positions), window),
      };
    })((qkv, layer, scale, bias) => {
      const cache = (part: string) =>
        input(`${part}.${layer}`, "float32", ["rows", kvHeads, "capacity", size] as const);
      const own = { keys: cache("keys"), values: cache("values") };
      return decodeAttention(qkv, prefixOf(config, layer), own, bias, scale);
    });
  });
}

type Attend = (qkv: QueryKeyValue, layer: number, scale: number) => Tensor;

/** The decoder over rows of new tokens, and answers to what is asked of them; `attention` is what its kinds differ in. */
function compileDecoder(
  { config, weight, context, adapted, ends, ...options }: GraphOptions,
  attention: (inputs: { positions: Tensor }) => Attend,
): Promise<GenerationGraph> {
  return compile(() => {
    const tokens = input("tokens", "int32", ["rows", "time"]);
    const positions = input("positions", "int32", ["rows", "time"]);
    const attend = attention({ positions });
    const { cos, sin, scale } = rotaryTables(config, context);
    const layers: LayerContext = {
      config,
      weight,
      project: adaptedProjection(config, weight, new Set(adapted)),
      cos: gather(cos, positions),
      sin: gather(sin, positions),
    };
    const fresh: Tensor[] = [];
    let x = flattenRows(gather(weight("model.embed_tokens.weight"), tokens)); // [rows · time, hidden]
    for (let layer = 0; layer < config.num_hidden_layers; layer++) {
      const qkv = queryKeyValue(x, layer, "rows", "time", layers);
      fresh.push(expandDims(qkv.k, 0), expandDims(qkv.v, 0));
      x = feedForward(attentionOutput(x, attend(qkv, layer, scale), layer, layers), layer, layers);
    }
    return {
      /** [2 · layers, rows, kvHeads, time, size]: keys and values of layer 0, of layer 1, … */
      fresh: concat(fresh),
      ...readout(x, {
        norm: (rows) => rmsNorm(rows, weight("model.norm.weight"), config.rms_norm_eps),
        head: (rows) => matmul(rows, weight(headName(config)), { transB: true }),
        vocabulary: config.vocab_size,
        ends,
      }),
    };
  }, options);
}

/** x·Wᵀ + bias, and for adapted modules + scale·(x·Aᵀ)·Bᵀ with factors fed on each run: an adapter costs its own size. */
function adaptedProjection(
  config: ModelConfig,
  weight: (name: string) => Tensor,
  adapted: ReadonlySet<string>,
): LayerContext["project"] {
  const scale = adapted.size > 0 ? input("lora.scale", "float32", []) : undefined;
  return (x, layer, names) =>
    names.map((name) => {
      const path = modulePath(layer, name);
      const w = weight(`${path}.weight`);
      const [out, width] = w.shape as [number, number];
      let y = matmul(x, w, { transB: true });
      if (hasBias(config, name)) y = y.add(weight(`${path}.bias`));
      if (!adapted.has(path)) return y;
      // Every adapter of a graph may have its own rank, and every module too.
      const rank = `rank_${layer}_${name}`;
      const a = input(`${path}.lora_A.weight`, "float32", [rank, width]);
      const b = input(`${path}.lora_B.weight`, "float32", [out, rank]);
      return addMatmul(y, matmul(x, a, { transB: true }).mul(scale!), b, { transB: true });
    });
}

/** Biases are made once for each window that layers have. */
function biasPerWindow<Bias>(config: ModelConfig, make: (window: number | null) => Bias) {
  const made = new Map<number | null, Bias>();
  return (attend: (qkv: QueryKeyValue, layer: number, scale: number, bias: Bias) => Tensor): Attend =>
    (qkv, layer, scale) => {
      const window = attentionWindow(config, layer);
      const bias = made.get(window) ?? make(window);
      made.set(window, bias);
      return attend(qkv, layer, scale, bias);
    };
}

/** Whether a new token stands before another or is it: [1, 1, 1, time, time]. */
function before(): Tensor {
  const order = iota("time");
  return sees(reshape(order, [1, 1, 1, "time", 1]), reshape(order, [1, 1, 1, 1, "time"]));
}

/** A prefix key's place is its position. */
function prefixBias(positions: Tensor, window: number): Tensor {
  return attentionBias(sees(positions, reshape(iota("shared"), [1, 1, 1, 1, "shared"]), window));
}

interface KeysAndValues {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** Keys and values of the prefix: [kvHeads, shared, size]. */
function prefixOf(config: ModelConfig, layer: number): KeysAndValues {
  const part = (name: string) =>
    input(`prefix.${name}.${layer}`, "float32", [config.num_key_value_heads, "shared", config.head_dim]);
  return { keys: part("keys"), values: part("values") };
}

/**
 * Attention of new tokens over a prefix and one another, scores side by side, one softmax, two products summed.
 * Key and value heads stand first, so that the prefix meets all rows in one product. bias [1, rows, 1, time, time].
 */
function promptAttention(
  { q, k, v }: QueryKeyValue,
  prefix: KeysAndValues | null,
  bias: Tensor,
  prefixed: Tensor | null,
  scale: number,
): Tensor {
  const [, heads, , size] = q.shape as [never, number, never, number];
  const kvHeads = k.dim(1) as number;
  const group = heads / kvHeads;
  const swap = (x: Tensor) => transpose(x, [1, 0, 2, 3]);
  const stacked = swap(reshape(q, ["rows", kvHeads, -1, size])); // [kvHeads, rows, group · time, size]
  const perHead = (x: Tensor, width: Dim) => reshape(x, [kvHeads, "rows", group, "time", width]);
  const own = perHead(matmul(stacked, swap(k), { transB: true, alpha: scale }), "time").add(bias);
  const apply = (p: Tensor) => matmul(reshape(p, [kvHeads, "rows", stacked.dim(2), "time"]), swap(v));
  const out = () => {
    if (!prefix) return apply(softmax(own));
    const flat = reshape(stacked, [kvHeads, -1, size]);
    const raw = perHead(matmul(flat, prefix.keys, { transB: true, alpha: scale }), "shared");
    const p = softmax(concat([prefixed ? raw.add(prefixed) : raw, own], 4));
    const [far, near] = split(p, 4, ["shared", "time"]) as [Tensor, Tensor];
    const shared = matmul(reshape(far, [kvHeads, flat.dim(1), "shared"]), prefix.values);
    return reshape(shared, stacked.shape).add(apply(near));
  };
  return reshape(swap(out()), ["rows", heads, "time", size]);
}

interface DecodeBias {
  /** [rows, 1, 1, time or 1, capacity] */
  readonly cached: Tensor;
  /** [rows or 1, 1, 1, time, time] */
  readonly fresh: Tensor;
  readonly prefix: Tensor | null;
}

/** Attention of a few new tokens a row over the prefix, the row's cache and one another. */
function decodeAttention(
  { q, k, v }: QueryKeyValue,
  prefix: KeysAndValues,
  cache: KeysAndValues,
  bias: DecodeBias,
  scale: number,
): Tensor {
  const [, heads, , size] = q.shape as [never, number, never, number];
  const kvHeads = k.dim(1) as number;
  const group = heads / kvHeads;
  const stacked = reshape(q, ["rows", kvHeads, -1, size]); // [rows, kvHeads, group · time, size]
  const swap = (x: Tensor) => transpose(x, [1, 0, 2, 3]);
  const perHead = (x: Tensor, width: Dim) => reshape(x, ["rows", kvHeads, group, "time", width]);

  // One product of all rows with the prefix: its keys and values are read once, not once a row.
  const flat = reshape(swap(stacked), [kvHeads, -1, size]);
  const raw = matmul(flat, prefix.keys, { transB: true, alpha: scale });
  const far = perHead(swap(reshape(raw, [kvHeads, "rows", stacked.dim(2), "shared"])), "shared");
  const middle = perHead(matmul(stacked, cache.keys, { transB: true, alpha: scale }), "capacity").add(bias.cached);
  // New tokens are so few that products by element are cheaper than many tiny matrix products.
  const wide = (x: Tensor) => reshape(x, ["rows", kvHeads, 1, 1, "time", size]);
  const near = reshape(q, ["rows", kvHeads, group, "time", 1, size]).mul(wide(k)).sum(-1).mul(scale).add(bias.fresh);

  const p = softmax(concat([bias.prefix ? far.add(bias.prefix) : far, middle, near], 4));
  const [pFar, pMiddle, pNear] = split(p, 4, ["shared", "capacity", "time"]) as [Tensor, Tensor, Tensor];
  const rowsFirst = (x: Tensor, width: Dim) => reshape(x, ["rows", kvHeads, stacked.dim(2), width]);
  const shared = matmul(reshape(swap(rowsFirst(pFar, "shared")), [kvHeads, flat.dim(1), "shared"]), prefix.values);
  const own = matmul(rowsFirst(pMiddle, "capacity"), cache.values);
  const fresh = expandDims(pNear, 5).mul(wide(v)).sum(4); // [rows, kvHeads, group, time, size]
  const out = swap(reshape(shared, [kvHeads, "rows", stacked.dim(2), size])).add(own);
  return reshape(out, ["rows", heads, "time", size]).add(reshape(fresh, ["rows", heads, "time", size]));
}
