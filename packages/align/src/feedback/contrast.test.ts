import type { PreferenceRow, PromptRow } from "@tenet/data";
import { scriptedModel } from "@tenet/lm";
import { expect, it } from "vitest";
import { parseConstitution } from "../constitution/index.ts";
import { contrastDependsOn, contrastPairs, labelByContrast } from "./contrast.ts";
import { constitutionOf, outcomes, pairRow } from "./fixture.ts";
import { judgeRows } from "./judge-rows.ts";

const text = `{ name: desk, version: v1, principles: [
  { id: doctor, text: Send people to a doctor. },
  { id: calm, text: Be calm. }
] }`;
const constitution = parseConstitution(text, { file: "desk.yaml" }).value;
const prompts = Array.from({ length: 20 }, (_, i): PromptRow => {
  return { id: `${i}`, prompt: [{ role: "user", content: `Question ${i}` }], origin: { parents: [] } };
});

async function pairsOf(reply: (promptText: string) => string) {
  const generator = scriptedModel({ fallback: reply });
  const rows: PreferenceRow[] = [];
  const aside: string[] = [];
  for await (const outcome of contrastPairs(prompts, { generator, constitution, seed: 1 })) {
    rows.push(...outcome.rows);
    if (outcome.aside !== undefined) aside.push(outcome.aside);
  }
  return { rows, aside };
}

it("are one reply under a principle and one under its opposite, in either place, the first preferred", async () => {
  const { rows, aside } = await pairsOf((asked) => (asked.includes("Keep to this rule") ? "Kept." : "Broken."));
  expect(aside).toEqual([]);
  expect(rows).toHaveLength(20);
  for (const { a, p, label } of rows) expect([label, p]).toEqual(["contrast", a === "Kept." ? 1 : 0]);
  expect(new Set(rows.map(({ p }) => p)).size).toBe(2);
  expect(new Set(rows.map(({ origin }) => origin.principles![0]))).toEqual(new Set(["doctor", "calm"]));
});

it("are learnt under the principle that tells their replies apart, in both orders", async () => {
  const { rows } = await pairsOf((asked) => (asked.includes("Keep to this rule") ? "Kept." : "Broken."));
  const capabilities = await scriptedModel({ fallback: "x" }).capabilities();
  const asked = judgeRows(rows, { constitution, seed: 2, capabilities, principles: 2 });
  expect(asked).toHaveLength(20);
  for (const [i, { questions }] of asked.entries()) {
    const named = rows[i]!.origin.principles![0] === "doctor" ? "Send people to a doctor" : "Be calm";
    for (const { prompt, p } of questions) {
      const words = JSON.stringify(prompt);
      expect(words).toContain(named);
      expect(words.includes("(A) Kept.")).toBe(p === 1);
    }
    expect(questions.map(({ p }) => p).sort()).toEqual([0, 1]);
  }
});

it("are set aside where their answer is not known", async () => {
  expect((await pairsOf(() => "The same.")).aside).toEqual(Array(20).fill("both replies are the same"));
  const empty = await pairsOf((asked) => (asked.includes("Keep to this rule") ? "Kept." : " "));
  expect(empty).toEqual({ rows: [], aside: Array(20).fill("a reply is empty") });
});

it("say the opposite in the principle's own words where it has some", async () => {
  const own = constitutionOf([{ id: "doctor", text: "Send people to a doctor.", negation: "Send people home." }]);
  const generator = scriptedModel({
    fallback: (text) => (text.includes("Send people home.") ? "Go home." : "See a doctor."),
  });
  const found = await outcomes(contrastPairs(prompts, { generator, constitution: own, seed: 1 }));
  for (const { rows } of found.values()) {
    const [{ a, b, p }] = rows as [PreferenceRow];
    expect(p === 1 ? [a, b] : [b, a]).toEqual(["See a doctor.", "Go home."]);
  }
});

it("say of a default what lifts it, and depend on that", () => {
  const instructionsUnder = (authority: string | undefined) => {
    const own = constitutionOf([{ id: "brief", text: "Be brief.", authority }]);
    return contrastDependsOn(prompts[0]!, { constitution: own, seed: 1 }).instructions;
  };
  const told = (rule: string) => [
    `Keep to this rule in your answer: ${rule}`,
    `Do the opposite of what this rule says in your answer: ${rule}`,
  ];
  for (const authority of [undefined, "root"]) expect(instructionsUnder(authority)).toEqual(told("Be brief."));
  expect(instructionsUnder("developer")).toEqual(told("Be brief.\n(unless the system message asks otherwise)"));
});

it("are labelled by how they were made, and other pairs are not", async () => {
  const { rows } = await pairsOf((asked) => (asked.includes("Keep to this rule") ? "Kept." : "Broken."));
  const other = pairRow("I cough.", "Rest.", "Go.");
  const labels = await outcomes(labelByContrast([...rows, other]));
  for (const { id, p } of rows)
    expect(labels.get(id)!.rows).toMatchObject([{ p, label: "contrast", origin: { parents: [id] } }]);
  expect(labels.get(other.id)).toMatchObject({ rows: [], aside: "it was not made by contrast" });
});
