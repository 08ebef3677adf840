/*
 * Strength from comparisons: the Bradley–Terry model, on the scale that chess made familiar.
 */

/** Points `a` won of one comparison with `b`: 1 won, ½ tied, 0 lost, or anything between for a soft verdict. */
export interface Game {
  a: string;
  b: string;
  score: number;
}

export interface RatingOptions {
  /**
   * Every player also ties this many games with an imagined player of strength 0, which keeps strengths finite where
   * somebody always won and comparable where two groups never met. Default 0.1.
   */
  prior?: number;
}

/**
 * Bradley–Terry strengths by maximum likelihood: P(a beats b) = σ(θ_a − θ_b), a tie being half a win for each.
 *
 * Maximises Σ s·ln σ(θ_a − θ_b) + (1−s)·ln σ(θ_b − θ_a) + prior·½ Σ_i (ln σ(θ_i) + ln σ(−θ_i)) by Newton's method; the
 * objective is concave, so that the maximum is the only one. Units: natural logits. Players stand in order of appearance.
 * Source: Bradley and Terry (1952); ties as in Elo's own scale, where a rating predicts the expected points.
 * Errors: RangeError for a score outside [0, 1], a prior that is not positive, or a player against itself.
 *
 * @example
 * const strengths = bradleyTerry([{ a: "rl", b: "base", score: 1 }, { a: "rl", b: "base", score: 0.5 }]);
 * strengths.get("rl") > strengths.get("base"); // true
 */
export function bradleyTerry(games: readonly Game[], { prior = 0.1 }: RatingOptions = {}): Map<string, number> {
  if (!(prior > 0)) throw new RangeError(`a prior of ${prior} leaves strengths without bound: expected more than 0`);
  const players = [...new Set(games.flatMap(({ a, b }) => [a, b]))];
  const place = new Map(players.map((player, i) => [player, i]));
  const k = players.length;
  // Games are counted once per ordered pair, so that a step costs k² whatever their number.
  const points = matrix(k);
  for (const { a, b, score } of games) {
    if (!(score >= 0 && score <= 1)) throw new RangeError(`a score of ${score}: expected 0 to 1`);
    if (a === b) throw new RangeError(`'${a}' is compared with itself`);
    points[place.get(a)!]![place.get(b)!]! += score;
    points[place.get(b)!]![place.get(a)!]! += 1 - score;
  }
  const theta = new Array<number>(k).fill(0);
  for (let iteration = 0; iteration < 100; iteration++) {
    const gradient = theta.map((strength) => prior * (0.5 - sigmoid(strength)));
    const curvature = matrix(k);
    for (let i = 0; i < k; i++) {
      curvature[i]![i]! += prior * sigmoid(theta[i]!) * sigmoid(-theta[i]!);
      for (let j = 0; j < k; j++) {
        const wins = points[i]![j]!;
        if (i === j || (wins === 0 && points[j]![i]! === 0)) continue;
        const expected = sigmoid(theta[i]! - theta[j]!);
        const n = wins + points[j]![i]!;
        gradient[i]! += wins - n * expected;
        curvature[i]![i]! += n * expected * (1 - expected);
        curvature[i]![j]! -= n * expected * (1 - expected);
      }
    }
    const step = solve(curvature, gradient);
    // A full step may leap over the maximum from far away; one of length 2 never leaves where the model is nearly linear.
    const length = Math.max(...step.map(Math.abs));
    for (let i = 0; i < k; i++) theta[i]! += step[i]! * Math.min(1, 2 / length);
    if (!(length > 1e-12)) break;
  }
  return new Map(players.map((player, i) => [player, theta[i]!]));
}

/**
 * Elo ratings: Bradley–Terry strengths in steps of 400/ln 10 per logit, `anchor` standing at 1000. 100 points more mean an expected
 * 0.64 of the points, 400 more 0.91.
 *
 * Errors: RangeError where the anchor never played; those of `bradleyTerry`.
 *
 * @example
 * elo([{ a: "rl", b: "base", score: 0.5 }], { anchor: "base" }).get("rl"); // 1000
 */
export function elo(
  games: readonly Game[],
  { anchor, ...options }: RatingOptions & { anchor: string },
): Map<string, number> {
  const strengths = bradleyTerry(games, options);
  const zero = strengths.get(anchor);
  if (zero === undefined)
    throw new RangeError(`'${anchor}' was compared with nothing, so ratings cannot start from it`);
  return new Map([...strengths].map(([player, strength]) => [player, 1000 + (400 / Math.LN10) * (strength - zero)]));
}

function sigmoid(x: number): number {
  return x >= 0 ? 1 / (1 + Math.exp(-x)) : 1 - 1 / (1 + Math.exp(x));
}

function matrix(k: number): number[][] {
  return Array.from({ length: k }, () => new Array<number>(k).fill(0));
}

/** x of A·x = b for a symmetric positive definite A, by elimination without pivots. */
function solve(a: number[][], b: number[]): number[] {
  const x = [...b];
  const k = x.length;
  for (let i = 0; i < k; i++)
    for (let row = i + 1; row < k; row++) {
      const factor = a[row]![i]! / a[i]![i]!;
      for (let column = i; column < k; column++) a[row]![column]! -= factor * a[i]![column]!;
      x[row]! -= factor * x[i]!;
    }
  for (let i = k - 1; i >= 0; i--) {
    for (let column = i + 1; column < k; column++) x[i]! -= a[i]![column]! * x[column]!;
    x[i]! /= a[i]![i]!;
  }
  return x;
}
