import {
  addMatmul,
  and,
  type CompileOptions,
  compile,
  concat,
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
  slice,
  softmax,
  type Tensor,
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
  queryKeyValue,
  rotaryTables,
  sees,
} from "../decoder/index.ts";

/** Modules an adapter changes, by path; a graph is compiled for each such set. */
export interface GraphOptions extends CompileOptions {
  readonly config: ModelConfig;
  readonly weight: (name: string) => Tensor;
  /** Tokens a row may hold in all. */
  readonly context: number;
  readonly adapted: readonly string[];
}

export type GenerationGraph = Program<{ fresh: Tensor; logits: Tensor }>;

/*
 * One graph for everything a language model is asked: rows of new tokens behind cached keys and values.
 *
 * - prompts: one row that holds several, told apart by segments;
 * - continuations to score: the same, a continuation's trunk being its prompt;
 * - decoding: a row a sample, one token or, with drafts, a few.
 *
 * A token sees the cached positions of its row below `cached`, and new tokens before it of its own segment or its trunk.
 * Keys and values of new tokens leave the graph (all layers in one output) and are written into the cache by the caller.
 */
export function compileGeneration({
  config,
  weight,
  context,
  adapted,
  ...options
}: GraphOptions): Promise<GenerationGraph> {
  const { head_dim: size, num_key_value_heads: kvHeads, num_attention_heads: heads } = config;
  return compile(() => {
    const tokens = input("tokens", "int32", ["rows", "time"]);
    const positions = input("positions", "int32", ["rows", "time"]);
    const segments = input("segments", "int32", ["rows", "time"]);
    const trunks = input("trunks", "int32", ["rows", "time"]);
    const cached = input("cached", "int32", ["rows"]);
    const chosen = input("chosen", "int32", ["picked"]);
    const cacheShape = ["rows", kvHeads, "capacity", size];
    const caches = Array.from({ length: config.num_hidden_layers }, (_, layer) => ({
      keys: input(`keys.${layer}`, "float32", cacheShape),
      values: input(`values.${layer}`, "float32", cacheShape),
    }));

    const visible = { positions, segments, trunks, cached };
    const { cos, sin, scale } = rotaryTables(config, context);
    const layers: LayerContext = {
      config,
      weight,
      project: adaptedProjection(config, weight, new Set(adapted)),
      cos: gather(cos, positions),
      sin: gather(sin, positions),
    };
    const biases = new Map<number | null, Bias>();
    const fresh: Tensor[] = [];
    let x = flattenRows(gather(weight("model.embed_tokens.weight"), tokens)); // [rows · time, hidden]
    caches.forEach((cache, layer) => {
      const { q, k, v } = queryKeyValue(x, layer, "rows", "time", layers);
      fresh.push(expandDims(k, 0), expandDims(v, 0));
      const window = attentionWindow(config, layer);
      const bias = biases.get(window) ?? visibility(visible, window);
      biases.set(window, bias);
      const attended = cachedAttention(q, k, v, cache, bias, heads / kvHeads, scale);
      x = feedForward(attentionOutput(x, attended, layer, layers), layer, layers);
    });
    const hidden = rmsNorm(gather(x, chosen), weight("model.norm.weight"), config.rms_norm_eps);
    return {
      /** [2 · layers, rows, kvHeads, time, size]: keys and values of layer 0, of layer 1, … */
      fresh: concat(fresh),
      /** [picked, vocabulary] */
      logits: matmul(hidden, weight(headName(config)), { transB: true }),
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

interface Visible {
  readonly positions: Tensor;
  readonly segments: Tensor;
  readonly trunks: Tensor;
  readonly cached: Tensor;
}

/** What is added to scores: 0 where a token may look, else very negative. */
interface Bias {
  /** [rows, 1, 1, time, capacity] */
  readonly cached: Tensor;
  /** [rows, 1, 1, time, time] */
  readonly fresh: Tensor;
}

function visibility({ positions, segments, trunks, cached }: Visible, window: number | null): Bias {
  const own = (x: Tensor) => reshape(x, ["rows", 1, 1, "time", 1]);
  const other = (x: Tensor) => reshape(x, ["rows", 1, 1, 1, "time"]);
  const place = reshape(iota("capacity"), [1, 1, 1, 1, "capacity"]);
  // A cached key's place is its position.
  const old = and(less(place, reshape(cached, ["rows", 1, 1, 1, 1])), sees(own(positions), place, window));
  const order = iota("time");
  const before = sees(reshape(order, [1, 1, 1, "time", 1]), reshape(order, [1, 1, 1, 1, "time"]));
  const related = or(equal(own(segments), other(segments)), equal(own(trunks), other(segments)));
  const near = window === null ? related : and(related, sees(own(positions), other(positions), window));
  return { cached: attentionBias(old), fresh: attentionBias(and(before, near)) };
}

/** Attention over cached and new keys: scores side by side, one softmax, two products summed. */
function cachedAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  cache: { keys: Tensor; values: Tensor },
  bias: Bias,
  group: number,
  scale: number,
): Tensor {
  const [, heads, , size] = q.shape;
  const kvHeads = k.dim(1);
  const stacked = reshape(q, ["rows", kvHeads, -1, size!]); // [rows, kvHeads, group · time, size]
  const scores = (keys: Tensor, mask: Tensor) => {
    const raw = matmul(stacked, keys, { transB: true, alpha: scale });
    return reshape(raw, ["rows", kvHeads, group, "time", keys.dim(2)]).add(mask);
  };
  const p = softmax(concat([scores(cache.keys, bias.cached), scores(k, bias.fresh)], 4));
  const part = (from: "cached" | "fresh") => {
    const [start, end] = from === "cached" ? [0, "capacity"] : ["capacity", p.dim(4)];
    const piece = slice(p, 4, start!, end);
    return reshape(piece, ["rows", kvHeads, stacked.dim(2), piece.dim(4)]);
  };
  const out = matmul(part("cached"), cache.values).add(matmul(part("fresh"), v));
  return reshape(out, ["rows", heads!, "time", size!]);
}
