/** Σ of a function over a list, in float64. */
export function sumOf<T>(values: ArrayLike<T>, of: (value: T, index: number) => number): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += of(values[i]!, i);
  return sum;
}

/** A metric, where its value is a number: the mean of nothing, and a correlation with what does not vary, are none. */
export function figure(name: string, value: number): Record<string, number> {
  return Number.isFinite(value) ? { [name]: value } : {};
}
