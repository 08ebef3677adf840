import { harmless } from "../format.ts";

/*
 * HTML that cannot be injected into: whatever is put into a template is escaped, unless a template made it.
 */

/** Markup made by `html`. */
export class Html {
  readonly markup: string;
  constructor(markup: string) {
    this.markup = markup;
  }
  toString(): string {
    return this.markup;
  }
}

/** What a template takes: text and numbers are escaped, markup and lists of it stand as they are, `undefined` and `false` vanish. */
export type Part = Html | string | number | undefined | false | readonly Part[];

/**
 * A piece of HTML. Values are escaped for text and for quoted attributes; they must stand in no other place (a tag's
 * name, an unquoted attribute, a script or a style).
 */
export function html(strings: TemplateStringsArray, ...parts: Part[]): Html {
  return new Html(strings.reduce((markup, string, i) => markup + render(parts[i - 1]) + string));
}

function render(part: Part): string {
  if (part === undefined || part === false) return "";
  if (part instanceof Html) return part.markup;
  if (typeof part === "object") return part.map(render).join("");
  return escapeHtml(String(part));
}

const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** Text for HTML, between tags or in a quoted attribute. What a model wrote must not rearrange the page around it either. */
function escapeHtml(text: string): string {
  return harmless(text).replaceAll(/[&<>"']/g, (character) => entities[character]!);
}
