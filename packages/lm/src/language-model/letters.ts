/** What a tokenizer's own spelling puts for white space before a token. */
const pieceMarks = /^[▁ĠĊ]+/;
/** Letters of other scripts that look the same. */
const lookAlikes: Readonly<Record<string, string>> = { А: "A", В: "B", С: "C", Α: "A", Β: "B" };

/**
 * The option's letter that a token, or a whole answer, is, whatever is written around it: " A", "(A)", "**A**", "A.", "Ａ".
 * Undefined where it is no letter or says more.
 *
 * @example
 * letterOf(" (B)"); // "B"
 * letterOf("As"); // undefined
 */
export function letterOf(text: string): string | undefined {
  const bare = text
    .normalize("NFKC")
    .replace(pieceMarks, "")
    .replace(/^[\s"'“”‘’«»`*_#([{<>【「.:-]+/u, "")
    .replace(/[\s"'“”‘’«»`*_)\]}>】」.,:;!?。、-]+$/u, "");
  const letter = lookAlikes[bare] ?? bare;
  return /^[A-Z]$/.test(letter) ? letter : undefined;
}
