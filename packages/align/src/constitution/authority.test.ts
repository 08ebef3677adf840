import { expect, it } from "vitest";
import { asAsked, authorityWeight } from "./authority.ts";
import { givenOf } from "./given.ts";
import { askedHash, constitutionHash } from "./identity.ts";
import { parseConstitution } from "./load.ts";

const withLevels = (...levels: (string | undefined)[]) => {
  const principles = levels.map((authority, i) => ({ id: `p${i}`, text: "Be brief.", authority }));
  return parseConstitution(JSON.stringify({ name: "levels", version: "1", principles }), { file: "levels.json" }).value;
};

it("a default is asked with what lifts it, a rule as it stands", () => {
  const { principles } = withLevels(undefined, "root", "system", "developer", "user", "guideline");
  expect(principles.map(asAsked)).toEqual([
    ...Array(3).fill("Be brief."),
    "Be brief.\n(unless the system message asks otherwise)",
    "Be brief.\n(unless the person or the system message asks otherwise)",
    "Be brief.\n(unless the person or the system message asks otherwise, or the context makes plain that something else is wanted)",
  ]);
  expect(principles.map(authorityWeight)).toEqual([1, 1, 1, 0.75, 0.5, 0.25]);
  for (const principle of principles)
    for (const request of [principle.critiqueRequest, principle.revisionRequest, principle.preferenceQuestion])
      expect(request.endsWith(`: ${asAsked(principle)}`)).toBe(true);
});

it("a preference model is shown a default with what lifts it, and its opposite too", () => {
  const [plain, own] = withLevels(undefined, "user").principles;
  expect(givenOf(plain!)).toMatchObject({ says: "Be brief.", otherwise: "The opposite of this: Be brief." });
  const asked = "Be brief.\n(unless the person or the system message asks otherwise)";
  expect(givenOf(own!)).toMatchObject({ says: asked, otherwise: `The opposite of this: ${asked}` });
  expect(givenOf({ ...own!, negation: "Ramble." })).toMatchObject({ says: asked, otherwise: "Ramble." });
});

it("the identity of what models are asked is another only where a level bears on something, whatever the order", () => {
  for (const rules of [withLevels(undefined), withLevels("root", "system", undefined)])
    expect(askedHash(rules)).toBe(constitutionHash(rules));
  const levels = withLevels("user", "root", "guideline");
  expect(askedHash(levels)).not.toBe(constitutionHash(levels));
  expect(askedHash({ ...levels, principles: levels.principles.toReversed() })).toBe(askedHash(levels));
});
