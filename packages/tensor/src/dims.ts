/**
 * Dimensions are numbers or named symbols; arithmetic on symbols gives a polynomial in canonical text form, so two
 * dimensions are equal exactly when their texts are ("rows*time", "2*time+1").
 */
export type Dim = number | string;
export type Shape = readonly Dim[];

/** Monomial (sorted names joined by "*", "" for the constant) → integer coefficient. */
type Polynomial = ReadonlyMap<string, number>;

const symbolName = /^[A-Za-z_]\w*$/;

export function isSymbolName(text: string): boolean {
  return symbolName.test(text);
}

/** Terms of a dimension: `[coefficient, names]`, a constant having no names. */
export function dimTerms(dim: Dim): [number, string[]][] {
  return [...parse(dim)].map(([names, k]) => [k, names === "" ? [] : names.split("*")]);
}

/** Names of the symbols a dimension is made of. */
export function dimSymbols(dim: Dim): string[] {
  return typeof dim === "number" ? [] : [...new Set(dimTerms(dim).flatMap(([, names]) => names))];
}

function parse(dim: Dim): Polynomial {
  if (typeof dim === "number") return new Map(dim === 0 ? [] : [["", dim]]);
  const terms = new Map<string, number>();
  for (const term of dim.replaceAll("-", "+-").split("+")) {
    if (term === "") continue;
    let k = 1;
    const names: string[] = [];
    for (const factor of term.replace(/^-/, "-1*").split("*")) {
      if (/^-?\d+$/.test(factor)) k *= Number(factor);
      else names.push(factor);
    }
    add(terms, names.sort().join("*"), k);
  }
  return terms;
}

function add(terms: Map<string, number>, names: string, k: number): void {
  const sum = (terms.get(names) ?? 0) + k;
  if (sum === 0) terms.delete(names);
  else terms.set(names, sum);
}

function format(terms: Polynomial): Dim {
  if (terms.size === 0) return 0;
  if (terms.size === 1 && terms.has("")) return terms.get("")!;
  // Symbols in alphabetical order, the constant last.
  const sorted = [...terms].sort(([a], [b]) => (a === "" ? 1 : b === "" ? -1 : a < b ? -1 : 1));
  return sorted
    .map(([names, k]) => (names === "" ? `${k}` : k === 1 ? names : k === -1 ? `-${names}` : `${k}*${names}`))
    .join("+")
    .replaceAll("+-", "-");
}

export function dimAdd(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return a + b;
  const terms = new Map(parse(a));
  for (const [names, k] of parse(b)) add(terms, names, k);
  return format(terms);
}

export function dimSub(a: Dim, b: Dim): Dim {
  return dimAdd(a, dimMul(b, -1));
}

export function dimMul(a: Dim, b: Dim): Dim {
  // Adding 0 makes 0 of −0.
  if (typeof a === "number" && typeof b === "number") return a * b + 0;
  const terms = new Map<string, number>();
  for (const [p, j] of parse(a))
    for (const [q, k] of parse(b)) {
      const names = [...(p === "" ? [] : p.split("*")), ...(q === "" ? [] : q.split("*"))].sort().join("*");
      add(terms, names, j * k);
    }
  return format(terms);
}

/** a / b where b divides a as a polynomial with integer coefficients, else undefined. */
export function dimDiv(a: Dim, b: Dim): Dim | undefined {
  const divisor = leadingTerm(b);
  if (!divisor) return undefined;
  // Long division: the leading terms' quotient, times b, is taken off a until nothing is left.
  let quotient: Dim = 0;
  let rest = a;
  for (let term = leadingTerm(rest); term; term = leadingTerm(rest)) {
    const k = term[0] / divisor[0];
    const names = [...term[1]];
    for (const name of divisor[1]) {
      const at = names.indexOf(name);
      if (at < 0) return undefined;
      names.splice(at, 1);
    }
    if (!Number.isInteger(k)) return undefined;
    const part = format(new Map([[names.join("*"), k]]));
    quotient = dimAdd(quotient, part);
    rest = dimSub(rest, dimMul(part, b));
  }
  return quotient;
}

/** The term of the highest degree, among equals the first in the alphabet: an order that multiplication keeps. */
function leadingTerm(dim: Dim): [number, string[]] | undefined {
  const before = (a: string[], b: string[]) =>
    a.length !== b.length ? a.length > b.length : a.some((name, i) => name < b[i]! && a.slice(0, i).every((n, j) => n === b[j])); // biome-ignore format: one comparison
  return dimTerms(dim).reduce<[number, string[]] | undefined>(
    (best, term) => (best && !before(term[1], best[1]) ? best : term),
    undefined,
  );
}

/** Number of elements; 1 of a scalar's. */
export function numel(shape: readonly number[]): number;
export function numel(shape: Shape): Dim;
export function numel(shape: Shape): Dim {
  return shape.reduce<Dim>(dimMul, 1);
}

/** The dimension's value once its symbols are known. @throws RangeError when one is not. */
export function dimValue(dim: Dim, symbols: ReadonlyMap<string, number>): number {
  if (typeof dim === "number") return dim;
  let sum = 0;
  for (const [k, names] of dimTerms(dim)) {
    let product = k;
    for (const name of names) {
      const value = symbols.get(name);
      if (value === undefined) throw new RangeError(`the symbolic dimension "${name}" has no value`);
      product *= value;
    }
    sum += product;
  }
  return sum;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i]);
}

/** The shape both broadcast to (NumPy's rule; a symbol matches itself and 1), or undefined. */
export function broadcastShapes(a: Shape, b: Shape): Shape | undefined {
  const rank = Math.max(a.length, b.length);
  const shape: Dim[] = [];
  for (let i = 0; i < rank; i++) {
    const p = a[i - rank + a.length] ?? 1;
    const q = b[i - rank + b.length] ?? 1;
    if (p === q || q === 1) shape.push(p);
    else if (p === 1) shape.push(q);
    else return undefined;
  }
  return shape;
}

export function formatShape(shape: Shape): string {
  return `[${shape.join(", ")}]`;
}
