import { DocumentError } from "@tenet/data";
import { describe, expect, it } from "vitest";
import { constitutionHash, parseConstitution } from "./index.ts";

function messages(text: string, file = "c.yaml"): string[] {
  try {
    parseConstitution(text, { file });
  } catch (error) {
    if (error instanceof DocumentError) return error.problems.map(({ message }) => message);
    throw error;
  }
  return [];
}

const head = "name: kind\nversion: 1.0.0\nprinciples:\n";
const one = `${head}  - id: kind\n    text: Be kind.\n`;
const checked = (check: string) => `${one}    checks:\n      - ${check}\n`;
const principleKeys =
  "id, text, critiqueRequest, revisionRequest, preferenceQuestion, negation, rubric, weight, use, authority, tags, examples, category, source, checks";
const ruleKeys = "must, mustNot, mentions, words, characters, citation, any, all, not, module";
const re2 = " (patterns are RE2's: no lookahead, no lookbehind, no backreferences)";

const bad: [string, string, string[]][] = [
  [
    "without principles",
    "name: kind\nversion: 1.0.0\n",
    ["c.yaml:1:1 principles: expected a list, got nothing: the key is required"],
  ],
  [
    "with an empty list of principles",
    "name: kind\nversion: 1.0.0\nprinciples: []\n",
    ["c.yaml:3:13 principles: expected at least 1 item, got an empty list"],
  ],
  [
    "with a version that is a number",
    one.replace("1.0.0", "1.0"),
    ['c.yaml:2:10 version: the version is text; write a number in quotes, such as "1.0", got 1'],
  ],
  [
    "with a misspelt key",
    one.replace("principles:", "principels:"),
    [
      'c.yaml:3:1 principels: unknown key; expected one of the keys name, version, description, principles. Did you mean "principles"?',
    ],
  ],
  [
    "with a misspelt key in a principle",
    `${one}    wieght: 2\n`,
    [`c.yaml:6:5 principles[0].wieght: unknown key; expected one of the keys ${principleKeys}. Did you mean "weight"?`],
  ],
  [
    "with the CAI paper's key",
    `${one}    critique: Is it?\n`,
    [`c.yaml:6:5 principles[0].critique: unknown key; expected one of the keys ${principleKeys}`],
  ],
  [
    "with a principle that is text",
    `${head}  - Be kind.\n`,
    ['c.yaml:4:5 principles[0]: expected a mapping (key: value), got the text "Be kind."'],
  ],
  [
    "with principles as a mapping",
    `${head}  kind: Be kind.\n`,
    ["c.yaml:4:3 principles: expected a list, got a mapping"],
  ],
  [
    "without a text",
    `${head}  - id: kind\n`,
    ["c.yaml:4:5 principles[0].text: expected text, got nothing: the key is required"],
  ],
  [
    "with an empty text",
    `${head}  - id: kind\n    text: "  "\n`,
    ["c.yaml:5:11 principles[0].text: expected at least 1 character, got 2"],
  ],
  [
    "with a blank in an id",
    one.replace("id: kind", "id: be kind"),
    [
      'c.yaml:4:9 principles[0].id: an id has letters, digits, dots, hyphens and underscores, 64 at most, got the text "be kind"',
    ],
  ],
  [
    "with an id twice",
    `${one}  - id: kind\n    text: Be nice.\n`,
    ['c.yaml:6:9 principles[1].id: each principle\'s id once; principles[0] has it too, got the text "kind"'],
  ],
  [
    "with a weight below 0",
    `${one}    weight: -1\n`,
    ["c.yaml:6:13 principles[0].weight: expected a number at least 0, got -1"],
  ],
  [
    "with a weight that is no number",
    `${one}    weight: .nan\n`,
    ["c.yaml:6:13 principles[0].weight: expected a number, got NaN"],
  ],
  [
    "with only weights of 0",
    `${one}    weight: 0\n`,
    ["c.yaml:4:3 principles: expected at least one principle with a weight above 0, got 0 for all"],
  ],
  [
    "with a misspelt use",
    `${one}    use: revisions\n`,
    [
      'c.yaml:6:10 principles[0].use: expected one of "both", "revision", "preference", got the text "revisions". Did you mean "revision"?',
    ],
  ],
  [
    "with checks that are no list",
    `${one}    checks: { must: x }\n`,
    ["c.yaml:6:13 principles[0].checks: expected a list, got a mapping"],
  ],
  [
    "with a misspelt rule",
    checked("mustnt: stupid"),
    [
      `c.yaml:7:9 principles[0].checks[0].mustnt: unknown key; expected one of the keys must, mustNot, unlessSaid, mentions, words, characters, citation, module, export, any, all, not, name, severity, when, unless and 3 more. Did you mean "mustNot"?`,
    ],
  ],
  [
    "with a check without a rule",
    checked("name: nothing"),
    [`c.yaml:7:9 principles[0].checks[0]: a check needs a rule: one of ${ruleKeys}`],
  ],
  [
    "with two rules in a check",
    checked("{ must: a, mustNot: b }"),
    [
      'c.yaml:7:9 principles[0].checks[0]: a check has one rule, here are must and mustNot; put them under "all" or into checks of their own',
    ],
  ],
  [
    "with a pattern that does not parse",
    checked("must: '(a'"),
    ['c.yaml:7:15 principles[0].checks[0].must: not a pattern: missing closing ): `(a`, got the text "(a"'],
  ],
  [
    "with a lookahead",
    checked("must: 'a(?!b)'"),
    [
      `c.yaml:7:15 principles[0].checks[0].must: not a pattern: invalid or unsupported Perl syntax: \`(?!\`${re2}, got the text "a(?!b)"`,
    ],
  ],
  [
    "with a backreference",
    checked("mustNot: [ok, '(a)\\1']"),
    [
      `c.yaml:7:23 principles[0].checks[0].mustNot[1]: not a pattern: invalid escape sequence: \`\\1\`${re2}, got the text "(a)\\\\1"`,
    ],
  ],
  [
    "with a pattern that would grow without bound",
    checked("mustNot: '((a{100}){100}){100}'"),
    [
      'c.yaml:7:18 principles[0].checks[0].mustNot: not a pattern: invalid repeat count: `{100}`, got the text "((a{100}){100}){100}"',
    ],
  ],
  [
    "with a pattern that is a number",
    checked("must: 5"),
    ["c.yaml:7:15 principles[0].checks[0].must: expected text or a list, got 5"],
  ],
  [
    "with bounds without a number",
    checked("words: {}"),
    ["c.yaml:7:16 principles[0].checks[0].words: a bound needs min, max or both"],
  ],
  [
    "with crossed bounds",
    checked("words: { min: 9, max: 3 }"),
    ["c.yaml:7:16 principles[0].checks[0].words: min is larger than max"],
  ],
  [
    "with a misspelt bound",
    checked("characters: { maximum: 3 }"),
    ["c.yaml:7:23 principles[0].checks[0].characters.maximum: unknown key; expected one of the keys min, max"],
  ],
  [
    "with a severity above 1",
    checked("{ must: a, severity: 3 }"),
    ["c.yaml:7:30 principles[0].checks[0].severity: expected a number at most 1, got 3"],
  ],
  [
    "with a faulty pattern deep inside",
    checked("any: [{ must: a }, { not: { must: '[' } }]"),
    ['c.yaml:7:43 principles[0].checks[0].any[1].not.must: not a pattern: missing closing ]: `[`, got the text "["'],
  ],
  [
    "with a severity inside a combination",
    checked("any: [{ must: a, severity: 1 }]"),
    [
      "c.yaml:7:26 principles[0].checks[0].any[0].severity: unknown key; expected one of the keys must, mustNot, unlessSaid, mentions, words, characters, citation, module, export, any, all, not",
    ],
  ],
  [
    "with an export but no module",
    checked("{ must: a, export: f }"),
    ['c.yaml:7:28 principles[0].checks[0].export: "export" belongs to "module", got the text "f"'],
  ],
  [
    "with what was said, and nothing that must not be",
    checked("{ must: a, unlessSaid: f }"),
    ['c.yaml:7:32 principles[0].checks[0].unlessSaid: "unlessSaid" belongs to "mustNot", got the text "f"'],
  ],
  [
    "that mentions something unknown",
    checked("mentions: answer"),
    [
      'c.yaml:7:19 principles[0].checks[0].mentions: expected "prompt" or a mapping (key: value), got the text "answer"',
    ],
  ],
  [
    "that mentions in no language",
    checked("mentions: { of: prompt, language: english language }"),
    [
      'c.yaml:7:43 principles[0].checks[0].mentions.language: not a language tag; write one such as "en" or "pt-BR", got the text "english language"',
    ],
  ],
  [
    "that cites false",
    checked("citation: false"),
    ["c.yaml:7:19 principles[0].checks[0].citation: expected true, text or a list, got false"],
  ],
  [
    "with everything wrong at once",
    `${head}  - id: kind\n    text: 7\n  - id: kind\n    weight: x\n`,
    [
      "c.yaml:5:11 principles[0].text: expected text, got 7",
      "c.yaml:6:5 principles[1].text: expected text, got nothing: the key is required",
      'c.yaml:7:13 principles[1].weight: expected a number, got the text "x"',
    ],
  ],
];

describe("a constitution", () => {
  for (const [name, text, expected] of bad) it(`${name} is refused`, () => expect(messages(text)).toEqual(expected));

  it("has its requests derived from the text where the author gives none", () => {
    const [principle] = parseConstitution(`${one}    revisionRequest: Make it kind.\n`, { file: "c.yaml" }).value
      .principles;
    expect(principle).toEqual({
      id: "kind",
      text: "Be kind.",
      critiqueRequest: "Say in which ways the assistant's last response departs from this principle: Be kind.",
      revisionRequest: "Make it kind.",
      preferenceQuestion: "Which of these responses keeps better to this principle: Be kind.",
      weight: 1,
      use: "both",
      checks: [],
    });
  });
});

const markdown = `---
name: kind
version: 1.0.0
---

# Kindness

For everyone.

## kind

Be kind,

and *warm*.

\`\`\`
## not a heading
\`\`\`

### Critique request

Is it kind?

\`\`\`yaml
weight: 2
checks:
  - mustNot: stupid
\`\`\`

## brief

Be brief.
`;

describe("a constitution in Markdown", () => {
  const document = parseConstitution(markdown, { file: "c.md" });
  it("says the same as its YAML form", () => {
    const yaml =
      'name: kind\nversion: 1.0.0\nprinciples:\n  - { id: brief, text: Be brief. }\n  - id: kind\n    text: "Be kind,\\n\\nand *warm*.\\n\\n```\\n## not a heading\\n```"\n    critiqueRequest: Is it kind?\n    weight: 2\n    checks: [{ mustNot: stupid }]\n';
    expect(constitutionHash(document.value)).toBe(constitutionHash(parseConstitution(yaml, { file: "c.yaml" }).value));
    expect(document.value.description).toBe("For everyone.");
  });
  it("loses no principle behind a fence that says more than a language", () => {
    const noted = "```text a note\n## not a heading\n```\n\n````md {.wide}\n```\n## nor this\n```\n````";
    const text = markdown.replace("Be kind,", `${noted}\n\nBe kind,`).replace("Be brief.", `Be brief.\n\n${noted}`);
    const { principles } = parseConstitution(text, { file: "c.md" }).value;
    expect(principles.map(({ id }) => id).sort()).toEqual(["brief", "kind"]);
    expect(principles.find(({ id }) => id === "kind")).toMatchObject({ weight: 2, checks: [{}] });
    expect(principles.find(({ id }) => id === "brief")!.text).toBe(`Be brief.\n\n${noted}`);
  });
  it("keeps the places of its parts", () => {
    expect(document.locate(["principles", 0])).toEqual({ line: 10, column: 1 });
    expect(document.locate(["principles", 0, "critiqueRequest"])).toEqual({ line: 20, column: 1 });
    expect(document.locate(["principles", 0, "checks", 0, "mustNot"])).toEqual({ line: 27, column: 14 });
    expect(document.locate(["version"])).toEqual({ line: 3, column: 10 });
  });
  it("may have Windows line ends", () => {
    const windows = parseConstitution(markdown.replaceAll("\n", "\r\n"), { file: "c.md" });
    expect(constitutionHash(windows.value)).toBe(constitutionHash(document.value));
  });
  it.each([
    [
      "no front matter",
      "## kind\n\nBe kind.\n",
      ['c.md:1:1: expected front matter: a line "---", name and version, and a line "---", got other text'],
    ],
    [
      "an open front matter",
      "---\nname: x\n",
      ['c.md:1:1: expected front matter: a line "---", name and version, and a line "---", got other text'],
    ],
    [
      "a misspelt name",
      markdown.replace("name:", "nmae:"),
      [
        'c.md:2:1 nmae: unknown key; expected one of the keys name, version, description, principles. Did you mean "name"?',
      ],
    ],
    [
      "principles in the front matter",
      markdown.replace("name: kind", "name: kind\nprinciples: []"),
      ["c.md:3:1: expected principles as sections (## id), got principles in the front matter"],
    ],
    [
      "no sections",
      "---\nname: x\nversion: a\n---\n",
      ["c.md:5:1 principles: expected at least 1 item, got an empty list"],
    ],
    [
      "an id with a blank",
      markdown.replace("## brief", "## be brief"),
      [
        'c.md:30:1 principles[1].id: an id has letters, digits, dots, hyphens and underscores, 64 at most, got the text "be brief"',
      ],
    ],
    [
      "a section without text",
      markdown.replace("Be brief.", ""),
      ["c.md:30:1 principles[1].text: expected text, got nothing: the key is required"],
    ],
    [
      "an unknown heading",
      markdown.replace("### Critique request", "### Critique requests"),
      [
        'c.md:20:1: expected one of the headings Critique request, Revision request, Preference question, got "Critique requests". Did you mean "Critique request"?',
      ],
    ],
    [
      "a fault in a block",
      markdown.replace("weight: 2", "weight: two"),
      ['c.md:25:9 principles[0].weight: expected a number, got the text "two"'],
    ],
    [
      "a field twice",
      markdown.replace("weight: 2", "text: Be mean."),
      ["c.md:25:1: expected text once: as prose or in the yaml block, got both"],
    ],
    [
      "broken YAML in a block",
      markdown.replace("weight: 2", "weight: 2: 3"),
      ["c.md:25:9: expected valid YAML, got nested mappings are not allowed in compact mappings"],
    ],
    [
      "a block without an end",
      `${markdown}\n\`\`\`yaml\nweight: 1\n`,
      ['c.md:34:1: expected a fenced block with an end, got none after "```"'],
    ],
  ])("with %s is refused", (_, text, expected) => expect(messages(text, "c.md")).toEqual(expected));
});
