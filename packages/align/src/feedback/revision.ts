import { countWords, wholeSentences, wordsIn } from "@tenet/data";
import { type FinishReason, type Message, type ReplyEdit, readReply } from "@tenet/lm";
import type { Demonstration } from "../constitution/index.ts";

/*
 * What is done to a revision before it may replace a response: cleaned of what is not part of the answer, and held to a few
 * plain rules of form. Every pattern is listed here; nothing else is changed.
 */

export interface CleanRevision {
  readonly text: string;
  /** What was taken away, in order. */
  readonly edits: readonly Edit[];
}

/**
 * Those of `readReply` (thoughts, headers, end marks), for revisions that came past it. `preamble`: an announcement ("Here is the revised response:") or label ("Revision:"). `quotes`: a pair around the whole.
 * `echo`: everything from where the request or the next turn of the dialogue is written out. `unfinished`: a last sentence
 * that the length limit cut.
 */
export type Edit = ReplyEdit | "preamble" | "quotes" | "echo" | "unfinished";

const kinds = "(?:revised|rewritten|re-written|improved|corrected|edited|updated|new|better|final)";
const nouns = "(?:response|version|revision|reply|answer|text|message)";

/** Announcements at the very start, up to and with their colon. */
const preambles: readonly RegExp[] = [
  // "Sure! Here's the revised response:", "Here is a version of the response that is kinder:"
  new RegExp(
    `^(?:(?:sure|certainly|of course|absolutely|okay|ok)\\b[,.!]?\\s*)?(?:here(?:'s| is| are)|this is|below is)\\s[^.:\\n]{0,40}\\b${nouns}\\b[^.:\\n]{0,80}:\\s*`,
    "i",
  ),
  // "Revised response:", "My improved answer:", "Revision:"
  new RegExp(
    `^(?:\\*\\*)?(?:(?:my|the|a) )?(?:${kinds} ${nouns}|revision|rewrite|response|answer|assistant)(?:\\*\\*)?:(?:\\*\\*)?\\s*`,
    "i",
  ),
];

/** Where a model goes on to write the next turn of the dialogue itself. */
const nextTurn =
  /\n\s*(?:\*\*)?(?:human|user|assistant|critique ?request|critique|revision ?request|revision|question|a poor answer)(?:\*\*)?:/i;

const quotePairs = [
  ['"', '"'],
  ["“", "”"],
  ["«", "»"],
] as const;

/**
 * A revision without what is not part of the answer.
 *
 * `requests` are the texts that asked for it: a sentence that begins with the first five words of one is the model writing the
 * dialogue instead of its part.
 * With `trim`, a reply that the length limit cut ends with its last whole sentence; without one it is left as it is.
 *
 * @example
 * cleanRevision("Here is the revised response: See a doctor.").text; // "See a doctor."
 */
export function cleanRevision(
  raw: string,
  { requests = [], trim = false }: { readonly requests?: readonly string[]; readonly trim?: boolean } = {},
): CleanRevision {
  const reply = readReply(raw);
  const edits: Edit[] = [...reply.edits];
  let text = reply.text.trim();
  const change = (edit: Edit, next: string) => {
    if (next === text) return;
    text = next;
    if (!edits.includes(edit)) edits.push(edit);
  };
  for (const preamble of preambles) change("preamble", text.replace(preamble, ""));
  const borders = [text.search(nextTurn), ...requests.map((request) => echoOf(request, text))].filter((at) => at >= 0);
  const border = borders.length > 0 ? Math.min(...borders) : undefined;
  if (border !== undefined) change("echo", text.slice(0, border).trimEnd());
  if (trim && border === undefined) change("unfinished", wholeSentences(text) || text);
  for (const [open, close] of quotePairs) {
    const inner = text.slice(1, -1);
    if (
      text.length > 2 &&
      text.startsWith(open) &&
      text.endsWith(close) &&
      !inner.includes(open) &&
      !inner.includes(close)
    )
      change("quotes", inner.trim());
  }
  return { text, edits };
}

/** Where a sentence of a text begins as a request does; −1 where none does, or the request is too short to tell. */
function echoOf(request: string, text: string): number {
  const words = request.trim().split(/\s+/).slice(0, 5);
  if (words.length < 5) return -1;
  const opening = words.map((word) => word.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("\\s+");
  const found = new RegExp(`(?:^|[.!?:]["'”’)]?\\s+|\\n\\s*)(${opening})`, "iu").exec(text);
  return found ? found.index + found[0].length - found[1]!.length : -1;
}

/** Below this share of distinct runs of four words a text is taken for a loop. */
const distinctFrom = 0.6;
/** Fewer runs than these are too few to tell. */
const runsToTell = 12;

type Shown = Pick<Demonstration, "prompt" | "revision">;

/**
 * Why a revision, as cleaned, must not replace what it revises; undefined when it may.
 *
 * Withheld by the service; empty; cut by the length limit (unless it was trimmed to whole sentences); declining the task of
 * revising (a refusal to the person is no such thing: it may be what the constitution asks for); the same as a response of the
 * chain, the critique or a demonstration's revision, but for case, white space and punctuation; answering a demonstration's
 * question instead of this one (`answersDemonstration`); or degenerate: fewer than 60 % of its runs of four words are distinct
 * (Li et al. 2016, distinct-n), a character stands twelve times in a row, or it holds characters that are no text.
 */
export function revisionFault(
  { text, edits }: CleanRevision,
  {
    finishReason,
    responses,
    critique,
    demonstrations = [],
    conversation = [],
  }: {
    readonly finishReason: FinishReason;
    /** The chain so far. */
    readonly responses: readonly string[];
    readonly critique?: string | undefined;
    /** Those shown with the request. */
    readonly demonstrations?: readonly Shown[];
    readonly conversation?: readonly Message[];
  },
): string | undefined {
  if (finishReason === "filtered") return "withheld by the service";
  if (countWords(text) === 0) return "empty";
  if (finishReason === "length" && !edits.includes("unfinished") && !edits.includes("echo") && !endsSentence(text))
    return "cut by the length limit";
  if (declines(text)) return "declines to revise";
  const form = formOf(text);
  const same = responses.findLastIndex((response) => formOf(response) === form);
  if (same >= 0) return same === responses.length - 1 ? "unchanged" : `repeats response ${same} of the chain`;
  if (critique !== undefined && formOf(critique) === form) return "copies the critique";
  if (demonstrations.some(({ revision }) => formOf(revision) === form)) return "copies a demonstration";
  const own = [...conversation.map(({ content }) => content), ...responses];
  if (answersDemonstration(form, demonstrations, own)) return "answers a demonstration's question";
  return degenerate(text);
}

function endsSentence(text: string): boolean {
  return text !== "" && wholeSentences(text) === text;
}

function declines(text: string): boolean {
  const first = text.replaceAll(/[‘’ʼ]/g, "'").slice(0, 200);
  return /\bI(?:'m| am)? ?(?:can't|cannot|can not|won't|will not|am unable to|'m unable to|unable to|am not able to|'m not able to|not able to)\s+(?:\w+ ){0,2}?(?:revise|rewrite|re-write|edit|critique|improve (?:the|this|that) (?:response|reply|answer|text))\b/i.test(
    first,
  );
}

/** A text without what makes no difference in wording. */
function formOf(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{M}\p{N}]+/gu, " ")
    .trim();
}

/** Why a text is no answer to anything; undefined when it may be one. */
export function degenerate(text: string): string | undefined {
  if (/[\uFFFD\p{Co}\p{Cn}]/u.test(text)) return "holds characters that are no text";
  if (/([^\s\-_=*.])\1{11}/u.test(text)) return "repeats one character";
  const runs = runsOf(formOf(text), 4);
  if (runs.length >= runsToTell && new Set(runs).size / runs.length < distinctFrom) return "repeats itself";
  return undefined;
}

/**
 * Whether a text speaks of what one demonstration is about: of the words that this one's prompt and revision share and that
 * stand in no other demonstration and nowhere in this conversation, it holds half or more. What demonstrations have in
 * common is the way to answer, and welcome.
 */
function answersDemonstration(form: string, demonstrations: readonly Shown[], own: readonly string[]): boolean {
  const said = wordsOf(form);
  const texts = demonstrations.map(({ prompt, revision }) => ({
    asked: wordsOf(prompt.map(({ content }) => formOf(content)).join(" ")),
    answered: wordsOf(formOf(revision)),
  }));
  const known = wordsOf(own.map(formOf).join(" "));
  return texts.some(({ asked, answered }, i) => {
    const others = texts.filter((_, j) => j !== i);
    const subject = [...asked].filter(
      (word) =>
        word.length > 3 &&
        answered.has(word) &&
        !known.has(word) &&
        !others.some((other) => other.asked.has(word) || other.answered.has(word)),
    );
    return subject.length > 0 && subject.filter((word) => said.has(word)).length >= subject.length / 2;
  });
}

function wordsOf(form: string): Set<string> {
  return new Set(wordsIn(form));
}

/** Runs of n words of a text in its plain form. */
function runsOf(form: string, n: number): string[] {
  const words = wordsIn(form);
  return words.slice(n - 1).map((_, i) => words.slice(i, i + n).join(" "));
}
