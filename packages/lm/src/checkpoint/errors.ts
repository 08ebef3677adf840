/** What went wrong with a checkpoint: what was expected, what came instead, where, and what to do about it. */
export interface CheckpointProblem {
  /** The file (or folder) that is at fault. */
  file: string;
  /** The place inside it: a tensor, a header field, a byte offset. */
  where?: string;
  expected: string;
  found: string;
  /** The next step for the person who reads this. */
  fix: string;
  cause?: unknown;
}

const REDOWNLOAD = "The file is damaged or was not written by a known tool; download or convert it again.";

/**
 * A checkpoint that cannot be read, in words for the person who has it.
 *
 * Every failure of this folder (missing files, hostile headers, unknown architectures, wrong tensors) is of this class;
 * `expected`, `found`, `file`, `where` and `fix` are also there one by one.
 */
export class CheckpointError extends Error {
  override readonly name = "CheckpointError";
  readonly file: string;
  readonly where: string | undefined;
  readonly expected: string;
  readonly found: string;
  readonly fix: string;

  constructor(problem: Omit<CheckpointProblem, "fix"> & { fix?: string }) {
    const { file, where, expected, found, fix = REDOWNLOAD, cause } = problem;
    const place = where === undefined ? file : `${file}, ${where}`;
    super(`${place}: expected ${expected}, found ${found}. ${fix}`, cause === undefined ? undefined : { cause });
    this.file = file;
    this.where = where;
    this.expected = expected;
    this.found = found;
    this.fix = fix;
  }
}

/**
 * A value from a file as it may appear in a message: quoted, escaped and short.
 *
 * Names in a hostile file can be megabytes long or carry terminal control sequences.
 */
export function quote(value: unknown): string {
  const text = typeof value === "bigint" ? value.toString() : (JSON.stringify(shorten(value, 2)) ?? String(value));
  return text.length > 100 ? `${text.slice(0, 90)}… (${text.length} characters)` : text;
}

/** Long texts cut, long lists and what lies deeper than `depth` objects named by their kind. */
function shorten(value: unknown, depth: number): unknown {
  if (typeof value === "string")
    return value.length > 80 ? `${value.slice(0, 80)}… (${value.length} characters)` : value;
  if (Array.isArray(value)) return value.length > 8 ? `array of ${value.length}` : value.map((x) => shorten(x, depth));
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value);
  if (depth === 0 || entries.length > 8) return `object of ${entries.length}`;
  return Object.fromEntries(entries.map(([key, inner]) => [shorten(key, 0), shorten(inner, depth - 1)]));
}
