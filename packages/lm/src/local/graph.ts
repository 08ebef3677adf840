import {
  addMatmul,
  and,
  broadcastTo,
  type CompileOptions,
  compile,
  concat,
  type Dim,
  equal,
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
  headName,
  type LayerContext,
  modulePath,
  plusBias,
  projectionShape,
  type QueryKeyValue,
  queryKeyValue,
  rotaryTables,
  sees,
} from "../decoder/index.ts";
import type { MatrixProduct } from "./quantize.ts";
import { readout } from "./readout.ts";

export interface GraphOptions extends CompileOptions {
  readonly config: ModelConfig;
  readonly weight: (name: string) => Tensor;
  readonly product: MatrixProduct;
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
 * A row a sample, with one new token or, with drafts, a few: each sees the prefix that all rows share, where the graph
 * has one, its row's cached positions and the new tokens before it. Keys and values of new tokens leave the graph (all
 * layers in one output) and are written into the cache by the caller.
 */
export function compileDecode(options: GraphOptions & { prefixed: boolean }): Promise<GenerationGraph> {
  const { config, prefixed } = options;
  const { num_key_value_heads: kvHeads, head_dim: size } = config;
  return compileDecoder(options, ({ positions }) => {
    const cached = input("cached", "int32", ["rows"]);
    const own = (x: Tensor) => reshape(x, ["rows", 1, 1, "time", 1]);
    const other = (x: Tensor) => reshape(x, ["rows", 1, 1, 1, "time"]);
    const place = reshape(iota("capacity"), [1, 1, 1, 1, "capacity"]);
    const filled = broadcastTo(less(place, reshape(cached, ["rows", 1, 1, 1, 1])), ["rows", 1, 1, "time", "capacity"]);
    const ordered = broadcastTo(before(), ["rows", 1, 1, "time", "time"]);
    return biasPerWindow(config, (window) => {
      if (window === null) return { own: attentionBias(concat([filled, ordered], 4)), prefix: null };
      const start = prefixed ? sizeOf("shared") : 0;
      const near = sees(own(positions), place.add(start), window);
      const recent = sees(own(positions), other(positions), window);
      return {
        own: attentionBias(concat([and(filled, near), and(ordered, recent)], 4)),
        prefix: prefixed ? prefixBias(own(positions), window) : null,
      };
    })((qkv, layer, scale, bias) => {
      const cache = (part: string) =>
        input(`${part}.${layer}`, "float32", ["rows", kvHeads, "capacity", size] as const);
      const own = { keys: cache("keys"), values: cache("values") };
      return decodeAttention(qkv, prefixed ? prefixOf(config, layer) : null, own, bias, scale);
    });
  });
}

type Attend = (qkv: QueryKeyValue, layer: number, scale: number) => Tensor;

/** The decoder over rows of new tokens, and answers to what is asked of them; `attention` is what its kinds differ in. */
function compileDecoder(
  { config, weight, product, context, adapted, ends, ...options }: GraphOptions,
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
      project: adaptedProjection(config, weight, product, new Set(adapted)),
      cos: gather(cos, positions),
      sin: gather(sin, positions),
    };
    const fresh: Tensor[] = [];
    let x = flattenRows(gather(weight("model.embed_tokens.weight"), tokens)); // [rows · time, hidden]
    for (let layer = 0; layer < config.num_hidden_layers; layer++) {
      const qkv = queryKeyValue(x, layer, "rows", "time", layers);
      fresh.push(qkv.k, qkv.v);
      x = feedForward(attentionOutput(x, attend(qkv, layer, scale), layer, layers), layer, layers);
    }
    return {
      /** [2 · layers · rows, kvHeads, time, size]: keys and values of layer 0, of layer 1, … */
      fresh: concat(fresh),
      ...readout(x, {
        norm: (rows) => rmsNorm(rows, weight("model.norm.weight"), config.rms_norm_eps),
        head: (rows) => product(rows, headName(config)),
        vocabulary: config.vocab_size,
        ends,
      }),
    };
  }, options);
}

/**
 * x·Wᵀ + bias, and for adapted modules + scale·(x·Aᵀ)·Bᵀ with factors fed on each run: an adapter costs its own size.
 * Scales are fed as one vector, in the order of the adapted modules.
 */
export function adaptedProjection(
  config: ModelConfig,
  weight: (name: string) => Tensor,
  product: MatrixProduct,
  adapted: ReadonlySet<string>,
): LayerContext["project"] {
  const paths = [...adapted];
  const each = paths.map(() => 1);
  const parts = paths.length > 0 ? split(input("lora.scales", "float32", [paths.length]), 0, each) : [];
  const scales = new Map(paths.map((path, i) => [path, parts[i]!]));
  return (x, layer, names) =>
    names.map((name) => {
      const path = modulePath(layer, name);
      const [out, width] = projectionShape(config, name);
      const y = plusBias(product(x, `${path}.weight`), layer, name, { config, weight });
      const scale = scales.get(path);
      if (!scale) return y;
      // Every adapter of a graph may have its own rank, and every module too.
      const rank = `rank_${layer}_${name}`;
      const a = input(`${path}.lora_A.weight`, "float32", [rank, width]);
      const b = input(`${path}.lora_B.weight`, "float32", [out, rank]);
      return addMatmul(y, matmul(x, a, { transB: true }).mul(scale), b, { transB: true });
    });
}

/** Biases are made once for each window that layers have. */
export function biasPerWindow<Bias>(config: ModelConfig, make: (window: number | null) => Bias) {
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

/** A prefix key's place is its position. positions [..., 1], of any rank → [..., shared] */
export function prefixBias(positions: Tensor, window: number): Tensor {
  const keys = reshape(iota("shared"), [...positions.shape.slice(1).map(() => 1), "shared"]);
  return attentionBias(sees(positions, keys, window));
}

export interface KeysAndValues {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** Keys and values of the prefix: [kvHeads, shared, size]. */
export function prefixOf(config: ModelConfig, layer: number): KeysAndValues {
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
  /** [rows, 1, 1, time, capacity + fresh]; of one token a row without the axis of time. */
  readonly own: Tensor;
  /** [rows, 1, 1, time, shared], likewise. */
  readonly prefix: Tensor | null;
}

/** Attention of a few new tokens a row over a prefix, the row's cache and fresh positions: one another, or those of a block of steps. */
export function decodeAttention(
  { q, k, v }: QueryKeyValue,
  prefix: KeysAndValues | null,
  cache: KeysAndValues,
  bias: DecodeBias,
  scale: number,
): Tensor {
  const [, heads, time, size] = q.shape as [never, number, Dim, number];
  const kvHeads = k.dim(1) as number;
  const group = heads / kvHeads;
  const stacked = reshape(q, ["rows", kvHeads, -1, size]); // [rows, kvHeads, group · time, size]
  const tall = stacked.dim(2);
  const swap = (x: Tensor) => transpose(x, [1, 0, 2, 3]);
  const perHead = (x: Tensor, width: Dim) => reshape(x, ["rows", kvHeads, group, ...(time === 1 ? [] : [time]), width]);
  const flat = (x: Tensor, width: Dim) => reshape(x, ["rows", kvHeads, tall, width]);
  const scores = (keys: Tensor) => matmul(stacked, keys, { transB: true, alpha: scale });

  const raw = concat([scores(cache.keys), scores(k)], 3);
  const own = perHead(raw, raw.dim(3)).add(bias.own);
  const apply = (p: Tensor) => {
    const [old, fresh] = split(flat(p, raw.dim(3)), 3, [cache.keys.dim(2), k.dim(2)]) as [Tensor, Tensor];
    return matmul(old, cache.values).add(matmul(fresh, v));
  };
  if (!prefix) return reshape(apply(softmax(own)), q.shape);

  // One product of all rows with the prefix: its keys and values are read once, not once a row.
  const together = reshape(swap(stacked), [kvHeads, -1, size]);
  const shared = matmul(together, prefix.keys, { transB: true, alpha: scale });
  const far = perHead(swap(reshape(shared, [kvHeads, "rows", tall, "shared"])), "shared");
  const p = softmax(concat([bias.prefix ? far.add(bias.prefix) : far, own], -1));
  const [pFar, pOwn] = split(p, -1, ["shared", raw.dim(3)]) as [Tensor, Tensor];
  const weights = reshape(swap(flat(pFar, "shared")), [kvHeads, together.dim(1), "shared"]);
  const out = swap(reshape(matmul(weights, prefix.values), [kvHeads, "rows", tall, size]));
  return reshape(out.add(apply(pOwn)), q.shape);
}
