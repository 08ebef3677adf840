import { Doubtful, excerptOf, foreignJson, foreignText, Unusable } from "./errors.ts";
import { showing } from "./image.ts";
import { readLiteral } from "./literal.ts";
import type { Message } from "./message.ts";
import {
  besidePrompt,
  conversationOf,
  messagesOf,
  partAtReply,
  promptOf,
  replyOf,
  said,
  sharedBy,
  textOf,
  waiting,
  written,
} from "./messages.ts";
import type { Aside } from "./read.ts";
import {
  type ChoiceRow,
  type ExampleRow,
  type OpinionRow,
  type Origin,
  originSchema,
  type PreferenceRow,
  type PromptRow,
  preferenceRowSchema,
  rowId,
  type SafetyRow,
} from "./rows.ts";
import { isTranscript, parseTranscript } from "./transcripts.ts";

/** One record of a file, whatever its format: named fields. */
export interface SourceRecord {
  readonly source: string;
  readonly value: Fields;
  /** What is to be told of how it was read. */
  readonly notes?: readonly string[];
}

export type Fields = Readonly<Record<string, unknown>>;
export type ReadRecord =
  | {
      readonly record: SourceRecord;
      /** Some of its bytes were not UTF-8: U+FFFD stands for them. */
      readonly damaged?: true;
    }
  | { readonly aside: Aside };

/** The row each use of a dataset asks for. */
export interface Kinds {
  prompts: PromptRow;
  examples: ExampleRow;
  preferences: PreferenceRow;
  choices: ChoiceRow;
  opinions: OpinionRow;
  safety: SafetyRow;
}

export interface RecordOptions {
  /** Who preferred, where the record does not say so. */
  readonly label: PreferenceRow["label"];
  /** Takes what is to be told of how the record was read. */
  readonly notes: string[];
  /** That the prompt's last turn shows; kinds without a place for them are given none. */
  readonly images: readonly string[];
}

interface Kind<Row> {
  /** What a record must hold, for people. */
  readonly expected: string;
  /** Fields that are looked at; a Parquet file's other columns are not read. */
  readonly fields: readonly string[];
  /** Whether its prompt may show images. */
  readonly shows?: true;
  /** @throws Unusable */
  readonly row: (record: SourceRecord, options: RecordOptions) => Row;
}

const pairFields = [
  ...["prompt", "chosen", "rejected", "a", "b", "p", "text_correct", "text_incorrect", "corrects"],
  ...["system", "messages", "conversations"],
];

/** How a record becomes a row, and what it needs for it, for every use. */
export const kinds: { readonly [K in keyof Kinds]: Kind<Kinds[K]> } = {
  prompts: {
    expected: "prompt (a text or messages), messages, or transcripts in chosen and rejected",
    fields: [...pairFields, "category", "type", "benign", "label", "origin"],
    shows: true,
    row: ({ source, value }, { notes, images }) => {
      const prompt = showing(promptIn(value, notes), images);
      const category = categoryIn(value, "category", "type");
      const benign = benignIn(value);
      // What a model will answer is not written by who wrote the record's reply.
      const { writtenBy: _, ...origin } = originIn(value, source);
      return {
        id: rowId("prompt", prompt),
        origin,
        prompt,
        ...category,
        ...(benign === undefined ? {} : { benign }),
      };
    },
  },
  examples: {
    expected: "messages that end with the assistant's, prompt and completion, or prompt, chosen and rejected",
    fields: [...pairFields, "completion", "weight", "label", "kto_tag", "category", "origin"],
    row: ({ source, value }, { notes }) => {
      for (const name of ["label", "kto_tag"])
        if (unwanted.test(foreignText(value[name])))
          throw new Doubtful(`its ${name} is false: a completion that is not wanted is no example to learn`);
      const { prompt, completion } = exampleIn(value, notes);
      const weight = has(value, "weight") ? numberIn(value.weight, "weight", 0, Number.MAX_VALUE) : 1;
      const id = rowId("example", prompt, completion);
      return { id, origin: originIn(value, source), prompt, completion, weight, ...categoryIn(value, "category") };
    },
  },
  preferences: {
    expected: "prompt, chosen and rejected; or transcripts in chosen and rejected; or prompt, a, b and p",
    fields: [...pairFields, "weight", "label", "category", "explanation", "origin"],
    shows: true,
    row: ({ source, value }, options) => {
      const { a, b, p, ...pair } = pairIn(value, options.notes);
      const prompt = showing(pair.prompt, options.images);
      const category = categoryIn(value, "category");
      const weight = has(value, "weight") ? numberIn(value.weight, "weight", 0, Number.MAX_VALUE) : 1;
      const { label: labels, explanation: explanations } = preferenceRowSchema.shape;
      const label = labels.safeParse(value.label).data ?? options.label;
      const explanation = explanations.safeParse(parsed(value.explanation)).data ?? [];
      const id = rowId("preference", prompt, a, b, p, label);
      return { id, origin: originIn(value, source), prompt, a, b, ...category, p, weight, label, explanation };
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
  opinions: {
    expected:
      "a question (prompt or question) with answer_matching_behavior and answer_not_matching_behavior; or prompt, neutral, follows and others",
    fields: [
      ...["prompt", "question", "neutral", "follows", "others", "origin"],
      ...["answer_matching_behavior", "answer_not_matching_behavior"],
    ],
    row: ({ source, value }) => {
      const { prompt, neutral, follows, others } = opinionIn(value);
      const id = rowId("opinion", prompt, neutral ?? null, follows, others);
      return { id, origin: originIn(value, source), prompt, ...(neutral && { neutral }), follows, others };
    },
  },
  safety: {
    expected:
      "prompt, response and is_safe (or unsafe, or severity); or prompt, response_0, response_1, is_response_0_safe and is_response_1_safe",
    fields: [
      ...["prompt", "system", "response", "is_safe", "unsafe", "severity", "safer_response_id", "origin"],
      ...[0, 1].flatMap((k) => [
        `response_${k}`,
        `is_response_${k}_safe`,
        `response_${k}_unsafe`,
        `response_${k}_severity_level`,
      ]),
    ],
    row: ({ source, value }, { notes }) => {
      const { prompt, replies, safer } = safetyIn(value, notes);
      // Another person's word on the same reply is another row, also where it is the same word.
      const words = replies.map(({ reply, unsafe, severity = null }) => [reply, unsafe, severity]);
      const id = rowId("safety", prompt, words, safer ?? null, source);
      return { id, origin: originIn(value, source), prompt, replies, ...(safer === undefined ? {} : { safer }) };
    },
  },
};

/** Sycophancy as published (model-written evals: answers such as " (B)"), or with the question as it is without the view. */
function opinionIn(value: Fields): Pick<OpinionRow, "prompt" | "neutral" | "follows" | "others"> {
  const either = (...fields: string[]) => fields.find((field) => has(value, field));
  const asked = either("prompt", "question");
  const [follows, others] = [
    either("follows", "answer_matching_behavior"),
    either("others", "answer_not_matching_behavior"),
  ];
  if (asked === undefined || follows === undefined || others === undefined)
    throw missing(value, kinds.opinions.expected);
  const answer = (given: unknown, field: string) => {
    const text = textOf(given, field).trim();
    if (text === "") throw new Unusable(`${field} is empty`);
    return text;
  };
  const listed = (field: string) => {
    const found = parsed(value[field]) ?? value[field];
    return Array.isArray(found) ? found : [value[field]];
  };
  const followed = listed(follows).map((one) => answer(one, follows));
  if (followed.length !== 1) throw new Unusable(`${follows} names ${followed.length} answers; expected one`);
  const left = listed(others).map((one) => answer(one, others));
  if (left.length === 0 || left.includes(followed[0]!))
    throw new Unusable(`${others} is to name other answers than ${follows}`);
  return {
    prompt: questionIn(value, asked),
    ...(has(value, "neutral") && { neutral: questionIn(value, "neutral") }),
    ...{ follows: followed[0]!, others: left },
  };
}

/** Harmlessness labels as published: of two replies and which is safer (PKU-SafeRLHF), or of one (BeaverTails). */
function safetyIn(value: Fields, notes: string[]): Pick<SafetyRow, "prompt" | "replies" | "safer"> {
  const reply = (field: string, safe: string, unsafe: string, severity: string) => {
    const text = replyOf(value[field], field, notes);
    const level = has(value, severity) ? numberIn(value[severity], severity, 0, Number.MAX_VALUE) : undefined;
    const said = has(value, unsafe)
      ? numberIn(value[unsafe], unsafe, 0, 1)
      : has(value, safe)
        ? Number(!truthIn(value[safe], safe))
        : Number(level! > 0);
    return { reply: text, unsafe: said, ...(level === undefined ? {} : { severity: level }) };
  };
  const told = (...fields: string[]) => fields.some((field) => has(value, field));
  const prompt = () => beforeReply(value, undefined, "prompt", notes);
  const places = [0, 1] as const;
  const names = (k: 0 | 1) =>
    [`response_${k}`, `is_response_${k}_safe`, `response_${k}_unsafe`, `response_${k}_severity_level`] as const;
  if (has(value, "prompt") && places.every((k) => has(value, names(k)[0]) && told(...names(k).slice(1)))) {
    const replies = places.map((k) => reply(...names(k)));
    if (replies[0]!.reply === replies[1]!.reply) throw new Unusable("response_0 and response_1 are the same reply");
    if (!has(value, "safer_response_id")) return { prompt: prompt(), replies };
    const safer = places.find((k) => k === Number(foreignText(value.safer_response_id)));
    if (safer === undefined)
      throw new Unusable(
        `safer_response_id is ${excerptOf(foreignText(value.safer_response_id), 40)}; expected 0 or 1`,
      );
    if (replies[safer]!.unsafe > replies[1 - safer]!.unsafe)
      throw new Unusable(`safer_response_id is ${safer}, and response_${safer} is the one that is called unsafe`);
    return { prompt: prompt(), replies, safer };
  }
  if (!has(value, "prompt") || !has(value, "response") || !told("is_safe", "unsafe", "severity"))
    throw missing(value, kinds.safety.expected);
  return { prompt: prompt(), replies: [reply("response", "is_safe", "unsafe", "severity")] };
}

function truthIn(value: unknown, field: string): boolean {
  const text = foreignText(value).trim().toLowerCase();
  if (["true", "1"].includes(text)) return true;
  if (["false", "0"].includes(text)) return false;
  throw new Unusable(`${field} is ${excerptOf(text, 40)}; expected true or false`);
}

/** A benchmark's question: text may be rendered ("Q: …", "A:"), and is asked as it stands. */
function questionIn(value: Fields, field: string) {
  const question = value[field];
  return typeof question === "string"
    ? waiting([{ role: "user", content: textOf(question, field) }], field)
    : promptOf(question, field);
}

/** Multiple choice as benchmarks write it: a list and a place, a letter or the words; ARC's labels; BIG-bench's scores. */
function choiceIn(value: Fields): Pick<ChoiceRow, "prompt" | "options" | "answer"> {
  const named = ["prompt", "question", "input"].find((field) => has(value, field));
  if (named === undefined) throw missing(value, kinds.choices.expected);
  const prompt = questionIn(value, named);
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
  const written = foreignText(answer ?? "").trim();
  const labels = Array.isArray(labelled.label)
    ? labelled.label.map(foreignText)
    : options.map((_, i) => letters[i] ?? "");
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

/** Verdicts on a completion in unpaired preferences (TRL's `label`, LLaMA-Factory's `kto_tag`): not wanted. */
const unwanted = /^(?:false|f|0|0\.0|-1|no|bad|rejected|undesirable|undesired|unwanted)$/i;

type Pair = Pick<PreferenceRow, "a" | "b" | "p"> & { prompt: Message[] };

function promptIn(value: Fields, notes: string[]): Message[] {
  if (isAudit(value)) return auditPair(value).prompt;
  const messages = whole(value, notes);
  if (messages) {
    const before = messages.at(-1)?.role === "assistant" ? messages.slice(0, -1) : messages;
    return beforeReply(value, before, "messages", notes);
  }
  const pair = isPair(value) ? conversationsIn(value, notes) : undefined;
  // The paper's red-team prompts are what a person said first, before any answer.
  if (pair && !has(value, "prompt") && typeof value.chosen === "string" && isTranscript(value.chosen))
    return waiting(pair[0].slice(0, 1), "the first turn");
  if (pair) return beforeReply(value, sharedBy(...pair), "the shared conversation", notes);
  if (has(value, "prompt")) return beforeReply(value, undefined, "prompt", notes);
  throw missing(value, kinds.prompts.expected);
}

function exampleIn(value: Fields, notes: string[]): { prompt: Message[]; completion: string } {
  if (has(value, "completion") && has(value, "prompt")) {
    const conversation = conversationOf(value.completion, "completion", notes);
    if (conversation) return atReply(value, conversation, "completion", notes);
    return {
      prompt: beforeReply(value, undefined, "prompt", notes),
      completion: replyOf(value.completion, "completion", notes),
    };
  }
  const messages = whole(value, notes);
  if (messages) return atReply(value, messages, "messages", notes);
  if (isPair(value)) {
    const { prompt, a, b, p } = pairIn(value, notes);
    if (p === 0.5) throw new Unusable("p is 0.5: neither reply is the one to learn");
    return { prompt, completion: p > 0.5 ? a : b };
  }
  throw missing(value, kinds.examples.expected);
}

function pairIn(value: Fields, notes: string[]): Pair {
  if (isAudit(value)) return auditPair(value);
  if (!isPair(value)) throw missing(value, kinds.preferences.expected);
  const p = has(value, "p") ? numberIn(value.p, "p", 0, 1) : 1;
  const conversations = conversationsIn(value, notes);
  if (conversations) {
    const { prompt, a, b } = partAtReply(...conversations, notes);
    return { prompt: beforeReply(value, prompt, "the shared conversation", notes), a, b, p };
  }
  if (!has(value, "prompt")) throw missing(value, kinds.preferences.expected);
  const prompt = beforeReply(value, undefined, "prompt", notes);
  const names = pairNames(value);
  const [a, b] = names.map((name) => replyOf(value[name], name, notes)) as [string, string];
  if (a === b) throw new Unusable(`${names[0]} and ${names[1]} are the same reply`);
  const asked = prompt.at(-1)!.content.trim();
  if (asked.length >= 12 && [a, b].every((reply) => reply.trim().startsWith(asked)))
    throw new Doubtful(
      `${names[0]} and ${names[1]} both begin with the prompt: whether it is part of them is not known`,
    );
  return { prompt, a, b, p };
}

/** The whole conversation that a record has in a field of its own. */
function whole(value: Fields, notes: string[]): Message[] | undefined {
  const name = ["messages", "conversations"].find((field) => has(value, field));
  return name === undefined ? undefined : messagesOf(written(value[name], name, notes), name, notes);
}

/** The two conversations of a pair that holds more than its replies; undefined where those are all. */
function conversationsIn(value: Fields, notes: string[]): [Message[], Message[]] | undefined {
  const names = pairNames(value);
  const [one, other] = names.map((name) => conversationOf(value[name], name, notes));
  if (one && other) return [one, other];
  if (one || other)
    throw new Doubtful(
      `of ${names[0]} and ${names[1]} one is a whole conversation and the other is none: they share no prompt`,
    );
  return undefined;
}

function pairNames(value: Fields): readonly [string, string] {
  return has(value, "chosen") && has(value, "rejected") ? ["chosen", "rejected"] : ["a", "b"];
}

/** The last reply of a conversation, and what stands before it. */
function atReply(
  value: Fields,
  messages: readonly Message[],
  field: string,
  notes: string[],
): { prompt: Message[]; completion: string } {
  const last = messages.at(-1);
  if (last?.role !== "assistant")
    throw new Unusable(`${field} end with role ${last?.role}; expected the assistant's to be last`);
  return {
    prompt: beforeReply(value, messages.slice(0, -1), `${field} before the last`, notes),
    completion: said(last.content, field, notes),
  };
}

/** The conversation before a reply: what the record's conversation, its prompt and its system turn say together. */
function beforeReply(
  value: Fields,
  conversation: readonly Message[] | undefined,
  field: string,
  notes: string[],
): Message[] {
  const empty = typeof value.prompt === "string" && value.prompt.trim() === "" && conversation !== undefined;
  const prompt = has(value, "prompt") && !empty ? promptOf(value.prompt, "prompt", notes) : undefined;
  const turns = conversation && prompt ? besidePrompt(prompt, conversation) : [...(conversation ?? prompt ?? [])];
  if (prompt && conversation) notes.push("prompt stood beside a whole conversation");
  if (typeof value.system === "string" && value.system.trim() !== "") {
    const content = textOf(value.system, "system");
    if (turns[0]?.role !== "system") {
      turns.unshift({ role: "system", content });
      notes.push("system was taken for the system turn");
    } else if (turns[0].content.trim() !== content.trim())
      throw new Doubtful("system is another than the conversation's system turn: which of the two counts is not known");
  }
  return waiting(turns, field);
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
function auditPair(value: Fields): Pair {
  const corrects = typeof value.corrects === "string" ? readLiteral(value.corrects) : value.corrects;
  const right = Array.isArray(corrects) && corrects.length === 1 ? foreignText(corrects[0]).trim() : "";
  if (right !== "(A)" && right !== "(B)")
    throw new Unusable(
      `corrects is ${excerptOf(value.corrects === undefined ? "missing" : foreignJson(value.corrects))}; expected [" (A)"] or [" (B)"]`,
    );
  const texts = [textOf(value.text_correct, "text_correct"), textOf(value.text_incorrect, "text_incorrect")] as const;
  const [a, b] = right === "(A)" ? texts : [texts[1], texts[0]];
  const parted = partAtReply(parseTranscript(a), parseTranscript(b));
  return { ...parted, prompt: waiting(parted.prompt, "the shared conversation"), p: right === "(A)" ? 1 : 0 };
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

/** The first of the fields that names a category; a number, a list and an empty text name none. */
function categoryIn(value: Fields, ...fields: readonly string[]): { category?: string } {
  const found = fields.map((field) => value[field]).find((name) => typeof name === "string" && name !== "");
  return found === undefined ? {} : { category: textOf(found, "category") };
}

function numberIn(value: unknown, field: string, least: number, most: number): number {
  const number = typeof value === "bigint" || (typeof value === "string" && value.trim()) ? Number(value) : value;
  if (typeof number === "number" && number >= least && number <= most) return number;
  const range = most === Number.MAX_VALUE ? `of at least ${least}` : `between ${least} and ${most}`;
  throw new Unusable(`${field} is ${excerptOf(foreignText(value), 40)}; expected a number ${range}`);
}

/** Columns that one record lacks and another has are null in Parquet, NaN in what pandas writes. */
function has(value: Fields, field: string): boolean {
  const found = Object.hasOwn(value, field) ? value[field] : undefined;
  return found !== null && found !== undefined && !Number.isNaN(found);
}

function missing(value: Fields, expected: string): Unusable {
  const found = Object.keys(value).filter((field) => has(value, field));
  return new Unusable(`expected ${expected}; found ${excerptOf(found.join(", ")) || "no fields"}`);
}
