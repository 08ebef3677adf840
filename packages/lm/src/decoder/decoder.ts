import { checkpoint, expandDims, flattenRows, gather, rmsNorm, slice, type Tensor } from "@tenet/tensor";
import type { ModelConfig } from "../checkpoint/index.ts";
import { causalAttention } from "./attention.ts";
import { attentionOutput, feedForward, type LayerContext, queryKeyValue } from "./layer.ts";
import { adaptedProjection, type Lora } from "./lora.ts";
import { attentionWindow } from "./modules.ts";
import { headPlaces, type Occupied } from "./occupied.ts";
import { rotaryTables } from "./rotary.ts";

export interface DecoderOptions {
  readonly config: ModelConfig;
  /** A checkpoint's weight by its Hugging Face name. */
  readonly weight: (name: string) => Tensor;
  readonly lora?: Lora | undefined;
  /** How projections are computed; as the weights and `lora` say when not given. */
  readonly project?: LayerContext["project"] | undefined;
  /** Rows with empty places: tokens are those of the others alone, int32 [tokens], and nothing but attention is computed of empty ones. */
  readonly occupied?: Occupied | undefined;
  /** Packed rows: which sequence each token belongs to, int32 [batch, time]. */
  readonly segments?: Tensor | undefined;
  /** The segment that each token's own goes on from, or its own, int32 [batch, time]: tokens see both. */
  readonly beginnings?: Tensor | undefined;
  /** Position of each token in its sequence, int32 [batch, time]; 0, 1, … when not given. Must be below `maxPositions`. */
  readonly positions?: Tensor | undefined;
  /** Length of the position table when positions are given. */
  readonly maxPositions?: number | undefined;
  /** Recompute each layer in the backward pass instead of keeping its activations. */
  readonly checkpointing?: boolean | undefined;
}

/**
 * The decoder over whole sequences: tokens int32 [batch, time] → final hidden states [batch · time, hidden]; with `occupied` tokens
 * int32 [tokens] → [tokens, hidden].
 * Logits are those times the output head, the weight called `headName(config)`.
 */
export function decoder(tokens: Tensor, options: DecoderOptions): Tensor {
  const { config, weight } = options;
  const place = placeOf((options.occupied?.slots ?? tokens).shape as [number, number], options);
  let x = flattenRows(gather(weight("model.embed_tokens.weight"), tokens)); // [batch · time or tokens, hidden]
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const build = () => decoderLayer(x, layer, place);
    x = options.checkpointing ? checkpoint(build) : build();
  }
  return rmsNorm(x, weight("model.norm.weight"), config.rms_norm_eps);
}

/** Where rows of tokens stand, and what the layers over them share. */
export interface DecoderPlace extends Pick<DecoderOptions, "segments" | "beginnings"> {
  readonly batch: number;
  readonly time: number;
  readonly context: LayerContext;
  /** Of attention scores. */
  readonly scale: number;
}

export function placeOf([batch, time]: readonly [number, number], options: DecoderOptions): DecoderPlace {
  const { config, weight, lora, segments, beginnings, positions, occupied } = options;
  const tables = rotaryTables(config, options.maxPositions ?? time);
  const place = (table: Tensor) => (positions ? gather(table, positions) : expandDims(slice(table, 0, 0, time), 0));
  const [cos, sin] = [place(tables.cos), place(tables.sin)];
  const { project = adaptedProjection(config, weight, lora) } = options;
  const context = { config, weight, project, cos, sin, occupied: occupied && headPlaces(occupied) };
  return { batch, time, segments, beginnings, scale: tables.scale, context };
}

/** One layer over whole sequences: the residual stream x [batch · time or tokens, hidden] before it → behind it. */
export function decoderLayer(x: Tensor, layer: number, place: DecoderPlace): Tensor {
  const { batch, time, context, segments, beginnings, scale } = place;
  const { q, k, v } = queryKeyValue(x, layer, batch, time, context);
  const window = attentionWindow(context.config, layer);
  const attended = causalAttention(q, k, v, { scale, segments, beginnings, window });
  return feedForward(attentionOutput(x, attended, layer, context), layer, context);
}
