import type { PreferenceRow } from "@tenet/data";
import { scriptedModel } from "@tenet/lm";
import { expect, it } from "vitest";
import { parseConstitution } from "../constitution/index.ts";
import { easyPairs, judgeRows } from "./judge-rows.ts";
import { labelPairs } from "./label.ts";

const text = `{ name: desk, version: v1, principles: [
  { id: doctor, text: Send people to a doctor. },
  { id: calm, text: Be calm. }
] }`;
const constitution = parseConstitution(text, { file: "desk.yaml" }).value;

function pair(
  i: number,
  p: number,
  a = `Please see a doctor about it ${i}.`,
  b = `Wait for ${i} days.`,
): PreferenceRow {
  const prompt = [{ role: "user" as const, content: `Question ${i}` }];
  return { id: `${i}`, prompt, a, b, p, weight: 1, label: "human", explanation: [], origin: { parents: [] } };
}

it("are the very questions that a labeller is asked, in both orders, with the known answer", async () => {
  const known = [pair(0, 1), pair(1, 0.2), pair(2, 0.5), pair(3, 1, "Same.", "Same.")];
  const asked = new Set<string>();
  const labeller = scriptedModel({
    choice: {
      value: (_, promptText) => {
        asked.add(promptText);
        return 0;
      },
    },
  });
  const options = { constitution, seed: 3, principles: 2, system: "You are fair." };
  for await (const { aside } of labelPairs(known.slice(0, 2), { ...options, labeller })) expect(aside).toBeUndefined();
  const rows = judgeRows(known, { ...options, capabilities: await labeller.capabilities() });
  // Two principles for each of the two pairs that have an answer.
  expect(rows.map(({ id }) => id)).toEqual(["0", "0", "1", "1"]);
  const prompts = rows.flatMap(({ questions }) => questions.map(({ prompt }) => prompt));
  expect(prompts).toHaveLength(8);
  const told = [...asked].map((one) => one.replace(/\W/g, "")).sort();
  const taught = prompts.map((prompt) => {
    if (typeof prompt === "string") throw new TypeError("expected a conversation");
    return prompt
      .map(({ role, content }) => `${role}: ${content}`)
      .join("\n")
      .replace(/\W/g, "");
  });
  expect(taught.sort()).toEqual(told);
  for (const { id, questions } of rows)
    for (const { prompt, p } of questions) {
      const first = JSON.stringify(prompt).includes("(A) Please");
      expect(p).toBeCloseTo(id === "0" ? Number(first) : first ? 0.2 : 0.8, 12);
    }
});

it("make easy pairs of the better reply and its own words in another order", () => {
  const known = [...Array.from({ length: 12 }, (_, i) => pair(i, i % 2)), pair(20, 0.5), pair(21, 1, "Go now.", "No.")];
  const easy = easyPairs(known, { count: 5, seed: 1 });
  expect(easy).toHaveLength(5);
  for (const { id, prompt, a, b, p } of easy) {
    expect(p).toBe(1);
    const from = known.find((row) => row.prompt[0]!.content === prompt[0]!.content)!;
    expect(a).toBe(from.p > 0.5 ? from.a : from.b);
    expect(b).not.toBe(a);
    expect(b.split(" ").sort()).toEqual(a.split(" ").sort());
    expect(id).not.toBe(from.id);
  }
  expect(easyPairs(known, { count: 5, seed: 1 })).toEqual(easy);
  expect(easyPairs(known, { count: 5, seed: 2 })).not.toEqual(easy);
  expect(easyPairs(known, { count: 99, seed: 1 })).toHaveLength(12);
});
