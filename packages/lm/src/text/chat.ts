import { randomBytes } from "node:crypto";
import type { Message } from "../language-model/types.ts";
import { ChatTemplateError } from "./errors.ts";
import { strip } from "./strip.ts";
import { type RenderOptions, renderChat } from "./template.ts";
import { escapePattern } from "./tokenizer.ts";

/** A rendered conversation whose special tokens are all the template's; `reveal` puts back what was hidden from it. */
export interface RenderedChat {
  text: string;
  /** The conversation ends inside the assistant's turn, with what was said so far. */
  continued: boolean;
  reveal(text: string): string;
}

export interface ChatOptions extends RenderOptions {
  /** Written behind a conversation that waits for a reply, by the side of what the template writes. */
  opening?: string;
}

/**
 * Renders conversations so that control tokens come from the template only.
 *
 * Before rendering, special-token strings inside contents (also ones cut off at a content's start or end, which could be
 * completed by what stands beside them) are replaced by unguessable characters. Special tokens found in the result are
 * then the template's own; afterwards the replaced strings are put back as plain text. Between two control tokens the text
 * is whole, so that ordinary contents give exactly Hugging Face's ids, and trimmed or cut contents stay protected.
 */
export function chatRenderer(template: string, special: Iterable<string>, options: ChatOptions) {
  const { opening = "", ...rendering } = options;
  const names = [...special].filter((name) => name !== "").sort((a, b) => b.length - a.length);
  const wholes = names.length > 0 ? new RegExp(names.map(escapePattern).join("|"), "g") : undefined;
  const starts = new Set(
    names.flatMap((name) => Array.from({ length: name.length - 1 }, (_, i) => name.slice(0, i + 1))),
  );
  const ends = new Set(names.flatMap((name) => Array.from({ length: name.length - 1 }, (_, i) => name.slice(i + 1))));
  const longest = Math.max(0, ...names.map(({ length }) => length)) - 1;

  return (messages: readonly Message[]): RenderedChat => {
    const last = messages.at(-1);
    if (!last) throw new ChatTemplateError("a conversation needs at least one message");
    const hidden = new Map<string, string>();
    const markers = new Map<string, string>();
    const hide = (text: string): string => {
      let marker = markers.get(text);
      if (!marker) {
        marker = unguessable();
        markers.set(text, marker);
        hidden.set(marker, text);
      }
      return marker;
    };
    const protect = (content: string): string => {
      let text = wholes ? content.replace(wholes, hide) : content;
      for (let n = Math.min(longest, text.length); n > 0; n--)
        if (ends.has(text.slice(0, n))) {
          text = hide(text.slice(0, n)) + text.slice(n);
          break;
        }
      for (let n = Math.min(longest, text.length); n > 0; n--)
        if (starts.has(text.slice(-n))) return text.slice(0, -n) + hide(text.slice(-n));
      return text;
    };

    const continued = last.role === "assistant";
    const end = unguessable();
    const guarded = messages.map((message) => ({ ...message, content: protect(message.content) }));
    if (continued) guarded.at(-1)!.content += `${end} `;
    let text = renderChat(template, guarded, { ...rendering, addGenerationPrompt: !continued });
    if (continued) {
      const at = text.lastIndexOf(end);
      if (at < 0)
        throw new ChatTemplateError(
          "the chat template drops the assistant's last turn, so that it cannot be continued",
        );
      // A template that trims contents trims what is continued, too; Hugging Face finds out in the same way.
      const trims = text[at + end.length] !== " ";
      text = trims ? strip(text.slice(0, at), "end") : text.slice(0, at);
    } else text += opening;

    if (hidden.size === 0) return { text, continued, reveal: (piece) => piece };
    const markersFound = new RegExp([...hidden.keys()].join("|"), "g");
    return { text, continued, reveal: (piece) => piece.replace(markersFound, (marker) => hidden.get(marker)!) };
  };
}

/** Twelve characters of the private use area: no case, no white space, nothing that a template would change. */
export function unguessable(): string {
  const bytes = randomBytes(24);
  let text = "";
  for (let i = 0; i < 24; i += 2) text += String.fromCharCode(0xe000 + (bytes.readUInt16LE(i) % 0x1900));
  return text;
}
