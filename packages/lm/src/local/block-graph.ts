import {
  addMatmul,
  and,
  broadcastTo,
  cast,
  compile,
  concat,
  equal,
  fill,
  flattenRows,
  gather,
  input,
  iota,
  less,
  loop,
  matmul,
  max,
  minimum,
  not,
  or,
  type Program,
  reshape,
  rmsNorm,
  sizeOf,
  type Tensor,
  where,
} from "@tenet/tensor";
import type { ModelConfig } from "../checkpoint/index.ts";
import {
  attentionBias,
  attentionOutput,
  feedForward,
  headName,
  type LayerContext,
  modulePath,
  plusBias,
  projectionShape,
  queryKeyValue,
  rotaryTables,
  sees,
} from "../decoder/index.ts";
import { drawTokens } from "./draw.ts";
import { adaptedProjection, biasPerWindow, decodeAttention, type GraphOptions, prefixBias, prefixOf } from "./graph.ts";

export interface BlockOptions extends GraphOptions {
  readonly prefixed: boolean;
  /** Whether any row is sampled by top-k, nucleus or min-p. */
  readonly filtered: boolean;
  /** Whether products are of plain float32 matrices, into which an adapter's factors can be multiplied. */
  readonly plain: boolean;
}

export type BlockGraph = Program<{ tokens: Tensor; logprobs: Tensor; fresh: Tensor }>;

/** A step of a block that was not run, since no row needed it. */
export const notRun = -2;

/**
 * Several steps of decoding in one call: each step's tokens are drawn in the graph and are the next step's input, so that neither logits nor
 * the keys and values of before leave the device between them. Rows as in `compileDecode`, of one token each.
 *
 * tokens int32 [steps, rows]: −1 where the draw cannot be told here (see `drawTokens`), and what follows it in its row stands for nothing;
 * logprobs float32 [steps, rows]; fresh [2 · layers · rows, kvHeads, steps, size] as `compileDecode` gives it.
 */
export function compileBlock({
  config,
  weight,
  product,
  context,
  adapted,
  ends,
  prefixed,
  filtered,
  plain,
  ...options
}: BlockOptions): Promise<BlockGraph> {
  const { num_key_value_heads: kvHeads, head_dim: size, num_hidden_layers: layers } = config;
  return compile(() => {
    const perRow = (name: string, dtype: "int32" | "float64" | "bool") => input(name, dtype, ["rows"]);
    const [start, cached, left, barring] = ["positions", "cached", "left", "barring"].map((name) =>
      perRow(name, "int32"),
    ) as [Tensor, Tensor, Tensor, Tensor];
    const uniform = input("uniform", "float64", ["steps", "rows"]);
    const sampling = {
      scale: perRow("scale", "float64"),
      greedy: perRow("greedy", "bool"),
      ...(filtered && {
        filters: {
          topP: perRow("topP", "float64"),
          topK: perRow("topK", "int32"),
          minP: perRow("minP", "float64"),
        },
      }),
    };
    const history = Array.from({ length: layers }, (_, layer) => {
      const part = (name: string) => input(`${name}.${layer}`, "float32", ["rows", kvHeads, "capacity", size]);
      return { keys: part("keys"), values: part("values") };
    });
    const prefixes = history.map((_, layer) => (prefixed ? prefixOf(config, layer) : null));
    const { cos, sin, scale } = rotaryTables(config, context);
    const project = plain
      ? mergedProjection(config, weight, new Set(adapted))
      : adaptedProjection(config, weight, product, new Set(adapted));

    const places = iota("steps");
    const wide = (x: Tensor, length: "capacity" | "steps") => reshape(x, [1, 1, 1, length]);
    const perQuery = (x: Tensor) => reshape(x, ["rows", 1, 1, 1]);
    const filled = less(wide(iota("capacity"), "capacity"), perQuery(cached));
    const buffer = () => fill(["rows", kvHeads, "steps", size], 0);
    const given = (value: number, dtype: "int32" | "float32") => fill(["steps", "rows"], value, dtype);
    const initial = [
      perRow("tokens", "int32"),
      fill(["rows"], 1, "bool"),
      given(notRun, "int32"),
      given(0, "float32"),
      ...history.flatMap(() => [buffer(), buffer()]),
    ];
    const [, , tokens, logprobs, ...fresh] = loop("steps", initial, (step, [last, alive, drawn, known, ...kept]) => {
      const positions = minimum(start.add(step), context - 1);
      const query = perQuery(positions);
      const written = equal(places, step);
      const attend = biasPerWindow(config, (window) => {
        const old = window === null ? filled : and(filled, sees(query, wide(iota("capacity"), "capacity").add(prefixed ? sizeOf("shared") : 0), window)); // biome-ignore format: one choice
        const near = broadcastTo(wide(sees(step, places, window), "steps"), ["rows", 1, 1, "steps"]);
        return {
          own: attentionBias(concat([old, near], 3)),
          prefix: prefixed && window !== null ? prefixBias(query, window) : null,
        };
      });
      const table = (x: Tensor) => reshape(gather(x, positions), ["rows", 1, size / 2]);
      const around: LayerContext = { config, weight, project, cos: table(cos), sin: table(sin) };
      const updated: Tensor[] = [];
      let x = flattenRows(gather(weight("model.embed_tokens.weight"), last!)); // [rows, hidden]
      for (let layer = 0; layer < layers; layer++) {
        const { q, k, v } = queryKeyValue(x, layer, "rows", 1, around);
        const here = reshape(written, [1, 1, "steps", 1]);
        const [keys, values] = [where(here, k, kept[2 * layer]!), where(here, v, kept[2 * layer + 1]!)];
        updated.push(keys, values);
        const attended = attend((qkv, at, factor, bias) =>
          decodeAttention(qkv, prefixes[at]!, history[at]!, bias, factor),
        )({ q, k: keys, v: values }, layer, scale);
        x = feedForward(attentionOutput(x, attended, layer, around), layer, around);
      }
      const logits = product(rmsNorm(x, weight("model.norm.weight"), config.rms_norm_eps), headName(config));
      const { token, guess, logprob } = drawTokens(
        logits,
        { ...sampling, uniform: gather(uniform, step), barred: less(step, barring) },
        { vocabulary: config.vocab_size, ends },
      );
      const ended = ends.map((id) => equal(guess, id)).reduce(or, less(token, 0));
      const on = and(and(alive!, not(ended)), less(step.add(1), left));
      const column = reshape(written, ["steps", 1]);
      return {
        proceed: less(0, max(cast(on, "int32"), 0)),
        states: [guess, on, where(column, token, drawn!), where(column, logprob, known!), ...updated],
      };
    });
    return { tokens: tokens!, logprobs: logprobs!, fresh: concat(fresh) };
  }, options);
}

/** x·(W + scale·B·A)ᵀ + bias: what is the same at each step is made once a call, so that an adapter costs steps nothing. */
function mergedProjection(
  config: ModelConfig,
  weight: (name: string) => Tensor,
  adapted: ReadonlySet<string>,
): LayerContext["project"] {
  const paths = [...adapted];
  const scales = paths.length > 0 ? input("lora.scales", "float32", [paths.length]) : undefined;
  const matrices = new Map<string, Tensor>();
  const matrix = (path: string, [out, width]: readonly [number, number], rank: string) => {
    const w = weight(`${path}.weight`);
    if (!scales || !adapted.has(path)) return w;
    const a = input(`${path}.lora_A.weight`, "float32", [rank, width]);
    const b = input(`${path}.lora_B.weight`, "float32", [out, rank]);
    return addMatmul(w, b, a.mul(scales.slice(0, paths.indexOf(path), paths.indexOf(path) + 1)));
  };
  return (x, layer, names) =>
    names.map((name) => {
      const path = modulePath(layer, name);
      const merged = matrices.get(path) ?? matrix(path, projectionShape(config, name), `rank_${layer}_${name}`);
      matrices.set(path, merged);
      return plusBias(matmul(x, merged, { transB: true }), layer, name, { config, weight });
    });
}
