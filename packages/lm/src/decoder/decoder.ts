import {
  checkpoint,
  constant,
  expandDims,
  flattenRows,
  gather,
  reshape,
  rmsNorm,
  rotary,
  silu,
  slice,
  type Tensor,
  transpose,
} from "@tenet/tensor";
import { causalAttention } from "./attention.ts";
import { type DecoderConfig, modulePath, type Projection } from "./config.ts";
import { adaptedLinear, type Lora } from "./lora.ts";

export interface DecoderOptions {
  readonly config: DecoderConfig;
  /** A checkpoint's weight by its Hugging Face name. */
  readonly weight: (name: string) => Tensor;
  readonly lora?: Lora | undefined;
  /** Packed rows: which sequence each token belongs to, int32 [batch, time]. */
  readonly segments?: Tensor | undefined;
  /** Position of each token in its sequence, int32 [batch, time]; 0, 1, … when not given. Must be below `maxPositions`. */
  readonly positions?: Tensor | undefined;
  /** Length of the position table when positions are given. */
  readonly maxPositions?: number | undefined;
  /** Recompute each layer in the backward pass instead of keeping its activations. */
  readonly checkpointing?: boolean | undefined;
}

/**
 * The decoder over whole sequences: tokens int32 [batch, time] → final hidden states [batch · time, hiddenSize].
 * Logits are those times the output head, `headWeight`.
 */
export function decoder(tokens: Tensor, options: DecoderOptions): Tensor {
  const { config, weight } = options;
  const time = tokens.dim(1) as number;
  const angles = rotaryAngles(config, options.maxPositions ?? time);
  const [cos, sin] = angles.map((table) =>
    options.positions ? gather(table, options.positions) : expandDims(slice(table, 0, 0, time), 0),
  ) as [Tensor, Tensor];
  let x = flattenRows(gather(weight("model.embed_tokens.weight"), tokens)); // [batch · time, hidden]
  for (let layer = 0; layer < config.layers; layer++) {
    const build = () => decoderLayer(x, layer, [tokens.dim(0) as number, time], { cos, sin }, options);
    x = options.checkpointing ? checkpoint(build) : build();
  }
  return rmsNorm(x, weight("model.norm.weight"), config.rmsNormEpsilon);
}

/** The output head's name: the embedding table where they are tied. */
export function headName(config: DecoderConfig): string {
  return config.tiedHead ? "model.embed_tokens.weight" : "lm_head.weight";
}

interface Angles {
  readonly cos: Tensor;
  readonly sin: Tensor;
}

function decoderLayer(
  x: Tensor,
  layer: number,
  [batch, time]: [number, number],
  { cos, sin }: Angles,
  { config, weight, lora, segments }: DecoderOptions,
): Tensor {
  const { heads, kvHeads, headDim, rmsNormEpsilon } = config;
  const norm = (name: string, value: Tensor) =>
    rmsNorm(value, weight(`model.layers.${layer}.${name}.weight`), rmsNormEpsilon);
  const project = (value: Tensor, ...names: Projection[]) =>
    adaptedLinear(
      value,
      names.map((name) => {
        const path = modulePath(layer, name);
        return { weight: weight(`${path}.weight`), factors: lora?.factors[path] };
      }),
      lora?.scale ?? 0,
    );
  const perHead = (value: Tensor, count: number) =>
    transpose(reshape(value, [batch, time, count, headDim]), [0, 2, 1, 3]);

  const [q, k, v] = project(norm("input_layernorm", x), "q_proj", "k_proj", "v_proj");
  const attended = causalAttention(
    rotary(perHead(q!, heads), cos, sin), // [batch, heads, time, headDim]
    rotary(perHead(k!, kvHeads), cos, sin),
    perHead(v!, kvHeads),
    { scale: headDim ** -0.5, segments },
  );
  const joined = reshape(transpose(attended, [0, 2, 1, 3]), [batch * time, heads * headDim]);
  const middle = x.add(project(joined, "o_proj")[0]!);

  const [gate, up] = project(norm("post_attention_layernorm", middle), "gate_proj", "up_proj");
  return middle.add(project(silu(gate!).mul(up!), "down_proj")[0]!);
}

/** Cosines and sines of position · θ^(−2i/size): [positions, headDim / 2] each. */
function rotaryAngles({ headDim, ropeTheta }: DecoderConfig, positions: number): [Tensor, Tensor] {
  const half = headDim / 2;
  const angle = (at: number) => Math.floor(at / half) / ropeTheta ** ((2 * (at % half)) / headDim);
  const table = (f: (x: number) => number) =>
    constant(
      Float32Array.from({ length: positions * half }, (_, at) => f(angle(at))),
      [positions, half],
    );
  return [table(Math.cos), table(Math.sin)];
}
