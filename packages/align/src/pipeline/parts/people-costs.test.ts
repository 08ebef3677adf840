import { rowId, type SafetyRow } from "@tenet/data";
import { expect, it } from "vitest";
import { pairsOf } from "./people-costs.ts";

let places = 0;
function said(prompt: string, ...replies: SafetyRow["replies"]): SafetyRow {
  const source = `labels.jsonl:${++places}`;
  return {
    ...{ id: rowId("safety", source), origin: { source, parents: [] } },
    ...{ prompt: [{ role: "user", content: prompt }], replies },
  };
}
const reply = (text: string, unsafe: number, severity?: number) => ({
  ...{ reply: text, unsafe },
  ...(severity === undefined ? {} : { severity }),
});
const pairs = (rows: readonly SafetyRow[]) =>
  [...pairsOf(rows)]
    .flatMap((made) => ("row" in made ? [made.row] : []))
    .map(({ a, b, unsafe, q }) => [a, b, unsafe, q]);
const asides = (rows: readonly SafetyRow[]) =>
  [...pairsOf(rows)].flatMap((made) => ("aside" in made ? [made.aside.input] : []));

it("two replies that were judged together stay together, in the order that was said", () => {
  const two = said("A", reply("Yes.", 1), reply("No.", 1));
  expect(pairs([{ ...two, safer: 1 }])).toEqual([["Yes.", "No.", [1, 1], 1]]);
  expect(pairs([{ ...two, safer: 0 }])).toEqual([["Yes.", "No.", [1, 1], 0]]);
  // Nobody said which: as likely the one as the other.
  expect(pairs([two])).toEqual([["Yes.", "No.", [1, 1], 0.5]]);
  expect(pairs([said("A", reply("Yes.", 0), reply("No.", 1))])).toEqual([["Yes.", "No.", [0, 1], 0]]);
});

it("of two as unsafe the severer is the more unsafe; a level that one lacks says nothing", () => {
  expect(pairs([said("A", reply("Yes.", 1, 3), reply("No.", 1, 1))])).toEqual([["Yes.", "No.", [1, 1], 1]]);
  expect(pairs([said("A", reply("Yes.", 1, 3), reply("No.", 1))])).toEqual([["Yes.", "No.", [1, 1], 0.5]]);
});

it("single replies pair within their prompt; what is left alone is set aside, and counted", () => {
  const rows = [
    said("A", reply("a1", 0)),
    said("B", reply("b1", 1)),
    said("A", reply("a2", 1)),
    said("A", reply("a3", 1)),
  ];
  expect(pairs(rows)).toEqual([["a1", "a2", [0, 1], 0]]);
  expect(asides(rows)).toEqual([rows[3]!.id, rows[1]!.id]);
});

it("several people's words on one reply are the share who call it unsafe", () => {
  const rows = [0, 0, 1].map((unsafe) => said("A", reply("a1", unsafe)));
  const [[, , unsafe, q]] = pairs([...rows, said("A", reply("a2", 1))]) as [[string, string, number[], number]];
  expect(unsafe).toEqual([1 / 3, 1]);
  expect(q).toBe(0);
  expect([...pairsOf([...rows, said("A", reply("a2", 1))])]).toMatchObject([
    { row: { origin: { parents: { length: 4 } } } },
  ]);
});
