/** One tensor's entry in a safetensors header, checked for form only. */
export interface HeaderEntry {
  dtype: string;
  shape: number[];
  /** First byte and the one after the last, counted from the end of the header. */
  offsets: [number, number];
}

/** A header that is not what the format allows; `at` counts characters. */
export class HeaderSyntaxError extends Error {
  readonly at: number;
  readonly expected: string;
  readonly found: string;
  constructor(at: number, expected: string, found: string) {
    super(`expected ${expected} at ${at}, found ${found}`);
    this.at = at;
    this.expected = expected;
    this.found = found;
  }
}

/** More dimensions than any tensor of a language model has; stops a header that is one endless list. */
const MOST_DIMENSIONS = 32;

/** In one file, ten times what the largest published shards hold; a header of 100 MB could name 1.5 million. */
export const MOST_TENSORS = 100_000;
export const MOST_METADATA = 65_536;

/**
 * Parses the JSON header of a safetensors file, and nothing else that JSON could say.
 *
 * JSON.parse would keep the last of two entries with the same name, round integers beyond 2^53 and build whatever tree
 * a hostile header describes; this accepts only the format's own form and stops at the first departure from it.
 * Names may be anything (`__proto__` too): the result is Maps. Throws HeaderSyntaxError.
 */
export function parseHeader(text: string): { entries: Map<string, HeaderEntry>; metadata: Map<string, string> } {
  const entries = new Map<string, HeaderEntry>();
  const metadata = new Map<string, string>();
  let metadataSeen = false;
  let at = 0;

  const fail = (expected: string, place = at): never => {
    const char = text[place];
    throw new HeaderSyntaxError(place, expected, char === undefined ? "the end of the header" : JSON.stringify(char));
  };
  const skipSpace = () => {
    for (let code = text.charCodeAt(at); code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09; ) {
      code = text.charCodeAt(++at);
    }
  };
  const accept = (char: string): boolean => {
    skipSpace();
    if (text[at] !== char) return false;
    at++;
    return true;
  };
  const expect = (char: string, what = JSON.stringify(char)) => {
    if (!accept(char)) fail(what);
  };

  const string = (what: string): string => {
    expect('"', what);
    const start = at;
    for (;;) {
      const code = text.charCodeAt(at);
      if (Number.isNaN(code) || code < 0x20) fail(`the end of ${what}`);
      if (code === 0x22) break;
      at += code === 0x5c ? 2 : 1;
    }
    const body = text.slice(start, at++);
    if (!body.includes("\\")) return body;
    try {
      return JSON.parse(`"${body}"`);
    } catch {
      return fail("a valid escape sequence", start);
    }
  };

  const integer = (what: string): number => {
    skipSpace();
    const start = at;
    while (at < text.length && text[at]! >= "0" && text[at]! <= "9") at++;
    const digits = text.slice(start, at);
    // 16 digits reach past 2^53; a number that goes on (1.5, 1e9) fails at its next character.
    const leadingZero = digits.length > 1 && digits[0] === "0";
    if (digits === "" || leadingZero || digits.length > 16 || !Number.isSafeInteger(Number(digits))) fail(what, start);
    return Number(digits);
  };

  const integers = (what: string, most: number): number[] => {
    expect("[", `a list of ${what}`);
    const list: number[] = [];
    if (accept("]")) return list;
    do {
      if (list.length === most) fail(`at most ${most} of ${what}`);
      list.push(integer(`one of ${what}`));
    } while (accept(","));
    expect("]", `"," or "]" after a whole number`);
    return list;
  };

  /** Calls `field` for each key of an object; `field` reads the value. */
  const object = (what: string, field: (key: string, at: number) => void) => {
    expect("{", what);
    if (accept("}")) return;
    do {
      skipSpace();
      const start = at;
      const key = string("a quoted name");
      expect(":");
      field(key, start);
    } while (accept(","));
    expect("}", `"," or "}"`);
  };

  const entry = (start: number): HeaderEntry => {
    let dtype: string | undefined;
    let shape: number[] | undefined;
    let offsets: number[] | undefined;
    object("a tensor's description", (key, keyAt) => {
      if (key === "dtype" && dtype === undefined) dtype = string("a dtype");
      else if (key === "shape" && shape === undefined) shape = integers("whole sizes from 0 to 2^53", MOST_DIMENSIONS);
      else if (key === "data_offsets" && offsets === undefined) offsets = integers("two byte offsets", 2);
      else fail(`"dtype", "shape" and "data_offsets", once each`, keyAt);
    });
    if (dtype === undefined || shape === undefined || offsets?.length !== 2) {
      return fail(`a description with "dtype", "shape" and two "data_offsets"`, start);
    }
    return { dtype, shape, offsets: offsets as [number, number] };
  };

  object(`a JSON object, "{"`, (name, start) => {
    if (name === "__metadata__") {
      if (metadataSeen) fail("one __metadata__", start);
      metadataSeen = true;
      object("an object of strings", (key, keyAt) => {
        if (metadata.size === MOST_METADATA) fail(`at most ${MOST_METADATA} metadata`, keyAt);
        if (metadata.has(key)) fail("each metadata key once", keyAt);
        metadata.set(key, string("a string"));
      });
    } else {
      if (entries.size === MOST_TENSORS) fail(`at most ${MOST_TENSORS} tensors in a file`, start);
      if (entries.has(name)) fail("each tensor name once", start);
      entries.set(name, entry(start));
    }
  });
  skipSpace();
  if (at < text.length) fail("only spaces after the header");
  return { entries, metadata };
}
