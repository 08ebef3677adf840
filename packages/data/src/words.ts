/*
 * Words, in languages that set white space between them and in those that do not.
 */

const scripts = ["Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan", "Javanese", "Balinese"];

/** A letter of a script that is written without white space between words. */
const unspaced = new RegExp(`[${scripts.map((name) => `\\p{Script=${name}}`).join("")}]`, "u");

/** Letters of such scripts with their marks, as one run; and letters, digits and apostrophes of others. */
const runs = new RegExp(`(?:${unspaced.source}[\\p{M}ー]*)+|(?:(?!${unspaced.source})[\\p{L}\\p{N}'’])+`, "gu");

const segmenter = new Intl.Segmenter("en", { granularity: "word" });

/** Whether a text holds words that white space does not divide. */
export function isUnspaced(text: string): boolean {
  return unspaced.test(text);
}

/**
 * The words of a text: what stands between white space, and in scripts without it what `Intl.Segmenter` divides there. What has
 * neither letter nor digit is no word.
 *
 * @example
 * wordsIn("See a doctor – soon."); // ["See", "a", "doctor", "soon."]
 * wordsIn("请多喝水。").length; // 3
 */
export function wordsIn(text: string): string[] {
  return text.split(/\s+/).flatMap((run) => {
    if (!/[\p{L}\p{N}]/u.test(run)) return [];
    if (!isUnspaced(run)) return [run];
    return [...segmenter.segment(run)].flatMap(({ segment, isWordLike }) => (isWordLike ? [segment] : []));
  });
}

/** The words that a text begins with, without case and marks: runs of letters, digits and apostrophes, divided in scripts without white space. */
export function firstWords(text: string, count: number): string[] {
  const words: string[] = [];
  for (const [run] of text.toLowerCase().matchAll(runs)) {
    words.push(...(isUnspaced(run) ? wordsIn(run) : [run]));
    if (words.length >= count) return words.slice(0, count);
  }
  return words;
}

/** Words of a text. */
export function countWords(text: string): number {
  return wordsIn(text).length;
}

/** What follows the mark of a sentence's end and belongs to it: quotation marks and brackets. */
const behind = String.raw`["'”’»)\]」』）】》〉]*`;
/** Marks that end a sentence before white space, and those that end it whatever follows: 。 of Chinese and Japanese, । of Hindi, ။ ។ ། ።. */
const sentenceEnd = new RegExp(String.raw`(?:[.!?…؟۔]${behind}(?=\s|$)|[。！？｡．।॥။។།።]+${behind})`, "gu");

/** A text up to the end of its first sentence; all of it where none ends. */
export function firstSentence(text: string): string {
  const trimmed = text.trim();
  const [end] = trimmed.matchAll(sentenceEnd);
  return end ? trimmed.slice(0, end.index + end[0].length) : trimmed;
}

/** A text up to the end of its last whole sentence; empty where it has none. */
export function wholeSentences(text: string): string {
  const end = [...text.matchAll(sentenceEnd)].at(-1);
  return end ? text.slice(0, end.index + end[0].length) : "";
}
