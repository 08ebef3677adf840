import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { DocumentError, nearest, parseDocument, readDocument, schemaReference } from "./index.ts";

const schema = z
  .strictObject({
    model: z.string().describe("The model that answers."),
    arrangement: z.enum(["sequential", "reverse", "iterative", "joint"]).default("sequential"),
    supervised: z
      .strictObject({
        revisions: z.int().min(0).max(16).default(4).describe("Rounds of a chain."),
        epochs: z.number().gt(0).default(1),
        swap: z.boolean().default(false),
        sizes: z.array(z.int()).optional(),
      })
      .prefault({})
      .describe("Critique and revision."),
    roles: z
      .partialRecord(
        z.enum(["critic", "labeller"]),
        z.union([z.string(), z.strictObject({ endpoint: z.url(), model: z.string() })]),
      )
      .optional(),
    label: z
      .discriminatedUnion("method", [
        z.strictObject({ method: z.literal("choice"), swap: z.boolean().default(true) }),
        z.strictObject({ method: z.literal("rating"), scale: z.int().min(2) }),
      ])
      .optional(),
    reward: z.union([z.literal("length"), z.number()]).optional(),
    names: z.record(z.string().regex(/^[a-z]+$/), z.number()).optional(),
    note: z.string().min(1).max(5).optional(),
  })
  .refine(({ supervised }) => supervised.revisions !== 13, {
    error: "thirteen revisions bring bad luck",
    path: ["supervised", "revisions"],
  });

function messages(text: string): string[] {
  try {
    parseDocument(text, { file: "r.yaml", schema });
  } catch (error) {
    if (error instanceof DocumentError) return error.problems.map(({ message }) => message);
    throw error;
  }
  return [];
}

const keys = "model, arrangement, supervised, roles, label, reward, names, note";

/** Of the processor's time, which a machine with other work on it does not stretch. */
function seconds(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1e6;
}

/** Name of the case, document, messages. */
const bad: [string, string, string[]][] = [
  ["an empty file", "", ["r.yaml:1:1: expected a mapping (key: value), got nothing"]],
  ["only comments", "# later\n", ["r.yaml:1:1: expected a mapping (key: value), got nothing"]],
  ["a list", "- model: x\n", ["r.yaml:1:1: expected a mapping (key: value), got a list of 1"]],
  ["plain text", "hello\n", ['r.yaml:1:1: expected a mapping (key: value), got the text "hello"']],
  [
    "a misspelt required key is one problem",
    "modle: x\n",
    [`r.yaml:1:1 modle: unknown key; expected one of the keys ${keys}. Did you mean "model"?`],
  ],
  ["a missing key", "note: x\n", ["r.yaml:1:1 model: expected text, got nothing: the key is required"]],
  ["a key without a value", "model:\n", ["r.yaml:1:1 model: expected text, got nothing"]],
  [
    "a nested misspelt key",
    "model: x\nsupervised:\n  revisons: 2\n  epochs: 1\n",
    [
      'r.yaml:3:3 supervised.revisons: unknown key; expected one of the keys revisions, epochs, swap, sizes. Did you mean "revisions"?',
    ],
  ],
  [
    "a key that resembles none",
    "model: x\nzebra: 1\n",
    [`r.yaml:2:1 zebra: unknown key; expected one of the keys ${keys}`],
  ],
  [
    "a misspelt value",
    "model: x\narrangement: sequentail\n",
    [
      'r.yaml:2:14 arrangement: expected one of "sequential", "reverse", "iterative", "joint", got the text "sequentail". Did you mean "sequential"?',
    ],
  ],
  [
    "a number for a choice",
    "model: x\narrangement: 2\n",
    ['r.yaml:2:14 arrangement: expected one of "sequential", "reverse", "iterative", "joint", got 2'],
  ],
  [
    "text for a number",
    "model: x\nsupervised: { epochs: two }\n",
    ['r.yaml:2:23 supervised.epochs: expected a number, got the text "two"'],
  ],
  [
    "a fraction",
    "model: x\nsupervised: { revisions: 1.5 }\n",
    ["r.yaml:2:26 supervised.revisions: expected a whole number, got 1.5"],
  ],
  [
    "infinity",
    "model: x\nsupervised: { epochs: .inf }\n",
    ["r.yaml:2:23 supervised.epochs: expected a number, got Infinity"],
  ],
  [
    "too small",
    "model: x\nsupervised: { revisions: -1 }\n",
    ["r.yaml:2:26 supervised.revisions: expected a number at least 0, got -1"],
  ],
  [
    "too large",
    "model: x\nsupervised: { revisions: 17 }\n",
    ["r.yaml:2:26 supervised.revisions: expected a number at most 16, got 17"],
  ],
  [
    "not above a bound",
    "model: x\nsupervised: { epochs: 0 }\n",
    ["r.yaml:2:23 supervised.epochs: expected a number more than 0, got 0"],
  ],
  ["long text", "model: x\nnote: abcdefg\n", ["r.yaml:2:7 note: expected at most 5 characters, got 7"]],
  ["empty text", 'model: x\nnote: ""\n', ["r.yaml:2:7 note: expected at least 1 character, got empty text"]],
  [
    "yes, which is text in YAML 1.2",
    "model: x\nsupervised: { swap: yes }\n",
    ['r.yaml:2:21 supervised.swap: expected true or false, got the text "yes". Did you mean "true"?'],
  ],
  [
    "an item of a list",
    "model: x\nsupervised:\n  sizes:\n    - 1\n    - a\n",
    ['r.yaml:5:7 supervised.sizes[1]: expected a whole number, got the text "a"'],
  ],
  [
    "a role that does not exist",
    "model: x\nroles:\n  labelar: y\n",
    ['r.yaml:3:3 roles.labelar: unknown key; expected one of the keys critic, labeller. Did you mean "labeller"?'],
  ],
  [
    "a union: the closest branch speaks",
    "model: x\nroles:\n  critic:\n    endpont: http://localhost\n    model: y\n",
    [
      'r.yaml:4:5 roles.critic.endpont: unknown key; expected one of the keys endpoint, model. Did you mean "endpoint"?',
    ],
  ],
  [
    "a union: of no branch's kind",
    "model: x\nroles: { critic: 7 }\n",
    ["r.yaml:2:18 roles.critic: expected text or a mapping (key: value), got 7"],
  ],
  [
    "a union with a literal",
    "model: x\nreward: lenght\n",
    ['r.yaml:2:9 reward: expected "length" or a number, got the text "lenght". Did you mean "length"?'],
  ],
  [
    "an address",
    "model: x\nroles: { critic: { endpoint: here, model: y } }\n",
    ['r.yaml:2:30 roles.critic.endpoint: expected an address such as https://example.org/v1, got the text "here"'],
  ],
  [
    "a discriminator",
    "model: x\nlabel: { method: choise }\n",
    ['r.yaml:2:18 label.method: expected one of "choice", "rating", got the text "choise". Did you mean "choice"?'],
  ],
  [
    "a missing discriminator",
    "model: x\nlabel: { swap: true }\n",
    ['r.yaml:2:8 label.method: expected one of "choice", "rating", got nothing: the key is required'],
  ],
  [
    "a key of another variant",
    "model: x\nlabel: { method: choice, scale: 3 }\n",
    ["r.yaml:2:26 label.scale: unknown key; expected one of the keys method, swap"],
  ],
  [
    "a key that a pattern forbids",
    "model: x\nnames: { A1: 2 }\n",
    ['r.yaml:2:10 names.A1: expected a key that matches /^[a-z]+$/, got the key "A1"'],
  ],
  [
    "a rule across fields",
    "model: x\nsupervised:\n  revisions: 13\n",
    ["r.yaml:3:14 supervised.revisions: thirteen revisions bring bad luck, got 13"],
  ],
  [
    "several at once, in the file's order",
    "modell: x\nsupervised:\n  revisions: many\nnote: 5\n",
    [
      `r.yaml:1:1 modell: unknown key; expected one of the keys ${keys}. Did you mean "model"?`,
      'r.yaml:3:14 supervised.revisions: expected a whole number, got the text "many"',
      "r.yaml:4:7 note: expected text, got 5",
    ],
  ],
  ["a key twice", "model: x\nmodel: y\n", ['r.yaml:2:1: expected each key once, got "model" a second time']],
  [
    "a key twice in JSON",
    '{"model": "x",\n "model": "y"}',
    ['r.yaml:2:2: expected each key once, got "model" a second time'],
  ],
  [
    "a key as number and as text",
    'model: x\nnames:\n  1: 1\n  "1": 2\n',
    ['r.yaml:4:3: expected each key once, got "1" a second time'],
  ],
  ["a tab", "model: x\nsupervised:\n\trevisions: 1\n", ["r.yaml:3:1: expected spaces for indentation, got a tab"]],
  [
    "a tag that would run code",
    "model: !!js/function 'x'\n",
    ["r.yaml:1:8: expected a plain value, got the tag tag:yaml.org,2002:js/function"],
  ],
  ["a tag of one's own", "model: !env HOME\n", ["r.yaml:1:8: expected a plain value, got the tag !env"]],
  ["an alias of nothing", "model: *x\n", ["r.yaml:1:8: expected an alias of an anchor that stands before it, got *x"]],
  ["two documents", "model: x\n---\nmodel: y\n", ['r.yaml:2:1: expected one document, got a second one after "---"']],
  [
    "a mapping as a key",
    "model: x\n? {a: 1}\n: 2\n",
    ["r.yaml:2:3: expected a key that is plain text, got a list, a mapping or an alias"],
  ],
  [
    "a colon too many",
    "model: x: y\n",
    ["r.yaml:1:8: expected valid YAML, got nested mappings are not allowed in compact mappings"],
  ],
  [
    "the prototype's key",
    "model: x\n__proto__: { note: y }\n",
    [`r.yaml:2:1 __proto__: unknown key; expected one of the keys ${keys}`],
  ],
];

describe("a bad document", () => {
  for (const [name, text, expected] of bad) it(name, () => expect(messages(text)).toEqual(expected));

  it("has fields beside its message", () => {
    try {
      parseDocument("model: x\nsupervised: { revisons: 1 }", { file: "r.yaml", schema });
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(DocumentError);
      expect((error as DocumentError).problems).toMatchObject([
        {
          file: "r.yaml",
          line: 2,
          column: 15,
          path: ["supervised", "revisons"],
          got: 'the key "revisons"',
          suggestion: "revisions",
        },
      ]);
    }
  });

  it("with very many problems says how many more there are", () => {
    const text = `model: x\n${Array.from({ length: 40 }, (_, i) => `unknown${i}: 1`).join("\n")}`;
    expect(() => parseDocument(text, { file: "r.yaml", schema })).toThrow("… and 15 more problems");
    expect(messages(text)).toHaveLength(40);
  });

  // The parser recurses, copies what aliases name, and compares keys; each must stay bounded.
  it.each([
    ["deep lists", "[".repeat(20_000), "expected at most 64 levels, got more"],
    ["deep blocks", "- ".repeat(20_000), "expected at most 64 levels, got more"],
    ["deep keys", "? ".repeat(20_000), "expected at most 64 levels, got more"],
    ["a large text", "x".repeat((1 << 20) + 1), "expected at most 1048576 characters, got 1048577"],
    [
      "aliases that multiply",
      `a: &a [x,x,x,x,x,x,x,x,x]\n${[..."bcdefg"].map((c, i) => `${c}: &${c} [${Array(9).fill(`*${"abcdef"[i]}`)}]`).join("\n")}`,
      "expected aliases that expand to at most 100 values, got more",
    ],
    [
      "an alias inside its own anchor",
      "model: &m [*m]",
      "expected an alias of an anchor that stands before it, got *m",
    ],
  ])("that attacks by %s ends quickly", (_, text, expected) => {
    const start = process.cpuUsage();
    expect(messages(text).join("\n")).toContain(expected);
    expect(seconds(start)).toBeLessThan(5);
  });

  it("with very many keys is read in bounded time", () => {
    const text = `model: x\nnames:\n${Array.from({ length: 20_000 }, (_, i) => `  k${i}: 1`).join("\n")}`;
    const start = process.cpuUsage();
    expect(messages(text)).toHaveLength(20_000);
    expect(seconds(start)).toBeLessThan(10);
  });

  it("is the only thing thrown, whatever the text", () => {
    const piece = fc.constantFrom(
      "a",
      ": ",
      "- ",
      "\n",
      "  ",
      "\t",
      "[",
      "]",
      "{",
      "}",
      '"',
      "'",
      "&x ",
      "*x",
      "!t ",
      "---\n",
      "|\n",
      "#",
      "? ",
      "model",
      "1",
      "<<",
      ",",
      "%",
      "\u0000",
      "é",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        messages(pieces.join(""));
      }),
      { numRuns: 1500 },
    );
  });
});

describe("a good document", () => {
  it("has its defaults filled in", () => {
    expect(parseDocument("model: x", { file: "r.yaml", schema }).value).toEqual({
      model: "x",
      arrangement: "sequential",
      supervised: { revisions: 4, epochs: 1, swap: false },
    });
  });

  it("may be JSON, indented by tabs, with a byte order mark", () => {
    expect(parseDocument('\uFEFF{\n\t"model": "x",\n\t"note": "y"\n}', { file: "r.json", schema }).value.note).toBe(
      "y",
    );
  });

  it("may use anchors and merge keys", () => {
    const text =
      "model: &m x\nroles:\n  critic: &c { endpoint: 'http://localhost', model: *m }\n  labeller:\n    <<: *c\n    model: y\n";
    const { value } = parseDocument(text, { file: "r.yaml", schema });
    expect(value.roles).toEqual({
      critic: { endpoint: "http://localhost", model: "x" },
      labeller: { endpoint: "http://localhost", model: "y" },
    });
  });

  it("finds the place of anything in it, and of what is not there the nearest around it", () => {
    const document = parseDocument("model: x\nsupervised:\n  sizes: [1,\n    2]\nnote:   abc\n", {
      file: "r.yaml",
      schema,
    });
    expect(document.locate(["supervised", "sizes", 1])).toEqual({ line: 4, column: 5 });
    expect(document.locate(["note"])).toEqual({ line: 5, column: 9 });
    expect(document.locate(["note"], "key")).toEqual({ line: 5, column: 1 });
    expect(document.locate(["supervised", "epochs"])).toEqual({ line: 3, column: 3 });
    expect(document.locate([])).toEqual({ line: 1, column: 1 });
  });

  it("takes problems of the caller's own", () => {
    const document = parseDocument("model: x\nnote: abc", { file: "r.yaml", schema });
    expect(document.problem(["note"], { expected: "no note where there are roles" }).message).toBe(
      'r.yaml:2:7 note: expected no note where there are roles, got the text "abc"',
    );
    expect(
      document.problem(["model"], { expected: "a known model", got: "one that is not", suggestion: "y" }).message,
    ).toBe('r.yaml:1:8 model: expected a known model, got one that is not. Did you mean "y"?');
  });
});

describe("readDocument", () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "document-"));
    await writeFile(join(folder, "recipe.yaml"), "model: x\nnote: abc\n");
    await writeFile(join(folder, "latin.yaml"), Buffer.from("model: x\n# fine\nnote: caf\xe9\n", "latin1"));
    await writeFile(join(folder, "huge.yaml"), Buffer.alloc((1 << 22) + 1, 32));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("reads a file", async () => {
    expect((await readDocument(join(folder, "recipe.yaml"), schema)).value.note).toBe("abc");
  });
  it.each([
    ["recipes.yaml", 'recipes.yaml: expected a file, got nothing of that name. Did you mean "'],
    ["latin.yaml", "latin.yaml:3:1: expected UTF-8 text, got bytes that are none"],
    [".", ": expected a file, got a folder"],
    ["recipe.yaml/inside.yaml", "expected a file, got nothing of that name"],
    ["huge.yaml", "huge.yaml: expected at most 4194304 bytes, got 4194305"],
  ])("refuses %s", async (name, message) => {
    await expect(readDocument(join(folder, name), schema)).rejects.toThrow(message);
    await expect(readDocument(join(folder, name), schema)).rejects.toBeInstanceOf(DocumentError);
  });
});

describe("nearest", () => {
  it.each([
    ["revisons", "revisions"],
    ["Learning-Rate", "learningRate"],
    ["epocsh", "epochs"],
    ["revision", "revisions"],
    ["kl", undefined],
    ["temperature", undefined],
    ["", undefined],
  ])("%s: %s", (word, expected) => {
    expect(nearest(word, ["revisions", "learningRate", "epochs", "lr"])).toBe(expected);
  });
  it("finds a candidate behind any one edit of a long word", () => {
    const words = ["arrangement", "preferenceModel", "constitution", "supervised"];
    fc.assert(
      fc.property(fc.constantFrom(...words), fc.nat(9), fc.constantFrom("drop", "twice", "swap"), (word, i, edit) => {
        const changed =
          edit === "drop"
            ? word.slice(0, i) + word.slice(i + 1)
            : edit === "twice"
              ? word.slice(0, i) + word[i] + word.slice(i)
              : word.slice(0, Math.max(0, i - 1)) + (word[i] ?? "") + (word[i - 1] ?? "") + word.slice(i + 1);
        expect(nearest(changed, words)).toBe(word);
      }),
    );
  });
});

describe("a document that is no document", () => {
  it.each([
    ["quotation marks", '"'.repeat(1 << 19)],
    ["texts behind each other", '"a" '.repeat(1 << 17)],
    ["texts behind a value", `model: ${'"a" '.repeat(1 << 17)}`],
    ["an alias without end", "*".repeat(1 << 17)],
    ["a tag without end", `!${"x".repeat(1 << 17)}`],
    ["a key without end", `${"k".repeat(1 << 17)}: 1\n${"k".repeat(1 << 17)}: 2`],
    ["a text without end", `arrangement: ${"x".repeat(1 << 17)}`],
  ])("is said to be none in few words and soon: %s", (_, text) => {
    const error = problemsIn(text);
    expect(error.message.length).toBeLessThan(25 * 700);
    for (const { message, got } of error.problems) expect(Math.max(message.length, got.length)).toBeLessThan(1000);
    expect(error.problems.length).toBeLessThan(200);
  });

  function problemsIn(text: string): DocumentError {
    try {
      parseDocument(text, { file: "recipe.yaml", schema });
    } catch (error) {
      if (error instanceof DocumentError) return error;
      throw error;
    }
    throw new Error("it was read");
  }
});

describe("schemaReference", () => {
  const { markdown, jsonSchema } = schemaReference(schema, { title: "Recipe", level: 2 });
  it("has a table for each mapping", () => {
    expect(markdown).toMatch(/^## Recipe\n/);
    expect(markdown).toContain("| `model` | text | required | The model that answers. |");
    expect(markdown).toContain('| `arrangement` | `sequential`, `reverse`, `iterative`, `joint` | `"sequential"` |  |');
    expect(markdown).toContain("### supervised\n\nCritique and revision.\n");
    expect(markdown).toContain("| `revisions` | whole number, ≥ 0, ≤ 16 | `4` | Rounds of a chain. |");
    expect(markdown).toContain("| `sizes` | list of whole number |  |  |");
    expect(markdown).toContain("### roles.<name>\n");
    expect(markdown).toContain("| `roles` | mapping of text or [mapping](#rolesname) |  |  |");
    expect(markdown).toContain("### label (method: choice)\n");
    expect(markdown).toContain("### label (method: rating)\n");
  });
  it("gives JSON Schema of what may be written", () => {
    expect(jsonSchema).toMatchObject({ type: "object", required: ["model"], additionalProperties: false });
  });
  it("links to each mapping, and describes equal ones once", () => {
    const sampling = z.strictObject({ temperature: z.number() });
    const kinds = z.union([z.strictObject({ path: z.string() }), z.strictObject({ url: z.string() })]);
    const page = schemaReference(
      z.strictObject({ first: sampling, second: z.array(sampling), pair: z.tuple([z.int(), z.string()]), kinds }),
    ).markdown;
    expect(page.match(/^## .*$/gm)).toEqual(["## first", "## kinds (path)", "## kinds (url)"]);
    expect(page).toContain("| `second` | list of [mapping](#first) | required |");
    expect(page).toContain("| `pair` | list of 2: whole number, then text | required |");
    expect(page).toContain("| `kinds` | [mapping (path)](#kinds-path) or [mapping (url)](#kinds-url) | required |");
  });
  it("describes a schema that contains itself once", () => {
    type Rule = { not?: Rule | undefined; word?: string | undefined };
    const rule: z.ZodType<Rule> = z.strictObject({
      word: z.string().optional().describe("A | B"),
      get not() {
        return rule.optional();
      },
    });
    const page = schemaReference(z.strictObject({ rule })).markdown;
    expect(page.match(/^#+ .*$/gm)).toEqual(["# Reference", "## rule"]);
    expect(page).toContain("| `word` | text |  | A \\| B |");
  });
});
