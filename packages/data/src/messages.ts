import { Unusable } from "./errors.ts";
import type { Message } from "./message.ts";
import { parseTranscript } from "./transcripts.ts";

const roles: readonly string[] = ["system", "user", "assistant"];

/** A field as messages: a list of `{role, content}`, or, where a text is allowed, the user's one message. */
export function messagesOf(value: unknown, field: string): Message[] {
  if (!Array.isArray(value)) throw new Unusable(`${field} is ${kindOf(value)}; expected a list of messages`);
  if (value.length === 0) throw new Unusable(`${field} is an empty list; expected messages`);
  return value.map((message: unknown, i): Message => {
    if (typeof message !== "object" || message === null || Array.isArray(message))
      throw new Unusable(`${field}[${i}] is ${kindOf(message)}; expected a message {role, content}`);
    const { role, content } = message as { role?: unknown; content?: unknown };
    if (typeof role !== "string" || !roles.includes(role))
      throw new Unusable(`${field}[${i}].role is ${printed(role)}; expected system, user or assistant`);
    return { role: role as Message["role"], content: textOf(content, `${field}[${i}].content`) };
  });
}

/** A field as a conversation that waits for a reply: messages, a transcript, or one text of the user's. */
export function promptOf(value: unknown, field: string): Message[] {
  if (typeof value !== "string") return waiting(messagesOf(value, field), field);
  const text = textOf(value, field);
  if (!text.startsWith("\n\nHuman:")) return waiting([{ role: "user", content: text }], field);
  const messages = parseTranscript(text);
  if (messages.at(-1)?.role === "assistant" && messages.at(-1)?.content === "") messages.pop();
  return waiting(messages, field);
}

/** @throws Unusable unless the last message is the user's and says something */
export function waiting(messages: Message[], field: string): Message[] {
  const last = messages.at(-1);
  if (last?.role !== "user")
    throw new Unusable(`${field} ends with a message of role ${last?.role ?? "none"}; expected the user's to be last`);
  if (last.content.trim() === "") throw new Unusable(`${field} is empty; expected text`);
  return messages;
}

/** A field as the reply to a prompt: a text, one assistant message, or a conversation that repeats the prompt before it. */
export function replyOf(value: unknown, prompt: readonly Message[], field: string): string {
  if (!Array.isArray(value)) return said(textOf(value, field), field);
  const messages = messagesOf(value, field);
  const repeats = messages.length > prompt.length && prompt.every((message, i) => equal(message, messages[i]));
  const rest = repeats ? messages.slice(prompt.length) : messages;
  if (rest.length !== 1 || rest[0]!.role !== "assistant")
    throw new Unusable(
      `${field} holds ${rest.map(({ role }) => role).join(", ")}; expected one message of the assistant`,
    );
  return said(rest[0]!.content, field);
}

/** Two conversations that differ in their last reply only: the shared prompt and the two replies. */
export function partAtReply(
  one: readonly Message[],
  other: readonly Message[],
): { prompt: Message[]; a: string; b: string } {
  let shared = 0;
  while (shared < one.length && shared < other.length && equal(one[shared]!, other[shared])) shared++;
  if (shared === one.length && shared === other.length)
    throw new Unusable("chosen and rejected are the same conversation");
  const [a, b] = [one[shared], other[shared]];
  if (one.length !== shared + 1 || other.length !== shared + 1 || a?.role !== "assistant" || b?.role !== "assistant")
    throw new Unusable(
      `chosen (${one.length} turns) and rejected (${other.length}) share no proper prefix: they part at turn ${shared + 1}; expected them to differ in their last reply only`,
    );
  const prompt = waiting(one.slice(0, shared), "the shared conversation");
  return { prompt, a: said(a.content, "chosen"), b: said(b.content, "rejected") };
}

/** A field as text that can be written as UTF-8. */
export function textOf(value: unknown, field: string): string {
  if (typeof value !== "string") throw new Unusable(`${field} is ${kindOf(value)}; expected text`);
  if (/\p{Cs}/u.test(value)) throw new Unusable(`${field} holds half a surrogate pair, which is no character of UTF-8`);
  return value;
}

function said(text: string, field: string): string {
  if (text.trim() === "") throw new Unusable(`${field} is empty; expected text`);
  return text;
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
