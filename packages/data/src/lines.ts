import { excerptOf } from "./errors.ts";

/** A line of a text file, counted from 1, or why it cannot be given. */
export type Line =
  | {
      readonly line: number;
      readonly text: string;
      /** Some of its bytes are not UTF-8: U+FFFD stands for them. */
      readonly damaged?: true;
    }
  | { readonly line: number; readonly reason: string; readonly excerpt: string };

const NEWLINE = 0x0a;
const RETURN = 0x0d;

/**
 * The lines of a UTF-8 text: ended by LF or CRLF, without a byte order mark.
 *
 * No more than `maxBytes` of a line is held: a longer one is passed over and yielded with its reason. One that is not UTF-8 is
 * marked: what is not may be a part that nobody reads. A last line without an end counts; an empty piece after the last end does not.
 */
export async function* readLines(bytes: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<Line> {
  let pieces: Buffer[] = [];
  let length = 0; // bytes of the line so far, held or not
  let line = 1;
  const finish = (): Line => {
    const whole = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
    const result = length > maxBytes ? tooLong(line, length, maxBytes, whole) : decode(line, whole);
    pieces = [];
    length = 0;
    line++;
    return result;
  };
  for await (const chunk of bytes) {
    for (let start = 0; start < chunk.length; ) {
      const found = chunk.indexOf(NEWLINE, start);
      const end = found < 0 ? chunk.length : found;
      const piece = chunk.subarray(start, end);
      const held = length <= maxBytes;
      length += piece.length;
      if (length <= maxBytes) pieces.push(piece);
      else if (held) pieces = [Buffer.from(Buffer.concat([...pieces, piece]).subarray(0, 512))];
      if (found >= 0) yield finish();
      start = end + 1;
    }
  }
  if (length > 0) yield finish();
}

function decode(line: number, bytes: Buffer): Line {
  const content = bytes.subarray(0, bytes.at(-1) === RETURN ? bytes.length - 1 : bytes.length);
  const ignoreBOM = line > 1;
  try {
    return { line, text: new TextDecoder("utf-8", { fatal: true, ignoreBOM }).decode(content) };
  } catch {
    return { line, text: new TextDecoder("utf-8", { ignoreBOM }).decode(content), damaged: true };
  }
}

function tooLong(line: number, length: number, maxBytes: number, beginning: Buffer): Line {
  const reason = `${length} bytes long; a record may have ${maxBytes} (option maxRecordBytes)`;
  return { line, reason, excerpt: excerptOf(beginning.toString("utf8", 0, 512)) };
}
