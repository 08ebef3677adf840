import { type PairRow, type PreferenceRow, type PromptRow, pairContent } from "@tenet/data";
import { scriptedModel } from "@tenet/lm";
import { expect, it } from "vitest";
import { looksAtCategories } from "../constitution/index.ts";
import { orderable } from "../people/index.ts";
import { auditPairs } from "./audit.ts";
import { labelByChecks } from "./check-labels.ts";
import { firstVerdicts } from "./constitution-first.ts";
import { contrastDependsOn, contrastPairs } from "./contrast.ts";
import { constitutionOf, outcomes, pairRow, promptRow } from "./fixture.ts";
import { judgePairs } from "./pair-verdicts.ts";
import { makePairs, pairsDependsOn } from "./pairs.ts";
import { toldApart } from "./verdict-rows.ts";

/*
 * What the author of prompts knows of them: a check that asks for a category finds the same in pairs as in replies.
 */

const constitution = constitutionOf([
  { id: "help", text: "Send emergencies to help.", checks: [{ must: "help", whenCategory: ["emergency"] }] },
]);
const emergency = "emergency";
const prompt: PromptRow = { ...promptRow("My chest."), category: emergency };
const pair: PairRow = { ...pairRow("My chest.", "Rest.", "Call for help."), category: emergency };
const preference: PreferenceRow = { ...pair, p: 0, weight: 1, label: "human", explanation: [] };
const two = () => scriptedModel({ fallback: (_, { index }) => (index === 0 ? "Rest." : "Call for help.") });

it("goes from a prompt to its pairs, and tells them from those that lost it", async () => {
  const settings = { seed: 1, keepCategory: true };
  const made = await outcomes(makePairs([prompt, promptRow("My knee.")], { generator: two(), ...settings }));
  const rows = [...made.values()].flatMap((outcome) => outcome.rows);
  expect(rows.map(({ category }) => category)).toEqual([emergency, undefined]);
  expect("category" in rows[1]!).toBe(false);
  expect(pairsDependsOn(prompt, settings)).not.toEqual(pairsDependsOn(promptRow("My chest."), settings));
  // Where no check looks at it, pairs are what they were.
  const [lost] = [...(await outcomes(makePairs([prompt], { generator: two(), seed: 1 }))).values()];
  expect(lost!.rows[0]).not.toHaveProperty("category");
  expect(pairsDependsOn(prompt, { seed: 1 })).toEqual(pairsDependsOn(promptRow("My chest."), settings));

  const generator = scriptedModel({ fallback: (text) => (text.includes("opposite") ? "Rest." : "Call for help.") });
  const contrasted = await outcomes(contrastPairs([prompt], { generator, constitution, seed: 1 }));
  expect([...contrasted.values()].flatMap((outcome) => outcome.rows)).toMatchObject([{ category: emergency }]);
  const depends = (row: PromptRow) => contrastDependsOn(row, { constitution, seed: 1 });
  expect(depends(prompt)).not.toEqual(depends(promptRow("My chest.")));
  expect(looksAtCategories(constitution)).toBe(true);
  expect(looksAtCategories(constitutionOf([{ id: "help", text: "Help.", checks: [{ must: "help" }] }]))).toBe(false);
});

it("is looked at by the checks wherever they judge a pair", async () => {
  const [label] = [...(await outcomes(labelByChecks([pair], { constitution }))).values()];
  expect(label!.rows).toMatchObject([{ p: 0, category: emergency }]);
  expect(toldApart(preference, constitution)).toMatchObject([{ breaker: "a" }]);
  const [verdict] = [
    ...(
      await outcomes(judgePairs([pair], { constitution, by: "checks", principles: "all", seed: 1 }, undefined))
    ).values(),
  ];
  expect(verdict!.rows[0]!.a).toMatchObject([{ principle: "help", breaks: 1 }]);
  const known = { row: pair, principles: [] };
  const found = await firstVerdicts([known], {
    constitution,
    critic: two(),
    settings: { by: "checks", downWeight: 1, severeFrom: 1 } as never,
    asking: {} as never,
    call: {},
  });
  expect(found.get(known)?.finding).toBe("only a");
  expect(auditPairs([preference], { seed: 1 })).toMatchObject([{ category: emergency }]);
  const rows = { rows: () => [preference] } as never;
  expect(orderable(rows, { identity: "x" } as never, constitution)).toMatchObject([{ broken: { a: ["help"], b: [] } }]);
});

it("is no part of what a pair without one is", () => {
  const { category: _, id: __, origin: ___, ...content } = pair;
  expect(pairContent({ ...content, category: undefined })).toEqual(content);
});
