import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answerScore, collect, DatasetError, openDataset, type StackExchangeOptions } from "./index.ts";
import { preferenceRowSchema } from "./rows.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-posts-test-"));
});
afterAll(() => rm(folder, { recursive: true }));

const escaped = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
const row = (attributes: Record<string, string | number>) =>
  `  <row ${Object.entries(attributes)
    .map(([name, value]) => `${name}="${escaped(String(value))}"`)
    .join(" ")} />\n`;
const question = (id: number, more = {}) =>
  row({ Id: id, PostTypeId: 1, Score: 3, Title: `Title ${id}?`, Body: `<p>Question <b>${id}</b></p>`, ...more });
const answer = (id: number, parent: number, score: number, more = {}) =>
  row({ Id: id, PostTypeId: 2, ParentId: parent, Score: score, Body: `<p>Answer ${id}</p>`, ...more });
const posts = (...rows: string[]) =>
  `\ufeff<?xml version="1.0" encoding="utf-8"?>\n<posts>\n${rows.join("")}</posts>\n`;

async function dump(text: string | Uint8Array): Promise<string> {
  const path = join(folder, "Posts.xml");
  await writeFile(path, text);
  return path;
}

const spills = async () => (await readdir(folder)).filter((name) => name.startsWith("tenet-posts-"));

async function preferences(
  text: string | Uint8Array,
  options: StackExchangeOptions & { maxRecordBytes?: number } = {},
) {
  const { maxRecordBytes, ...stackexchange } = options;
  const bound = maxRecordBytes === undefined ? {} : { maxRecordBytes };
  return collect(await openDataset(await dump(text), { as: "preferences", stackexchange, ...bound }));
}

describe("scores", () => {
  // round(log2(1 + votes)) by hand: log2 1 = 0, 2 → 1, 3 → 1.58, 6 → 2.58, 12 → 3.58, 101 → 6.66
  it.each([
    [0, false, 0],
    [1, false, 1],
    [2, false, 2],
    [5, false, 3],
    [5, true, 4],
    [11, false, 4],
    [100, false, 7],
    [-1, false, -1],
    [-40, false, -1],
    [-40, true, 0],
    [0, true, 1],
  ])("of %i votes, accepted %s: %i", (votes, accepted, score) => {
    expect(answerScore({ votes, accepted })).toBe(score);
  });
});

describe("a dump", () => {
  it("gives pairs of answers to one question, ties left out, the better one first", async () => {
    const text = posts(
      question(1, { AcceptedAnswerId: 3 }),
      answer(2, 1, 7),
      answer(3, 1, 3),
      answer(4, 1, -2),
      answer(5, 1, 7),
    );
    const { rows, counts } = await preferences(text);
    expect(counts).toEqual({ rows: 3, aside: 0, duplicates: 0 }); // 2, 3 and 5 all score 3
    expect(rows.map(({ a, b, origin }) => `${a} > ${b} ${origin.source}`)).toEqual([
      "Answer 2 > Answer 4 Posts.xml#2,4",
      "Answer 3 > Answer 4 Posts.xml#3,4",
      "Answer 5 > Answer 4 Posts.xml#5,4",
    ]);
    expect(rows[1]).toMatchObject({
      prompt: [{ role: "user", content: "Title 1?\n\nQuestion 1" }],
      p: 1,
      label: "ranking",
      explanation: [
        { answer: 3, votes: 3, accepted: true, score: 3 },
        { answer: 4, votes: -2, accepted: false, score: -1 },
      ],
    });
    expect(preferenceRowSchema.parse(rows[0])).toEqual(rows[0]);
  });

  it("may hold posts in any order, and be larger than memory", async () => {
    const threads = fc.array(fc.array(fc.integer({ min: -3, max: 40 }), { maxLength: 4 }), {
      minLength: 1,
      maxLength: 12,
    });
    await fc.assert(
      fc.asyncProperty(threads, fc.infiniteStream(fc.nat()), async (threads, order) => {
        const rows = threads.flatMap((scores, i) => [
          question(1000 + i),
          ...scores.map((score, j) => answer(1 + 10 * i + j, 1000 + i, score)),
        ]);
        const shuffled = rows.map((row) => ({ row, key: order.next().value })).sort((x, y) => x.key - y.key);
        const sets = [];
        for (const [text, memory] of [
          [rows, 1e9],
          [shuffled.map(({ row }) => row), 1e9],
          [rows, 300],
        ] as const) {
          const { rows, counts } = await preferences(posts(...text), { memory, temporary: folder });
          expect(counts.aside).toBe(0);
          sets.push(rows.map(({ a, b }) => [a, b].join(" > ")).sort());
        }
        expect(sets[1]).toEqual(sets[0]);
        expect(sets[2]).toEqual(sets[0]);
        const scored = threads.map((votes) => votes.map((votes) => answerScore({ votes, accepted: false })));
        const pairs = scored.flatMap((scores) =>
          scores.flatMap((one, i) => scores.slice(i + 1).filter((other) => other !== one)),
        );
        if (pairs.length > 0) expect(sets[0]).toHaveLength(pairs.length);
      }),
      { numRuns: 8 },
    );
    expect(await spills()).toEqual([]);
  });

  it("clears its temporary files when the reader stops early", async () => {
    const rows = Array.from({ length: 40 }, (_, i) => [
      question(1000 + i),
      answer(2 * i + 1, 1000 + i, 0),
      answer(2 * i + 2, 1000 + i, 9),
    ]);
    const path = await dump(posts(...rows.flat()));
    const dataset = await openDataset(path, {
      as: "preferences",
      limit: 3,
      stackexchange: { memory: 1000, temporary: folder },
    });
    let seen = 0;
    for await (const _ of dataset) if (++seen === 1) expect((await spills()).length).toBe(1);
    expect(seen).toBe(3);
    expect(await spills()).toEqual([]);
  });

  it("gives a bounded number of pairs a question, the same each time", async () => {
    const text = posts(question(1), ...Array.from({ length: 8 }, (_, i) => answer(i + 2, 1, 2 ** i)));
    const all = await preferences(text, { pairsPerQuestion: 1000 });
    expect(all.rows).toHaveLength(27); // 28 but for votes 2 and 4, which both score 2
    const some = await preferences(text);
    expect(some.rows).toHaveLength(10);
    expect((await preferences(text)).rows).toEqual(some.rows);
    const ids = all.rows.map(({ id }) => id);
    expect(ids).toEqual(expect.arrayContaining(some.rows.map(({ id }) => id)));
  });

  it("gives its questions as prompts", async () => {
    const text = posts(
      answer(2, 1, 0),
      question(1),
      row({ Id: 3, PostTypeId: 5, Body: "wiki" }),
      question(4, { Title: "" }),
    );
    const { rows, counts } = await collect(await openDataset(await dump(text), { as: "prompts" }));
    expect(counts).toEqual({ rows: 2, aside: 0, duplicates: 0 });
    expect(rows.map(({ prompt, origin }) => [prompt[0]?.content, origin.source])).toEqual([
      ["Title 1?\n\nQuestion 1", "Posts.xml#1"],
      ["Question 4", "Posts.xml#4"],
    ]);
  });

  it("sets posts aside that lack what they need, and goes on", async () => {
    const bad = [
      answer(10, 99, 5),
      row({ Id: 11, PostTypeId: 2, ParentId: 1, Body: "x" }),
      row({ Id: "eleven", PostTypeId: 2, ParentId: 1, Score: 1, Body: "x" }),
      row({ Id: 12, PostTypeId: 2, Score: 1, Body: "x" }),
      row({ Id: 13, PostTypeId: 2, ParentId: 1, Score: 1 }),
      row({ Id: 14, Body: "x" }),
      '  <row Id="15" PostTypeId="2" ParentId="1" Score="1" Body="a &unknown; b" />\n',
      '  <row Id="16" PostTypeId="2" ParentId="1" Score="1" Body="a &#x1; b" />\n',
      '  <row Id="17" Id="18" PostTypeId="2" ParentId="1" Score="1" Body="twice" />\n',
      answer(19, 1, 1, { Body: "bad \ufffd" }),
      answer(20, 1, 2, { Body: "<img src='x'>" }),
    ];
    const { rows, asides } = await preferences(posts(...bad, question(1), answer(2, 1, 0), answer(3, 1, 9)));
    expect(rows.map(({ a, b }) => `${a} > ${b}`)).toEqual(["Answer 3 > Answer 2"]);
    expect(asides.map(({ source, reason }) => `${source} ${reason}`)).toEqual([
      "Posts.xml#11 Score is missing; expected a whole number",
      'Posts.xml#eleven Id is "eleven"; expected a whole number',
      "Posts.xml#12 ParentId is missing; expected a whole number",
      "Posts.xml#13 expected the attribute Body; found none",
      "Posts.xml#14 expected the attribute PostTypeId; found none",
      expect.stringMatching(/^Posts\.xml#15 not well-formed: .*undefined entity/),
      expect.stringMatching(/^Posts\.xml#16 not well-formed: /),
      expect.stringMatching(/^Posts\.xml#1\d not well-formed: .*duplicate attribute/),
      "Posts.xml#19 holds bytes that are not UTF-8, or the character that stands for them",
      "Posts.xml#10 an answer to question 99, which the file does not hold",
      "Posts.xml#20,2 an answer has no text",
      "Posts.xml#3,20 an answer has no text",
    ]);
  });

  it.each([
    ["no post", "<posts/>", /holds no posts; expected at least one/],
    ["no post in it", "<posts>\n</posts>\n", /holds no posts; expected at least one/],
    ["another root", "<users><row/></users>", /expected <posts> as its outermost element, found <users>/],
    ["a page of the web", "<!DOCTYPE html><html><body></body></html>", /found <html>/],
    ["no element", "<?xml version='1.0'?>\n", /found no element/],
    ["cut off", posts(question(1)).slice(0, -10), /is cut off: it ends in line \d+ before <\/posts>/],
    ["cut off within a post", posts(question(1)).slice(0, -30), /is cut off/],
  ])("is refused: %s", async (_, text, message) => {
    await expect(preferences(text)).rejects.toThrow(DatasetError);
    await expect(preferences(text)).rejects.toThrow(message);
  });

  it("is refused where a post has no end in sight, and as examples", async () => {
    const long = posts(question(1, { Body: "x".repeat(400_000) }));
    await expect(preferences(long, { maxRecordBytes: 100_000 })).rejects.toThrow(/a post longer than 100000 bytes/);
    await expect(collect(await openDataset(await dump(posts(question(1))), { as: "examples" }))).rejects.toThrow(
      /expected as "prompts" or "preferences", got "examples"/,
    );
  });

  it("expands no entity that the file declares", async () => {
    const bomb = `<!DOCTYPE posts [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;">]>\n<posts>\n${question(1)}${answer(2, 1, 1)}  <row Id="3" PostTypeId="2" ParentId="1" Score="5" Body="&b;" />\n${answer(4, 1, 7)}</posts>`;
    const { rows, asides } = await preferences(bomb);
    expect(rows.map(({ a, b }) => `${a} > ${b}`)).toEqual(["Answer 4 > Answer 2"]);
    expect(asides).toHaveLength(1);
  });
});
