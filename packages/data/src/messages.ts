import { Doubtful, excerptOf, foreignText, Unusable } from "./errors.ts";
import { imagesNamed } from "./image.ts";
import { readLiteral } from "./literal.ts";
import { spelledMarks } from "./marks.ts";
import type { Message } from "./message.ts";
import { transcriptIn, turnsInReply } from "./transcripts.ts";

/*
 * Fields as messages and replies. What is plainly something else than a text is read as what it is, and noted; where that is not
 * certain the record is refused. Nothing is taken literally that only stands for something.
 */

/** Names of roles in data of others (ShareGPT, Gemini, OpenAI), in lower case. */
const roles: Readonly<Record<string, Message["role"]>> = {
  ...{ system: "system", developer: "system" },
  ...{ user: "user", human: "user", person: "user" },
  ...{ assistant: "assistant", gpt: "assistant", chatgpt: "assistant", model: "assistant", bot: "assistant" },
};

/** A text that is meant as messages, whatever comes of reading it. */
const messagesAsText =
  /^\s*"?(?:array\()?\s*(?:\[\s*)*\{\s*\\?["'](?:role|content|from|value|messages|conversations?)\\?["']\s*:/;

/** A field as it is meant: messages that were written as text are a list, other texts and values themselves. */
export function written(value: unknown, field: string, notes: string[]): unknown {
  if (typeof value !== "string") return value;
  if (/^b(['"]).*\1$/s.test(value)) throw new Doubtful(`${field} is bytes as Python prints them; expected their text`);
  if (/^\s*(?:nan|<NA>)\s*$/i.test(value)) throw new Doubtful(`${field} is ${value.trim()}, a missing value of pandas`);
  if (!/^\s*(?:array\(|[[{("])/.test(value)) return value;
  const messages = listed(readLiteral(value));
  if (messages) {
    notes.push(`${field} was a conversation written as text`);
    return messages;
  }
  if (messagesAsText.test(value))
    throw new Doubtful(
      `${field} is messages written as text, and cannot be read as such: cut off, or with something beside`,
    );
  return value;
}

/** A list of messages, if a value is one: alone, in an object that names it, or in JSON inside JSON. */
function listed(value: unknown): readonly unknown[] | undefined {
  if (typeof value === "string") return /^\s*[[{"]/.test(value) ? listed(readLiteral(value)) : undefined;
  if (typeof value !== "object" || value === null) return undefined;
  if (Array.isArray(value)) return value.length > 0 && value.every(isMessage) ? value : undefined;
  if (isMessage(value)) return [value];
  const { messages, conversations, conversation } = value as Record<string, unknown>;
  return listed(messages ?? conversations ?? conversation);
}

function isMessage(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return ("role" in value && "content" in value) || ("from" in value && "value" in value);
}

/** A field as messages: a list of `{role, content}`, or of ShareGPT's `{from, value}`. */
export function messagesOf(value: unknown, field: string, notes: string[] = []): Message[] {
  if (!Array.isArray(value)) throw new Unusable(`${field} is ${kindOf(value)}; expected a list of messages`);
  if (value.length === 0) throw new Unusable(`${field} is an empty list; expected messages`);
  return value.map((message: unknown, i): Message => {
    if (typeof message !== "object" || message === null || Array.isArray(message))
      throw new Unusable(`${field}[${i}] is ${kindOf(message)}; expected a message {role, content}`);
    const fields = message as Record<string, unknown>;
    const { role: named, content, from, value: said } = fields;
    const name = named ?? from;
    const role =
      typeof name === "string" && Object.hasOwn(roles, name.toLowerCase()) ? roles[name.toLowerCase()] : undefined;
    if (role === undefined)
      throw new Unusable(`${field}[${i}].role is ${printed(name)}; expected system, user or assistant`);
    const text = "content" in message ? content : said;
    const shown = `${field}[${i}] shows an image; expected text, and the image in the record's own "images"`;
    if (imagesNamed(fields) !== undefined) throw new Doubtful(shown);
    if (isShown(text)) throw new Unusable(shown);
    if (name !== role || !("content" in message) || Array.isArray(text))
      notes.push(`${field} has messages of another form than {role, content}`);
    return { role, content: textOf(joined(text) ?? text, `${field}[${i}].content`) };
  });
}

/** Whether a content in parts has an image among them. */
function isShown(content: unknown): boolean {
  return Array.isArray(content) && content.some((part) => /^(?:input_)?image/.test(foreignText(part?.type)));
}

/** The text of a content in parts, all of them texts. */
function joined(content: unknown): string | undefined {
  if (!Array.isArray(content) || content.length === 0) return undefined;
  const texts = content.map((part: unknown) => {
    const { type, text } = (typeof part === "object" && part !== null ? part : {}) as Record<string, unknown>;
    return type === "text" && typeof text === "string" ? text : undefined;
  });
  return texts.includes(undefined) ? undefined : texts.join("");
}

/** A field as the conversation before a reply: messages, a transcript, or one text of the user's. */
export function promptOf(value: unknown, field: string, notes: string[] = []): Message[] {
  const meant = written(value, field, notes);
  if (typeof meant !== "string") return waiting(messagesOf(meant, field, notes), field);
  const text = textOf(meant, field);
  const messages = inField(field, () => transcriptIn(text));
  if (messages) notes.push(`${field} was a transcript`);
  if (messages?.at(-1)?.role === "assistant" && messages.at(-1)!.content === "") messages.pop();
  return waiting(messages ?? [{ role: "user", content: text }], field);
}

/** A field as a whole conversation: messages, or a transcript; undefined where it is a reply alone. */
export function conversationOf(value: unknown, field: string, notes: string[]): Message[] | undefined {
  const meant = written(value, field, notes);
  if (typeof meant === "string") return inField(field, () => transcriptIn(meant));
  const messages = messagesOf(meant, field, notes);
  return messages.length > 1 ? messages : undefined;
}

function inField<Result>(field: string, read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    if (error instanceof Unusable && !error.message.startsWith(field)) throw new Doubtful(`${field}: ${error.message}`);
    throw error;
  }
}

/** @throws Unusable unless the last message is the user's and says something, and none was rendered by a template before */
export function waiting(messages: Message[], field: string): Message[] {
  const last = messages.at(-1);
  if (last?.role !== "user")
    throw new Unusable(`${field} ends with a message of role ${last?.role ?? "none"}; expected the user's to be last`);
  if (last.content.trim() === "") throw new Unusable(`${field} is empty; expected text`);
  for (const { role, content } of messages) {
    const mark = role === "assistant" ? spelledMarks(content)[0]?.text : renderedBy(content);
    if (mark !== undefined) throw new Doubtful(`${field} ${spellsOut(mark)}`);
  }
  return messages;
}

const spellsOut = (mark: string) =>
  `spells out ${excerptOf(mark, 40)}, a control token: it was rendered by a template before. Give the texts without it`;

/** The control token by which a text was rendered: one at its beginning or end, or two in a row. People may write one themselves. */
function renderedBy(text: string): string | undefined {
  const marks = spelledMarks(text);
  const ends = text.trimEnd().length;
  return marks.find(({ text: mark, index }, i) => {
    const end = index + mark.length;
    const next = marks[i + 1];
    return text.slice(0, index).trim() === "" || end >= ends || (next && text.slice(end, next.index).trim() === "");
  })?.text;
}

/** What ends a turn in the templates in use. */
const endMark =
  /^(?:<\/s>|<eo[sda]>|<end_of_turn>|<[|｜][^|｜]*(?:end|eot|eom|eos|return)[^|｜]*[|｜]>|\[\|endofturn\|\])$/i;

/** A field as the reply alone: a text, or one message of the assistant. End marks behind it are taken off. */
export function replyOf(value: unknown, field: string, notes: string[] = []): string {
  const meant = written(value, field, notes);
  if (typeof meant === "string") return said(textOf(meant, field), field, notes);
  const messages = messagesOf(meant, field, notes);
  if (messages.length !== 1 || messages[0]!.role !== "assistant")
    throw new Unusable(
      `${field} holds ${messages.map(({ role }) => role).join(", ")}; expected one message of the assistant`,
    );
  return said(messages[0]!.content, field, notes);
}

/** Two conversations that differ in their last reply only: the shared prompt and the two replies. */
export function partAtReply(
  one: readonly Message[],
  other: readonly Message[],
  notes: string[] = [],
): { prompt: Message[]; a: string; b: string } {
  const shared = sharedBy(one, other).length;
  if (shared === one.length && shared === other.length)
    throw new Unusable("chosen and rejected are the same conversation");
  const [a, b] = [one[shared], other[shared]];
  if (one.length !== shared + 1 || other.length !== shared + 1 || a?.role !== "assistant" || b?.role !== "assistant")
    throw new Unusable(
      `chosen (${one.length} turns) and rejected (${other.length}) share no proper prefix: they part at turn ${shared + 1}; expected them to differ in their last reply only`,
    );
  const prompt = one.slice(0, shared);
  return { prompt, a: said(a.content, "chosen", notes), b: said(b.content, "rejected", notes) };
}

/** The turns with which both conversations begin. */
export function sharedBy(one: readonly Message[], other: readonly Message[]): Message[] {
  let shared = 0;
  while (shared < one.length && shared < other.length && equal(one[shared]!, other[shared])) shared++;
  return one.slice(0, shared);
}

/**
 * The conversation before a reply, of which a prompt beside it may name a part: the last question, the first, or all but the system
 * turn. A conversation that begins with the assistant goes on behind the prompt.
 * @throws Unusable where neither holds the other: which of the two counts is not known
 */
export function besidePrompt(prompt: readonly Message[], conversation: readonly Message[]): Message[] {
  if (conversation[0]?.role === "assistant") return [...prompt, ...conversation];
  const system = prompt[0]?.role === "system" ? prompt[0] : undefined;
  const turns = system ? prompt.slice(1) : prompt;
  const ownSystem = conversation[0]?.role === "system";
  if (within(prompt, conversation) || (!ownSystem && within(turns, conversation)))
    return ownSystem || !system ? [...conversation] : [system, ...conversation];
  if (within(conversation, prompt)) return [...prompt];
  throw new Doubtful("prompt is not in the conversation that stands beside it: which of the two counts is not known");
}

/** Whether all turns of one conversation are turns of another, in their order, but for white space around them. */
function within(part: readonly Message[], whole: readonly Message[]): boolean {
  let at = 0;
  for (const { role, content } of whole)
    if (part[at]?.role === role && part[at]?.content.trim() === content.trim()) at++;
  return at === part.length;
}

/** A field as text that can be written as UTF-8. */
export function textOf(value: unknown, field: string): string {
  if (typeof value !== "string") throw new Unusable(`${field} is ${kindOf(value)}; expected text`);
  if (/\p{Cs}/u.test(value)) throw new Unusable(`${field} holds half a surrogate pair, which is no character of UTF-8`);
  return value;
}

/** What was said in reply: not empty, no transcript, and without the end marks that a template sets behind it. */
export function said(text: string, field: string, notes: string[]): string {
  const marks = spelledMarks(text);
  let reply = text;
  for (let mark = marks.pop(); mark !== undefined; mark = marks.pop()) {
    if (mark.index + mark.text.length < reply.trimEnd().length || !endMark.test(mark.text)) {
      marks.push(mark);
      break;
    }
    reply = text.slice(0, mark.index).trimEnd();
  }
  if (reply !== text) {
    reply = reply.replace(/^\s*(?:<s>|<bos>)\s*/, "");
    notes.push(`end marks were taken off ${field}`);
  }
  if (reply.trim() === "") throw new Unusable(`${field} is empty; expected text`);
  if (marks[0]) throw new Doubtful(`${field} ${spellsOut(marks[0].text)}`);
  const turns = turnsInReply(reply);
  if (turns !== undefined) throw new Doubtful(`${field} ${turns}`);
  return reply;
}

function equal(one: Message, other: Message | undefined): boolean {
  return one.role === other?.role && one.content === other.content;
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return "missing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "string") return "a text";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function printed(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value.slice(0, 40)) : kindOf(value);
}
