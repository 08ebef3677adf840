import { scriptedModel } from "@tenet/lm";
import { expect, it } from "vitest";
import { outcomes, pairRow, responseRow } from "../feedback/fixture.ts";
import { judgeAskingSchema } from "../judge/index.ts";
import { formatJudge, judgedScores } from "./judged.ts";
import { type Comparison, comparePairs } from "./winrate.ts";

const asking = (format: string, more: object = {}) => judgeAskingSchema.parse({ format, retries: 0, ...more });

it("scores replies in a judge's own format, and leaves out those it says nothing readable of", async () => {
  const rows = ["Rest.", "Go away.", "Perhaps."].map((reply) => responseRow("I have a cold.", reply));
  const judge = scriptedModel({
    rules: [
      { when: "Rest.", reply: "Rating: [[10]]" },
      { when: "Go away.", reply: "Rating: [[1]]" },
    ],
    fallback: "Hm.",
  });
  const found = await outcomes(judgedScores(rows, { judge, asking: asking("auto-j"), seed: 1 }));
  expect(rows.map(({ id }) => found.get(id)!.rows[0]?.score)).toEqual([1, -1, undefined]);
  expect(found.get(rows[2]!.id)!.aside).toMatch(/could not be read/);
});

it.each([
  ["side by side", "relative", "[RESULT] A", "tie", [1, 0]],
  ["by scores", "absolute", "[RESULT] 4", "tie", [0.5, 0.5]],
] as const)("compares %s: who always says the same decides nothing", async (_, mode, fallback, winner, orders) => {
  const pair = pairRow("I have a cold.", "Rest.", "Go away.");
  const judge = formatJudge({ judge: scriptedModel({ fallback }), asking: asking("prometheus-2", { mode }), seed: 1 });
  const rows: Comparison[] = [];
  for await (const outcome of comparePairs([pair], { judge, a: "rl", b: "base" })) rows.push(...outcome.rows);
  expect(rows).toMatchObject([{ winner, orders }]);
});

it("a comparison that cannot be read in one order is none", async () => {
  const pair = pairRow("I have a cold.", "Rest.", "Go away.");
  const model = scriptedModel({ rules: [{ when: /Response A:\s*Rest/, reply: "[RESULT] A" }], fallback: "Hm." });
  const judge = formatJudge({ judge: model, asking: asking("prometheus-2"), seed: 1 });
  for await (const outcome of comparePairs([pair], { judge, a: "rl", b: "base" }))
    expect(outcome).toMatchObject({ rows: [], aside: expect.stringMatching(/^judge: .*could not be read/) });
});
