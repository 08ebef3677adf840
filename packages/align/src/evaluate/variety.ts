import { groupBy, type LeaveOneOut } from "@tenet/data";
import type { JudgedResponse } from "./adherence.ts";
import { promptKey } from "./refusal.ts";

/*
 * Whether a model still says different things to different people. A reply that is good to one prompt and given to all is no
 * answer to any: no rate of single replies can see that.
 */

/** The replies to one prompt, by what is counted in them. */
interface Counted {
  /** Items by number; one may be there more than once. */
  readonly replies: readonly (readonly number[])[];
}

/** Words of an opening. */
export const openingWords = 4;

const segmenter = new Intl.Segmenter("en", { granularity: "word" });

/** Words of a text in lower case, in writing without spaces too. */
export function wordsOf(text: string): string[] {
  const words: string[] = [];
  for (const { segment, isWordLike } of segmenter.segment(text.toLowerCase())) if (isWordLike) words.push(segment);
  return words;
}

/** Words of replies that were looked at: every measure of every pair of checkpoints asks for them again. */
const wordsByRow = new WeakMap<JudgedResponse["row"], readonly string[]>();

function wordsIn({ row }: JudgedResponse): readonly string[] {
  let words = wordsByRow.get(row);
  if (!words) {
    words = wordsOf(row.response);
    wordsByRow.set(row, words);
  }
  return words;
}

/** The first four words of a reply. */
export function openingOf(response: JudgedResponse): string {
  return wordsIn(response).slice(0, openingWords).join(" ");
}

function ngrams(words: readonly string[], n: number): string[] {
  return words.slice(n - 1).map((_, i) => words.slice(i, i + n).join(" "));
}

/** Items of every prompt's replies as numbers, prompts in order of first appearance. */
function counted(
  responses: readonly JudgedResponse[],
  items: (response: JudgedResponse) => readonly string[],
): Counted[] {
  const numbers = new Map<string, number>();
  const number = (item: string) => {
    const known = numbers.get(item);
    if (known !== undefined) return known;
    numbers.set(item, numbers.size);
    return numbers.size - 1;
  };
  const prompts = groupBy(responses, ({ row }) => promptKey(row));
  return [...prompts.values()].map((members) => ({
    replies: members.map((response) => items(response).map(number)),
  }));
}

/** Different items ÷ items, with and without each prompt. */
function distinct(prompts: readonly Counted[]): LeaveOneOut | undefined {
  const total = new Map<number, number>();
  const own = prompts.map(({ replies }) => {
    const counts = new Map<number, number>();
    for (const item of replies.flat()) {
      counts.set(item, (counts.get(item) ?? 0) + 1);
      total.set(item, (total.get(item) ?? 0) + 1);
    }
    return counts;
  });
  const all = [...total.values()].reduce((sum, count) => sum + count, 0);
  if (all === 0) return undefined;
  const without = own.flatMap((counts) => {
    let [kinds, left] = [total.size, all];
    for (const [item, count] of counts) {
      left -= count;
      if (count === total.get(item)) kinds--;
    }
    return left === 0 ? [] : [kinds / left];
  });
  return { value: total.size / all, without, n: prompts.reduce((sum, { replies }) => sum + replies.length, 0) };
}

/**
 * Distinct-n: different n-grams of words ÷ n-grams of words, over all replies. Longer replies have a lower one.
 * Source: Li et al., "A diversity-promoting objective function for neural conversation models" (1510.03055), §5.
 */
export function distinctN(responses: readonly JudgedResponse[], n: number): LeaveOneOut | undefined {
  return distinct(counted(responses, (response) => ngrams(wordsIn(response), n)));
}

/** Kinds of openings ÷ replies. */
export function kindsOfOpenings(responses: readonly JudgedResponse[]): LeaveOneOut | undefined {
  return distinct(counted(responses, (response) => [openingOf(response)]));
}

/** The opening that most replies have, the first of equally common ones; undefined of nothing. */
export function commonestOpening(responses: readonly JudgedResponse[]): string | undefined {
  return commonest(responses.map(openingOf));
}

/** What is there most often, the first of equally common ones; undefined of nothing. */
export function commonest(texts: readonly string[]): string | undefined {
  const groups = groupBy(texts, (text) => text);
  let found: string | undefined;
  for (const [text, members] of groups) if (members.length > (groups.get(found ?? "\u0000")?.length ?? 0)) found = text;
  return found;
}

/**
 * Self-overlap: the share of a reply's pairs of neighbouring words (its beginning and end counted as words) that a reply to
 * another prompt has too, mean over replies and over those others: 1 where all are the same.
 *
 * overlap = 1/R · Σᵢ 1/(R − Rₚ₍ᵢ₎) · Σⱼ |Bᵢ ∩ Bⱼ| / |Bᵢ|, j over the replies to other prompts. It does not depend on how many
 * replies there are, as self-BLEU does. Source: after self-BLEU (Zhu et al., 1802.01886) and pairwise BLEU (Shen et al., 1902.07816), at
 * n = 2, without brevity penalty.
 */
export function selfOverlap(responses: readonly JudgedResponse[]): LeaveOneOut | undefined {
  const pairs = (response: JudgedResponse) => [...new Set(ngrams(["\u0002", ...wordsIn(response), "\u0003"], 2))];
  const prompts = counted(responses, pairs);
  if (prompts.length < 2) return undefined;
  const kinds = 1 + prompts.reduce((most, { replies }) => replies.flat().reduce((a, b) => Math.max(a, b), most), 0);
  // Replies that have a pair: of all prompts, and of the one looked at.
  const having = new Int32Array(kinds);
  const count = (of: Int32Array, { replies }: Counted, by: 1 | -1) => {
    for (const reply of replies) for (const item of reply) of[item]! += by;
  };
  for (const prompt of prompts) count(having, prompt, 1);
  const own = new Int32Array(kinds);
  const ownOf = prompts.map((prompt) => {
    count(own, prompt, 1);
    const found = prompt.replies.map((reply) => reply.map((item) => own[item]!));
    count(own, prompt, -1);
    return found;
  });
  const replies = prompts.reduce((sum, prompt) => sum + prompt.replies.length, 0);
  const overlap = (left: number | undefined) => {
    const seen = replies - (left === undefined ? 0 : prompts[left]!.replies.length);
    let sum = 0;
    for (const [p, prompt] of prompts.entries()) {
      if (p === left) continue;
      for (const [r, reply] of prompt.replies.entries()) {
        let shared = 0;
        for (const [i, item] of reply.entries()) shared += having[item]! - ownOf[p]![r]![i]!;
        sum += shared / (reply.length * (seen - prompt.replies.length));
      }
    }
    return sum / seen;
  };
  const value = overlap(undefined);
  const without = prompts.flatMap((prompt, p) => {
    if (prompts.length < 3) return [];
    count(having, prompt, -1);
    const one = overlap(p);
    count(having, prompt, 1);
    return [one];
  });
  return { value, without, n: replies };
}
