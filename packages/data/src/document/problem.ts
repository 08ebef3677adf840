/** Keys and indices from the root of a document to a value. */
export type Path = readonly (string | number)[];

/** A place in a document, from 1. Line 0 stands for the file as a whole. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** One thing that is wrong in a document. */
export interface Problem extends Position {
  readonly file: string;
  readonly path: Path;
  /** What would have been right, e.g. `one of "sequential", "reverse"`. */
  readonly expected: string;
  /** What stands there, e.g. `the text "sequentail"`. */
  readonly got: string;
  /** The nearest valid name or value. */
  readonly suggestion?: string;
  /** The whole of it in one line: file, place, path, sentence. */
  readonly message: string;
}

/** What to say about a value. `reason` is a sentence that replaces "expected …". */
export interface ProblemFacts {
  expected: string;
  /** Absent: the value that stands there, described. */
  got?: string | undefined;
  suggestion?: string | undefined;
  reason?: string | undefined;
}

/** Characters of a problem's sentence, at most: what stands in a file may be a megabyte without a space. */
const longest = 600;

/** Messages name this many problems; `problems` holds all. */
const most = 25;

/** A document does not say what it should. `problems` holds everything that is wrong with it, and with others it names, file by file in their order. */
export class DocumentError extends Error {
  override name = "DocumentError";
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const files = [...new Set(problems.map(({ file }) => file))];
    const place = ({ file }: Problem) => files.indexOf(file);
    const sorted = problems.toSorted((a, b) => place(a) - place(b) || a.line - b.line || a.column - b.column);
    const lines = sorted.slice(0, most).map(({ message }) => message);
    if (sorted.length > most) lines.push(`… and ${sorted.length - most} more problems`);
    super(lines.join("\n"));
    this.problems = sorted;
  }
}

/** A problem with its message. */
export function makeProblem(
  file: string,
  position: Position,
  path: Path,
  { expected, got = "nothing", suggestion, reason }: ProblemFacts,
): Problem {
  const shown = (text: string) => (text.length > longest ? `${text.slice(0, longest)}…` : text);
  const where = position.line > 0 ? `${file}:${position.line}:${position.column}` : file;
  const subject = path.length > 0 ? ` ${formatPath(path)}:` : "";
  const sentence = shown(reason ?? `expected ${expected}, got ${shown(got)}`);
  const hint = suggestion === undefined ? "" : `. Did you mean "${suggestion}"?`;
  const message = `${where}${subject ? "" : ":"}${subject} ${sentence}${hint}`;
  return {
    file,
    ...position,
    path,
    expected,
    got: shown(got),
    ...(suggestion === undefined ? {} : { suggestion }),
    message,
  };
}

/**
 * A path as people write it.
 *
 * @example
 * formatPath(["principles", 2, "checks", 0]); // "principles[2].checks[0]"
 */
export function formatPath(path: Path): string {
  return path
    .map((part, i) => {
      if (typeof part === "number") return `[${part}]`;
      return /^[\w-]{1,60}$/.test(part) ? `${i > 0 ? "." : ""}${part}` : `[${quote(part)}]`;
    })
    .join("");
}

/** A value in a few words: `the text "x"`, `7`, `a list of 3`, `nothing`. */
export function describeValue(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  if (typeof value === "string") return `the text ${quote(value)}`;
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : `a list of ${value.length}`;
  if (typeof value === "object") return "a mapping";
  return String(value);
}

/** A string in quotes, on one line, shortened. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 59)}…` : text);
}
