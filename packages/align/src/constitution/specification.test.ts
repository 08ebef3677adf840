import { readFileSync } from "node:fs";
import { DocumentError, randomStream } from "@tenet/data";
import { describe, expect, it } from "vitest";
import { parseConstitution } from "./load.ts";
import { specificationConstitution } from "./spec-constitution.ts";
import { isSpecification, parseSpecification } from "./specification.ts";
import { constitutionText } from "./write.ts";

const document = `# Care {#care}

What we want. See [?](#be_kind).

!!! meta "Commentary"
    ## Not a section {#not_one authority=root}

    Nothing of this is a principle.

## Be kind {#be_kind authority=user tags=tone,desk}

The assistant is kind[^k1nd], as in [no harm](#no_harm) and [?](#no_harm); [elsewhere](https://example.org/x).

**Example**: a rude question

~~~xml
<developer>
You work at a desk.
</developer>
<user>
Are you stupid?
</user>
<comparison>
<assistant> <!-- GOOD: calm -->
I try not to be. How can I help?
</assistant>
<assistant> <!-- BAD[#no_harm]: it hits back -->
No, you are.

~~~ within a line is text
</assistant>
<assistant> <!-- OK -->
Perhaps.
</assistant>
</comparison>
~~~

### Do no harm {#no_harm authority=root}

It does no harm.

\`\`\`python
print("prose may have code")
\`\`\`

**Example**: with a tool

~~~xml
<user>
Look it up
</user>
<assistant recipient="browser">
search
</assistant>
<comparison>
<assistant> <!-- GOOD, given the page -->
Here it is.
</assistant>
</comparison>
~~~

[^k1nd]: a footnote
    of two lines

## Style {#style}

No level.
`;

describe("parseSpecification", () => {
  const { title, sections } = parseSpecification(document, "care.md");
  const kind = sections.find(({ id }) => id === "be_kind")!;

  it("reads sections with level, tags, path and line", () => {
    expect(title).toBe("Care");
    expect(sections.map(({ id, authority }) => [id, authority])).toEqual([
      ["care", undefined],
      ["be_kind", "user"],
      ["no_harm", "root"],
      ["style", undefined],
    ]);
    expect(kind).toMatchObject({ tags: ["tone", "desk"], path: ["Care"], line: 10 });
    expect(sections[2]!.path).toEqual(["Care", "Be kind"]);
  });

  it("keeps prose, without commentary, footnotes and examples, and says references as people would", () => {
    expect(kind.text).toBe('The assistant is kind, as in no harm and "Do no harm"; elsewhere.');
    expect(sections[2]!.text).toBe('It does no harm.\n\n```python\nprint("prose may have code")\n```');
  });

  it("reads marked replies as they stand, and says why another example cannot be used", () => {
    const [example] = kind.examples;
    expect(example).toEqual({
      title: "a rude question",
      line: 14,
      prompt: [
        { role: "system", content: "You work at a desk." },
        { role: "user", content: "Are you stupid?" },
      ],
      replies: [
        { mark: "good", content: "I try not to be. How can I help?", why: "calm" },
        {
          mark: "bad",
          content: "No, you are.\n\n~~~ within a line is text",
          by: "no_harm",
          why: "it hits back",
        },
        { mark: "ok", content: "Perhaps." },
      ],
    });
    expect(sections[2]!.examples).toMatchObject([{ aside: "a turn to or from a tool", replies: [{ mark: "good" }] }]);
  });

  it("takes a fence for one whatever stands behind its language", () => {
    const text = "## A {#a authority=user}\nBe.\n\n```ts no-run\n## B {#b}\n```\n\n## C {#c authority=user}\nDo.\n";
    expect(parseSpecification(text, "care.md").sections.map(({ id }) => id)).toEqual(["a", "c"]);
  });

  it.each([
    ["## A {#a authority=rot}\n", 1, /one of root, system.*Did you mean "root"/],
    ["## A {#a}\n## B {#a}\n", 2, /each section's id once/],
    ["## A {#a authority=user}\n~~~xml\n<user>\n", 2, /a fenced block with an end/],
    ["## A {#a}\n**Example**:\n~~~xml\n<user>\nHi\n~~~\n", 4, /ends with <\/user>/],
    ["## A {authority=user}\n", 1, /an id of letters/],
  ])("%j is refused at line %i", (text, line, message) => {
    let thrown: unknown;
    try {
      parseSpecification(text, "care.md");
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(DocumentError);
    expect((thrown as Error).message).toMatch(message);
    expect((thrown as DocumentError).problems[0]).toMatchObject({ line });
  });
});

describe("a constitution of a specification", () => {
  const { value } = parseConstitution(document, { file: "care.md" });

  it("has a principle for each section with a level, and its examples", () => {
    expect(value.name).toBe("Care");
    expect(value.principles.map(({ id, authority, category }) => [id, authority, category])).toEqual([
      ["be_kind", "user", "Care"],
      ["no_harm", "root", "Care"],
    ]);
    expect(value.principles[0]!.examples).toEqual([
      {
        about: "a rude question",
        prompt: expect.any(Array),
        good: ["I try not to be. How can I help?"],
        bad: [expect.stringContaining("No, you are.")],
      },
    ]);
    expect(specificationConstitution(document, "care.md").counts).toEqual({
      sections: 4,
      context: 2,
      examples: 2,
      markedReplies: 3,
      known: 1,
      asides: { "a turn to or from a tool": 1 },
    });
  });

  it("asks of what may be overridden with that proviso, and of rules without", () => {
    const [kind, harm] = value.principles;
    expect(kind!.preferenceQuestion).toMatch(/unless the person or the system message asks otherwise/);
    expect(harm!.preferenceQuestion).not.toMatch(/unless/);
  });

  it("is the same constitution as a YAML file", () => {
    const { input } = specificationConstitution(document, "care.md");
    const text = constitutionText({ ...value, ...input } as never);
    expect(parseConstitution(text, { file: "care.yaml" }).value).toEqual(value);
  });

  it("is told from a constitution in the Markdown of before by its form", () => {
    expect(isSpecification(document)).toBe(true);
    expect(isSpecification("---\nname: a\nversion: '1'\n---\n## kind\nBe kind. {#x}\n")).toBe(false);
    expect(isSpecification("## kind\nBe kind.\n")).toBe(false);
  });
});

it("a hundred thousand mutated documents end in a specification or in a DocumentError, nothing else", () => {
  const lines = document.split("\n");
  const pieces = [
    "~~~xml",
    "~~~",
    "```",
    "<user>",
    "</user>",
    "<comparison>",
    "</comparison>",
    "<assistant> <!-- BAD",
    "!!! meta",
  ];
  pieces.push(
    "# x {#y authority=root}",
    "## {",
    "{#",
    "[^a]:",
    "**Example**:",
    "\u0000",
    "\u202e",
    "[?](#no_harm)",
    "<!-- GOOD",
    "",
  );
  let parsed = 0;
  let refused = 0;
  for (let item = 0; item < 100_000; item++) {
    const { integer } = randomStream({ seed: 1, stage: "mutate", item: String(item) });
    // A window of the document, with some of its lines changed.
    const start = integer(0, lines.length - 12);
    const window = lines.slice(start, start + 12);
    for (let change = 0; change < 3; change++) {
      const at = integer(3 * change + 1, window.length);
      const what = integer(3 * change + 2, 4);
      const piece = pieces[integer(3 * change + 3, pieces.length)]!;
      if (what === 0) window[at] = piece;
      else if (what === 1) window.splice(at, 1);
      else if (what === 2) window[at] = `${window[at] ?? ""}${piece}`;
      else window[at] = (window[at] ?? "").slice(0, (window[at] ?? "").length >> 1);
    }
    try {
      const { sections } = parseSpecification(window.join("\n"), "mutated.md");
      for (const { id, line } of sections) if (id === "" || line < 1) throw new Error("a section without id or line");
      parsed++;
    } catch (error) {
      if (!(error instanceof DocumentError)) throw error;
      refused++;
    }
  }
  expect(parsed).toBeGreaterThan(10_000);
  expect(refused).toBeGreaterThan(10_000);
}, 600_000);

// The public Model Spec (CC0), which is not ours to keep: its file. What is known of editions was counted in their text, not by this parser.
const editions: Record<string, object> = Object.fromEntries(
  // 2025-12-18 and its second revision.
  ["fec3ee7636b9", "e7a70bc6ab36"].map((version) => {
    const levels = { root: 22, system: 3, developer: 1, user: 15, guideline: 18 };
    return [version, { levels, principles: 59, examples: 183, markedReplies: 389 }];
  }),
);
const { TENET_MODEL_SPEC: real } = process.env;
it.skipIf(real === undefined)("the public Model Spec parses whole (TENET_MODEL_SPEC: its file)", () => {
  const text = readFileSync(real!, "utf8");
  const { value } = parseConstitution(text, { file: "model_spec.md" });
  const levels: Record<string, number> = {};
  for (const { authority } of value.principles) levels[authority!] = (levels[authority!] ?? 0) + 1;
  const { examples, markedReplies } = specificationConstitution(text, "model_spec.md").counts;
  const found = { levels, principles: value.principles.length, examples, markedReplies };
  const counted = (pattern: RegExp) => text.match(pattern)?.length ?? 0;
  expect(found).toEqual({
    levels: Object.fromEntries(
      Object.keys(levels).map((level) => [level, counted(new RegExp(`^#.*\\sauthority=${level}\\b`, "gm"))]),
    ),
    principles: counted(/^#.*\sauthority=/gm),
    examples: counted(/^~~~xml$/gm),
    markedReplies: counted(/<!-- (?:GOOD|BAD)/g),
  });
  expect(found).toEqual(editions[value.version] ?? found);
});
