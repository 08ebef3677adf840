import { messageSchema } from "@tenet/data";
import { z } from "zod";
import { type Authority, asAsked, authorities } from "./authority.ts";
import { forbidsAll, patternFault } from "./pattern.ts";

/*
 * What a constitution may say. Types, messages, the reference page and the JSON Schema all come from here. METHODS §1.
 */

const pattern = z
  .string()
  .min(1)
  .max(4000)
  .superRefine((text, context) => {
    const fault = patternFault(text);
    if (fault !== undefined) context.addIssue({ code: "custom", message: fault });
  });

/** One pattern or several; several are alternatives. */
const patterns = z
  .union([pattern, z.array(pattern).min(1)])
  .transform((value) => (typeof value === "string" ? [value] : value));

const bounds = z
  .strictObject({
    min: z.int().min(0).optional().describe("At least this many."),
    max: z.int().min(1).optional().describe("At most this many."),
  })
  .refine(({ min, max }) => min !== undefined || max !== undefined, { error: "a bound needs min, max or both" })
  .refine(({ min = 0, max = Number.POSITIVE_INFINITY }) => min <= max, { error: "min is larger than max" });

const word = z.string().trim().min(1);

const language = z.string().refine(isLanguage, {
  error: 'not a language tag; write one such as "en" or "pt-BR"',
});

function isLanguage(tag: string): boolean {
  try {
    return Intl.getCanonicalLocales(tag).length === 1;
  } catch {
    return false;
  }
}

const mentions = z
  .union([
    z.literal("prompt"),
    z.strictObject({
      of: z.literal("prompt").describe("Whose words."),
      atLeast: z.int().min(1).optional().describe("How many of them; 1 where absent, all where it has fewer."),
      ignore: z.array(word).min(1).optional().describe("Words that say nothing about the matter, in any form."),
      groups: z.array(z.array(word).min(2)).min(1).optional().describe("Words that count as the same, group by group."),
      language: language.optional().describe("Language of the texts, as a BCP 47 tag; `en` where absent."),
    }),
  ])
  .transform((value) => (value === "prompt" ? { of: value } : value));

/** What a rule may be. Exactly one of these keys makes a rule. */
export const ruleNames = [
  "must",
  "mustNot",
  "mentions",
  "words",
  "characters",
  "citation",
  "any",
  "all",
  "not",
  "module",
] as const;
export type RuleName = (typeof ruleNames)[number];

const simpleRules = {
  must: patterns.optional().describe("The response matches this pattern, or one of these. RE2 syntax, case ignored."),
  mustNot: patterns
    .optional()
    .describe(
      "The response matches neither this pattern nor any of these. A match in which a group `(?P<not>…)` takes part is none.",
    ),
  unlessSaid: patterns
    .optional()
    .describe(
      "Beside `mustNot`: a match is none where its group `(?P<said>…)` stands in what one of these patterns finds in the user's messages.",
    ),
  mentions: mentions
    .optional()
    .describe("The response speaks of what the user's messages are about: it shares one of their content words."),
  words: bounds.optional().describe("How many words the response has."),
  characters: bounds.optional().describe("How many characters the response has."),
  citation: z
    .union([z.literal(true), patterns])
    .optional()
    .describe(
      "The response names a source: `true` for a link, a `[1]`, an (Author, 2020) or a line `Source:`; else a pattern of your own.",
    ),
  module: z
    .string()
    .min(1)
    .optional()
    .describe("A JavaScript module in the constitution's folder that decides. Runs only where modules are allowed."),
  export: z.string().min(1).optional().describe("Name of the module's function; `default` where absent."),
};

/** What `mentions` asks for. */
export interface Mentions {
  of: "prompt";
  atLeast?: number | undefined;
  ignore?: string[] | undefined;
  groups?: string[][] | undefined;
  language?: string | undefined;
}

export interface Bounds {
  min?: number | undefined;
  max?: number | undefined;
}

/** Something a program can verify on a response; exactly one of the keys of `ruleNames` is there. */
export interface Rule {
  must?: string[] | undefined;
  mustNot?: string[] | undefined;
  /** Patterns on the user's messages that excuse a match of `mustNot`. */
  unlessSaid?: string[] | undefined;
  mentions?: Mentions | undefined;
  words?: Bounds | undefined;
  characters?: Bounds | undefined;
  citation?: true | string[] | undefined;
  any?: Rule[] | undefined;
  all?: Rule[] | undefined;
  not?: Rule | undefined;
  module?: string | undefined;
  export?: string | undefined;
  /** SHA-256 of the module, so that changing it changes the constitution; filled in on loading. */
  sha256?: string | undefined;
  /** The module's function; filled in on loading. */
  call?: CheckFunction | undefined;
}

/** What a check looks at. */
export interface CheckedExample {
  prompt: readonly { role: string; content: string }[];
  response: string;
  /** The prompt's category, where its author named one. */
  category?: string | undefined;
}

/** A check in a module: true or `{ violated: true }` where the response breaks the principle. */
export type CheckFunction = (
  example: CheckedExample,
) => boolean | { violated: boolean; severity?: number; why?: string };

/** The rule's keys that stand in an object. */
export function rulesIn(rule: object): RuleName[] {
  return ruleNames.filter((name) => (rule as Record<string, unknown>)[name] !== undefined);
}

function exactlyOneRule(rule: object, context: z.RefinementCtx): void {
  const found = rulesIn(rule);
  if (found.length !== 1) {
    const message =
      found.length === 0
        ? `a check needs a rule: one of ${ruleNames.join(", ")}`
        : `a check has one rule, here are ${found.join(" and ")}; put them under "all" or into checks of their own`;
    context.addIssue({ code: "custom", message });
  }
  const { mustNot = [], unlessSaid } = rule as Rule;
  for (const pattern of mustNot) {
    const excused = unlessSaid !== undefined || pattern.includes("(?P<not>");
    const fault = excused || patternFault(pattern) !== undefined ? undefined : forbidsAll(pattern);
    if (fault !== undefined) context.addIssue({ code: "custom", path: ["mustNot"], message: fault });
  }
  if ("unlessSaid" in rule && rule.unlessSaid !== undefined && !found.includes("mustNot"))
    context.addIssue({ code: "custom", path: ["unlessSaid"], message: '"unlessSaid" belongs to "mustNot"' });
  if ("export" in rule && rule.export !== undefined && !found.includes("module"))
    context.addIssue({ code: "custom", path: ["export"], message: '"export" belongs to "module"' });
}

const ruleSchema: z.ZodType<Rule> = z.lazy(() =>
  z.strictObject({ ...simpleRules, ...compoundRules }).superRefine(exactlyOneRule),
);

const compoundRules = {
  any: z.array(ruleSchema).min(1).optional().describe("At least one of these rules holds."),
  all: z.array(ruleSchema).min(1).optional().describe("All of these rules hold."),
  not: ruleSchema.optional().describe("This rule does not hold."),
};

const categories = z
  .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
  .transform((value) => (typeof value === "string" ? [value] : value));

/** A reply, or one to a prompt of which the check's condition is told. */
const checkExampleSchema = z.union([
  z.string(),
  z.strictObject({
    prompt: z.string().min(1).describe("What the user says."),
    reply: z.string().describe("The reply."),
  }),
]);
export type CheckExample = z.output<typeof checkExampleSchema>;

export const checkSchema = z
  .strictObject({
    ...simpleRules,
    ...compoundRules,
    name: z.string().min(1).max(80).optional().describe("Names the check in reports; its rule where absent."),
    severity: z.number().min(0).max(1).default(1).describe("How bad a violation is: 1 severe, 0 only counted."),
    when: patterns.optional().describe("The check applies only where one of the user's messages matches."),
    unless: patterns.optional().describe("The check does not apply where one of the user's messages matches."),
    whenCategory: categories
      .optional()
      .describe("The check applies to prompts of these categories too, whatever they say."),
    unlessCategory: categories.optional().describe("The check does not apply to prompts of these categories either."),
    examples: z
      .strictObject({
        keeps: z.array(checkExampleSchema).default([]).describe("Replies that the check lets pass."),
        breaks: z.array(checkExampleSchema).default([]).describe("Replies that it finds."),
      })
      .optional()
      .describe("What the check is to say of some replies; a constitution whose checks say otherwise is refused."),
  })
  .superRefine(exactlyOneRule);

/** A rule with its name, its severity and the prompts it applies to. */
export interface Check extends Rule {
  examples?: { keeps: CheckExample[]; breaks: CheckExample[] } | undefined;
  name?: string | undefined;
  severity: number;
  when?: string[] | undefined;
  unless?: string[] | undefined;
  whenCategory?: string[] | undefined;
  unlessCategory?: string[] | undefined;
}

const id = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, {
  error: "an id has letters, digits, dots, hyphens and underscores, 64 at most",
});

const text = z.string().trim().min(1);

const exampleSchema = z.strictObject({
  about: z.string().min(1).optional().describe("What it shows."),
  prompt: z.array(messageSchema).min(1).describe("Ends with the user's turn."),
  good: z.array(text).default([]).describe("Replies that keep to the principle."),
  bad: z.array(text).default([]).describe("Replies that do not."),
});
export type PrincipleExample = z.output<typeof exampleSchema>;

export const principleSchema = z.strictObject({
  id: id.describe("Names the principle in every datum drawn from it."),
  text: text.describe("The principle itself, as a person would state it."),
  critiqueRequest: text.optional().describe("Asks for a critique of a response. Derived from the text where absent."),
  revisionRequest: text.optional().describe("Asks for a revision. Derived from the text where absent."),
  preferenceQuestion: text
    .optional()
    .describe("Asks which of two responses is better. Derived from the text where absent."),
  negation: text
    .optional()
    .describe("What the opposite of the principle asks for; contrast pairs and rubrics say it. Derived where absent."),
  rubric: z
    .array(text)
    .length(5)
    .optional()
    .describe("What a judge's scores 1 to 5 mean under this principle, in order. Derived where absent."),
  weight: z.number().min(0).max(1e6).default(1).describe("How often it is drawn, relative to the others. 0: never."),
  use: z
    .enum(["both", "revision", "preference"])
    .default("both")
    .describe("Whether it is drawn for critique and revision, for preference questions, or both."),
  authority: z
    .enum(authorities)
    .optional()
    .describe(
      "Who may override it: nobody (`root`), the system message, its `developer`, the `user`, or a hint (`guideline`). What may be overridden is asked with that proviso, and weighs less where it is broken.",
    ),
  tags: z.array(z.string().min(1)).optional().describe("For whom or what it is."),
  examples: z
    .array(exampleSchema)
    .optional()
    .describe("Conversations with replies that keep to it and replies that do not: known answers for the audit."),
  category: z.string().min(1).optional().describe("Groups principles in reports."),
  source: z.string().min(1).optional().describe("Where the principle comes from."),
  checks: z.array(checkSchema).default([]).describe("Rules that a program can verify on a response."),
});

export const constitutionSchema = z
  .strictObject({
    name: z.string().min(1).max(80).describe("Name of the constitution."),
    version: z
      .string({ error: 'the version is text; write a number in quotes, such as "1.0"' })
      .min(1)
      .max(40)
      .describe("Version of the text; say what you like, e.g. 1.2.0."),
    description: z.string().optional().describe("For whom and what for. Not part of the constitution's identity."),
    principles: z.array(principleSchema).min(1).describe("The principles, in any order."),
  })
  .superRefine(({ principles }, context) => {
    const first = new Map<string, number>();
    for (const [i, { id }] of principles.entries()) {
      const before = first.get(id);
      if (before === undefined) first.set(id, i);
      else
        context.addIssue({
          code: "custom",
          path: ["principles", i, "id"],
          message: `each principle's id once; principles[${before}] has it too`,
        });
    }
    if (principles.length > 0 && principles.every(({ weight }) => weight === 0))
      context.addIssue({
        code: "custom",
        path: ["principles"],
        message: "expected at least one principle with a weight above 0, got 0 for all",
      });
  });

/** A principle with its requests filled in. */
export interface Principle {
  id: string;
  text: string;
  critiqueRequest: string;
  revisionRequest: string;
  preferenceQuestion: string;
  negation?: string | undefined;
  rubric?: string[] | undefined;
  weight: number;
  use: "both" | "revision" | "preference";
  authority?: Authority | undefined;
  tags?: string[] | undefined;
  examples?: PrincipleExample[] | undefined;
  category?: string | undefined;
  source?: string | undefined;
  checks: Check[];
}

/** Principles, versioned. Plain data but for the functions of module checks. */
export interface Constitution {
  name: string;
  version: string;
  description?: string | undefined;
  principles: Principle[];
}

/** A constitution as it may be written: requests and defaults may be absent. */
export type ConstitutionInput = z.input<typeof constitutionSchema>;

/** A constitution as it was written, checked, with its defaults. */
export type ConstitutionDocument = z.output<typeof constitutionSchema>;

/**
 * Fills in the requests that an author left out, from the principle's text.
 */
export function withRequests(document: ConstitutionDocument): Constitution {
  return {
    ...document,
    principles: document.principles.map((principle) => {
      const rule = asAsked(principle);
      return {
        ...principle,
        critiqueRequest:
          principle.critiqueRequest ??
          `Say in which ways the assistant's last response departs from this principle: ${rule}`,
        revisionRequest:
          principle.revisionRequest ??
          `Rewrite the assistant's last response so that it keeps to this principle: ${rule}`,
        preferenceQuestion:
          principle.preferenceQuestion ?? `Which of these responses keeps better to this principle: ${rule}`,
      };
    }),
  };
}
