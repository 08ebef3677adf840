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
  const marks = [...`\n\n${text.trimStart()}`.matchAll(/\n\n(Human|Assistant):/g)];
  const body = `\n\n${text.trimStart()}`;
  if (marks[0]?.index !== 0 || marks[0][1] !== "Human")
    throw new Unusable('not a transcript: it does not begin with "\\n\\nHuman:"');
  const messages: Message[] = [];
  for (const [i, mark] of marks.entries()) {
    const role = speakers[mark[1] as keyof typeof speakers];
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
