import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PairRow, rowId } from "@tenet/data";
import { hashOf, openStore, type Store } from "@tenet/runs";
import { afterAll, expect, test } from "vitest";
import {
  agreementOf,
  type Choice,
  Desk,
  drawnSide,
  importSheet,
  makeQueue,
  ordered,
  preferenceOf,
  sheetOf,
  sheetText,
  type Word,
} from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "tenet-people-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const texts = ["Plainly.", "=cmd()", 'Said "so",\nand so', "'quoted'", "-1", "@here", "　全角", "a\tb"];

/** A store with a stage of pairs. */
function withPairs(name: string, count = 8): { store: Store; pairs: PairRow[]; run: { id: string } } {
  const store = openStore(join(folder, name));
  const run = store.begin({ name: "desk", recipe: { name } });
  const stage = run.stage({ name: "pairs", kind: "pairs", identity: hashOf(name) });
  const pairs = Array.from({ length: count }, (_, i): PairRow => {
    const prompt = [{ role: "user" as const, content: `Question ${i}` }];
    const [a, b] = [`${texts[i % texts.length]} ${i}`, `other ${i}`];
    return { id: rowId("pair", prompt, a, b), prompt, a, b, origin: { parents: [] } };
  });
  stage.append(pairs.map((row, ordinal) => ({ key: hashOf(row.id), input: row.id, ordinal, rows: [row] })));
  stage.finish({ inputs: count });
  run.end("done");
  return { store, pairs, run: { id: run.id } };
}

function queueOf({ store, pairs, run }: ReturnType<typeof withPairs>, overlap = 2) {
  const items = pairs.map(({ id }) => ({ row: id }));
  const made = {
    run,
    stage: "pairs",
    pairs: items,
    how: "made",
    name: "All",
    who: "x",
    overlap,
  } as const;
  return makeQueue(store, made).id;
}

/** Answers as a person who prefers what `says` says, whichever side it stands on. */
function answer(
  store: Store,
  queue: string,
  who: string,
  row: string,
  says: "a" | "b" | "tie" | "skip",
  milliseconds = 1000,
) {
  const side = drawnSide(queue, row, who);
  const choice: Choice = says === "tie" || says === "skip" ? says : says === side ? "left" : "right";
  new Desk(store).answer(queue, row, who, { choice, milliseconds });
}

test("two scripted people: alpha by hand, agreement of each, sides per person, seconds; a skip counts nowhere", () => {
  const made = withPairs("scripted");
  const { store, pairs } = made;
  const queue = queueOf(made);
  // ann: a a a a b b b skip; ben: a a a b b b a a. Seven judged twice, five alike.
  const said = { ann: "aaaabbbs", ben: "aaabbbaa" } as const;
  for (const [who, words] of Object.entries(said))
    for (const [i, word] of [...words].entries())
      answer(store, queue, who, pairs[i]!.id, word === "s" ? "skip" : (word as "a" | "b"));
  const words = store.answers(queue).map(({ row, who, value }) => ({ row, who, value }) as unknown as Word);
  const found = agreementOf(words);
  expect(found.raw).toMatchObject({ value: 5 / 7, n: 7 });
  expect(found.single).toBe(1);
  expect(found.labels).toBe(15);
  // By hand: fourteen values, eight a and six b; coincidences of unequal values 4, so D_o = 4/14, and D_e = 2·8·6/(14·13) = 96/182.
  expect(found.alpha!.value).toBeCloseTo(1 - 4 / 14 / (96 / 182), 12);
  expect(found.people.map(({ who, answers, seconds }) => [who, answers, seconds])).toEqual([
    ["ann", 8, 1],
    ["ben", 8, 1],
  ]);
  for (const { agreement } of found.people) expect(agreement).toMatchObject({ value: 5 / 7, n: 7 });
  expect(found.people[0]!.outcomes.skip).toBe(1);
  expect(store.labels().filter(({ who }) => who === "ann")).toHaveLength(7);
  expect(store.labels().every(({ p }) => p === 0 || p === 1)).toBe(true);
  store.close();
});

test("alpha of scripted people with a known rate of agreement is that of Python's krippendorff", () => {
  const golden = JSON.parse(readFileSync(new URL("people.golden.json", import.meta.url), "utf8")) as {
    cases: { people: Record<string, string>; alpha: number }[];
  };
  for (const [index, { people, alpha }] of golden.cases.entries()) {
    const rows = Object.values(people)[0]!.length;
    const made = withPairs(`golden-${index}`, rows);
    const queue = queueOf(made, Object.keys(people).length);
    for (const [who, words] of Object.entries(people))
      for (const [i, word] of [...words].entries())
        if (word !== ".")
          answer(
            made.store,
            queue,
            who,
            made.pairs[i]!.id,
            word === "=" ? "tie" : word === "s" ? "skip" : (word as "a" | "b"),
          );
    const words = made.store.answers(queue) as unknown as Word[];
    expect(agreementOf(words).alpha!.value).toBeCloseTo(alpha, 10);
    made.store.close();
  }
});

test("orders: the least sure first, against the checks first, drawn ones the same whenever they are drawn", () => {
  const pairs = [
    { row: "sure", p: 0.95 },
    { row: "unsure", p: 0.52 },
    { row: "unknown" },
    { row: "against", p: 0.9, broken: { a: ["x"], b: [] } },
  ];
  const rows = (how: Parameters<typeof ordered>[1], size?: number) =>
    ordered(pairs, how, { name: "n", ...(size !== undefined && { size }) }).map(({ row }) => row);
  expect(rows("uncertain")).toEqual(["unsure", "against", "sure", "unknown"]);
  expect(rows("checks", 1)).toEqual(["against"]);
  expect(rows("made")).toEqual(["sure", "unsure", "unknown", "against"]);
  expect(rows("random")).toEqual(rows("random"));
  expect([...rows("random")].sort()).toEqual([...rows("made")].sort());
  const many = Array.from({ length: 60 }, (_, i) => ({ row: `${i}` }));
  const drawn = (name: string) => ordered(many, "random", { name }).map(({ row }) => row);
  expect(drawn("one")).not.toEqual(drawn("other"));
});

test.each(["jsonl", "csv"])(
  "a queue goes out as %s and its answers come back; what cannot be read is set aside and counted",
  async (format) => {
    const made = withPairs(`sheet-${format}`);
    const { store, pairs } = made;
    const queue = queueOf(made);
    answer(store, queue, "ann", pairs[0]!.id, "a");
    const rows = sheetOf(store, { queue, who: "ann", question: "Which?" });
    expect(rows).toHaveLength(7);
    // Blind: no name of a model, no label, and nothing that says which reply is the pair's first.
    expect(Object.keys(rows[0]!)).toEqual([
      "queue",
      "row",
      "who",
      "question",
      "prompt",
      "left",
      "right",
      "choice",
      "seconds",
      "note",
    ]);
    const csv = format === "csv";
    const path = join(folder, `answers.${format}`);
    const chosen = ["Left", "right_much", "tie", "skip", "", "better", "left"];
    const filled = rows.map((row, i) => ({
      ...row,
      choice: chosen[i]!,
      seconds: i === 0 ? "2.5" : "",
      note: i === 0 ? "kinder" : "",
    }));
    // Sides that somebody turned round mean what stands there; a reply that was edited is no reply of the pair.
    filled[1] = { ...filled[1]!, left: filled[1]!.right, right: filled[1]!.left };
    filled[6] = { ...filled[6]!, left: "something else" };
    const strange = { ...filled[0]!, row: "no such row" };
    writeFileSync(path, `${sheetText([...filled, strange], { csv })}${csv ? "only,two\r\n" : "{broken\n"}`);
    if (csv) expect(readFileSync(path, "utf8")).not.toMatch(/(^|,)"?[=@+-]/m);
    const read = await importSheet(store, path, { queue });
    expect(read).toMatchObject({ taken: 4, open: 1, known: 0 });
    expect(read.aside.map(({ reason }) => reason.split(":")[0])).toEqual(
      expect.arrayContaining(["choice", "left, right", "row"]),
    );
    expect(read.aside).toHaveLength(4);
    const labels = store.labels().filter(({ who }) => who === "ann");
    expect(labels).toHaveLength(4);
    const [first] = rows;
    const pair = pairs.find(({ id }) => id === first!.row)!;
    expect(labels.find((label) => label.pair === pair.id)).toMatchObject({
      p: first!.left === pair.a ? 1 : 0,
      note: "kinder",
    });
    const turned = pairs.find(({ id }) => id === rows[1]!.row)!;
    expect(labels.find((label) => label.pair === turned.id)!.p).toBe(rows[1]!.left === turned.a ? 1 : 0);
    // Read twice, nothing is said twice.
    expect(await importSheet(store, path, { queue })).toMatchObject({ taken: 0, known: 4 });
    store.close();
  },
);

test("a sheet's answers to pairs that are known already teach nobody; another queue's rows and endless names are set aside", async () => {
  const { store, pairs, run } = withPairs("gold");
  const { id: queue } = makeQueue(store, {
    ...{ run, stage: "pairs", how: "made", name: "Gold", who: "x" },
    pairs: pairs.map(({ id }, i) => ({ row: id, ...(i === 0 && { gold: "a" }) })),
  });
  const rows = sheetOf(store, { queue, who: "ann", question: "Which?" }).map((row) => ({ ...row, choice: "left" }));
  rows[1] = { ...rows[1]!, queue: "another" };
  rows[2] = { ...rows[2]!, who: "x".repeat(201) };
  const path = join(folder, "gold.jsonl");
  writeFileSync(path, sheetText(rows, { csv: false }));
  const read = await importSheet(store, path, { queue });
  expect(read).toMatchObject({ taken: 6, aside: [{ reason: expect.stringMatching(/^queue: .*--queue/) }, {}] });
  expect(read.aside[1]!.reason).toBe("who: expected a name of at most 200 characters, got 201");
  expect(store.answers(queue)).toHaveLength(6);
  expect(store.labels().map(({ pair }) => pair)).toEqual(pairs.slice(3).map(({ id }) => id));
  store.close();
});

test("a queue that asks each pair of no one, or of more people than there may be, is not made", () => {
  const { store, pairs, run } = withPairs("each");
  const made = { run, stage: "pairs", how: "made", name: "All", who: "x", pairs: [{ row: pairs[0]!.id }] } as const;
  for (const overlap of [0, 9]) expect(() => makeQueue(store, { ...made, overlap })).toThrow(/overlap/);
  expect(store.queues()).toEqual([]);
  store.close();
});

test("who prefers neither, later, has no label of the pair; taking that back gives the label again", () => {
  const made = withPairs("minds");
  const { store, pairs } = made;
  const [one, other] = [queueOf(made), queueOf(made)];
  const row = pairs[0]!.id;
  const p = () => store.labels({ pair: row }).map((label) => [label.who, label.p]);
  answer(store, one, "ann", row, "a");
  expect(p()).toEqual([["ann", 1]]);
  answer(store, one, "ann", row, "skip");
  expect(p()).toEqual([]);
  store.undoAnswer(one, "ann");
  expect(p()).toEqual([["ann", 1]]);
  answer(store, other, "ann", row, "skip");
  expect(p()).toEqual([]);
  answer(store, other, "ann", row, "b");
  expect(p()).toEqual([["ann", 0]]);
  store.close();
});

test("an answer can be taken back behind a settlement, which stands", () => {
  const made = withPairs("settled");
  const { store, pairs } = made;
  const queue = queueOf(made);
  const row = pairs[0]!.id;
  answer(store, queue, "ann", row, "a");
  answer(store, queue, "ben", row, "b");
  store.settleLabel({ pair: row, p: 0, who: "cora" });
  expect(store.undoAnswer(queue, "ann")).toMatchObject({ row, who: "ann" });
  expect(store.labels({ pair: row })).toMatchObject([{ who: "cora", p: 0 }]);
  store.close();
});

test("a choice is a probability of the pair's own a; a skip and two bad replies are none", () => {
  for (const choice of ["skip", "both bad"] as const) expect(preferenceOf(choice, "a")).toBeUndefined();
  expect(preferenceOf("left much", "b")).toBe(0);
});
