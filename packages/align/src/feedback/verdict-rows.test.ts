import { type PreferenceRow, rowId } from "@tenet/data";
import { scriptedModel } from "@tenet/lm";
import { expect, it } from "vitest";
import { constitutionOf, outcomes, pairRow } from "./fixture.ts";
import { labelByVerdicts, verdictRows, verdictsDependOn } from "./index.ts";

const constitution = constitutionOf([
  { id: "brief", text: "Be brief.", authority: "user", checks: [{ characters: { max: 9 } }] },
]);
const { prompt, a, b, origin } = pairRow("How are you?", "Well.", "Well, to begin with the weather");
const known: PreferenceRow = {
  ...{ id: rowId("known", prompt, a, b), origin, prompt, a, b, p: 1, weight: 1, label: "human", explanation: [] },
};

it("a critic is taught of a default, and is audited on it, in the words in which it will be asked", async () => {
  const asked: string[] = [];
  const critic = scriptedModel({
    choice: {
      value(_, text) {
        asked.push(text);
        return 0;
      },
    },
  });
  const taught = verdictRows([known], { constitution, capabilities: await critic.capabilities() });
  expect(taught).toHaveLength(2);
  await outcomes(labelByVerdicts([known], { constitution, critic, seed: 1 }));
  expect(asked.length).toBeGreaterThan(0);
  for (const words of [
    ...taught.flatMap(({ questions }) => questions.map((one) => JSON.stringify(one.prompt))),
    ...asked,
  ])
    expect(words).toMatch(/Be brief\.(\n|\\n)\(unless the person or the system message asks otherwise\)/);
});

it("depends on what lifts a default, and on the bare text of a rule", () => {
  expect(verdictsDependOn(constitution)).toMatchObject({ principles: [["brief", expect.stringContaining("unless")]] });
  const rule = constitutionOf([{ id: "brief", text: "Be brief.", authority: "root" }]);
  expect(verdictsDependOn(rule)).toEqual({ principles: [["brief", "Be brief."]], checks: [] });
});
