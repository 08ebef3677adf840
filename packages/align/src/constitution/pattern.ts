import { RE2JS } from "re2js";
import { letterAtBorder } from "./borders.ts";

/** Compiled patterns, by text. A constitution has few. */
const compiled = new Map<string, RE2JS>();
const mostCompiled = 2000;

/**
 * A pattern of a check: RE2's syntax, case ignored. RE2 has no lookahead and no backreferences, and in return its time is
 * linear in the text, so that no pattern and no response can stall a run.
 *
 * Errors: Error with what is wrong in the pattern.
 */
export function compilePattern(pattern: string): RE2JS {
  const known = compiled.get(pattern);
  if (known) return known;
  const made = RE2JS.compile(pattern, RE2JS.CASE_INSENSITIVE);
  if (compiled.size >= mostCompiled) compiled.clear();
  compiled.set(pattern, made);
  return made;
}

/** Why a text is no pattern, in one sentence; undefined where it is one. */
export function patternFault(pattern: string): string | undefined {
  const control = [...pattern].find((character) => isControl(character.codePointAt(0)!));
  if (control !== undefined) {
    const code = control.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0");
    return `it holds the control character U+${code}, which no reply has: in double quotes YAML and JSON read "\\b" as a backspace; write the pattern in single quotes, or "\\\\b"`;
  }
  try {
    compilePattern(pattern);
    return neverFault(pattern) ?? alwaysFault(pattern);
  } catch (error) {
    const reason = (error as Error).message.replace(/^error parsing regexp: /, "").replace("`(?i)", "`");
    const perl = /unsupported|invalid escape|named capture/.test(reason);
    const hint = perl ? " (patterns are RE2's: no lookahead, no lookbehind, no backreferences)" : "";
    return `not a pattern: ${reason}${hint}`;
  }
}

/**
 * Why a pattern matches every text there is; undefined where it does not. One that matches the empty text matches there at the
 * beginning of any other, or at its end, unless it asks for both at once.
 */
function alwaysFault(pattern: string): string | undefined {
  const { begins, ends, borders } = anchorsOf(pattern);
  if (borders || (begins && ends) || !compilePattern(pattern).test("")) return undefined;
  return "it matches every text, even an empty one: is one of its alternatives empty?";
}

/** Why a pattern matches nothing that anybody writes; undefined where it may. */
function neverFault(pattern: string): string | undefined {
  const letter = letterAtBorder(pattern);
  if (letter !== undefined)
    return `it has \\b beside ${letter}, where it matches nothing: \\b is the border of the letters A to Z alone. Leave it out, or write (^|\\PL) before and (\\PL|$) behind`;
  if (/^\/[^/]+\/(?=.)g?i?m?s?u?$/.test(pattern) || /^\/[^/]*[\\|()[\]*+?^$][^/]*\/$/.test(pattern))
    return "it stands between slashes, as in JavaScript, and would match slashes only: leave them and what follows them out";
  const outside = withoutSets(pattern);
  if (/\$[\p{L}\p{N}]|[\p{L}\p{N}]\^/u.test(outside) && !/\(\?[a-z]*m/.test(pattern))
    return "it asks for something behind the end of the text ($), or before its beginning (^), and matches nothing; the characters themselves are \\$ and \\^";
  return undefined;
}

/** Why a pattern is nothing to forbid: all replies have it. Undefined where it may be forbidden. */
export function forbidsAll(pattern: string): string | undefined {
  const { begins, ends, borders } = anchorsOf(pattern);
  const made = compilePattern(pattern);
  // Without an anchor, what matches a character by itself matches every text that has it.
  const any = !begins && !ends && !borders && ["a", "本", "7", "…", "\u{1F642}"].every((text) => made.test(text));
  return any ? "every reply that says anything matches it, so that none could keep to it" : undefined;
}

/** What of a pattern depends on where in a text it stands. */
function anchorsOf(pattern: string): { begins: boolean; ends: boolean; borders: boolean } {
  const outside = withoutSets(pattern);
  const escaped = pattern.replaceAll("\\\\", "");
  return {
    begins: outside.includes("^") || escaped.includes("\\A"),
    ends: outside.includes("$") || escaped.includes("\\z"),
    borders: /\\[bB]/.test(escaped),
  };
}

/** A pattern without its sets and its escaped characters. */
function withoutSets(pattern: string): string {
  return pattern.replaceAll(/\\./gs, " ").replaceAll(/\[\^?\]?[^\]]*\]/g, " ");
}

/** All but tab and the ends of lines. */
function isControl(code: number): boolean {
  return (code < 32 && code !== 9 && code !== 10 && code !== 13) || code === 127;
}

/** Where a pattern matches. */
export interface Match {
  pattern: string;
  words: string;
  index: number;
  /** What the pattern's named groups matched; those that took no part are absent. */
  groups: Readonly<Record<string, string>>;
}

/** The first of the patterns that matches, with the words it matched. */
export function firstMatch(patterns: readonly string[], text: string): Match | undefined {
  return eachMatch(patterns, text).next().value;
}

/** Every match of every pattern, pattern by pattern, each from the left and none inside another of the same pattern. */
export function* eachMatch(patterns: readonly string[], text: string): Generator<Match, undefined> {
  for (const pattern of patterns) {
    const compiledPattern = compilePattern(pattern);
    // `test` runs an automaton; only for a match is it worth finding where.
    if (!compiledPattern.test(text)) continue;
    const names = Object.keys(compiledPattern.namedGroups());
    const matcher = compiledPattern.matcher(text);
    while (matcher.find()) {
      const groups = Object.fromEntries(
        names.flatMap((name) => {
          const words = matcher.group(name);
          return words === null ? [] : [[name, words]];
        }),
      );
      yield { pattern, words: matcher.group() ?? "", index: matcher.start(), groups };
    }
  }
  return undefined;
}
