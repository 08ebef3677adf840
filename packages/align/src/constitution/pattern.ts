import { RE2JS } from "re2js";

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
  try {
    compilePattern(pattern);
    return undefined;
  } catch (error) {
    const reason = (error as Error).message.replace(/^error parsing regexp: /, "").replace("`(?i)", "`");
    const perl = /unsupported|invalid escape|named capture/.test(reason);
    const hint = perl ? " (patterns are RE2's: no lookahead, no lookbehind, no backreferences)" : "";
    return `not a pattern: ${reason}${hint}`;
  }
}

/** The first of the patterns that matches, with the words it matched. */
export function firstMatch(
  patterns: readonly string[],
  text: string,
): { pattern: string; words: string; index: number } | undefined {
  for (const pattern of patterns) {
    const compiledPattern = compilePattern(pattern);
    // `test` runs an automaton; only for a match is it worth finding where.
    if (!compiledPattern.test(text)) continue;
    const matcher = compiledPattern.matcher(text);
    if (matcher.find()) return { pattern, words: matcher.group() ?? "", index: matcher.start() };
  }
  return undefined;
}
