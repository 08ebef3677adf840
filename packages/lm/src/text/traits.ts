import type { Message } from "@tenet/data";
import { EndlessTemplateError } from "./errors.ts";
import { renderChat } from "./template.ts";

/**
 * What a chat template does, found out by rendering a few conversations when the model is opened. Texts are as it writes them.
 */
export interface ChatTraits {
  /** Why no conversation can be given to the model, and what to do about it. Absent where one can. */
  readonly fault?: string;
  /** Between a question and its reply: when a reply is asked for, and in a conversation that has it. */
  readonly prompt: string;
  readonly finished: string;
  /**
   * `same`: a reply is asked for as one stands in a conversation; white space before its first word is the reply's. `completed`: the
   * template writes nothing when a reply is asked for, so what stands before one is written. `other`: a conversation that has the
   * reply reads otherwise (a thought, as a rule); training goes by what generation is given. `unknown`: no reply is rendered.
   */
  readonly opening: "same" | "completed" | "other" | "unknown";
  /** White space that stands before a reply's first word. */
  readonly lead: string;
  /** Tokens behind a reply, up to the one at which generation stops; null where none stops it: replies cannot be learnt. */
  readonly end: readonly number[] | null;
  /** A reply stays as it was written when the conversation goes on. False for thoughts that are taken away afterwards. */
  readonly keepsReplies: boolean;
  /** `written` as a turn of its own, `merged` into one of the person's, `required`, `refused`, or left out without a word. */
  readonly system: "written" | "merged" | "required" | "refused" | "left out";
  /** Two turns of one role in a row are refused. */
  readonly alternates: boolean;
  /** Times that the token for a text's beginning stands at the beginning. */
  readonly bos: number;
}

export interface TraitsOptions {
  readonly template: string;
  readonly variables: Readonly<Record<string, string>>;
  /** Ids of a rendered conversation. */
  encode(text: string): number[];
  tokenText(id: number): string;
  readonly special: ReadonlyMap<string, number>;
  /** What ends a text, as model and tokenizer say. */
  readonly ends: ReadonlySet<number>;
  readonly bos: number | undefined;
  /** Tokens of these ids have a row in the embedding. */
  hasRow(id: number): boolean;
}

const question = "Which tree is the tallest?";
const reply = "A redwood is.";
const further = "Which river is the longest?";
const instruction = "Answer in few words.";
const user = (content: string): Message => ({ role: "user", content });
const assistant: Message = { role: "assistant", content: reply };
const system: Message = { role: "system", content: instruction };

/** What the template does, and the token that ends a reply where the model's own ends do not name it. */
export function chatTraits(options: TraitsOptions): { traits: ChatTraits; endOfTurn: number | undefined } {
  const { template, variables, encode, tokenText, special, ends, bos, hasRow } = options;
  const render = (messages: readonly Message[], addGenerationPrompt = messages.at(-1)?.role !== "assistant") => {
    try {
      return { text: renderChat(template, messages, { variables: { ...variables }, addGenerationPrompt }) };
    } catch (error) {
      return { refused: (error as Error).message, endless: error instanceof EndlessTemplateError };
    }
  };

  let before: Message[] = [];
  let asked = render([user(question)]);
  let required = false;
  if (asked.refused !== undefined && !asked.endless) {
    // Some templates want a system turn.
    const behind = render([system, user(question)]);
    required = behind.text !== undefined;
    if (required) [before, asked] = [[system], behind];
  }
  const nothing = { prompt: "", finished: "", lead: "", end: null, keepsReplies: false, alternates: false, bos: 0 };
  if (asked.text === undefined)
    return {
      traits: { ...nothing, fault: asked.refused!, opening: "unknown", system: "refused" },
      endOfTurn: undefined,
    };

  const written = asked.text;
  const prompt = behindLast(written, question);
  const finishedText = render([...before, user(question), assistant]).text;
  const goesOn = render([...before, user(question), assistant, user(further)]).text;
  const whole = [finishedText, goesOn].find((text) => text?.includes(reply));
  const upToReply = whole?.slice(0, whole.lastIndexOf(reply));
  const finished = upToReply === undefined ? undefined : behindLast(upToReply, question);
  const { opening, completion, lead } = openingOf(
    written,
    upToReply,
    render([...before, user(question)], false).text === written,
  );

  const closing = finishedText?.includes(reply) ? behindLast(finishedText, reply) : undefined;
  const endOfTurn = endIn(closing, finished, special, ends);
  const stops = endOfTurn === undefined ? ends : new Set([...ends, endOfTurn]);
  const end =
    endTokens(finishedText, finishedText?.length, encode, stops) ??
    endTokens(goesOn, goesOn?.lastIndexOf(further), encode, stops);
  // As the reply stood when it was the last, in the conversation that goes on.
  const shown = finishedText?.slice(0, finishedText.lastIndexOf(reply) + reply.length);
  const ids = encode(written + completion);
  const lost = [...new Set(ids.filter((id) => !hasRow(id)))].map((id) => `${tokenText(id)} (id ${id})`);
  const fault = !written.includes(question)
    ? "it leaves out what the person says"
    : lost.length > 0
      ? `it writes ${lost.join(", ")}, for which the model's embedding has no row`
      : undefined;
  return {
    endOfTurn,
    traits: {
      ...(fault === undefined ? {} : { fault }),
      prompt: completion === "" ? (prompt ?? "") : completion,
      finished: finished ?? "",
      opening,
      lead,
      end: end ?? null,
      keepsReplies: shown !== undefined && (goesOn?.startsWith(shown) ?? false),
      system: required ? "required" : systemOf(render([system, user(question)]).text, written),
      alternates: render([...before, user(question), user(further)]).text === undefined,
      bos: timesFirst(ids, bos),
    },
  };
}

function timesFirst(ids: readonly number[], id: number | undefined): number {
  let count = 0;
  while (count < ids.length && ids[count] === id) count++;
  return count;
}

function behindLast(text: string, part: string): string | undefined {
  const at = text.lastIndexOf(part);
  return at < 0 ? undefined : text.slice(at + part.length);
}

/** How a prompt leads into a reply. @param silent nothing is written for a reply that is asked for */
function openingOf(written: string, upToReply: string | undefined, silent: boolean) {
  const none = { completion: "", lead: "" };
  if (upToReply === undefined) return { opening: "unknown" as const, ...none };
  if (!upToReply.startsWith(written)) return { opening: "other" as const, ...none };
  const rest = upToReply.slice(written.length);
  if (rest.trim() === "") return { opening: "same" as const, completion: "", lead: rest };
  if (!silent) return { opening: "other" as const, ...none };
  // Spaces belong to the reply's first word; a line's end to the heading before it.
  const completion = rest.replace(/ +$/, "");
  return { opening: "completed" as const, completion, lead: rest.slice(completion.length) };
}

/** The special token first behind a reply, unless it leads into replies or is known to end texts already. */
function endIn(
  closing: string | undefined,
  opening: string | undefined,
  special: ReadonlyMap<string, number>,
  ends: ReadonlySet<number>,
): number | undefined {
  const names = [...special.keys()].filter((name) => name !== "").sort((a, b) => b.length - a.length);
  const start = closing?.trimStart();
  const found = start === undefined ? undefined : names.find((name) => start.startsWith(name));
  if (found === undefined) return undefined;
  const id = special.get(found)!;
  if (ends.has(id)) return id;
  return opening?.trimEnd().endsWith(found) ? undefined : id;
}

/** Tokens behind the last reply of a rendered conversation, up to the first that ends it. @param to where to stop looking */
function endTokens(
  text: string | undefined,
  to: number | undefined,
  encode: TraitsOptions["encode"],
  stops: ReadonlySet<number>,
): number[] | undefined {
  const at = text?.lastIndexOf(reply) ?? -1;
  if (at < 0) return undefined;
  const open = encode(text!.slice(0, at + reply.length));
  const closed = encode(text!.slice(0, to));
  const begins = open.every((id, i) => closed[i] === id);
  const tail = begins ? closed.slice(open.length) : encode(text!.slice(at + reply.length, to));
  const stop = tail.findIndex((id) => stops.has(id));
  return stop < 0 ? undefined : tail.slice(0, stop + 1);
}

function systemOf(withSystem: string | undefined, without: string): ChatTraits["system"] {
  if (withSystem === undefined) return "refused";
  const at = withSystem.indexOf(instruction);
  if (at < 0) return "left out";
  const start = without.slice(0, without.indexOf(question));
  return withSystem.startsWith(start) && at >= start.length && start !== "" ? "merged" : "written";
}
