/** Longer words are not compared: nobody misspells one of a hundred letters, and the table grows with the square. */
const longestWord = 100;

/**
 * The candidate a person most likely meant by a misspelt word: the least edit distance (insertions, deletions,
 * replacements and swaps of neighbours, case and `-`/`_` aside), the first of equals. `undefined` where none is near, that
 * is, where more than a third of the letters (and more than two) differ.
 *
 * @example
 * nearest("revisons", ["critiques", "revisions"]); // "revisions"
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const wanted = plain(word);
  let best: string | undefined;
  let least = Math.max(2, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of candidates) {
    const other = plain(candidate);
    if (Math.max(wanted.length, other.length) > longestWord || Math.abs(wanted.length - other.length) >= least)
      continue;
    const distance = editDistance(wanted, other);
    // A distance as long as the word itself means that nothing of it is left.
    if (distance < least && distance < Math.max(1, Math.min(wanted.length, other.length))) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

function plain(word: string): string {
  return word.toLowerCase().replaceAll(/[-_\s]/g, "");
}

/** Optimal string alignment: Levenshtein's distance with swaps of neighbours. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, before[j - 2]! + 1);
      next.push(cost);
    }
    before = row;
    row = next;
  }
  return row[b.length]!;
}
