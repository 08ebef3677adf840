/** Values that a field of a request should not have. */
export const oddValues: readonly unknown[] = [
  ...[null, -1, 0, 1e300, "", "x", [], {}, [[]], true, "\ud800", "y".repeat(3000)],
  ...[{ role: 1 }, [{ role: "user" }], ["x", 1]],
  ...[[1, 2], [0.5], [[3], [1e9]], [[4], "x"]],
];

/** Fields of a request for text. */
export const requestFields =
  "model messages prompt max_tokens n stop logprobs top_logprobs stream seed top_p echo".split(" ");

/** Whole numbers below a bound, the same from the same seed: what a flood draws its bodies with. */
export function numbersFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A body of which three fields have values that they should not. */
export function oddBody(
  base: Readonly<Record<string, unknown>>,
  random: (below: number) => number,
): Record<string, unknown> {
  const body: Record<string, unknown> = { ...base };
  for (let i = 0; i < 3; i++) body[requestFields[random(requestFields.length)]!] = oddValues[random(oddValues.length)];
  return body;
}
