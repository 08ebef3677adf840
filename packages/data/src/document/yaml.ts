import type { Document } from "yaml";
import {
  Composer,
  CST,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  Parser,
  type YAMLError,
  type YAMLMap,
} from "yaml";
import { makeProblem, type Path, type Position, type Problem, quote } from "./problem.ts";

/** Documents that people write are small; the parser takes about two seconds for this many characters. */
const longest = 1 << 20;
/** The parser recurses. */
const deepest = 64;
/** The composer makes an error of each token that has no place behind a value, in a time that grows with their square. */
const mostBehind = 100;
/** Values that aliases may multiply into. */
const mostAliases = 100;

/** A document's plain value, and where its parts stand. */
export interface Source {
  readonly value: unknown;
  /** Position of the value at a path, or of its key; of what is nearest around it where there is none. */
  locate(path: Path, target?: "value" | "key"): Position;
}

/**
 * Reads YAML 1.2 (JSON is YAML) without a schema. Tags other than YAML's own are problems, so nothing is executed; anchors
 * work within a bound; a key may stand once. Returns the source, or everything that is wrong. `firstLine` is the text's first line
 * in its file.
 */
export function readYaml(text: string, file: string, { firstLine = 1 } = {}): Source | Problem[] {
  const whole = (expected: string, got: string) => [makeProblem(file, { line: 0, column: 0 }, [], { expected, got })];
  if (text.length > longest) return whole(`at most ${longest} characters`, `${text.length}`);

  const lines = new LineCounter();
  const position = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line) + firstLine - 1, column: Math.max(1, col) };
  };
  const problem = (offset: number, expected: string, got: string): Problem =>
    makeProblem(file, position(offset), [], { expected, got });

  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  const tooDeep = firstDeeperThan(tokens, deepest);
  if (tooDeep !== undefined) return [problem(tooDeep, `at most ${deepest} levels`, "more")];

  const behind = furtherTokens(tokens);
  if (behind.length > mostBehind)
    return [
      problem(behind[0]!, "one value and the end of its line", `more than ${mostBehind} further ones behind values`),
    ];

  const composer = new Composer({
    prettyErrors: false,
    schema: "core",
    merge: true,
    uniqueKeys: false,
    logLevel: "error",
  });
  const [document, second] = [...composer.compose(tokens, true, text.length)] as (Document.Parsed | undefined)[];
  if (!document) return whole("a document", "nothing");
  const faults: Problem[] = [
    ...document.errors.map((error) => syntaxProblem(error, problem)),
    ...document.warnings.map((warning) => syntaxProblem(warning, problem)),
    ...(second ? [problem(second.range[0], "one document", 'a second one after "---"')] : []),
    ...nodeProblems(document.contents, problem),
  ];
  if (faults.length > 0) return faults;

  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: mostAliases });
  } catch (error) {
    const { message } = error as Error;
    if (message.startsWith("Excessive alias"))
      return whole(`aliases that expand to at most ${mostAliases} values`, "more");
    return whole("valid YAML", lowerFirst(message));
  }
  const index = keyIndex();
  return {
    value,
    locate(path, target = "value") {
      let node = resolve(document.contents, document);
      let at = node?.range?.[0] ?? 0;
      for (const [depth, part] of path.entries()) {
        let next: unknown;
        if (isMap(node)) {
          const pair = index(node).get(String(part));
          if (!pair) break;
          next = pair.value;
          const key = offsetOf(pair.key);
          // A key without a value has its value's place behind it, where nobody looks.
          const empty = !isNode(next) || (isScalar(next) && next.value === null && next.source === "");
          at = (target === "key" && depth === path.length - 1) || empty ? (key ?? at) : (offsetOf(next) ?? at);
        } else if (isSeq(node)) {
          next = node.items[Number(part)];
          if (next === undefined) break;
          at = offsetOf(next) ?? at;
        } else break;
        node = resolve(next, document);
      }
      return position(at);
    },
  };
}

function syntaxProblem(error: YAMLError, problem: (offset: number, expected: string, got: string) => Problem): Problem {
  const [at] = error.pos;
  switch (error.code) {
    case "TAB_AS_INDENT":
      return problem(at, "spaces for indentation", "a tab");
    case "TAG_RESOLVE_FAILED":
      return problem(at, "a plain value", error.message.replace(/^Unresolved tag: /, "the tag "));
    default:
      return problem(at, "valid YAML", lowerFirst(error.message));
  }
}

/**
 * Keys that stand twice (1 and "1" are one key in the plain value), keys that are no plain text, and aliases of an anchor
 * that does not stand before them or that they are part of.
 */
function nodeProblems(root: unknown, problem: (offset: number, expected: string, got: string) => Problem): Problem[] {
  const found: Problem[] = [];
  const anchors = new Map<string, Node>();
  const stack: unknown[] = [root];
  while (stack.length > 0) {
    const node = stack.pop();
    if (!isNode(node)) continue;
    const start = offsetOf(node) ?? 0;
    if (isAlias(node)) {
      const source = anchors.get(node.source);
      if (!source || start < (source.range?.[2] ?? 0))
        found.push(problem(start, "an alias of an anchor that stands before it", `*${node.source}`));
      continue;
    }
    if (node.anchor) anchors.set(node.anchor, node);
    // In the order of the text, so that anchors are met before their aliases.
    if (isSeq(node)) for (const item of node.items.toReversed()) stack.push(item);
    if (!isMap(node)) continue;
    for (const { key, value } of node.items.toReversed()) stack.push(value, key);
    const seen = new Set<string>();
    for (const { key } of node.items) {
      if (!isScalar(key)) {
        found.push(problem(offsetOf(key) ?? start, "a key that is plain text", "a list, a mapping or an alias"));
      } else if (typeof key.value !== "symbol") {
        const name = String(key.value);
        if (seen.has(name))
          found.push(problem(offsetOf(key) ?? start, "each key once", `${quote(name)} a second time`));
        seen.add(name);
      }
    }
  }
  return found;
}

/** Finds pairs by key without going through a mapping each time. */
function keyIndex(): (map: YAMLMap) => Map<string, Pair> {
  const indices = new WeakMap<YAMLMap, Map<string, Pair>>();
  return (map) => {
    let index = indices.get(map);
    if (!index) {
      index = new Map(map.items.flatMap((pair) => (isScalar(pair.key) ? [[String(pair.key.value), pair]] : [])));
      indices.set(map, index);
    }
    return index;
  };
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}

/** Offset of the first token nested deeper than `bound`, found without recursion. */
function firstDeeperThan(tokens: readonly CST.Token[], bound: number): number | undefined {
  const queue = tokens.map((token) => ({ token, depth: 0 }));
  for (let entry = queue.pop(); entry; entry = queue.pop()) {
    const { token, depth } = entry;
    if (depth > bound) return token.offset;
    if (token.type === "document" && token.value) queue.push({ token: token.value, depth });
    if (!CST.isCollection(token)) continue;
    for (const { key, value } of token.items) {
      if (key) queue.push({ token: key, depth: depth + 1 });
      if (value) queue.push({ token: value, depth: depth + 1 });
    }
  }
  return undefined;
}

/** Offsets of tokens that stand behind a value where nothing but space and comments may. */
function furtherTokens(tokens: readonly CST.Token[]): number[] {
  const found: number[] = [];
  const queue: CST.Token[] = tokens.toReversed();
  for (let token = queue.pop(); token; token = queue.pop()) {
    if ("end" in token && !CST.isCollection(token))
      for (const { type, offset } of token.end ?? [])
        if (!["space", "newline", "comment"].includes(type)) found.push(offset);
    if (token.type === "document" && token.value) queue.push(token.value);
    if (CST.isCollection(token))
      for (const { key, value } of token.items.toReversed()) {
        if (value) queue.push(value);
        if (key) queue.push(key);
      }
  }
  return found;
}

function resolve(node: unknown, document: Document.Parsed): Node | undefined {
  if (isAlias(node)) return node.resolve(document) as Node | undefined;
  return isNode(node) ? node : undefined;
}

function isNode(value: unknown): value is Node {
  return isMap(value) || isSeq(value) || isScalar(value) || isAlias(value);
}

function offsetOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}
