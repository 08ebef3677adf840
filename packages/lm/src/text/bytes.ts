import { TokenizerError } from "./errors.ts";

const utf8 = new TextEncoder();

/**
 * The byte that each character of a byte-level vocabulary stands for.
 *
 * Printable Latin-1 stands for itself; the other bytes take the code points from 256 on, in order.
 * Source: Radford et al. 2019, `bytes_to_unicode` of GPT-2's published encoder.
 */
const BYTE_OF: ReadonlyMap<string, number> = (() => {
  const printable = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);
  const map = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) map.set(String.fromCharCode(printable(byte) ? byte : next++), byte);
  return map;
})();

/** The characters that byte-level vocabularies are made of. */
export const BYTE_LETTERS: readonly string[] = [...BYTE_OF.keys()];

/** How a vocabulary's tokens become bytes. */
export interface ByteRule {
  /** The bytes of an ordinary (not an added) token. */
  bytes(token: string): Uint8Array;
  byteLevel: boolean;
  /** Spaces taken off the start of a whole text, as the tokenizer puts one before it. */
  leadingSpaces: number;
}

type Part = { type?: string; pattern?: { String?: string }; content?: string; start?: number; stop?: number };

/**
 * The rule that a `tokenizer.json`'s decoder states: byte-level, or SentencePiece's (replacements, `<0xAB>` for bytes).
 *
 * Both let a token be turned into bytes by itself, which is what makes exact streaming possible. Errors: TokenizerError
 * for any other decoder.
 */
export function byteRule(decoder: unknown): ByteRule {
  const top = decoder as (Part & { decoders?: Part[] }) | null | undefined;
  const parts = top?.type === "Sequence" ? (top.decoders ?? []) : top ? [top] : [];
  const unknown = parts.find(
    (part) => !["ByteLevel", "Replace", "ByteFallback", "Fuse", "Strip"].includes(part.type ?? ""),
  );
  if (unknown || parts.length === 0)
    throw new TokenizerError(
      `tokenizer.json: the decoder is ${unknown?.type ?? "missing"}; known are ByteLevel and sequences of Replace, ByteFallback, Fuse and Strip`,
    );
  if (parts.some(({ type }) => type === "ByteLevel"))
    return { bytes: fromByteLevel, byteLevel: true, leadingSpaces: 0 };
  const replacements = parts.filter(({ type }) => type === "Replace");
  const fallback = parts.some(({ type }) => type === "ByteFallback");
  const strip = parts.find(({ type }) => type === "Strip");
  return {
    bytes(token) {
      const byte = fallback ? /^<0x([0-9A-F]{2})>$/.exec(token)?.[1] : undefined;
      if (byte) return Uint8Array.of(Number.parseInt(byte, 16));
      let text = token;
      for (const { pattern, content } of replacements)
        if (pattern?.String) text = text.replaceAll(pattern.String, () => content ?? "");
      return utf8.encode(text);
    },
    byteLevel: false,
    leadingSpaces: strip?.content === " " ? (strip.start ?? 0) : 0,
  };
}

function fromByteLevel(token: string): Uint8Array {
  const bytes: number[] = [];
  for (const character of token) {
    const byte = BYTE_OF.get(character);
    if (byte === undefined) return utf8.encode(token);
    bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}
