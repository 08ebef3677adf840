import type { Message, TextCodec } from "@tenet/lm";

/** Text of a conversation that cannot be told apart into its turns. */
export class TemplatedTextError extends Error {
  override readonly name = "TemplatedTextError";
}

/** Exchanges of a conversation that are looked for. */
const mostExchanges = 8;

/**
 * Turns rendered text back into the conversation that a chat template made it of, for callers that send nothing else. Text without any control
 * token is what a person said, as it is.
 */
export interface Templated {
  /** Errors: TemplatedTextError where control tokens stand in it, and no conversation of up to eight exchanges renders to it. */
  prompt(text: string): readonly Message[];
  /** A reply as a model wrote it: its words, and whether it ended by itself, with a token that says so. */
  reply(text: string): { readonly text: string; readonly finished: boolean };
}

export function templated(codec: TextCodec): Templated {
  const ends = [...codec.endIds].map((id) => codec.tokenText(id)).filter((text) => text !== "");
  let known: readonly Form[] | undefined;
  const plain = (text: string) => same(codec.encode(text), codec.encode(text, { allowSpecial: true }));
  return {
    prompt(text) {
      const words: readonly Message[] = [{ role: "user", content: text }];
      if (plain(text)) return words;
      known ??= codec.hasChat ? forms(codec) : [];
      const ids = codec.encode(text, { allowSpecial: true });
      for (const form of known) {
        const found = conversation(text, form);
        // Words that look like a turn of their own are no such: their tokens would be others.
        if (found && same(codec.encodePrompt(found), ids)) return found;
      }
      const shown = JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
      throw new TemplatedTextError(
        `the prompt ${shown} holds control tokens, and is no conversation as this model's chat template renders it: send what the person said as plain text, or render it with the template of the model that judges`,
      );
    },
    reply(text) {
      let words = text;
      let finished = false;
      for (let end = ending(words); end !== undefined; end = ending(words)) {
        words = words.slice(0, words.length - end.length);
        finished = true;
      }
      return { text: words, finished };
    },
  };

  function ending(text: string): string | undefined {
    const bare = text.replace(/\n+$/, "");
    const end = ends.find((one) => bare.endsWith(one));
    // Templates put a line's end behind a turn's.
    return end === undefined ? undefined : end + text.slice(bare.length);
  }
}

/** Roles of a conversation's turns, and what a template writes before, between and behind their contents. */
interface Form {
  readonly roles: readonly Message["role"][];
  readonly pieces: readonly string[];
}

function forms(codec: TextCodec): Form[] {
  return Array.from({ length: mostExchanges }, (_, exchanges) =>
    [[], ["system" as const]].map((before): Message["role"][] => [
      ...before,
      ...Array.from({ length: exchanges }, () => ["user" as const, "assistant" as const]).flat(),
      "user",
    ]),
  )
    .flat()
    .flatMap((roles): Form[] => {
      const marks = roles.map((_, i) => `⟨${i}⟩`);
      let text: string;
      try {
        text = codec.decode(codec.encodePrompt(roles.map((role, i) => ({ role, content: marks[i]! }))));
      } catch {
        return []; // such conversations the template does not take
      }
      const pieces: string[] = [];
      for (const mark of marks) {
        const at = text.indexOf(mark);
        if (at < 0) return [];
        pieces.push(text.slice(0, at));
        text = text.slice(at + mark.length);
      }
      return [{ roles, pieces: [...pieces, text] }];
    });
}

/** Contents of a text that is such a form; undefined where it is none. */
function conversation(text: string, { roles, pieces }: Form): Message[] | undefined {
  const [first, ...others] = pieces;
  const last = others.pop()!;
  if (!text.startsWith(first!) || !text.endsWith(last) || text.length < first!.length + last.length) return undefined;
  let rest = text.slice(first!.length, text.length - last.length);
  const contents: string[] = [];
  for (const between of others) {
    const at = rest.indexOf(between);
    if (at < 0) return undefined;
    contents.push(rest.slice(0, at));
    rest = rest.slice(at + between.length);
  }
  return [...contents, rest].map((content, i) => ({ role: roles[i]!, content }));
}

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}
