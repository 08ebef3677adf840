import { excerptOf, Unusable } from "./errors.ts";
import type { Message } from "./message.ts";
import { messagesOf, partAtReply, promptOf, replyOf, textOf, waiting } from "./messages.ts";
import type { Aside } from "./read.ts";
import {
  type ChoiceRow,
  type ExampleRow,
  type Origin,
  originSchema,
  type PreferenceRow,
  type PromptRow,
  preferenceRowSchema,
  rowId,
} from "./rows.ts";
import { isTranscript, parseTranscript } from "./transcripts.ts";

/** One record of a file, whatever its format: named fields. */
export interface SourceRecord {
  readonly source: string;
  readonly value: Fields;
}

export type Fields = Readonly<Record<string, unknown>>;
export type ReadRecord = { readonly record: SourceRecord } | { readonly aside: Aside };

/** The row each use of a dataset asks for. */
export interface Kinds {
  prompts: PromptRow;
  examples: ExampleRow;
  preferences: PreferenceRow;
  choices: ChoiceRow;
}

export interface RecordOptions {
  /** Who preferred, where the record does not say so. */
  readonly label: PreferenceRow["label"];
}

interface Kind<Row> {
  /** What a record must hold, for people. */
  readonly expected: string;
  /** Fields that are looked at; a Parquet file's other columns are not read. */
  readonly fields: readonly string[];
  /** @throws Unusable */
  readonly row: (record: SourceRecord, options: RecordOptions) => Row;
}

const pairFields = ["prompt", "chosen", "rejected", "a", "b", "p", "text_correct", "text_incorrect", "corrects"];

/** How a record becomes a row, and what it needs for it, for every use. */
export const kinds: { readonly [K in keyof Kinds]: Kind<Kinds[K]> } = {
  prompts: {
    expected: "prompt (a text or messages), messages, or transcripts in chosen and rejected",
    fields: [...pairFields, "messages", "category", "type", "benign", "label", "origin"],
    row: ({ source, value }) => {
      const prompt = promptIn(value);
      const category = [value.category, value.type].find((name) => typeof name === "string" && name !== "");
      const benign = benignIn(value);
      return {
        id: rowId("prompt", prompt),
        origin: originIn(value, source),
        prompt,
        ...(category === undefined ? {} : { category: textOf(category, "category") }),
        ...(benign === undefined ? {} : { benign }),
      };
    },
  },
  examples: {
    expected: "messages that end with the assistant's, prompt and completion, or prompt, chosen and rejected",
    fields: [...pairFields, "messages", "completion", "weight", "label", "origin"],
    row: ({ source, value }) => {
      // Unpaired preferences (TRL): completions that are wanted and completions that are not.
      if (value.label === false || value.label === 0 || /^(false|0)$/i.test(String(value.label)))
        throw new Unusable("its label is false: a completion that is not wanted is no example to learn");
      const { prompt, completion } = exampleIn(value);
      const weight = has(value, "weight") ? numberIn(value.weight, "weight", 0, Number.MAX_VALUE) : 1;
      return { id: rowId("example", prompt, completion), origin: originIn(value, source), prompt, completion, weight };
    },
  },
  preferences: {
    expected: "prompt, chosen and rejected; or transcripts in chosen and rejected; or prompt, a, b and p",
    fields: [...pairFields, "weight", "label", "explanation", "origin"],
    row: ({ source, value }, options) => {
      const { prompt, a, b, p } = pairIn(value);
      const weight = has(value, "weight") ? numberIn(value.weight, "weight", 0, Number.MAX_VALUE) : 1;
      const { label: labels, explanation: explanations } = preferenceRowSchema.shape;
      const label = labels.safeParse(value.label).data ?? options.label;
      const explanation = explanations.safeParse(parsed(value.explanation)).data ?? [];
      const id = rowId("preference", prompt, a, b, p, label);
      return { id, origin: originIn(value, source), prompt, a, b, p, weight, label, explanation };
    },
  },
  choices: {
    expected: "a question (prompt, question or input) and options or choices with an answer, or target_scores",
    fields: ["prompt", "question", "input", "options", "choices", "answer", "answerKey", "target_scores", "origin"],
    row: ({ source, value }) => {
      const { prompt, options, answer } = choiceIn(value);
      const id = rowId("choice", prompt, options, answer);
      return { id, origin: originIn(value, source), prompt, options, answer };
    },
  },
};

/** Multiple choice as benchmarks write it: a list and a place, a letter or the words; ARC's labels; BIG-bench's scores. */
function choiceIn(value: Fields): Pick<ChoiceRow, "prompt" | "options" | "answer"> {
  const named = ["prompt", "question", "input"].find((field) => has(value, field));
  if (named === undefined) throw missing(value, kinds.choices.expected);
  const prompt = promptOf(value[named], named);
  const scores = parsed(value.target_scores);
  if (typeof scores === "object" && scores !== null && !Array.isArray(scores)) {
    const right = Object.entries(scores).filter(([, score]) => score === 1);
    if (right.length !== 1) throw new Unusable(`target_scores name ${right.length} right options; expected one`);
    const options = optionsOf(Object.keys(scores), "target_scores");
    return { prompt, options, answer: options.indexOf(right[0]![0]) };
  }
  const field = has(value, "options") ? "options" : "choices";
  const given = parsed(value[field]);
  const labelled = (typeof given === "object" && given !== null ? given : {}) as { text?: unknown; label?: unknown };
  const options = optionsOf(Array.isArray(given) ? given : labelled.text, field);
  const answerField = has(value, "answer") ? "answer" : "answerKey";
  const answer = value[answerField];
  const written = String(answer ?? "").trim();
  const labels = Array.isArray(labelled.label) ? labelled.label.map(String) : options.map((_, i) => letters[i] ?? "");
  const place =
    typeof answer === "number" || typeof answer === "bigint" || (/^\d+$/.test(written) && !labels.includes(written))
      ? Number(answer)
      : Math.max(labels.indexOf(written), options.indexOf(written));
  if (!(Number.isInteger(place) && place >= 0 && place < options.length))
    throw new Unusable(
      `${answerField} is ${excerptOf(written, 40) || "missing"}; expected one of the ${options.length} options: its place from 0, its letter or its words`,
    );
  return { prompt, options, answer: place };
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

function optionsOf(given: unknown, field: string): string[] {
  if (!Array.isArray(given) || given.length < 2) throw new Unusable(`${field} has no two options`);
  const options = given.map((option, i) => textOf(option, `${field}[${i}]`));
  if (options.some((option) => option.trim() === "")) throw new Unusable(`${field} has an empty option`);
  if (new Set(options).size < options.length) throw new Unusable(`${field} names an option twice`);
  return options;
}

function promptIn(value: Fields): Message[] {
  if (has(value, "prompt") && !isAudit(value)) return promptOf(value.prompt, "prompt");
  if (has(value, "messages")) {
    const messages = messagesOf(value.messages, "messages");
    return waiting(messages.at(-1)?.role === "assistant" ? messages.slice(0, -1) : messages, "messages");
  }
  // The paper's red-team prompts are what a person said first, before any answer.
  if (typeof value.chosen === "string" && isTranscript(value.chosen))
    return waiting(parseTranscript(value.chosen).slice(0, 1), "the first turn");
  if (isAudit(value) || (Array.isArray(value.chosen) && Array.isArray(value.rejected))) return pairIn(value).prompt;
  throw missing(value, kinds.prompts.expected);
}

function exampleIn(value: Fields): { prompt: Message[]; completion: string } {
  if (has(value, "completion") && has(value, "prompt")) {
    const prompt = promptOf(value.prompt, "prompt");
    return { prompt, completion: replyOf(value.completion, prompt, "completion") };
  }
  if (has(value, "messages")) {
    const messages = messagesOf(value.messages, "messages");
    const prompt = messages.slice(0, -1);
    if (messages.at(-1)?.role !== "assistant")
      throw new Unusable(`messages end with role ${messages.at(-1)?.role}; expected the assistant's to be last`);
    return { prompt: waiting(prompt, "messages before the last"), completion: replyOf(messages, prompt, "messages") };
  }
  if (isPair(value)) {
    const { prompt, a, b, p } = pairIn(value);
    if (p === 0.5) throw new Unusable("p is 0.5: neither reply is the one to learn");
    return { prompt, completion: p > 0.5 ? a : b };
  }
  throw missing(value, kinds.examples.expected);
}

function pairIn(value: Fields): Pick<PreferenceRow, "a" | "b" | "p"> & { prompt: Message[] } {
  if (isAudit(value)) return auditPair(value);
  if (!isPair(value)) throw missing(value, kinds.preferences.expected);
  const names =
    has(value, "chosen") && has(value, "rejected") ? (["chosen", "rejected"] as const) : (["a", "b"] as const);
  const [one, other] = [value[names[0]], value[names[1]]];
  const p = has(value, "p") ? numberIn(value.p, "p", 0, 1) : 1;
  if (has(value, "prompt")) {
    const prompt = promptOf(value.prompt, "prompt");
    const [a, b] = [replyOf(one, prompt, names[0]), replyOf(other, prompt, names[1])];
    if (a === b) throw new Unusable(`${names[0]} and ${names[1]} are the same reply`);
    return { prompt, a, b, p };
  }
  if (Array.isArray(one) && Array.isArray(other))
    return { ...partAtReply(messagesOf(one, names[0]), messagesOf(other, names[1])), p };
  if (typeof one === "string" && typeof other === "string" && isTranscript(one) && isTranscript(other))
    return { ...partAtReply(parseTranscript(textOf(one, names[0])), parseTranscript(textOf(other, names[1]))), p };
  throw missing(value, kinds.preferences.expected);
}

function isPair(value: Fields): boolean {
  const all = (...fields: string[]) => fields.every((field) => has(value, field));
  return all("chosen", "rejected") || all("a", "b", "p") || isAudit(value);
}

/** A question of the CAI paper's evaluations: two transcripts, and the option that is right. */
function isAudit(value: Fields): boolean {
  return has(value, "text_correct") && has(value, "text_incorrect");
}

/** Options keep the order they were published in, so that the right one is not always the first. */
function auditPair(value: Fields): ReturnType<typeof pairIn> {
  const right = Array.isArray(value.corrects) && value.corrects.length === 1 ? String(value.corrects[0]).trim() : "";
  if (right !== "(A)" && right !== "(B)")
    throw new Unusable(
      `corrects is ${excerptOf(JSON.stringify(value.corrects) ?? "missing")}; expected [" (A)"] or [" (B)"]`,
    );
  const texts = [textOf(value.text_correct, "text_correct"), textOf(value.text_incorrect, "text_incorrect")] as const;
  const [a, b] = right === "(A)" ? texts : [texts[1], texts[0]];
  return { ...partAtReply(parseTranscript(a), parseTranscript(b)), p: right === "(A)" ? 1 : 0 };
}

function benignIn(value: Fields): boolean | undefined {
  if (typeof value.benign === "boolean") return value.benign;
  if (value.benign === "true" || value.benign === "false") return value.benign === "true";
  // XSTest's column.
  if (value.label === "safe" || value.label === "unsafe") return value.label === "safe";
  return undefined;
}

/** Provenance that a dataset of ours carries, under the place it was read from. */
function originIn(value: Fields, source: string): Origin {
  const carried = originSchema.safeParse(parsed(value.origin)).data;
  return { parents: [], ...carried, source };
}

/** Nested fields are stored as JSON in Parquet and CSV. */
function parsed(value: unknown): unknown {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}

function numberIn(value: unknown, field: string, least: number, most: number): number {
  const number = typeof value === "bigint" || (typeof value === "string" && value.trim()) ? Number(value) : value;
  if (typeof number === "number" && number >= least && number <= most) return number;
  const range = most === Number.MAX_VALUE ? `of at least ${least}` : `between ${least} and ${most}`;
  throw new Unusable(`${field} is ${excerptOf(String(value), 40)}; expected a number ${range}`);
}

/** Columns that one record lacks and another has are null in Parquet. */
function has(value: Fields, field: string): boolean {
  return Object.hasOwn(value, field) && value[field] !== null && value[field] !== undefined;
}

function missing(value: Fields, expected: string): Unusable {
  const found = Object.keys(value).filter((field) => has(value, field));
  return new Unusable(`expected ${expected}; found ${excerptOf(found.join(", ")) || "no fields"}`);
}
