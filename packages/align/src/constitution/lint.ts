import { nearDuplicates } from "@tenet/data";
import { runChecks } from "./checks.ts";
import { patternSamples } from "./pattern-samples.ts";
import type { Check, CheckedExample, Constitution, Principle, Rule } from "./schema.ts";

export type LintKind =
  | "never drawn"
  | "never applies"
  | "duplicate"
  | "cannot fire"
  | "always fires"
  | "conflict"
  | "uncovered"
  /** Of a labeller's readings: see `pulledApart`. */
  | "pull apart";

/** Something about a constitution that is probably not what its author wanted. */
export interface LintFinding {
  readonly kind: LintKind;
  /** Ids of the principles that it is about. */
  readonly principles: readonly string[];
  /** Name of the check, or of both. */
  readonly checks?: readonly string[];
  readonly why: string;
}

/** Prompts that a constitution is for. */
export interface LintOptions {
  readonly prompts?: readonly Pick<CheckedExample, "prompt" | "category">[];
}

/** From which likeness on two principles say the same. */
const alike = 0.8;

/**
 * What can be said of a constitution before anything is spent on it: principles that are never drawn, that say the same, checks that no
 * reply can break or that every reply breaks, checks that no reply can satisfy together; with prompts, principles whose checks apply to
 * none of them, and prompts to which nothing applies.
 *
 * Checks are tried on replies made of their own patterns and on plain ones: "cannot fire" and "always fires" mean that none of these did
 * or did not. Module checks are not tried.
 */
export function lintConstitution(constitution: Constitution, { prompts = [] }: LintOptions = {}): LintFinding[] {
  return [
    ...neverDrawn(constitution),
    ...duplicates(constitution),
    ...untrue(constitution),
    ...(prompts.length > 0 ? unused(constitution, prompts) : []),
  ];
}

function* neverDrawn({ principles }: Constitution): Generator<LintFinding> {
  for (const { id, weight, checks } of principles)
    if (weight === 0 && checks.length === 0)
      yield { kind: "never drawn", principles: [id], why: "its weight is 0 and it has no checks: nothing comes of it" };
}

function* duplicates({ principles }: Constitution): Generator<LintFinding> {
  const texts = principles.map(({ text }) => text);
  for (const { first, second, similarity } of nearDuplicates({ principles: texts }, { threshold: alike })) {
    const [one, other] = [principles[first.index]!, principles[second.index]!].sort(
      (a, b) => principles.indexOf(a) - principles.indexOf(b),
    ) as [Principle, Principle];
    if (one.use !== "both" && other.use !== "both" && one.use !== other.use) continue;
    yield {
      kind: "duplicate",
      principles: [one.id, other.id],
      why: similarity === 1 ? "they say the same" : `they say nearly the same (likeness ${similarity.toFixed(2)})`,
    };
  }
}

interface Tried {
  readonly principle: string;
  readonly check: Check;
  readonly name: string;
}

function* untrue({ principles }: Constitution): Generator<LintFinding> {
  const all = principles.flatMap((principle) =>
    principle.checks
      .filter((check) => !hasModule(check))
      .map((check): Tried => ({ principle: principle.id, check, name: nameOf(principle, check) })),
  );
  const probes = [...new Set([...plainReplies, ...all.flatMap(({ check }) => repliesOf(check))])];
  // The rule alone: a prompt's condition is another matter, and is met here.
  const outcomes = all.map(({ principle, check }) => {
    const { when: _, unless: __, whenCategory: ___, unlessCategory: ____, ...rule } = check;
    const bare = { id: principle, checks: [rule] } as unknown as Principle;
    return probes.map((response) => runChecks(bare, { prompt: question, response })[0]!.violated);
  });
  const sound: number[] = [];
  for (const [i, { principle, name }] of all.entries()) {
    const broken = outcomes[i]!.filter(Boolean).length;
    const about = { principles: [principle], checks: [name] };
    if (broken === 0)
      yield { ...about, kind: "cannot fire", why: `none of ${probes.length} replies made to break it does` };
    else if (broken === probes.length)
      yield {
        ...about,
        kind: "always fires",
        why: `every one of ${probes.length} replies breaks it, the empty one too`,
      };
    else sound.push(i);
  }
  for (const [place, i] of sound.entries())
    for (const j of sound.slice(place + 1)) {
      const [one, other] = [all[i]!, all[j]!];
      if (!sameScope(one.check, other.check)) continue;
      const both = probes.some((_, k) => !outcomes[i]![k] && !outcomes[j]![k]);
      if (both) continue;
      yield {
        kind: "conflict",
        principles: [...new Set([one.principle, other.principle])],
        checks: [one.name, other.name],
        why: `no reply satisfies both: each of ${probes.length} breaks one or the other`,
      };
    }
}

/** Whether two checks apply to the same prompts, as far as their words say. */
function sameScope(one: Check, other: Check): boolean {
  const scope = ({ when, unless, whenCategory, unlessCategory }: Check) =>
    JSON.stringify([when, unless, whenCategory, unlessCategory]);
  const open = (check: Check) => check.when === undefined && check.whenCategory === undefined;
  const covers = (some: readonly string[] = [], others: readonly string[] = []) =>
    others.every((pattern) => some.includes(pattern));
  // What does not apply where the other does, wherever that is: refuse here, and nowhere else.
  const spares = (check: Check, where: Check) =>
    !open(where) && covers(check.unless, where.when) && covers(check.unlessCategory, where.whenCategory);
  if (scope(one) === scope(other)) return true;
  return (open(one) || open(other)) && !spares(one, other) && !spares(other, one);
}

function* unused(constitution: Constitution, prompts: NonNullable<LintOptions["prompts"]>): Generator<LintFinding> {
  const applied = new Set<string>();
  const uncovered: string[] = [];
  for (const prompt of prompts) {
    const applying = runChecks(withoutModules(constitution), { ...prompt, response: "" }).filter(
      ({ applies }) => applies,
    );
    for (const { principle } of applying) applied.add(principle);
    if (applying.length === 0) uncovered.push(prompt.prompt.at(-1)!.content);
  }
  for (const { id, checks } of constitution.principles)
    if (checks.some((check) => !hasModule(check)) && !applied.has(id))
      yield {
        kind: "never applies",
        principles: [id],
        why: `its checks apply to none of ${prompts.length} prompts: see "when" and "unless"`,
      };
  // A principle without checks may be about anything.
  const open = constitution.principles.some(({ checks, weight }) => checks.length === 0 && weight > 0);
  if (!open && uncovered.length > 0)
    yield {
      kind: "uncovered",
      principles: [],
      why: `no check applies to ${uncovered.length} of ${prompts.length} prompts, such as ${JSON.stringify(uncovered[0]!.slice(0, 80))}`,
    };
}

function withoutModules(constitution: Constitution): Constitution {
  const principles = constitution.principles.map((principle) => {
    return { ...principle, checks: principle.checks.filter((check) => !hasModule(check)) };
  });
  return { ...constitution, principles };
}

function hasModule(rule: Rule): boolean {
  const inside = [...(rule.any ?? []), ...(rule.all ?? []), ...(rule.not ? [rule.not] : [])];
  return rule.module !== undefined || inside.some(hasModule);
}

function nameOf({ checks }: Principle, check: Check): string {
  return check.name ?? `${checks.indexOf(check) + 1}`;
}

const question = [{ role: "user", content: "My neighbour's dog barks every night. What can I do about the noise?" }];

/** Replies of every length, with and without what checks look for. */
const plainReplies = [
  "",
  "Yes.",
  "The dog may be lonely. You could speak to your neighbour about the noise, kindly.",
  "I'm sorry, I can't help with that.",
  "Source: The town's rules on noise, §3 (Smith, 2020) [1] https://example.org/noise",
  ...[20, 60, 150, 400, 1000, 3000].map(
    (words) => `The neighbour's dog makes noise. ${"Word by word it goes on. ".repeat(words / 5)}`,
  ),
];

/** Replies that a rule is about: made of its patterns, and of lengths at its bounds. */
function repliesOf(rule: Rule): string[] {
  const patterns = [
    ...(rule.must ?? []),
    ...(rule.mustNot ?? []),
    ...(Array.isArray(rule.citation) ? rule.citation : []),
  ];
  const lengths = [rule.words?.min, rule.words?.max].flatMap((n) => (n === undefined ? [] : [n - 1, n, n + 1]));
  const characters = [rule.characters?.min, rule.characters?.max].flatMap((n) =>
    n === undefined ? [] : [n - 1, n, n + 1],
  );
  const own = patterns.flatMap((pattern) => patternSamples(pattern, { seed: 1, count: 6 }));
  // Whatever else is said beside it.
  const beside = own.flatMap((text) => [text, `The dog makes noise at night. ${text} That is what I would do.`]);
  return [
    ...beside,
    ...lengths.filter((n) => n >= 0 && n <= 20_000).map((n) => "dog ".repeat(n).trim()),
    ...characters.filter((n) => n >= 0 && n <= 100_000).map((n) => "d".repeat(n)),
    ...[...(rule.any ?? []), ...(rule.all ?? []), ...(rule.not ? [rule.not] : [])].flatMap(repliesOf),
  ];
}
