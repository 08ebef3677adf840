import fc from "fast-check";
import { expect, it } from "vitest";
import { openingOf } from "./opening.ts";

it.each([
  ["English", "I’m sorry that you have it.", "i’m sorry that you"],
  ["German", "„Das tut mir leid“, sagte sie.", "das tut mir leid"],
  ["Russian", "Ступайте к врачу, и поскорее.", "ступайте к врачу и"],
  ["digits", "3 times 4 is 12.", "3 times 4 is"],
  ["nothing", " – ", ""],
])("the first four words, of %s", (_, reply, opening) => expect(openingOf(reply)).toBe(opening));

// What one run of letters would be is four words here, so that two replies with one beginning are alike.
it.each([
  ["Japanese", "医師の診察を受けてください。お大事に。", "医師の診察を受けてくださいね、今日。"],
  ["Chinese", "咳嗽超过三周应当去看医生。", "咳嗽超过三周应当休息。"],
  ["Thai", "ควรไปพบแพทย์โดยเร็วที่สุด", "ควรไปพบแพทย์วันนี้นะครับ"],
])("of %s, which sets no white space", (_, one, other) => {
  expect(openingOf(one).split(" ")).toHaveLength(4);
  expect(openingOf(other)).toBe(openingOf(one));
  expect(openingOf(one).replaceAll(" ", "").length).toBeLessThan(one.length);
});

it("tells replies apart that begin differently, and keeps marks on their letters", () => {
  expect(openingOf("水をたくさん飲んでください。")).not.toBe(openingOf("医師の診察を受けてください。"));
  expect(openingOf("コーヒーを飲む").split(" ")[0]).toBe("コーヒー");
  expect(openingOf("น้ำดื่มสะอาด")).toMatch(/^น้ำ/);
  expect(openingOf("Use ibuprofen，请看医生。").split(" ").slice(0, 2)).toEqual(["use", "ibuprofen"]);
});

/** As it was before scripts without white space were divided. */
const before = (reply: string) => (reply.toLowerCase().match(/[\p{L}\p{N}'’]+/gu) ?? []).slice(0, 4).join(" ");

it("is what it was for all that sets white space", () => {
  const letters = fc.constantFrom(..."abcXYZäßéñчщЖאבعرहि'’0123456789 .,-–!?\n\t“”_").map(String);
  fc.assert(
    fc.property(fc.array(letters, { maxLength: 60 }), (text) => {
      expect(openingOf(text.join(""))).toBe(before(text.join("")));
    }),
    { numRuns: 5000 },
  );
});
