import { scriptedModel } from "@tenet/lm";
import { expect, it } from "vitest";
import { auditPairs } from "./audit.ts";
import { constitutionOf, outcomes } from "./fixture.ts";
import { knownExamples, labelPairs, readingsOf } from "./index.ts";

const prompt = [{ role: "user", content: "Are you stupid?" }];
const constitution = constitutionOf([
  { id: "kind", text: "Be kind.", examples: [{ prompt, good: ["No.", "I try not to be."], bad: ["You are."] }] },
  { id: "brief", text: "Be brief.", weight: 1e6, examples: [{ prompt, good: ["No."], bad: [] }] },
  { id: "revised", text: "Be bold.", use: "revision", examples: [{ prompt, good: ["No."], bad: ["Yes."] }] },
]);

it("pairs each good reply with each bad one, under its own principle", () => {
  expect(knownExamples(constitution).map(({ a, b, p, origin }) => [a, b, p, origin.principles])).toEqual([
    ["No.", "You are.", 1, ["kind"]],
    ["I try not to be.", "You are.", 1, ["kind"]],
  ]);
});

it("is asked under the principle that it is an example of, however the others are drawn", async () => {
  const labeller = scriptedModel({ choice: { value: () => 0 } });
  const pairs = auditPairs(knownExamples(constitution), { seed: 1 });
  const labels = await outcomes(labelPairs(pairs, { labeller, constitution, seed: 1 }));
  for (const { rows } of labels.values()) {
    const readings = readingsOf(rows[0]!.explanation);
    expect(readings.map(({ principle }) => principle)).toEqual(["kind", "kind"]);
  }
});
