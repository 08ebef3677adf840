/** Σ of a function over a list, in float64. */
export function sumOf<T>(values: ArrayLike<T>, of: (value: T, index: number) => number): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += of(values[i]!, i);
  return sum;
}

/** Standard deviation of values, as of the whole; exactly 0 of equal ones, whose mean may miss them by rounding. */
export function deviation(values: readonly number[]): number {
  if (values.every((value) => value === values[0])) return 0;
  const mean = sumOf(values, (value) => value) / values.length;
  return Math.sqrt(sumOf(values, (value) => (value - mean) ** 2) / values.length);
}

/** A metric, where its value is a number: the mean of nothing, and a correlation with what does not vary, are none. */
export function figure(name: string, value: number): Record<string, number> {
  return Number.isFinite(value) ? { [name]: value } : {};
}
