import { customGradient, div, expandDims, gather, iota, numel, reshape, type Tensor } from "@tenet/tensor";

/** Which places of rows hold tokens. Empty places must be of a segment of their own, so that no token attends to one. */
export interface Occupied {
  /** The place of each token, ascending: int32 [tokens] into batch · time. */
  readonly order: Tensor;
  /** The token at each place: int32 [batch, time] into tokens, any where there is none. */
  readonly slots: Tensor;
}

/** Where heads stand in rows and in what is computed token by token, of so many heads. */
export type HeadPlaces = (heads: number) => {
  /** int32 [batch, heads, time] into tokens · heads. */
  readonly inTokens: Tensor;
  /** int32 [tokens, heads] into batch · heads · time. */
  readonly inRows: Tensor;
};

/** The places of a graph's rows; those of one number of heads are made once. */
export function headPlaces({ order, slots }: Occupied): HeadPlaces {
  const time = slots.dim(1) as number;
  const make = (heads: number) => {
    const inTokens = expandDims(slots, 1)
      .mul(heads)
      .add(reshape(iota(heads), [heads, 1]));
    // row · heads · time + head · time + place in the row, where order = row · time + place
    const first = order.add(div(order, time).mul((heads - 1) * time));
    return { inTokens, inRows: expandDims(first, 1).add(iota(heads).mul(time)) };
  };
  const made = new Map<number, ReturnType<HeadPlaces>>();
  return (heads) => {
    const places = made.get(heads) ?? make(heads);
    made.set(heads, places);
    return places;
  };
}

/**
 * Puts what was computed of tokens into their places of rows: x [tokens, heads, size] → [batch, heads, time, size]. Empty places hold
 * another token's values; what is computed of them reaches nobody, so that no gradient comes back from them.
 */
export function spread(x: Tensor, places: HeadPlaces): Tensor {
  const { inTokens, inRows } = places(x.dim(1) as number);
  return moved(x, inTokens, inRows);
}

/**
 * Takes what was computed of places back to tokens: x [batch, heads, time, size] → [tokens, heads, size]. An empty place is given another's gradient,
 * as it has another's values.
 */
export function collect(x: Tensor, places: HeadPlaces): Tensor {
  const { inTokens, inRows } = places(x.dim(1) as number);
  return moved(x, inRows, inTokens);
}

/** x [..back, size] at the places `at` among its own: [..at, size]; the gradient comes from the places `back`. */
function moved(x: Tensor, at: Tensor, back: Tensor): Tensor {
  const size = x.dim(-1);
  const taken = (from: Tensor, of: Tensor, places: Tensor) => gather(reshape(from, [numel(of.shape), size]), places);
  const [there] = customGradient([x], (x) => ({
    outputs: [taken(x, back, at)],
    saved: [back],
    gradient: ({ dys: [dy], saved: [home] }) => [taken(dy!, at, home!)],
  }));
  return there!;
}
