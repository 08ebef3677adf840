import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { z } from "zod";
import { issueProblems } from "./issues.ts";
import { nearest } from "./nearest.ts";
import {
  DocumentError,
  describeValue,
  makeProblem,
  type Path,
  type Position,
  type Problem,
  type ProblemFacts,
} from "./problem.ts";
import { valueAt } from "./schema.ts";
import { readYaml, type Source } from "./yaml.ts";

/** Bytes of a file, at most: a document is written by people. */
const largest = 1 << 22;

/** A document that fits its schema, and where its parts stand in the file. */
export interface ParsedDocument<Value> {
  readonly file: string;
  readonly value: Value;
  /** What stands in the file, before the schema filled anything in. */
  readonly given: unknown;
  /** Place of the value at a path (or of its key), else of the nearest thing around it. */
  locate(path: Path, target?: "value" | "key"): Position;
  /**
   * A problem of the caller's own at a path, such as one that only two fields together show. Throw several at once as
   * `new DocumentError(problems)`.
   */
  problem(path: Path, facts: ProblemFacts): Problem;
}

export interface ParseOptions<Schema extends z.core.$ZodType> {
  /** Name of the file in messages. */
  file: string;
  schema: Schema;
}

/**
 * Reads YAML 1.2 or JSON and checks it against a schema.
 *
 * Errors: DocumentError with every problem at once, each with its line, column and path, what was expected, what stands
 * there, and the nearest valid key or value.
 *
 * @example
 * const turn = parseDocument("role: user\ncontent: Hello", { file: "turn.yaml", schema: messageSchema });
 * turn.value.role; // "user"
 */
export function parseDocument<Schema extends z.ZodType>(
  text: string,
  { file, schema }: ParseOptions<Schema>,
): ParsedDocument<z.output<Schema>> {
  const source = readYaml(text.startsWith("\uFEFF") ? text.slice(1) : text, file);
  if (Array.isArray(source)) throw new DocumentError(source);
  return checkDocument(source, { file, schema });
}

/**
 * Checks a value that was read by other means against a schema; `locate` says where its parts stand.
 *
 * Errors: DocumentError, as `parseDocument`.
 */
export function checkDocument<Schema extends z.ZodType>(
  source: Source,
  { file, schema }: ParseOptions<Schema>,
): ParsedDocument<z.output<Schema>> {
  const { value } = source;
  const locate: Source["locate"] = (path, target) => source.locate(path, target);
  const result = schema.safeParse(value, { error: () => "" });
  if (!result.success) throw new DocumentError(issueProblems(result.error.issues, { file, schema, value, locate }));
  return {
    file,
    value: result.data,
    given: value,
    locate,
    problem: (path, facts) =>
      makeProblem(file, locate(path), path, { ...facts, got: facts.got ?? describeValue(valueAt(value, path)) }),
  };
}

/**
 * Reads a YAML or JSON file and checks it against a schema.
 *
 * Errors: DocumentError, as `parseDocument`; also for a file that is missing (with the nearest name in its folder), too
 * large or not UTF-8.
 */
export async function readDocument<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
): Promise<ParsedDocument<z.output<Schema>>> {
  return parseDocument(await readText(path), { file: path, schema });
}

/**
 * The text of a UTF-8 file.
 *
 * Errors: DocumentError for a file that is missing (with the nearest name in its folder), too large or not UTF-8.
 */
export async function readText(path: string): Promise<string> {
  const whole = (expected: string, got: string, suggestion?: string) =>
    new DocumentError([makeProblem(path, { line: 0, column: 0 }, [], { expected, got, suggestion })]);
  const facts = await stat(path).catch((error: NodeJS.ErrnoException) => error);
  if (facts instanceof Error) {
    if (facts.code !== "ENOENT" && facts.code !== "ENOTDIR") throw whole("a file that can be read", facts.message);
    throw whole("a file", "nothing of that name", await nearestFile(path));
  }
  if (!facts.isFile()) throw whole("a file", facts.isDirectory() ? "a folder" : "something else");
  if (facts.size > largest) throw whole(`at most ${largest} bytes`, `${facts.size}`);

  const bytes = await readFile(path).catch((error: Error) => {
    throw whole("a file that can be read", error.message);
  });
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
  try {
    return decoder.decode(bytes);
  } catch {
    const line = firstBadLine(bytes);
    throw new DocumentError([
      makeProblem(path, { line, column: 1 }, [], { expected: "UTF-8 text", got: "bytes that are none" }),
    ]);
  }
}

/** What has nearly the name of a file that is missing and stands where that should, written as that is. */
export async function nearestFile(path: string, from = "."): Promise<string | undefined> {
  const names = await readdir(resolve(from, dirname(path))).catch(() => []);
  const close = nearest(basename(path), names);
  return close === undefined ? undefined : join(dirname(path), close);
}

/** UTF-8 never has a line feed inside a character, so lines can be tried one by one. */
function firstBadLine(bytes: Uint8Array): number {
  let line = 1;
  for (let start = 0; start < bytes.length; line++) {
    const end = bytes.indexOf(10, start);
    const stop = end < 0 ? bytes.length : end;
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(start, stop));
    } catch {
      return line;
    }
    start = stop + 1;
  }
  return line;
}
