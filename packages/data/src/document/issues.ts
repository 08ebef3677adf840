import { z } from "zod";
import { nearest } from "./nearest.ts";
import { describeValue, makeProblem, type Path, type Position, type Problem, quote } from "./problem.ts";
import { branchesAt, isRecord, isWholeAt, keysAt, valueAt } from "./schema.ts";

type Issue = z.core.$ZodIssue;

/** Lists of valid names are cut here. */
const mostNames = 16;

/** What issues are turned into problems with. */
export interface IssueContext {
  file: string;
  schema: z.core.$ZodType;
  value: unknown;
  locate(path: Path, target?: "value" | "key"): Position;
}

/**
 * Every problem behind zod's issues. Issues are parsed with an error map that gives no text, so that a message which is there
 * is the schema author's own; it is then the sentence.
 */
export function issueProblems(issues: readonly Issue[], context: IssueContext): Problem[] {
  const problems = judged(wholeUnions(issues, context)).flatMap((issue) => problemsOf(issue, [], context));
  // A misspelt required key would be two problems: an unknown key and a missing one.
  const meant = new Set(
    problems.flatMap(({ path, suggestion }) =>
      suggestion === undefined ? [] : [JSON.stringify([...path.slice(0, -1), suggestion])],
    ),
  );
  return problems.filter(({ path }) => valueAt(context.value, path) !== undefined || !meant.has(JSON.stringify(path)));
}

function problemsOf(issue: Issue, base: Path, context: IssueContext): Problem[] {
  const path = [...base, ...(issue.path as (string | number)[])];
  const value = valueAt(context.value, path);
  const tell = (expected: string, facts: { got?: string; suggestion?: string | undefined } = {}) => {
    const got = facts.got ?? describeValue(value);
    const missing = value === undefined && path.length > 0;
    const own = isRecord(value) || Array.isArray(value) || missing ? issue.message : `${issue.message}, got ${got}`;
    const reason =
      issue.message !== "" ? own : missing ? `expected ${expected}, got nothing: the key is required` : undefined;
    return [makeProblem(context.file, context.locate(path), path, { ...facts, expected, got, reason })];
  };

  switch (issue.code) {
    case "unrecognized_keys": {
      const known = keysAt(context.schema, context.value, path);
      const present = isRecord(value) ? value : {};
      const free = known.filter((key) => !Object.hasOwn(present, key));
      return issue.keys.map((key) => {
        const suggestion = nearest(key, free) ?? nearest(key, known);
        const expected =
          known.length === 0 ? "no such key" : `${known.length > 1 ? "one of the keys" : "the key"} ${list(known)}`;
        const at = [...path, key];
        return makeProblem(context.file, context.locate(at, "key"), at, {
          expected,
          got: `the key ${quote(key)}`,
          suggestion,
          reason: `unknown key; expected ${expected}`,
        });
      });
    }
    case "invalid_union":
      return unionProblems(issue, path, context, tell);
    case "invalid_value": {
      const names = issue.values.map((name) => (typeof name === "string" ? quote(name) : String(name)));
      return tell(names.length > 1 ? `one of ${list(names)}` : names.join(""), {
        suggestion: suggestValue(value, issue.values),
      });
    }
    case "invalid_type": {
      const suggestion = issue.expected === "boolean" ? suggestBoolean(value) : undefined;
      const whole = issue.expected === "number" && isWholeAt(context.schema, context.value, path);
      return tell(typeName(whole ? "int" : issue.expected), { suggestion });
    }
    case "too_small":
      return tell(
        bound(
          issue.origin,
          issue.minimum,
          issue.exact ? "exactly" : issue.inclusive === false ? "more than" : "at least",
        ),
        size(issue.origin, value),
      );
    case "too_big":
      return tell(
        bound(
          issue.origin,
          issue.maximum,
          issue.exact ? "exactly" : issue.inclusive === false ? "less than" : "at most",
        ),
        size(issue.origin, value),
      );
    case "invalid_format":
      return tell(
        issue.format === "regex"
          ? `text that matches ${issue.pattern}`
          : (formatNames[issue.format] ?? `text in the format ${issue.format}`),
      );
    case "not_multiple_of":
      return tell(`a multiple of ${issue.divisor}`);
    case "invalid_key":
      return issue.issues.flatMap((inner) => keyProblem(inner, path, context));
    case "invalid_element":
      return issue.issues.flatMap((inner) => problemsOf(inner, path, context));
    case "custom":
      // What may be a secret is not repeated: messages are kept in logs.
      return tell(issue.message, issue.params?.secret === true ? { got: "a text that is not shown here" } : {});
    default:
      return tell("another value");
  }
}

/** A key of a record that is none of those allowed. */
function keyProblem(issue: Issue, path: Path, { file, locate }: IssueContext): Problem {
  const key = String(path.at(-1));
  const values = issue.code === "invalid_value" ? issue.values : [];
  const expected =
    issue.message !== ""
      ? issue.message
      : issue.code === "invalid_value"
        ? `one of the keys ${list(values.map(String))}`
        : issue.code === "invalid_format" && issue.pattern
          ? `a key that matches ${issue.pattern}`
          : "another key";
  return makeProblem(file, locate(path, "key"), path, {
    expected,
    got: `the key ${quote(key)}`,
    suggestion: suggestValue(key, values),
  });
}

/**
 * A value that fits no branch of a union is measured against the branch it comes closest to: one of the same kind, with the
 * fewest problems (`distance`). Where it is of no branch's kind, the kinds are listed.
 */
function unionProblems(
  issue: z.core.$ZodIssueInvalidUnion,
  path: Path,
  context: IssueContext,
  tell: (expected: string, facts?: { suggestion?: string | undefined }) => Problem[],
): Problem[] {
  if (issue.inclusive === false) return tell("a value that fits only one of the alternatives");
  if (issue.discriminator !== undefined) {
    const options = issue.options ?? [];
    const names = options.map((name) => (typeof name === "string" ? quote(name) : String(name)));
    return tell(`one of ${list(names)}`, { suggestion: suggestValue(valueAt(context.value, path), options) });
  }
  const branches = branchesOf(issue).map((issues) => ({ issues, own: issues.find((inner) => ofOtherKind(inner)) }));
  const close = branches.filter(({ own }) => own === undefined);
  const best = close
    .map(({ issues }) => ({ issues, far: distance(issues, valueAt(context.value, path)) }))
    .sort(({ far: a }, { far: b }) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2])[0];
  if (best) return judged(best.issues).flatMap((inner) => problemsOf(inner, path, context));

  const expected = branches.flatMap(({ own }) =>
    own?.code === "invalid_type"
      ? [typeName(own.expected)]
      : own?.code === "invalid_value"
        ? own.values.map(literal)
        : [],
  );
  const values = branches.flatMap(({ own }) => (own?.code === "invalid_value" ? own.values : []));
  return tell(alternatives([...new Set(expected)]), { suggestion: suggestValue(valueAt(context.value, path), values) });
}

/**
 * Issues, with those of a union's branch replaced by those of all its branches. Zod settles by itself on a branch that has nothing
 * worse against a value than unknown keys, and does not say so; but keys that are another branch's speak for that one.
 */
function wholeUnions(issues: readonly Issue[], { schema, value }: IssueContext): Issue[] {
  const unions = new Map<string, Issue>();
  return issues.flatMap((issue) => {
    const path = issue.path as Path;
    const at = path.findIndex((_, length) => unions.has(JSON.stringify(path.slice(0, length))));
    if (at >= 0 || unions.has(JSON.stringify(path))) return [];
    if (issue.code !== "unrecognized_keys") return [issue];
    for (let length = 0; length <= path.length; length++) {
      const prefix = path.slice(0, length);
      const found = valueAt(value, prefix);
      const errors = branchesAt(schema, value, prefix)?.map(
        (branch) => z.core.safeParse(branch, found, { error: () => "" }).error?.issues ?? [],
      );
      if (!errors) continue;
      const whole = { code: "invalid_union", path: [...prefix], errors, message: "" } as Issue;
      unions.set(JSON.stringify(prefix), whole);
      return [whole];
    }
    return [issue];
  });
}

/** A union's branches; those of a union directly within it are its own. */
function branchesOf(issue: Issue): Issue[][] {
  if (issue.code !== "invalid_union" || issue.inclusive === false) return [];
  return issue.errors.flatMap((issues) => {
    const [first] = issues;
    const inner = issues.length === 1 && first?.code === "invalid_union" && first.path.length === 0;
    return inner && first.discriminator === undefined ? branchesOf(first) : [issues];
  });
}

/** A schema author's rule on a mapping is not judged while the mapping has unknown keys: one of them may be what it misses. */
function judged(issues: readonly Issue[]): Issue[] {
  const unknown = new Set(
    issues.flatMap(({ code, path }) => (code === "unrecognized_keys" ? [JSON.stringify(path)] : [])),
  );
  return issues.filter(({ code, path }) => code !== "custom" || !unknown.has(JSON.stringify(path)));
}

function ofOtherKind(issue: Issue): boolean {
  return issue.path.length === 0 && (issue.code === "invalid_type" || issue.code === "invalid_value");
}

/**
 * How far a value is from a branch, the weightiest first: wrong literals, since they are what tells branches apart; keys that the branch
 * does not know and keys that it needs, for a value with all keys of another branch is of that one, however wrong what stands there;
 * anything else.
 */
function distance(issues: readonly Issue[], value: unknown): [literals: number, keys: number, rest: number] {
  const sum: [number, number, number] = [0, 0, 0];
  for (const issue of issues) {
    const missing = issue.path.length === 1 && valueAt(value, issue.path as Path) === undefined;
    if (issue.code === "unrecognized_keys") sum[1] += issue.keys.length;
    else if (missing) sum[1]++;
    else sum[issue.code === "invalid_value" ? 0 : 2]++;
  }
  return sum;
}

function suggestValue(value: unknown, valid: readonly unknown[]): string | undefined {
  const names = valid.filter((name) => typeof name === "string");
  return typeof value === "string" ? nearest(value, names) : undefined;
}

/** YAML 1.1's other words for true and false are plain text in 1.2. */
function suggestBoolean(value: unknown): string | undefined {
  if (typeof value !== "string") return undefined;
  if (/^(yes|y|on|true)$/i.test(value)) return "true";
  return /^(no|n|off|false)$/i.test(value) ? "false" : undefined;
}

function list(names: readonly string[]): string {
  return names.length > mostNames
    ? `${names.slice(0, mostNames).join(", ")} and ${names.length - mostNames} more`
    : names.join(", ");
}

function alternatives(names: readonly string[]): string {
  return names.length > 1 ? `${names.slice(0, -1).join(", ")} or ${names.at(-1)}` : (names[0] ?? "another value");
}

function literal(value: unknown): string {
  return typeof value === "string" ? quote(value) : String(value);
}

function typeName(type: string): string {
  return typeNames[type] ?? type;
}

const typeNames: Record<string, string> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  object: "a mapping (key: value)",
  record: "a mapping (key: value)",
  array: "a list",
  tuple: "a list",
  null: "null",
  never: "nothing",
};

const formatNames: Record<string, string> = {
  url: "an address such as https://example.org/v1",
  email: "an e-mail address",
  uuid: "a UUID",
  date: "a date such as 2026-01-31",
  datetime: "a date and time such as 2026-01-31T12:00:00Z",
};

function bound(origin: string, limit: number | bigint, relation: string): string {
  const many = limit === 1 || limit === 1n ? "" : "s";
  if (origin === "string") return `${relation} ${limit} character${many}`;
  if (origin === "array" || origin === "set") return `${relation} ${limit} item${many}`;
  if (origin === "object" || origin === "record") return `${relation} ${limit} key${many}`;
  return `a number ${relation === "exactly" ? "equal to" : relation} ${limit}`;
}

/** What stands there, in the unit of the bound. */
function size(origin: string, value: unknown): { got?: string } {
  if (origin === "string" && typeof value === "string") return { got: value === "" ? "empty text" : `${value.length}` };
  return {};
}
