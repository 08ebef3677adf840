/** The names of characters that writers type by hand; others stay as they are. */
const entities: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  nbsp: " ",
  ensp: " ",
  emsp: " ",
  thinsp: " ",
  shy: "",
  zwnj: "\u200c",
  zwj: "\u200d",
  ndash: "–",
  mdash: "—",
  lsquo: "‘",
  rsquo: "’",
  ldquo: "“",
  rdquo: "”",
  laquo: "«",
  raquo: "»",
  hellip: "…",
  bull: "•",
  middot: "·",
  copy: "©",
  reg: "®",
  trade: "™",
  deg: "°",
  plusmn: "±",
  times: "×",
  divide: "÷",
  minus: "−",
  ne: "≠",
  le: "≤",
  ge: "≥",
  infin: "∞",
  larr: "←",
  rarr: "→",
  uarr: "↑",
  darr: "↓",
  euro: "€",
  pound: "£",
  sect: "§",
  para: "¶",
  frac12: "½",
};

const paragraphs = new Set("p div h1 h2 h3 h4 h5 h6 ul ol table dl hr section article".split(" "));
const lines = new Set("br tr dt dd".split(" "));
const unseen = new Set("script style head title template".split(" "));

/**
 * The text of a piece of HTML, as plain text that keeps what matters to a reader: paragraphs, list items (`- `), quotations
 * (`> `), code (in backquotes, blocks in fences) and the addresses of links behind their words.
 *
 * Time is linear in the length, whatever the input: tags need not be closed or nested, and nothing is interpreted.
 *
 * @example
 * htmlToText("<p>Use <code>ls</code> &amp; <b>read</b>.</p>"); // "Use `ls` & read."
 */
export function htmlToText(html: string): string {
  const writer = new Writer();
  let link: { address: string; words: string } | undefined;
  let hidden: string | undefined; // the element whose content is not shown
  let preformatted = false;
  const write = (text: string) => {
    if (link) link.words += text;
    if (preformatted) writer.verbatim(text);
    else writer.flow(text);
  };
  for (const piece of pieces(html)) {
    if (typeof piece === "string") {
      if (!hidden) write(decoded(piece));
      continue;
    }
    const { name, closing, attributes } = piece;
    if (hidden !== undefined) {
      if (closing && name === hidden) hidden = undefined;
    } else if (unseen.has(name)) hidden = closing ? undefined : name;
    else if (paragraphs.has(name)) writer.break(2);
    else if (lines.has(name)) writer.break(1);
    else if (name === "li") {
      if (closing) writer.itemEnd();
      else writer.item();
    } else if (name === "td" || name === "th") write(" ");
    else if (name === "blockquote") writer.quote(closing ? -1 : 1);
    else if (name === "pre" && preformatted === closing) {
      preformatted = !closing;
      writer.fence();
    } else if (name === "code" && !preformatted) write("`");
    else if (name === "img") write(decoded(attribute(attributes, "alt")));
    else if (name === "a" && !closing) link = { address: decoded(attribute(attributes, "href")).trim(), words: "" };
    else if (name === "a" && link) {
      const { address, words } = link;
      link = undefined;
      if (/^https?:\/\//.test(address) && words.trim() !== address) write(` (${address})`);
    }
  }
  if (preformatted) writer.fence();
  return writer.text();
}

interface Tag {
  /** In lower case. */
  readonly name: string;
  readonly closing: boolean;
  readonly attributes: string;
}

/** Text and tags in turn. What begins like a tag and never ends is text. */
function* pieces(html: string): Generator<string | Tag> {
  let i = 0;
  while (i < html.length) {
    const open = html.indexOf("<", i);
    if (open < 0) return yield html.slice(i);
    if (open > i) yield html.slice(i, open);
    if (html.startsWith("<!--", open)) {
      const end = html.indexOf("-->", open + 4);
      if (end < 0) return;
      i = end + 3;
      continue;
    }
    const end = tagEnd(html, open);
    const inside = html.slice(open + 1, end.at);
    const tag = /^(\/?)([a-z][a-z0-9]*)/i.exec(inside);
    if (end.closed && tag)
      yield { name: tag[2]!.toLowerCase(), closing: tag[1] === "/", attributes: inside.slice(tag[0].length) };
    else if (!(end.closed && /^[!?]/.test(inside))) yield html.slice(open, end.closed ? end.at + 1 : end.at);
    i = end.closed ? end.at + 1 : end.at;
  }
}

/** Where the tag that opens at `open` ends: at its `>`, quoted ones passed over, or before the next `<`, at which it is none. */
function tagEnd(html: string, open: number): { at: number; closed: boolean } {
  let quote = "";
  if (!/[a-z/!?]/i.test(html[open + 1] ?? "")) return { at: open + 1, closed: false };
  for (let at = open + 1; at < html.length; at++) {
    const character = html[at]!;
    if (quote) quote = character === quote ? "" : quote;
    else if (character === ">") return { at, closed: true };
    else if (character === "<") return { at, closed: false };
    else if ((character === '"' || character === "'") && html[at - 1] === "=") quote = character;
  }
  return { at: html.length, closed: false };
}

function attribute(attributes: string, name: string): string {
  const found = new RegExp(`\\s${name}=(?:"([^"]*)"|'([^']*)'|([^\\s"'>]+))`, "i").exec(attributes);
  return found?.[1] ?? found?.[2] ?? found?.[3] ?? "";
}

function decoded(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|([a-z][a-z0-9]{1,30}));/gi, (whole, hex, decimal, name) => {
    if (name !== undefined) return Object.hasOwn(entities, name) ? entities[name]! : whole;
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
    const character = code >= 32 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
    return character || code === 9 || code === 10 ? String.fromCodePoint(code) : whole;
  });
}

/** Puts text together; breaks are owed until there is text behind them, so that there are no empty lines at either end. */
class Writer {
  #parts: string[] = [];
  #owed = 0;
  #space = false;
  /** Behind the mark of a list item, whose text follows on the same line. */
  #bullet = false;
  #depth = 0;
  #lastDepth = 0;

  break(lines: number): void {
    if (this.#bullet) return;
    this.#owed = Math.max(this.#owed, lines);
    this.#space = false;
  }

  item(): void {
    this.itemEnd();
    this.flow("- ");
    this.#bullet = true;
  }

  itemEnd(): void {
    this.#bullet = false;
    this.break(1);
  }

  quote(by: 1 | -1): void {
    this.break(2);
    // Deeper than eight is no quotation any reader follows.
    this.#depth = Math.min(8, Math.max(0, this.#depth + by));
  }

  fence(): void {
    this.break(1);
    this.#put("```");
    this.break(1);
  }

  /** Text as it is: spaces and line ends count. */
  verbatim(text: string): void {
    for (const [i, line] of text.split(/\r\n|\r|\n/).entries()) {
      if (i > 0) this.#owed++;
      if (line !== "") this.#put(line);
    }
    this.#space = false;
  }

  /** Text in which any white space is one space. */
  flow(text: string): void {
    const words = text.trim().replace(/\s+/g, " ");
    const space = this.#space || /^\s/.test(text);
    if (words === "") this.#space = space;
    else {
      this.#put((space && this.#owed === 0 && this.#parts.length > 0 ? " " : "") + words);
      this.#space = /\s$/.test(text);
    }
  }

  #put(text: string): void {
    const prefix = "> ".repeat(this.#depth);
    // An empty line between two quotations belongs to what is around both.
    const between = "> ".repeat(Math.min(this.#depth, this.#lastDepth)).trimEnd();
    if (this.#parts.length === 0) this.#parts.push(prefix);
    else for (let left = this.#owed; left > 0; left--) this.#parts.push(`\n${left > 1 ? between : prefix}`);
    this.#lastDepth = this.#depth;
    this.#owed = 0;
    this.#parts.push(text);
    this.#bullet = false;
  }

  text(): string {
    return this.#parts.join("").trimEnd();
  }
}
