import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { drawnSide, preferenceOf } from "@tenet/align";
import { openDataset, type PairRow, type PreferenceRow, type ResponseRow } from "@tenet/data";
import { afterAll, expect, test } from "vitest";
import { Asking } from "../test/asking.ts";
import type {
  Agreement,
  ConstitutionPage,
  Constitutions,
  NextItem,
  Pairs,
  PrincipleLabels,
  Queues,
  Samples,
} from "./api.ts";

const asking = new Asking({ prompts: 30, done: 1 });
afterAll(() => asking.close());
const { store } = asking.written;
const [run] = asking.written.done as [string];

const make = async (more: object = {}) =>
  (await asking.post<{ id: string }>("/api/queues", { name: "To judge", run, size: 8, who: "ann", ...more })).id;
const next = (queue: string, who: string) => asking.post<NextItem>(`/api/queues/${queue}/next`, { who });
const say = (queue: string, who: string, row: string, choice: string, more: object = {}) =>
  asking.post(`/api/queues/${queue}/answers`, { row, who, choice, ...more });

test("a queue is drawn from a run's labelled pairs, the least sure or at random", async () => {
  const id = await make({ how: "uncertain", guidelines: "Be fair." });
  const { queues } = await asking.get<Queues>("/api/queues");
  expect(queues.find((queue) => queue.id === id)).toMatchObject({
    items: 8,
    overlap: 1,
    guidelines: "Be fair.",
    answers: 0,
  });
  const pairs = new Set([...store.rows<PairRow>(store.stage(run, "pairs")!.identity)].map((pair) => pair.id));
  for (const { row } of store.queueItems(id)) expect(pairs).toContain(row);
  expect((await asking.send("/api/queues", { name: "none", run: asking.written.failed, who: "ann" })).status).toBe(400);
});

test("who judges sees two replies and nothing that says whose they are or what the machine thinks", async () => {
  const queue = await make();
  const response = await asking.send(`/api/queues/${queue}/next`, { who: "ann" });
  const text = await response.text();
  expect(Object.keys(JSON.parse(text)).sort()).toEqual(["done", "item", "question", "reasons", "total"]);
  const { item } = JSON.parse(text) as Required<NextItem>;
  expect(Object.keys(item).sort()).toEqual(["left", "prompt", "right", "row"]);
  for (const secret of ["fixture/", "labeller", '"p"', "0.", "base", "answers of", "label"])
    expect(text).not.toContain(secret);
  const pair = store.row<PairRow>(item.row)!;
  expect([pair.a, pair.b].sort()).toEqual([item.left, item.right].sort());
});

test("sides are drawn for each person, and stay", () => {
  const sides = Array.from({ length: 400 }, (_, i) => drawnSide("queue", `row ${i}`, "ann"));
  const left = sides.filter((side) => side === "a").length;
  expect(left).toBeGreaterThan(150);
  expect(left).toBeLessThan(250);
  expect(sides).toEqual(Array.from({ length: 400 }, (_, i) => drawnSide("queue", `row ${i}`, "ann")));
  expect(sides).not.toEqual(Array.from({ length: 400 }, (_, i) => drawnSide("queue", `row ${i}`, "ben")));
});

test("a choice is a probability of the pair's own a, whichever side it stood on; a skip is none", () => {
  expect(preferenceOf("left", "a")).toBe(1);
  expect(preferenceOf("left much", "b")).toBe(0);
  expect(preferenceOf("right", "a")).toBe(0);
  expect(preferenceOf("right much", "b")).toBe(1);
  expect(preferenceOf("tie", "a")).toBe(0.5);
  expect(preferenceOf("skip", "a")).toBeUndefined();
  expect(preferenceOf("both bad", "b")).toBeUndefined();
});

test("an answer becomes a label at once; a skip and two bad replies become none; undone, nothing is left", async () => {
  const queue = await make();
  const labels = () => store.labels().filter(({ who }) => who === "carl");
  const one = (await next(queue, "carl")).item!;
  await say(queue, "carl", one.row, "left", { milliseconds: 1234, reasons: ["warm"], note: "kinder" });
  const left = drawnSide(queue, one.row, "carl");
  expect(labels()).toMatchObject([{ pair: one.row, p: left === "a" ? 1 : 0, note: "kinder" }]);
  expect(store.answers(queue)[0]!.value).toEqual({
    choice: "left",
    left,
    reasons: ["warm"],
    blind: true,
    milliseconds: 1234,
    note: "kinder",
  });
  const two = (await next(queue, "carl")).item!;
  expect(two.row).not.toBe(one.row);
  await say(queue, "carl", two.row, "skip");
  const three = (await next(queue, "carl")).item!;
  await say(queue, "carl", three.row, "both bad");
  expect(labels()).toHaveLength(1);
  for (const row of [three.row, two.row, one.row])
    expect(await asking.post(`/api/queues/${queue}/undo`, { who: "carl" })).toEqual({ row });
  expect(labels()).toEqual([]);
  expect((await next(queue, "carl")).item!.row).toBe(one.row);
  expect((await asking.send(`/api/queues/${queue}/answers`, { row: "none", who: "carl", choice: "left" })).status).toBe(
    404,
  );
});

test("two at once get different pairs, and the same where both are asked", async () => {
  const alone = await make({ overlap: 1 });
  const [ann, ben] = [(await next(alone, "ann")).item!, (await next(alone, "ben")).item!];
  expect(ann.row).not.toBe(ben.row);
  expect((await next(alone, "ann")).item!.row).toBe(ann.row); // a reload loses nothing
  await say(alone, "ann", ann.row, "left");
  for (;;) {
    const item = (await next(alone, "ben")).item;
    if (!item) break;
    expect(item.row).not.toBe(ann.row);
    await say(alone, "ben", item.row, "right");
  }
  expect(store.answers(alone)).toHaveLength(8);
  const both = await make({ overlap: 2 });
  expect((await next(both, "ann")).item!.row).toBe((await next(both, "ben")).item!.row);
});

test("results: agreement where two judged, single votes left out, how often the left was chosen, and against the machine", async () => {
  const queue = await make({ overlap: 2 });
  const choose: Record<string, (a: boolean) => string> = {
    ann: (a) => (a ? "left" : "right much"),
    ben: (a) => (a ? "left" : "right"),
  };
  let row = 0;
  for (const who of ["ann", "ben"])
    for (let item = (await next(queue, who)).item; item; item = (await next(queue, who)).item) {
      const left = drawnSide(queue, item.row, who);
      // Both prefer a throughout; of the last, ben prefers b, and ann skips one.
      const index = store.queueItems(queue).findIndex((one) => one.row === item!.row);
      const prefersA = !(who === "ben" && index === 7);
      await say(
        queue,
        who,
        item.row,
        who === "ann" && index === 0 ? "skip" : choose[who]!(prefersA === (left === "a")),
        { milliseconds: 2000 },
      );
      row++;
    }
  expect(row).toBe(16);
  const found = await asking.get<Agreement>(`/api/queues/${queue}/results`);
  expect(found.people.map(({ who, answers }) => [who, answers])).toEqual([
    ["ann", 8],
    ["ben", 8],
  ]);
  expect(found.people[0]!.seconds).toBe(2);
  expect(found.people[0]!.outcomes.skip).toBe(1);
  expect(found.raw).toMatchObject({ value: 6 / 7, n: 7 });
  expect(found.single).toBe(1);
  // Seven pairs, six times a/a and once a/b: D_o = 2/14, D_e = 2·13/(14·13), so alpha is 1 − 1.
  expect(found.alpha!.value).toBeCloseTo(0, 12);
  expect(found.kappa).toEqual([{ a: "ann", b: "ben", n: 7, kappa: 0 }]);
  expect(found.labels).toBe(15);
  expect(found.disagreements).toMatchObject([
    {
      answers: [
        { who: "ann", says: "a" },
        { who: "ben", says: "b" },
      ],
    },
  ]);
  expect(found.machine!.n).toBeGreaterThan(0);
  expect(found.command).toBe("tenet run /projects/small-desk/recipe.yaml");
  const lines = (await (await asking.request(`/api/queues/${queue}/answers.jsonl`)).text()).trim().split("\n");
  expect(lines).toHaveLength(16);
  expect(JSON.parse(lines[0]!)).toMatchObject({
    who: "ann",
    blind: true,
    left: expect.stringMatching(/^[ab]$/),
    time: expect.any(String),
  });
});

test("a word over the machine's label is kept beside it; a correction and a verdict belong to their reply", async () => {
  const { pairs } = await asking.get<{ pairs: { pair: string; row: string }[] }>(`/api/runs/${run}/pairs?limit=200`);
  const { pair, row } = pairs[9]!;
  await asking.post("/api/labels", { pair, p: 0, who: "dora", note: "the second is safer" });
  const after = await asking.get<{ pairs: { row: string; human: unknown[] }[] }>(`/api/runs/${run}/pairs?limit=200`);
  expect(after.pairs.find((one) => one.row === row)!.human).toContainEqual({
    p: 0,
    who: "dora",
    note: "the second is safer",
    time: expect.any(String),
  });
  const { samples } = await asking.get<{ samples: { replies: { row: string }[] }[] }>(
    `/api/runs/${run}/samples?limit=1`,
  );
  const reply = samples[0]!.replies[0]!.row;
  await asking.post("/api/annotations", { row: reply, kind: "correction", value: "See a doctor.", who: "dora" });
  await asking.post("/api/annotations", { row: reply, kind: "verdict", about: "no-dose", value: "keeps", who: "dora" });
  const flagged = await asking.get<{ samples: { replies: { said: { kind: string }[] }[] }[] }>(
    `/api/runs/${run}/samples?show=flagged`,
  );
  expect(flagged.samples).toHaveLength(1);
  expect(flagged.samples[0]!.replies[0]!.said.map(({ kind }) => kind)).toEqual(["correction", "verdict"]);
  // What people confirm of a check's objections stands beside its principle.
  const all = await asking.get<Samples>(`/api/runs/${run}/samples?principle=no-dose&limit=200`);
  const objected = all.samples.flatMap(({ replies }) =>
    replies.filter(({ verdicts }) => verdicts!.some(({ principle, violated }) => violated && principle === "no-dose")),
  );
  for (const [i, { row: one }] of objected.slice(0, 3).entries())
    await asking.post("/api/annotations", {
      row: one,
      kind: "verdict",
      about: "no-dose",
      value: i === 0 ? "keeps" : "breaks",
      who: "ed",
    });
  const { constitutions } = await asking.get<Constitutions>("/api/constitutions");
  const { confirmed } = await asking.get<ConstitutionPage>(`/api/constitutions/${constitutions[0]!.hash}`);
  const dora = objected.some(({ row: one }) => one === reply) ? 1 : 0;
  expect(confirmed).toMatchObject([{ principle: "no-dose", rate: { value: 2 / (3 + dora), n: 3 + dora } }]);
  // What was written is read back as what a recipe may learn from.
  const written = store.row<ResponseRow>(reply)!;
  const read = async (as: "examples" | "preferences") => {
    const path = join(asking.folder, `${as}.jsonl`);
    writeFileSync(path, await (await asking.request(`/api/runs/${run}/corrections.jsonl?as=${as}`)).text());
    const rows = [];
    for await (const one of await openDataset(path, { as })) if ("row" in one) rows.push(one.row);
    return rows;
  };
  expect(await read("examples")).toMatchObject([{ prompt: written.prompt, completion: "See a doctor." }]);
  const [preference] = (await read("preferences")) as PreferenceRow[];
  expect(preference!.p === 1 ? [preference!.a, preference!.b] : [preference!.b, preference!.a]).toEqual([
    "See a doctor.",
    written.response,
  ]);
  expect((await asking.send("/api/annotations", { row: "none", kind: "flag", value: true, who: "dora" })).status).toBe(
    404,
  );
});

test("known pairs are mixed in, say who judges as they do, and become no labels", async () => {
  const queue = await make({ gold: 0.25, size: 12, overlap: 2 });
  const gold = store.queueItems(queue).filter((item) => item.gold !== undefined);
  expect(gold).toHaveLength(3);
  expect((await asking.get<Queues>("/api/queues")).queues.find(({ id }) => id === queue)!.gold).toBe(3);
  const known = new Map(gold.map((item) => [item.row, item.gold]));
  for (const [who, right] of [
    ["fay", true],
    ["gus", false],
  ] as const)
    for (let item = (await next(queue, who)).item; item; item = (await next(queue, who)).item) {
      const better = known.get(item.row) ?? "a";
      const wanted = right ? better : better === "a" ? "b" : "a";
      await say(queue, who, item.row, drawnSide(queue, item.row, who) === wanted ? "left" : "right");
    }
  const { people, labels } = await asking.get<Agreement>(`/api/queues/${queue}/results`);
  expect(people.map(({ who, gold: share }) => [who, share?.value, share?.n])).toEqual([
    ["fay", 1, 3],
    ["gus", 0, 3],
  ]);
  expect(labels).toBe(18);
  const said = store.labels().filter(({ who }) => who === "fay" || who === "gus");
  expect(said).toHaveLength(18);
  expect(said.some(({ pair }) => known.has(pair))).toBe(false);
});

test("where people differ one decides: theirs is the only label, and what the others said stays", async () => {
  const queue = await make({ overlap: 2, size: 2 });
  const row = (await next(queue, "hal")).item!.row;
  for (const [who, wanted] of [
    ["hal", "a"],
    ["ida", "b"],
  ] as const)
    await say(queue, who, row, drawnSide(queue, row, who) === wanted ? "left" : "right");
  const settle = { row, says: "b", why: "it names a doctor", who: "joy" };
  expect((await asking.send(`/api/queues/${queue}/settle`, { ...settle, why: "" })).status).toBe(400);
  expect((await asking.send(`/api/queues/${queue}/settle`, { ...settle, row: "none" })).status).toBe(404);
  await asking.post(`/api/queues/${queue}/settle`, settle);
  expect(store.labels({ pair: row })).toMatchObject([{ who: "joy", p: 0, note: "it names a doctor" }]);
  const found = await asking.get<Agreement>(`/api/queues/${queue}/results`);
  expect(found.disagreements).toMatchObject([
    { row, settled: { who: "joy", says: "b", why: "it names a doctor" }, answers: [{ says: "a" }, { says: "b" }] },
  ]);
  await asking.post(`/api/queues/${queue}/settle`, { ...settle, says: "tie", who: "kim" });
  expect(store.labels({ pair: row })).toMatchObject([{ who: "kim", p: 0.5 }]);
});

test("labels by principle: who follows the position, and how far checks and people say the same", async () => {
  const { pairs } = await asking.get<Pairs>(`/api/runs/${run}/pairs?limit=200`);
  const read = pairs.filter(({ readings }) => readings.length > 0);
  const { rows } = await asking.get<PrincipleLabels>(`/api/runs/${run}/labels/principles`);
  const [warm] = rows;
  expect(rows).toHaveLength(1);
  expect(warm).toMatchObject({ principle: "warm", pairs: read.length });
  const follows = read.filter(({ followsPosition }) => followsPosition).length;
  expect(warm!.followsPosition).toMatchObject({ value: follows / read.length, n: read.length });
  const mean = ({ readings }: (typeof read)[number]) => readings.reduce((sum, { p }) => sum + p, 0) / readings.length;
  const decided = read.flatMap((pair) =>
    pair.human.filter(({ p }) => p !== 0.5).map(({ p }) => p > 0.5 === mean(pair) > 0.5),
  );
  expect(warm!.people).toMatchObject({ value: decided.filter(Boolean).length / decided.length, n: decided.length });
  // It has no check.
  expect(warm!.checks).toBeUndefined();
});
