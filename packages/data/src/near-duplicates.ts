/*
 * Texts that say nearly the same: between a training set and a held-out one they flatter every figure, within one they are
 * counted twice.
 */

export interface NearDuplicate {
  readonly first: Place;
  readonly second: Place;
  /** Jaccard similarity of the two texts' shingles, in [0, 1]; 1 for texts of the same normal form. */
  readonly similarity: number;
}

/** Where a text stands: the name of its set and its position in it, from 0. */
export interface Place {
  readonly set: string;
  readonly index: number;
  readonly text: string;
}

export interface NearDuplicateOptions {
  /** Pairs at or above this similarity are reported; in (0, 1]. */
  readonly threshold?: number;
}

/** Characters of a shingle: more than most stems, so that a shared ending is no likeness. */
const width = 5;

/**
 * Every pair of texts, within a set or across two, whose likeness reaches `threshold` (0.5 where absent), likest first.
 *
 * Likeness is the Jaccard similarity |A ∩ B| / |A ∪ B| of the sets of runs of five characters (shingles; Broder 1997) of the texts
 * in normal form (`normalForm`): any language, blind to case, accents' encoding, punctuation and white space. Exact: candidates
 * come from prefix filtering (Bayardo, Ma and Srikant 2007), which passes over no pair at the threshold. Texts without a letter
 * or digit are like none.
 *
 * Errors: RangeError for a threshold outside (0, 1].
 *
 * @example
 * const found = nearDuplicates({ train: ["My knee hurts."], heldOut: ["my knee hurts!", "What is a knee?"] });
 * found.map(({ second, similarity }) => [second.set, second.index, similarity]); // [["heldOut", 0, 1]]
 */
export function nearDuplicates(
  sets: Readonly<Record<string, readonly string[]>>,
  { threshold = 0.5 }: NearDuplicateOptions = {},
): NearDuplicate[] {
  checkThreshold(threshold);
  const texts = Object.entries(sets)
    .flatMap(([set, all]) => all.map((text, index) => ({ place: { set, index, text }, shingles: shinglesOf(text) })))
    .filter(({ shingles }) => shingles.size > 0);
  const frequency = new Map<string, number>();
  for (const { shingles } of texts) for (const one of shingles) frequency.set(one, (frequency.get(one) ?? 0) + 1);

  // Rare shingles first. Two sets of similarity t share one of the first n − ⌈t·n⌉ + 1 in any common order of all shingles.
  const rarestFirst = (x: string, y: string) => frequency.get(x)! - frequency.get(y)! || (x < y ? -1 : 1);
  const holders = new Map<string, number[]>();
  const found: NearDuplicate[] = [];
  for (const [i, { place, shingles }] of texts.entries()) {
    const prefix = [...shingles]
      .sort(rarestFirst)
      .slice(0, shingles.size - Math.ceil(threshold * shingles.size - 1e-9) + 1);
    const candidates = new Set(prefix.flatMap((one) => holders.get(one) ?? []));
    for (const j of candidates) {
      const similarity = jaccard(texts[j]!.shingles, shingles);
      if (similarity >= threshold) found.push({ first: texts[j]!.place, second: place, similarity });
    }
    for (const one of prefix) hold(holders, one, i);
  }
  return found.sort((x, y) => y.similarity - x.similarity);
}

/**
 * What finds, for any text, those among `texts` whose likeness to it reaches `threshold` (0.5 where absent): as `nearDuplicates`, where
 * one of the two sets is too large to hold.
 *
 * Errors: RangeError for a threshold outside (0, 1].
 *
 * @example
 * likenessTo(["My knee hurts.", "What is a knee?"])("my knee hurts!"); // [{ index: 0, similarity: 1 }]
 */
export function likenessTo(
  texts: readonly string[],
  { threshold = 0.5 }: NearDuplicateOptions = {},
): (text: string) => { readonly index: number; readonly similarity: number }[] {
  checkThreshold(threshold);
  const sizes: number[] = [];
  const holders = new Map<string, number[]>();
  for (const [i, text] of texts.entries()) {
    const shingles = shinglesOf(text);
    sizes.push(shingles.size);
    for (const one of shingles) hold(holders, one, i);
  }
  return (text) => {
    const shingles = shinglesOf(text);
    const shared = new Map<number, number>();
    for (const one of shingles) for (const i of holders.get(one) ?? []) shared.set(i, (shared.get(i) ?? 0) + 1);
    return [...shared].flatMap(([index, count]) => {
      const similarity = count / (shingles.size + sizes[index]! - count);
      return similarity >= threshold ? [{ index, similarity }] : [];
    });
  };
}

function checkThreshold(threshold: number): void {
  if (!(threshold > 0 && threshold <= 1))
    throw new RangeError(`threshold is ${threshold}; expected a number above 0 and at most 1`);
}

function hold(holders: Map<string, number[]>, shingle: string, i: number): void {
  const known = holders.get(shingle);
  if (known) known.push(i);
  else holders.set(shingle, [i]);
}

/**
 * A text without what makes no difference in wording: compatibility forms joined (Unicode NFKC), lower case, one space for
 * whatever is no letter, mark or digit.
 *
 * @example
 * normalForm("  My KNEE — hurts! "); // "my knee hurts"
 */
export function normalForm(text: string): string {
  return text
    .normalize("NFKC")
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{M}\p{N}]+/gu, " ")
    .trim();
}

/** The runs of `width` characters of a text's normal form; the whole form where it is shorter. */
function shinglesOf(text: string): Set<string> {
  const characters = [...normalForm(text)];
  if (characters.length === 0) return new Set();
  const runs = Math.max(1, characters.length - width + 1);
  return new Set(Array.from({ length: runs }, (_, i) => characters.slice(i, i + width).join("")));
}

function jaccard(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  let shared = 0;
  for (const one of a) if (b.has(one)) shared++;
  return shared / (a.size + b.size - shared);
}
