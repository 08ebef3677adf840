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

/**
 * Text as HTML shows it. Control characters, lone surrogates and the marks that turn the direction of what follows become
 * U+FFFD: text written by a model must not rearrange the page around it.
 */
export function escapeHtml(text: string): string {
  return (
    text
      .replaceAll(/\r\n?/g, "\n")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      .replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufffe\uffff]/g, "\ufffd")
      .replaceAll(/\p{Surrogate}/gu, "\ufffd")
      .replaceAll(/[&<>"']/g, (character) => entities[character]!)
  );
}
