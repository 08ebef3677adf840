import { expect, it } from "vitest";
import { labelByChecks } from "./check-labels.ts";
import { constitutionOf, outcomes, pairRow } from "./fixture.ts";

const constitution = constitutionOf([
  { id: "no-q", text: "Do not use the letter q.", weight: 3, checks: [{ mustNot: "q", severity: 1 }] },
  { id: "brief", text: "Be brief.", checks: [{ characters: { max: 10 }, severity: 1 }] },
]);
const pair = (a: string, b: string, cut?: true) => ({ ...pairRow("Say a word.", a, b), ...(cut && { cut }) });
const labels = async (pairs: Parameters<typeof labelByChecks>[0]) => [
  ...(await outcomes(labelByChecks(pairs, { constitution }))).values(),
];

it("prefers what the checks value more, for certain, and says why", async () => {
  const pairs = [pair("quick", "slow"), pair("slow", "quick", true), pair("a rather long word", "quick")];
  const found = await labels(pairs);
  expect(found.map(({ rows }) => rows[0]!.p)).toEqual([0, 1, 1]);
  expect(found.every(({ rows }) => rows[0]!.label === "check")).toBe(true);
  expect(found.map(({ rows }) => rows[0]!.cut)).toEqual([undefined, true, undefined]);
  expect(found[0]!.rows[0]!.explanation).toMatchObject([
    { step: "checks", worth: { a: -0.5, b: 1 }, a: [{ principle: "no-q", severity: 1 }], b: [] },
  ]);
});

it("sets aside what they cannot tell apart, whether both are clean or both break the same", async () => {
  const found = await labels([pair("slow", "fast"), pair("quick", "quiet")]);
  expect(found.map(({ rows, aside }) => [rows.length, aside])).toEqual([
    [0, "the checks cannot tell the responses apart"],
    [0, "the checks cannot tell the responses apart"],
  ]);
});
