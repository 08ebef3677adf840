/*
 * Values that were written as text: JSON, what Python prints of a list or a dictionary, and what NumPy prints of an array of them.
 * pandas and CSV files are full of them, in cells and as whole lines.
 */

/** Deeper than any record of messages is nested. */
const deepest = 64;

/**
 * The value that a text spells out, as JSON, as Python prints it (`'`, `True`, `None`, tuples, `NaN`), or as NumPy does
 * (`array([…], dtype=object)`, elements without commas between); undefined where the text as a whole is no such value.
 * `NaN` and infinities are numbers.
 *
 * @example
 * readLiteral("[{'role': 'user', 'content': \"It's\"}]"); // [{ role: "user", content: "It's" }]
 * readLiteral("[1, 2] is a list"); // undefined
 */
export function readLiteral(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return new Literal(text).whole();
  }
}

/** Thrown where a text goes on in no way that a value can. Never leaves this file. */
class NoLiteral extends Error {}

const words: Readonly<Record<string, unknown>> = {
  ...{ true: true, True: true, false: false, False: false, null: null, None: null },
  ...{ NaN: Number.NaN, nan: Number.NaN, Infinity: Number.POSITIVE_INFINITY, inf: Number.POSITIVE_INFINITY },
  ...{ "-Infinity": Number.NEGATIVE_INFINITY, "-inf": Number.NEGATIVE_INFINITY },
};

const closings: Readonly<Record<string, string>> = { "[": "]", "(": ")", "{": "}" };

const escapes: Readonly<Record<string, string>> = {
  ...{ n: "\n", t: "\t", r: "\r", b: "\b", f: "\f", v: "\v", a: "\u0007", "0": "\0", "\n": "" },
};

class Literal {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): unknown {
    try {
      const value = this.#value(0);
      this.#space();
      return this.#at === this.#text.length ? value : undefined;
    } catch (error) {
      if (error instanceof NoLiteral) return undefined;
      throw error;
    }
  }

  #value(depth: number): unknown {
    if (depth > deepest) throw new NoLiteral();
    this.#space();
    const next = this.#text[this.#at];
    if (next === "{") return this.#dictionary(depth);
    if (next === "[" || next === "(") return this.#list(depth);
    if (next === '"' || next === "'") return this.#string();
    if (this.#take(/array\(/y)) return this.#array(depth);
    const word = this.#take(/-?[A-Za-z]+/y);
    if (word !== undefined && Object.hasOwn(words, word)) return words[word];
    const number = word === undefined ? this.#take(/[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?/y) : undefined;
    if (number === undefined) throw new NoLiteral();
    return Number(number);
  }

  #list(depth: number): unknown[] {
    const close = closings[this.#text[this.#at++]!]!;
    const values: unknown[] = [];
    for (;;) {
      this.#space();
      if (this.#skip(close)) return values;
      values.push(this.#value(depth + 1));
      const began = this.#at;
      this.#space();
      // NumPy sets white space between the elements, and no comma.
      if (!this.#skip(",") && this.#text[this.#at] !== close && this.#at === began) throw new NoLiteral();
    }
  }

  #dictionary(depth: number): Record<string, unknown> {
    this.#at++;
    const fields: [string, unknown][] = [];
    for (;;) {
      this.#space();
      if (this.#skip("}")) return Object.fromEntries(fields);
      const next = this.#text[this.#at];
      if (next !== '"' && next !== "'") throw new NoLiteral();
      const name = this.#string();
      this.#space();
      if (!this.#skip(":")) throw new NoLiteral();
      fields.push([name, this.#value(depth + 1)]);
      this.#space();
      if (!this.#skip(",") && this.#text[this.#at] !== "}") throw new NoLiteral();
    }
  }

  #array(depth: number): unknown {
    const value = this.#value(depth);
    this.#take(/\s*,\s*dtype=[\w.<>']+/y);
    if (this.#take(/\s*,?\s*\)/y) === undefined) throw new NoLiteral();
    return value;
  }

  #string(): string {
    const text = this.#text;
    const quote = text[this.#at++]!;
    let value = "";
    for (;;) {
      const character = text[this.#at++];
      if (character === undefined) throw new NoLiteral();
      if (character === quote) return value;
      value += character === "\\" ? this.#escape() : character;
    }
  }

  #escape(): string {
    const code = this.#take(/x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}/y);
    if (code !== undefined) {
      const point = Number.parseInt(code.slice(1), 16);
      if (point > 0x10ffff) throw new NoLiteral();
      return code[0] === "U" ? String.fromCodePoint(point) : String.fromCharCode(point);
    }
    const character = this.#text[this.#at++];
    if (character === undefined) throw new NoLiteral();
    if (Object.hasOwn(escapes, character)) return escapes[character]!;
    // Python keeps the backslash of what is no escape.
    return /["'\\/]/.test(character) ? character : `\\${character}`;
  }

  #space(): void {
    this.#take(/\s+/y);
  }

  #skip(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }
}
