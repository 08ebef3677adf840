import { type CompileOptions, compile, input, mean, mul, sqrt, type Tensor } from "@tenet/tensor";
import type { ModelConfig } from "../checkpoint/index.ts";
import { adaptedProjection, decoder, headName, modulePath, projectionsByInput } from "../decoder/index.ts";
import type { TextCodec } from "../text/index.ts";

/*
 * Channels of activations that are much larger than the others make the steps coarse in which a row is rounded to 8 bits. Dividing such a channel
 * by a factor and multiplying the matrices' column by it changes no product, and moves the trouble to where it is smaller: SmoothQuant (arXiv
 * 2211.10438), eq. 3 and 4 with α = ½.
 */

/** Module paths that take the same input, of all layers, and the output head's. */
export function modulesByInput(config: ModelConfig): string[][] {
  const layers = Array.from({ length: config.num_hidden_layers }, (_, layer) =>
    projectionsByInput.map((names) => names.map((name) => modulePath(layer, name))),
  );
  return [...layers.flat(), [headPath(config)]];
}

function headPath(config: ModelConfig): string {
  return headName(config).slice(0, -".weight".length);
}

/** Tokens of a row that is read to learn the sizes. */
const rowLength = 128;

/**
 * How large each channel is that goes into a model's projections: [in] for each input, by the path of the first module that takes it. Of fixed
 * texts: the mean of fourth powers over tokens, its root. The plain mean misses the few tokens whose channels are a thousand times as large as others'
 * and to which all others attend; the largest, which the paper takes, follows a single token.
 */
export async function channelSizes(
  config: ModelConfig,
  weight: (name: string) => Tensor,
  text: TextCodec,
  options: Pick<CompileOptions, "threads"> = {},
): Promise<ReadonlyMap<string, Float32Array>> {
  const tokens = text.encode(calibration);
  const time = Math.min(rowLength, tokens.length, config.max_position_embeddings);
  const rows = Math.floor(tokens.length / time);
  const plain = adaptedProjection(config, weight, undefined);
  const program = await compile(() => {
    const sizes: Record<string, Tensor> = {};
    const hidden = decoder(input("tokens", "int32", [rows, time]), {
      ...{ config, weight },
      project(x, layer, names) {
        sizes[modulePath(layer, names[0]!)] = sizesOf(x);
        return plain(x, layer, names);
      },
    });
    sizes[headPath(config)] = sizesOf(hidden);
    return sizes;
  }, options);
  try {
    const data = Int32Array.from(tokens.slice(0, rows * time));
    const sizes = await program.run({ tokens: { data, shape: [rows, time] } });
    return new Map(Object.entries(sizes).map(([path, { data }]) => [path, Float32Array.from(data as Float32Array)]));
  } finally {
    await program.dispose();
  }
}

/** [rows, in] → [in] */
function sizesOf(x: Tensor): Tensor {
  const squares = mul(x, x);
  return sqrt(sqrt(mean(mul(squares, squares), 0)));
}

/** A channel that the texts left silent may speak elsewhere: none is taken for smaller than this share of the mean. */
const leastShare = 0.01;
/** Factors are powers of 2 to the 1/4: processors whose sizes differ in the last digits have the same. */
const perOctave = 4;

/**
 * Factors of an input's channels, √(size / largest weight), by which the input is divided and the columns of its matrices [out, in] are multiplied.
 * @param sizes [in] of the input's channels
 */
export function smoothingFactors(sizes: Float32Array, matrices: readonly Float32Array[]): Float32Array {
  const width = sizes.length;
  const peaks = new Float32Array(width);
  for (const w of matrices)
    for (let at = 0; at < w.length; at++) peaks[at % width] = Math.max(peaks[at % width]!, Math.abs(w[at]!));
  const [size, peak] = [sizes, peaks].map(atLeast) as [Float32Array, Float32Array];
  return size.map((value, i) => 2 ** (Math.round((perOctave / 2) * Math.log2(value / peak[i]!)) / perOctave));
}

/** 1 for all where all are 0. */
function atLeast(values: Float32Array): Float32Array {
  const least = (leastShare * values.reduce((sum, value) => sum + value, 0)) / values.length;
  return least > 0 ? values.map((value) => Math.max(value, least)) : values.map(() => 1);
}

/** What people write to models and models to people, of several kinds. */
const calibration = `How do I keep basil alive on a windowsill? Give it at least six hours of light, water it when the top of the soil feels dry, and pinch off the flowers as soon as they show. If the leaves turn yellow, the roots are probably standing in water.

The committee met on Tuesday, 14 March, at 9:30. Three proposals were on the table; two of them passed, and the third was sent back because its budget of £48,200 did not match the figures in the appendix. The chair asked that this be put in writing.

I'm sorry, I can't tell from here what is causing the pain. If it gets worse, or if you notice numbness, a fever or trouble breathing, please call emergency services right away. Otherwise, a doctor or a pharmacist is the right person to ask.

Steps:
1. Preheat the oven to 180 °C (350 °F).
2. Mix 200 g of flour, a pinch of salt and two eggs.
3. Bake for 25 minutes, then let it cool on a rack.

def mean(values):
    """Average of a list, or None where it is empty."""
    return sum(values) / len(values) if values else None

{"name": "report", "pages": [1, 2, 3], "draft": false, "owner": null}

"You said you would be back by noon," she whispered. He looked at the floor. Outside, the rain had stopped, and somebody was laughing in the street, as though nothing at all had happened.

Photosynthesis turns light into chemical energy: 6 CO2 + 6 H2O -> C6H12O6 + 6 O2. Plants, algae and some bacteria do it; most of it happens in the oceans. Why are leaves green, then? Because chlorophyll absorbs red and blue light better than green.

Wo ist der nächste Bahnhof? Gehen Sie geradeaus und dann links. ¿Cuánto cuesta este libro? Cuesta doce euros. Merci beaucoup, et bonne journée !

No. That isn't true, and you know it: the contract says "within thirty days", not "whenever we like". Let us look at what can be done today, who has to agree to it, and how we will tell our customers.
`;
