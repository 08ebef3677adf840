import { expect, it } from "vitest";
import { holdOut, promptOf } from "./hold-out.ts";

const row = (prompt: number, reply: number) => ({
  prompt: [{ role: "user" as const, content: `Question ${prompt}` }],
  reply,
});
const rows = Array.from({ length: 40 }, (_, i) => row(i >> 2, i));

it("puts every reply to a prompt on one side, in the rows' order, as many as asked for or a prompt more", () => {
  for (const seed of [1, 2, 3]) {
    const { train, validation } = holdOut(rows, { seed, stage: "test", share: 0.25 });
    expect(validation.length).toBe(12);
    expect(train.length).toBe(28);
    const prompts = new Set(train.map(promptOf));
    expect(validation.some((one) => prompts.has(promptOf(one)))).toBe(false);
    expect(train.map(({ reply }) => reply)).toEqual(train.map(({ reply }) => reply).sort((a, b) => a - b));
  }
  const sides = [1, 2].map((seed) => holdOut(rows, { seed, stage: "test", share: 0.25 }).validation);
  expect(sides[0]).not.toEqual(sides[1]);
});

it("holds nothing out of nothing, or for no share", () => {
  expect(holdOut([], { seed: 1, stage: "test", share: 0.5 })).toEqual({ train: [], validation: [] });
  expect(holdOut(rows, { seed: 1, stage: "test", share: 0 }).validation).toEqual([]);
  expect(holdOut([row(1, 1), row(1, 2)], { seed: 1, stage: "test", share: 0.5 }).validation).toEqual([]);
});

it("holds so many rows of those that count out, whole prompts at a time, and half of all at most", () => {
  const counts = ({ reply }: { readonly reply: number }) => reply % 2 === 0;
  const { train, validation } = holdOut(rows, {
    seed: 1,
    stage: "test",
    share: 0.1,
    atLeast: { count: 5, of: counts },
  });
  expect(validation.length).toBe(12);
  expect(validation.filter(counts).length).toBe(6);
  const prompts = new Set(train.map(promptOf));
  expect(validation.some((one) => prompts.has(promptOf(one)))).toBe(false);
  const most = holdOut(rows, { seed: 1, stage: "test", share: 0.1, atLeast: { count: 30, of: counts } });
  expect(most.validation.length).toBe(20);
  const share = holdOut(rows, { seed: 1, stage: "test", share: 0.5, atLeast: { count: 1, of: counts } });
  expect(share.validation.length).toBe(20);
  // The largest prompt would pass the half, and is left.
  const uneven = [row(0, 0), row(0, 1), row(0, 2), row(0, 3), row(0, 4), row(1, 5), row(2, 6), row(3, 7), row(4, 8)];
  for (const seed of [1, 2, 3, 4, 5]) {
    const { validation } = holdOut(uneven, { seed, stage: "test", share: 0, atLeast: { count: 9, of: () => true } });
    expect(validation.length).toBe(4);
  }
  // Nor does a share take it: what most rows are of is what is trained on.
  const mostly = [...Array.from({ length: 18 }, (_, i) => row(0, i)), row(1, 18), row(2, 19), row(3, 20)];
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    const { validation } = holdOut(mostly, { seed, stage: "test", share: 0.1 });
    expect(validation.length).toBe(2);
  }
});
