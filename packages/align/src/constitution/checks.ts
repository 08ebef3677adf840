import { countWords, isUnspaced, normalForm, withoutImages } from "@tenet/data";
import { authorityWeight } from "./authority.ts";
import { contentWords } from "./content-words.ts";
import { CheckError } from "./errors.ts";
import { compilePattern, eachMatch, firstMatch } from "./pattern.ts";
import {
  type Bounds,
  type Check,
  type CheckedExample,
  type Constitution,
  type Principle,
  type Rule,
  type RuleName,
  rulesIn,
} from "./schema.ts";

/** What one check says of one response. */
export interface CheckResult {
  /** Id of the principle. */
  principle: string;
  /** Name of the check: its author's, else its rule and position. */
  check: string;
  /** False where the check has nothing to say about this prompt; `violated` is false then. */
  applies: boolean;
  violated: boolean;
  /** In [0, 1], as the check states it (or its module said), times the weight of its principle's level. */
  severity: number;
  /** For people: what was found. */
  why: string;
}

/**
 * Every check of a constitution, or of one principle, on a response, in the order of the document. The results are a function
 * of prompt and response only, and take time linear in their length.
 *
 * Errors: CheckError when a module's function is missing, throws or answers with no verdict.
 */
export function runChecks(of: Constitution | Principle, example: CheckedExample): CheckResult[] {
  const principles = "principles" in of ? of.principles : [of];
  return principles.flatMap((principle) =>
    principle.checks.map((check, i) => {
      const result = runCheck(check, `${principle.id}`, i, example);
      return { ...result, severity: result.severity * authorityWeight(principle) };
    }),
  );
}

function runCheck(check: Check, principle: string, position: number, example: CheckedExample): CheckResult {
  const rule = rulesIn(check)[0];
  const name = check.name ?? `${position + 1} ${rule}`;
  const asked = askedIn(example);
  const matching = (patterns: readonly string[]) => asked.some((text) => firstMatch(patterns, text) !== undefined);
  const outside = (why: string) => ({
    principle,
    check: name,
    applies: false,
    violated: false,
    severity: check.severity,
    why,
  });
  const named = (categories: readonly string[] = [], patterns: readonly string[] = []) =>
    (example.category !== undefined && categories.includes(example.category)) || matching(patterns);
  if ((check.when || check.whenCategory) && !named(check.whenCategory, check.when))
    return outside('the prompt is none of those that "when" names');
  if (named(check.unlessCategory, check.unless)) return outside('the prompt is one of those that "unless" names');
  const { holds, why, severity = check.severity } = follow(check, example);
  return { principle, check: name, applies: true, violated: !holds, severity, why };
}

/** The user's messages. */
function askedIn({ prompt }: CheckedExample): string[] {
  return prompt.filter(({ role }) => role === "user").map(({ content }) => content);
}

/** What a module is given: texts, whatever else a prompt shows. */
function textOf({ prompt, ...example }: CheckedExample): CheckedExample {
  return { ...example, prompt: withoutImages(prompt) };
}

interface Finding {
  holds: boolean;
  why: string;
  severity?: number;
}

/** One entry per kind of rule; a kind without one does not compile. */
const rules: { [Name in RuleName]: (value: NonNullable<Rule[Name]>, example: CheckedExample, rule: Rule) => Finding } =
  {
    must: (patterns, { response }) => {
      const found = firstMatch(patterns, response);
      return found
        ? { holds: true, why: `it says ${excerpt(found.words)}` }
        : { holds: false, why: `nothing in it matches ${shorten(patterns.join(" | "))}` };
    },
    mustNot: (patterns, example, { unlessSaid = [] }) => {
      const said = askedIn(example).flatMap((text) => [...eachMatch(unlessSaid, text)].map(({ words }) => words));
      for (const { words, groups } of eachMatch(patterns, example.response))
        if (groups.not === undefined && !said.some((text) => holdsWords(text, groups.said ?? words)))
          return { holds: false, why: `it says ${excerpt(words)}` };
      return { holds: true, why: "it says nothing of the kind" };
    },
    mentions: (wanted, example) => {
      const matter = contentWords(askedIn(example).join("\n"), wanted);
      if (matter.size === 0) return { holds: true, why: "the prompt has no words to speak of" };
      const spoken = contentWords(example.response, wanted);
      const shared = [...matter.keys()].filter((stem) => spoken.has(stem));
      return shared.length >= Math.min(wanted.atLeast ?? 1, matter.size)
        ? { holds: true, why: `it speaks of ${shared.map((stem) => spoken.get(stem)).join(", ")}` }
        : { holds: false, why: `it speaks of too little of: ${shorten([...matter.values()].join(", "))}` };
    },
    words: (bounds, { response }) => within(bounds, wordsOf(response), "words"),
    characters: (bounds, { response }) => within(bounds, [...response.trim()].length, "characters"),
    citation: (patterns, { response }) => {
      const found = firstMatch(patterns === true ? citationPatterns : patterns, response);
      return found
        ? { holds: true, why: `it cites ${excerpt(found.words)}` }
        : { holds: false, why: "it cites no source" };
    },
    any: (parts, example) => {
      const findings = parts.map((part) => follow(part, example));
      const kept = findings.find(({ holds }) => holds);
      return { holds: kept !== undefined, why: kept?.why ?? findings.map(({ why }) => why).join(", and ") };
    },
    all: (parts, example) => {
      const findings = parts.map((part) => follow(part, example));
      const broken = findings.filter(({ holds }) => !holds);
      return {
        holds: broken.length === 0,
        why: (broken.length > 0 ? broken : findings).map(({ why }) => why).join(", and "),
      };
    },
    not: (part, example) => {
      const { holds, why } = follow(part, example);
      return { holds: !holds, why };
    },
    module: (path, example, { call, export: name = "default" }) => {
      const title = `the check ${name} of ${path}`;
      if (!call)
        throw new CheckError(
          `${title} is not loaded: load the constitution with loadConstitution(path, { allowModules: true })`,
        );
      let verdict: unknown;
      try {
        verdict = call(textOf(example));
      } catch (error) {
        throw new CheckError(`${title} threw: ${(error as Error)?.message ?? String(error)}`, { cause: error });
      }
      const violated =
        typeof verdict === "object" && verdict !== null ? (verdict as { violated?: unknown }).violated : verdict;
      const { severity, why } = Object(verdict) as { severity?: unknown; why?: unknown };
      const graded = typeof severity === "number" && severity >= 0 && severity <= 1;
      if (typeof violated !== "boolean" || (severity !== undefined && !graded))
        throw new CheckError(
          `${title}: expected true, false or { violated, severity from 0 to 1, why }, got ${shorten(String(JSON.stringify(verdict) ?? verdict))}`,
        );
      const said = typeof why === "string" ? why : violated ? "its module says so" : "its module finds nothing";
      return { holds: !violated, why: said, ...(graded ? { severity } : {}) };
    },
  };

function follow(rule: Rule, example: CheckedExample): Finding {
  const name = rulesIn(rule)[0];
  if (name === undefined) throw new CheckError("a check without a rule; parse constitutions with parseConstitution");
  // The table's entry and the value are of the same kind, which a union of functions cannot say.
  const carryOut = rules[name] as (value: unknown, example: CheckedExample, rule: Rule) => Finding;
  return carryOut(rule[name], example, rule);
}

/** [1], [text](link), a bare link, (Author, 2020), a line "Source: …". */
const citationPatterns = [
  String.raw`\[\d{1,3}\]`,
  String.raw`\[[^\]\n]+\]\([^)\s]+\)`,
  String.raw`https?://[^\s)]+`,
  String.raw`\([^()\n]*\p{L}[^()\n]*, ?(19|20)\d\d[a-z]?\)`,
  String.raw`(?m)^\W*(sources?|references?):\s*\S`,
];
for (const pattern of citationPatterns) compilePattern(pattern);

/** What stands between white space; where a language sets none, its words. */
function wordsOf(response: string): number {
  return isUnspaced(response) ? countWords(response) : (response.match(/\S+/g)?.length ?? 0);
}

/** Whether a text holds these words, as whole words, in this order, whatever stands between words. */
function holdsWords(text: string, words: string): boolean {
  if (isUnspaced(words)) return normalForm(text).includes(normalForm(words));
  return ` ${normalForm(text)} `.includes(` ${normalForm(words)} `);
}

function within({ min = 0, max }: Bounds, count: number, unit: string): Finding {
  const holds = count >= min && (max === undefined || count <= max);
  const asked = max === undefined ? `at least ${min}` : min === 0 ? `at most ${max}` : `${min} to ${max}`;
  return { holds, why: `it has ${count} ${unit}; asked for: ${asked}` };
}

function excerpt(words: string): string {
  return JSON.stringify(shorten(words.trim()));
}

function shorten(text: string): string {
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}

/** Whether what checks find may depend on the category that a prompt's author named. */
export function looksAtCategories({ principles }: Pick<Constitution, "principles">): boolean {
  return principles.some(({ checks }) =>
    checks.some((check) => check.whenCategory || check.unlessCategory || check.module !== undefined),
  );
}
