import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { collect, DatasetError, type DatasetKinds, openDataset } from "./index.ts";
import { kinds } from "./records.ts";
import { exampleRowSchema, preferenceRowSchema, promptRowSchema, rowId } from "./rows.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-open-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

async function read<As extends keyof DatasetKinds>(content: string | Uint8Array, as: As, name = "x.jsonl") {
  return collect(await openDataset(await file(name, content), { as }));
}

const jsonl = (...records: readonly unknown[]) => records.map((record) => `${JSON.stringify(record)}\n`).join("");
const user = (content: string) => ({ role: "user" as const, content });
const assistant = (content: string) => ({ role: "assistant" as const, content });
const hh = (reply: string) => `\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Why?\n\nAssistant: ${reply}`;
const question = { text_correct: hh("good"), text_incorrect: hh("bad"), prompt: "Options: …" };

describe("prompts", () => {
  it.each([
    ["a text", { prompt: "Why?" }, [user("Why?")]],
    [
      "messages",
      { prompt: [user("Hi"), assistant("Hello"), user("Why?")] },
      [user("Hi"), assistant("Hello"), user("Why?")],
    ],
    ["a conversation with its reply", { messages: [user("Why?"), assistant("So.")] }, [user("Why?")]],
    ["a pair", { prompt: "Why?", chosen: "a", rejected: "b" }, [user("Why?")]],
    ["transcripts: the first turn", { chosen: hh("a"), rejected: hh("b") }, [user("Hi")]],
    ["a question of the audit", { ...question, corrects: [" (B)"] }, [user("Hi"), assistant("Hello"), user("Why?")]],
    [
      "pairs without a prompt",
      { chosen: [user("Why?"), assistant("a")], rejected: [user("Why?"), assistant("b")] },
      [user("Why?")],
    ],
  ])("from %s", async (_, record, prompt) => {
    const { rows } = await read(jsonl(record), "prompts");
    expect(rows).toEqual([{ id: rowId("prompt", prompt), origin: { source: "x.jsonl:1", parents: [] }, prompt }]);
  });

  it("carry category and whether they are benign, also under XSTest's names", async () => {
    const { rows } = await read(
      'id,prompt,type,label\n1,"How to kill, a process?",homonyms,safe\n2,b,,unsafe\n',
      "prompts",
      "x.csv",
    );
    expect(rows).toMatchObject([
      { prompt: [user("How to kill, a process?")], category: "homonyms", benign: true, origin: { source: "x.csv:2" } },
      { prompt: [user("b")], benign: false },
    ]);
    expect(rows[1]).not.toHaveProperty("category");
    const own = await read(jsonl({ prompt: "a", category: "diagnosis", benign: true }), "prompts");
    expect(own.rows).toMatchObject([{ category: "diagnosis", benign: true }]);
  });
});

describe("examples", () => {
  it.each([
    ["prompt and completion", { prompt: "Why?", completion: "So." }, "So."],
    ["message lists", { prompt: [user("Why?")], completion: [assistant("So.")], weight: 1 }, "So."],
    ["messages", { messages: [user("Why?"), assistant("So.")] }, "So."],
    ["a pair's better reply", { prompt: "Why?", a: "x", b: "So.", p: 0.2 }, "So."],
  ])("from %s", async (_, record, completion) => {
    const { rows } = await read(jsonl(record), "examples");
    expect(rows).toMatchObject([{ prompt: [user("Why?")], completion, weight: 1 }]);
    expect(exampleRowSchema.parse(rows[0])).toEqual(rows[0]);
  });

  it("need a reply to learn", async () => {
    const { rows, asides } = await read(
      jsonl(
        { prompt: "a", completion: "b" },
        { messages: [user("a")] },
        { prompt: "a", a: "x", b: "y", p: 0.5 },
        { prompt: "a" },
      ),
      "examples",
    );
    expect(rows).toHaveLength(1);
    expect(asides.map(({ source, reason }) => `${source} ${reason}`)).toEqual([
      "x.jsonl:2 messages end with role user; expected the assistant's to be last",
      "x.jsonl:3 p is 0.5: neither reply is the one to learn",
      "x.jsonl:4 expected messages that end with the assistant's, prompt and completion, or prompt, chosen and rejected; found prompt",
    ]);
  });
});

describe("preferences", () => {
  const prompt = [user("Hi"), assistant("Hello"), user("Why?")];
  it.each([
    ["texts", { prompt: "Why?", chosen: "a", rejected: "b" }, { prompt: [user("Why?")], a: "a", b: "b", p: 1 }],
    [
      "message lists",
      { prompt: [user("Why?")], chosen: [assistant("a")], rejected: [assistant("b")], p: 0.75 },
      { a: "a", b: "b", p: 0.75 },
    ],
    [
      "conversations",
      { chosen: [...prompt, assistant("a")], rejected: [...prompt, assistant("b")] },
      { prompt, a: "a", b: "b", p: 1 },
    ],
    ["transcripts", { chosen: hh("a"), rejected: hh("b") }, { prompt, a: "a", b: "b", p: 1 }],
    ["a, b and p", { prompt: "Why?", a: "a", b: "b", p: 0, weight: 2, label: "ai" }, { p: 0, weight: 2, label: "ai" }],
    ["a question whose option A is right", { ...question, corrects: [" (A)"] }, { prompt, a: "good", b: "bad", p: 1 }],
    ["a question whose option B is right", { ...question, corrects: [" (B)"] }, { prompt, a: "bad", b: "good", p: 0 }],
  ])("from %s", async (_, record, expected) => {
    const { rows } = await read(jsonl(record), "preferences");
    expect(rows).toMatchObject([{ weight: 1, label: "human", explanation: [], ...expected }]);
    expect(preferenceRowSchema.parse(rows[0])).toEqual(rows[0]);
  });

  it("are set aside with their reason where they say nothing", async () => {
    const good = { prompt: "p", chosen: "a", rejected: "b" };
    const bad: [object, string][] = [
      [{ ...good, p: 1.5 }, "p is 1.5; expected a number between 0 and 1"],
      [{ ...good, p: "high" }, "p is high; expected a number between 0 and 1"],
      [{ ...good, weight: -1 }, "weight is -1; expected a number of at least 0"],
      [{ ...good, rejected: "a" }, "chosen and rejected are the same reply"],
      [{ ...good, rejected: "" }, "rejected is empty"],
      [{ ...good, rejected: null }, "found prompt, chosen"],
      [{ prompt: "p", a: "a", b: "b" }, "expected prompt, chosen and rejected; or transcripts"],
      [{ chosen: hh("a"), rejected: hh("b").replace("Hello", "Hey") }, "share no proper prefix: they part at turn 2"],
      [{ chosen: "a", rejected: "b" }, "found chosen, rejected"],
      [{ ...question, corrects: [" (C)"] }, 'corrects is [" (C)"]; expected [" (A)"] or [" (B)"]'],
      [{ ...good, prompt: "\ud800" }, "half a surrogate pair"],
    ];
    const { rows, asides, counts } = await read(jsonl(good, ...bad.map(([record]) => record)), "preferences");
    expect(rows).toHaveLength(1);
    expect(counts.aside).toBe(bad.length);
    for (const [i, [, reason]] of bad.entries()) {
      expect(asides[i]?.source).toBe(`x.jsonl:${i + 2}`);
      expect(asides[i]?.reason).toContain(reason);
    }
  });

  it("take the label they are given where they name none", async () => {
    const path = await file("labels.jsonl", jsonl({ prompt: "p", chosen: "a", rejected: "b", label: "wrong" }));
    const { rows } = await collect(await openDataset(path, { as: "preferences", label: "ranking" }));
    expect(rows[0]?.label).toBe("ranking");
  });
});

describe("a dataset", () => {
  it("yields lines that are no records as asides and goes on", async () => {
    const text = `\ufeff{"prompt": "one"}\r\nnot json\r\n[1]\r\n\r\n"text"\r\n{"prompt": "six"}`;
    const { rows, asides } = await read(text, "prompts");
    expect(rows.map(({ origin }) => origin.source)).toEqual(["x.jsonl:1", "x.jsonl:6"]);
    expect(asides.map(({ source, reason }) => `${source} ${reason}`)).toEqual([
      expect.stringMatching(/^x\.jsonl:2 not JSON: /),
      "x.jsonl:3 a JSON list; expected an object with named fields",
      "x.jsonl:5 a JSON value; expected an object with named fields",
    ]);
  });

  it("merges rows with equal content and counts them", async () => {
    const path = await file(
      "d.jsonl",
      jsonl({ prompt: "a" }, { prompt: "b" }, { prompt: "a", id: 3 }, { prompt: "a" }),
    );
    const dataset = await openDataset(path, { as: "prompts" });
    const { rows, counts } = await collect(dataset);
    expect(rows.map(({ prompt }) => prompt[0]?.content)).toEqual(["a", "b"]);
    expect(counts).toEqual({ rows: 2, aside: 0, duplicates: 2 });
    expect((await collect(dataset)).counts).toEqual(counts);
    const reads = [];
    for await (const read of dataset) reads.push(read);
    expect(reads[2]).toEqual({ duplicate: { id: rows[0]?.id, source: "d.jsonl:3" } });
  });

  it("stops at its limit", async () => {
    const path = await file("l.jsonl", jsonl({ prompt: "a" }, { prompt: "a" }, { prompt: "b" }, { prompt: "c" }));
    const counts = async (limit: number) => (await collect(await openDataset(path, { as: "prompts", limit }))).counts;
    expect(await counts(2)).toEqual({ rows: 2, aside: 0, duplicates: 1 });
    expect(await counts(0)).toEqual({ rows: 0, aside: 0, duplicates: 0 });
    await expect(openDataset(path, { as: "prompts", limit: -1 })).rejects.toThrow("limit is -1");
  });

  it("keeps provenance that its rows carry, under the place they were read from", async () => {
    const origin = { source: "elsewhere", models: { labeller: "m" }, principles: ["p1"], parents: ["abc"] };
    const { rows } = await read(jsonl({ prompt: "a", origin }, { prompt: "b", origin: "Paris" }), "prompts");
    expect(rows.map((row) => row.origin)).toEqual([
      { ...origin, source: "x.jsonl:1" },
      { source: "x.jsonl:2", parents: [] },
    ]);
  });

  it("is the same compressed", async () => {
    const text = jsonl(...Array.from({ length: 500 }, (_, i) => ({ prompt: `prompt ${i}` })));
    const halves = [gzipSync(text.slice(0, 5000)), gzipSync(text.slice(5000))];
    const ids = async (content: string | Uint8Array, name: string) =>
      (await read(content, "prompts", name)).rows.map(({ id }) => id);
    const plain = await ids(text, "plain.jsonl");
    expect(plain).toHaveLength(500);
    expect(await ids(gzipSync(text), "packed.jsonl.gz")).toEqual(plain);
    expect(await ids(gzipSync(text), "packed-without-saying-so")).toEqual(plain);
    expect(await ids(Buffer.concat(halves), "two-members.gz")).toEqual(plain);
  });

  it("survives whatever its lines hold", async () => {
    const value = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom(hh("x"), [user("a")], [user("a"), assistant("b")], "a", 0.5),
    );
    const name = fc.constantFrom(
      "prompt",
      "chosen",
      "rejected",
      "a",
      "b",
      "p",
      "messages",
      "completion",
      "corrects",
      "text_correct",
      "text_incorrect",
      "weight",
      "origin",
      "explanation",
      "__proto__",
    );
    const line = fc.oneof(
      { weight: 4, arbitrary: fc.dictionary(name, value).map((record) => JSON.stringify(record)) },
      { weight: 1, arbitrary: fc.string({ unit: "binary" }).map((text) => text.replace(/\n/g, " ")) },
    );
    const schemas = { prompts: promptRowSchema, examples: exampleRowSchema, preferences: preferenceRowSchema };
    await fc.assert(
      fc.asyncProperty(
        fc.array(line, { maxLength: 20 }),
        fc.constantFrom("prompts", "examples", "preferences"),
        async (lines, as) => {
          const good = { prompt: "good", chosen: "a", rejected: "b" };
          const { rows, counts } = await read(jsonl(good) + lines.join("\n"), as, "fuzz.jsonl");
          for (const row of rows) expect(schemas[as].parse(row)).toEqual(row);
          const records = lines.filter((line) => line.trim() !== "").length + 1;
          expect(counts.rows + counts.aside + counts.duplicates).toBe(records);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("reads an answer that stands in a list of its own, and passes over categories that are no text", async () => {
    const one = await read(jsonl({ prompt: "q", choices: ["x", "y"], answer: ["B"] }), "choices");
    expect(one.rows).toMatchObject([{ answer: 1 }]);
    const safe = await read(jsonl({ prompt: "q", response: "x", is_safe: ["true"] }), "safety");
    expect(safe.counts).toMatchObject({ rows: 1, aside: 0 });
    const categories = [3, ["a"], "", { a: true }, "grave", undefined].map((category, i) => ({
      prompt: `q${i}`,
      category,
    }));
    for (const [as, more] of [
      ["prompts", {}],
      ["examples", { completion: "y" }],
      ["preferences", { a: "x", b: "y", p: 1 }],
    ] as const) {
      const { rows } = await read(jsonl(...categories.map((row) => ({ ...row, ...more }))), as);
      expect(rows.map((row) => (row as { category?: string }).category)).toEqual([
        ...Array<undefined>(4).fill(undefined),
        "grave",
        undefined,
      ]);
    }
  });

  it.each(Object.keys(kinds) as (keyof DatasetKinds)[])(
    "reads %s past values that have no words of their own",
    async (as) => {
      const good: Record<string, object> = {
        prompts: { prompt: "q" },
        examples: { prompt: "q", completion: "y", weight: 1, label: true },
        preferences: { prompt: "q", a: "x", b: "y", p: 1, weight: 1 },
        opinions: { prompt: "q", follows: "x", others: ["y"] },
        choices: { prompt: "q", choices: ["x", "y"], answer: 0 },
        safety: { prompt: "q", response: "x", is_safe: true, severity: 1 },
      };
      const own = { prompt: "q", ...good[as] };
      const mute = { toString: null, valueOf: null };
      const records = [...kinds[as].fields, "content", "type"].flatMap((field) =>
        [mute, [mute], { type: mute, text: mute, label: [mute] }, [{ role: mute, content: [{ type: mute }] }]].map(
          (value) => ({ ...own, [field]: value }),
        ),
      );
      const safety = { response_0: "x", response_1: "y", is_response_0_safe: true, is_response_1_safe: false };
      const both = { prompt: "q", ...safety, safer_response_id: mute };
      const { counts } = await read(jsonl(own, ...records, both), as, "mute.jsonl");
      expect(counts.rows + counts.aside + counts.duplicates).toBe(records.length + 2);
    },
  );

  it("sets aside what is nested too deeply to walk", async () => {
    const deep = `{"prompt":"a","chosen":"x","rejected":"y","explanation":[{"a":${"[".repeat(200_000)}${"]".repeat(200_000)}}]}\n`;
    const { rows, asides } = await read(jsonl({ prompt: "p", chosen: "a", rejected: "b" }) + deep, "preferences");
    expect(rows).toHaveLength(1);
    expect(asides).toMatchObject([{ source: "x.jsonl:2", reason: "nested too deeply" }]);
  });

  it("prints excerpts without control or direction characters", async () => {
    const { asides } = await read(`${jsonl({ prompt: "a" })}\u001b[31m\u202eevil\u0000 {`, "prompts");
    expect(asides[0]?.excerpt).toBe("\\u{1b}[31m\\u{202e}evil\\u{0} {");
  });
});

describe("what cannot be opened", () => {
  const cases: [string, string, string | Uint8Array, RegExp][] = [
    ["an empty file", "e.jsonl", "", /is empty \(0 bytes\)/],
    ["an empty file, compressed", "e.jsonl.gz", gzipSync(""), /is empty once decompressed/],
    ["white space", "w.jsonl", "\n \n", /holds no records/],
    ["a table without rows", "t.csv", "id,prompt\n", /holds no records/],
    ["zstd", "z.jsonl.zst", Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0]), /compressed with zstd; only gzip/],
    ["zip", "z.zip", Buffer.from("PK\u0003\u0004xxxx"), /compressed with zip; only gzip/],
    ["UTF-16", "u.jsonl", Buffer.from('\ufeff{"prompt": "a"}', "utf16le"), /UTF-16; expected UTF-8/],
    ["a JSON list", "list.json", '\n[{"prompt": "a"}]', /one JSON list; expected one object a line.*jq/],
    [
      "a Git LFS pointer",
      "p.parquet",
      "version https://git-lfs.github.com/spec/v1\n",
      /pointer of Git LFS.*git lfs pull/,
    ],
    ["a file named .parquet", "n.parquet", "{}", /named \.parquet but does not begin as one/],
    ["a compressed Parquet file", "n.parquet.gz", gzipSync("PAR1xxxxPAR1"), /Parquet file inside gzip/],
    ["an unknown format", "notes.txt", "hello", /tell no format; expected \.jsonl/],
    ["damaged compression", "d.jsonl.gz", corrupted(), /is damaged|is cut off/],
    ["compression that is cut off", "c.jsonl.gz", gzipSync(jsonl({ prompt: "a" })).subarray(0, 20), /is cut off/],
  ];
  it.each(cases)("%s", async (_, name, content, message) => {
    const failure = read(content, "prompts", name);
    await expect(failure).rejects.toThrow(DatasetError);
    await expect(failure).rejects.toThrow(message);
    await expect(failure).rejects.toThrow(name);
  });

  function corrupted(): Uint8Array {
    const bytes = gzipSync(jsonl(...Array.from({ length: 100 }, (_, i) => ({ prompt: `${i * 7919}` }))));
    return bytes.map((byte, i) => (i > 30 && i < 60 ? byte ^ 0x5a : byte));
  }

  it("a folder, or nothing", async () => {
    await mkdir(join(folder, "some.jsonl"), { recursive: true });
    await expect(openDataset(join(folder, "some.jsonl"), { as: "prompts" })).rejects.toThrow(
      /is a folder; expected a data file/,
    );
    await expect(openDataset(join(folder, "none.jsonl"), { as: "prompts" })).rejects.toThrow(/does not exist/);
  });

  it("a file of another kind: the error names fields expected and found, and the first record", async () => {
    const failure = read(jsonl({ prompt: "What?", topic: "x" }, { prompt: "Why?" }), "preferences", "prompts.jsonl");
    await expect(failure).rejects.toThrow(DatasetError);
    await expect(failure).rejects.toThrow(
      /prompts\.jsonl cannot be read as preferences: no usable record among the first 2\. At prompts\.jsonl:1: expected prompt, chosen and rejected.*found prompt, topic\. It begins: \{"prompt":"What\?"/,
    );
  });

  it("a large file of another kind, after a hundred records", async () => {
    const path = await file("large.jsonl", jsonl(...Array.from({ length: 5000 }, (_, i) => ({ question: `${i}` }))));
    let reads = 0;
    const all = async () => {
      for await (const _ of await openDataset(path, { as: "prompts" })) reads++;
    };
    await expect(all()).rejects.toThrow("no usable record among the first 100");
    expect(reads).toBe(99);
  });
});

describe("unpaired preferences as examples", () => {
  it.each([false, 0, "false", "False", "0"])("with label %j are set aside with the reason", async (label) => {
    const rows = jsonl(
      { prompt: "Why?", completion: "So.", label: true },
      { prompt: "Why?", completion: "Fool.", label },
    );
    const found = await read(rows, "examples");
    expect(found.rows.map(({ completion }) => completion)).toEqual(["So."]);
    expect(found.asides.map(({ reason }) => reason)).toEqual([expect.stringContaining("its label is false")]);
  });
});
