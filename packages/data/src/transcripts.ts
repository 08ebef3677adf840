import { Unusable } from "./errors.ts";
import type { Message } from "./message.ts";

const speakers = { Human: "user", Assistant: "assistant" } as const;

/**
 * The messages of a transcript as hh-rlhf writes them: `"\n\nHuman: …\n\nAssistant: …"`. Space around a turn is not part of it;
 * neighbouring turns of one speaker are joined by an empty line, since chat templates expect speakers to take turns.
 *
 * A last turn may be empty (a transcript that waits for the reply); no other may.
 * Source: Bai et al., arXiv 2204.05862, data release.
 * @throws Unusable when the text does not begin with a Human turn
 */
export function parseTranscript(text: string): Message[] {
  const body = `\n\n${text.trimStart()}`;
  const marks = [...body.matchAll(/\n\n(Human|Assistant):/g)];
  if (marks[0]?.index !== 0 || marks[0][1] !== "Human")
    throw new Unusable('not a transcript: it does not begin with "\\n\\nHuman:"');
  return turnsOf(body, marks, (mark) => speakers[mark[1] as keyof typeof speakers]);
}

/** The turns between the labels that were found, each label's speaker by `roleOf`. */
function turnsOf(
  body: string,
  marks: readonly RegExpExecArray[],
  roleOf: (mark: RegExpExecArray) => Message["role"],
): Message[] {
  const messages: Message[] = [];
  for (const [i, mark] of marks.entries()) {
    const role = roleOf(mark);
    const content = body.slice(mark.index + mark[0].length, marks[i + 1]?.index).trim();
    const last = messages.at(-1);
    if (last?.role !== role) messages.push({ role, content });
    else last.content = [last.content, content].filter(Boolean).join("\n\n");
  }
  const empty = messages.findIndex(({ content }, i) => content === "" && i < messages.length - 1);
  if (empty >= 0) throw new Unusable(`turn ${empty + 1} of the transcript is empty`);
  return messages;
}

/** Whether a text is meant as such a transcript. */
export function isTranscript(text: string): boolean {
  return /^\s*Human:/.test(text);
}

/** Labels of turns as other data have them: at the beginning of a line, or, in capitals, anywhere behind white space (Vicuna). */
const [person, model, instruction] = [
  String.raw`(?:#{2,3} ?|\*\*)?(?:Human|User)(?:\*\*)?:(?:\*\*)?|<(?:human|user)>:`,
  String.raw`(?:#{2,3} ?|\*\*)?(?:Assistant|AI|Bot|GPT)(?:\*\*)?:(?:\*\*)?|<(?:bot|assistant|gpt)>:`,
  "(?:#{2,3} ?)?System:",
];
const labels = new RegExp(
  String.raw`(?:(?:^|\n)[ \t]*(?:(${person})|(${model})|(${instruction}))|(?:^|\s)(?:(USER:)|(ASSISTANT:)|(SYSTEM:)))`,
  "g",
);

/** Alpaca's template, and a question that is only waiting for its answer: rendered texts whose parts cannot be told for certain. */
function isRendered(text: string): boolean {
  const instruction = /(?:^|\n)#{2,3} ?Instruction:/.exec(text);
  if (instruction && /\n#{2,3} ?(?:Response|Output|Answer):/.test(text.slice(instruction.index))) return true;
  return /^\s*Q(?:uestion)?: /.test(text) && /\nA(?:nswer)?:\s*$/.test(text.slice(-200));
}

/**
 * The messages of a text that is plainly a transcript: it begins with a turn of the person's (or a system turn) and holds turns of the
 * model's. The last turn is empty where it waits for the reply. Undefined for other texts.
 * @throws Unusable for what is a transcript or rendered template, but cannot be read for certain
 */
export function transcriptIn(text: string): Message[] | undefined {
  const hh = /^\s*\n\nHuman:/.test(text) || (isTranscript(text) && /\n\nAssistant:/.test(text));
  const messages = hh ? parseTranscript(text) : labelled(text);
  if (messages === undefined) {
    if (isTranscript(text))
      throw new Unusable(
        'it begins with "Human:" as a transcript does and holds no turn of the assistant. A transcript begins with two line ends; a text has no label',
      );
    if (isRendered(text))
      throw new Unusable("it is a rendered template. Give what stands in it as prompt and completion, or as messages");
    return undefined;
  }
  return messages;
}

function labelled(text: string): Message[] | undefined {
  const marks = [...text.matchAll(labels)];
  const roleOf = (mark: RegExpExecArray) => (mark[1] || mark[4] ? "user" : mark[2] || mark[5] ? "assistant" : "system");
  const roles = marks.map(roleOf);
  if (marks[0] === undefined || text.slice(0, marks[0].index).trim() !== "") return undefined;
  return roles[0] !== "assistant" && roles.includes("user") && roles.includes("assistant")
    ? turnsOf(text, marks, roleOf)
    : undefined;
}

/** Why a text is no reply alone: it has its speaker's label, or goes on with the next turn. Undefined where it may be one. */
export function turnsInReply(text: string): string | undefined {
  if (/^\s*(?:#{2,3} ?|\*\*)?(?:Assistant|ASSISTANT)(?:\*\*)?:/.test(text))
    return "begins with its speaker's label, as a transcript does";
  return /\n\nHuman:/.test(text) ? "goes on with the next turn of a transcript" : undefined;
}
