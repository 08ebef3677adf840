import type { TokenizerFiles } from "../checkpoint/index.ts";
import type { Message } from "../language-model/types.ts";
import { renderChat } from "./template.ts";

/** A conversation of plain words, whose first reply is behind it: thoughts are shown of the last one at most. */
const plain: readonly Message[] = [
  { role: "user", content: "a" },
  { role: "assistant", content: "b" },
  { role: "user", content: "c" },
];

/** What marks thoughts inside of a reply: a model writes it, and learns it, as text of its own. */
const thoughts = /think|thought|reason|analysis/i;

/**
 * A tokenizer's files in which the markers that a chat template writes between turns are special tokens. Some tokenizers do not call them so,
 * as DeepSeek's `<｜User｜>` and `<｜Assistant｜>`: in what people say they would open turns.
 */
export function withTurnMarkers(
  files: TokenizerFiles,
  template: string | undefined,
  variables: Record<string, string>,
): TokenizerFiles {
  const { added_tokens: added } = files.tokenizer as { added_tokens?: unknown };
  if (template === undefined || !Array.isArray(added)) return files;
  const tokens = added as readonly { content?: unknown; special?: unknown; normalized?: unknown }[];
  if (tokens.every(({ special }) => special === true)) return files;
  let written: string;
  try {
    written = renderChat(template, plain, { variables });
  } catch {
    // A faulty template is told of where a conversation is encoded.
    return files;
  }
  const marks = ({ content, special }: (typeof tokens)[number]) =>
    special !== true &&
    typeof content === "string" &&
    content.length > 1 &&
    /\W/.test(content.trim()) &&
    written.includes(content) &&
    !thoughts.test(content);
  if (!tokens.some(marks)) return files;
  const known = tokens.map((token) =>
    marks(token) ? { ...token, special: true, normalized: token.normalized ?? true } : token,
  );
  return { ...files, tokenizer: { ...files.tokenizer, added_tokens: known } };
}
