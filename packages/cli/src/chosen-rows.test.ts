import { randomStream } from "@tenet/align";
import { expect, it } from "vitest";
import { chosenRows } from "./chosen-rows.ts";

const rows = Array.from({ length: 100 }, (_, i) => ({
  id: `row ${i}`,
  origin: { parents: [], principles: [i % 2 ? "warm" : "brief"] },
  p: i / 100,
  rounds: [{ principle: i % 10 === 0 ? "no-dose" : "none", critique: `It says Take ${i} mg` }],
}));
const ids = (choice: Partial<Parameters<typeof chosenRows>[1]>) =>
  chosenRows(rows, { rows: 3, ...choice }).map(({ id }) => id);
const sampled = (count: number, seed = 0) => {
  const stream = randomStream({ seed, stage: "test", item: "rows" });
  return ids({ sample: { count, uniform: (place) => stream.uniform(place) } });
};

it("rows are left out first, and chosen by what stands anywhere in them", () => {
  expect(ids({ skip: 5 })).toEqual(["row 5", "row 6", "row 7"]);
  expect(ids({ where: ["principle=no-dose"], skip: 1 })).toEqual(["row 10", "row 20", "row 30"]);
  expect(ids({ where: ["critique~take 42"] })).toEqual(["row 42"]);
  expect(ids({ where: ["principles=warm", "p=0.51"] })).toEqual(["row 51"]);
  expect(ids({ where: ["principle=dose"] })).toEqual([]);
  expect(ids({ where: ["other=1"] })).toEqual([]);
});

it("a conversation is what is said in it", () => {
  const talk = (...said: string[]) => said.map((content, i) => ({ role: i % 2 ? "assistant" : "user", content }));
  const asked = ["Why?", "How much Syrup?", "Why? And how much?"].map((text, i) => ({
    ...{ id: `row ${i}`, origin: { parents: [], principles: [] }, response: "Ask a doctor about syrup." },
    prompt: i === 1 ? talk("Hello", "Hello!", text) : talk(text),
  }));
  const fitting = (where: string) => chosenRows(asked, { rows: 3, where: [where] }).map(({ id }) => id);
  expect(fitting("prompt~syrup")).toEqual(["row 1"]);
  expect(fitting("prompt~HELLO")).toEqual(["row 1"]);
  expect(fitting("prompt=Why?")).toEqual(["row 0"]);
  expect(fitting("prompt~doctor")).toEqual([]);
});

it("no more is read than is printed", () => {
  let read = 0;
  const counting = (function* () {
    for (const row of rows) {
      read++;
      yield row;
    }
  })();
  chosenRows(counting, { rows: 2, skip: 3 });
  expect(read).toBe(5);
});

it("a sample is the same with the same seed, in order, and of all rows alike", () => {
  const drawn = sampled(10, 4);
  expect(drawn).toEqual(sampled(10, 4));
  expect(drawn).not.toEqual(sampled(10, 5));
  expect(drawn).toHaveLength(10);
  const places = drawn.map((id) => Number(id.split(" ")[1]));
  expect(places).toEqual(places.toSorted((a, b) => a - b));
  const counts = new Array<number>(100).fill(0);
  for (let seed = 0; seed < 1000; seed++) for (const id of sampled(10, seed)) counts[Number(id.split(" ")[1])]!++;
  // 1000 times 10 of 100: 100 each, with a standard deviation of 9.5.
  for (const count of counts) expect(Math.abs(count - 100)).toBeLessThan(48);
  expect(sampled(500)).toHaveLength(100);
});

it("a condition that is none is a wrong call", () => {
  for (const where of ["principle", "=x", "a b=c", ""])
    expect(() => ids({ where: [where] })).toThrow("expected name=value");
});
