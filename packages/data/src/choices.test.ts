import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { collect, openDataset } from "./index.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-choices-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function read(...records: unknown[]) {
  const path = join(folder, "questions.jsonl");
  await writeFile(path, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
  return collect(await openDataset(path, { as: "choices" }));
}

describe("questions with options", () => {
  it.each([
    ["a place from 0", { question: "Is ice cold?", choices: ["Yes", "No"], answer: 1 }, 1],
    ["a letter", { prompt: "Is ice cold?", options: ["Yes", "No"], answer: "B" }, 1],
    ["the words", { question: "Is ice cold?", choices: ["Yes", "No"], answer: "No" }, 1],
    ["a place as text", { question: "Is ice cold?", choices: ["Yes", "No"], answer: "1" }, 1],
    ["a number that is an option", { question: "1 + 1?", choices: ["3", "2"], answer: "B" }, 1],
    [
      "ARC's labels",
      { question: "Is ice cold?", choices: { text: ["Yes", "No"], label: ["1", "2"] }, answerKey: "2" },
      1,
    ],
    ["BIG-bench's scores", { input: "Is ice cold?", target_scores: { Yes: 0, No: 1 } }, 1],
    ["CSV's lists", { question: "Is ice cold?", choices: '["Yes", "No"]', answer: "1" }, 1],
  ])("%s", async (_, record, answer) => {
    const { rows } = await read(record);
    expect(rows).toMatchObject([{ prompt: [{ role: "user" }], answer }]);
    expect(rows[0]!.options).toHaveLength(2);
  });

  it.each([
    [{ question: "?", choices: ["Yes"], answer: 0 }, /no two options/],
    [{ question: "?", choices: ["Yes", "No"], answer: 2 }, /answer is 2; expected one of the 2 options/],
    [{ question: "?", choices: ["Yes", "No"], answer: "C" }, /answer is C/],
    [{ question: "?", choices: ["Yes", "No"] }, /answerKey is missing/],
    [{ question: "?", choices: ["Yes", "Yes"], answer: 0 }, /names an option twice/],
    [{ question: "?", target_scores: { Yes: 1, No: 1 } }, /2 right options/],
    [{ choices: ["Yes", "No"], answer: 0 }, /expected a question/],
  ])("%j is set aside", async (record, reason) => {
    const good = { question: "Is ice cold?", choices: ["Yes", "No"], answer: 0 };
    const { asides } = await read(good, record);
    expect(asides.map((aside) => aside.reason)).toEqual([expect.stringMatching(reason)]);
  });
});
