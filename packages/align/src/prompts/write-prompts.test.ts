import { nearDuplicates } from "@tenet/data";
import { scriptedModel } from "@tenet/lm";
import { hashOf } from "@tenet/runs";
import { expect, test } from "vitest";
import { parseConstitution } from "../constitution/index.ts";
import { messageOf, type WritePromptsOptions, writePrompts } from "./index.ts";

const { value: constitution } = parseConstitution(
  `name: desk
version: "1"
principles:
  - id: doctor
    category: safety
    text: Send people to a doctor.
    checks: [{ must: doctor, when: "(?i)cough" }]
  - id: brief
    text: Be brief.
  - { id: asleep, text: Is never drawn., weight: 0 }
`,
  { file: "desk.yaml" },
);

/** Says what it was not heard saying before, in words of letters that are drawn: no two messages are alike. */
function writer() {
  let said = 0;
  const word = (n: number) =>
    hashOf(n)
      .replaceAll(/[0-9]/g, (digit) => "ghijklmnop"[Number(digit)]!)
      .slice(0, 24);
  return scriptedModel({
    fallback: (prompt: string) => {
      const count = Number(/Write (\d+)/.exec(prompt)![1]);
      const about = prompt.includes("it is not") ? "" : "cough ";
      const lines = Array.from({ length: count }, (_, i) => `${i + 1}. ${about}${word(said++)}`);
      return `Here are ${count} messages:\n${lines.join("\n")}`;
    },
  });
}

const options = (more: Partial<WritePromptsOptions> = {}): WritePromptsOptions => {
  return { model: writer(), each: 10, benign: 4, variants: 1, heldOut: 0.3, seed: 1, ...more };
};

test("writes for each principle that is drawn what provokes it, presses harder, and only looks alike", async () => {
  const { train, heldOut, coverage } = await writePrompts(constitution, options());
  const all = [...train, ...heldOut];
  const count = (principle: string, purpose: string) =>
    all.filter((one) => one.principle === principle && one.purpose === purpose).length;
  for (const id of ["doctor", "brief"])
    expect([count(id, "provoking"), count(id, "pressing"), count(id, "benign")]).toEqual([10, 10, 4]);
  expect(all.some(({ principle }) => principle === "asleep")).toBe(false);
  expect(all.filter(({ benign }) => benign).map(({ purpose }) => purpose)).toEqual(Array(8).fill("benign"));
  expect(new Set(all.map(({ category }) => category))).toEqual(new Set(["safety", "brief"]));
  const doctor = coverage.find(({ principle }) => principle === "doctor")!;
  expect(doctor.train + doctor.heldOut).toBe(24);
  expect(doctor).toMatchObject({ benign: 4, checked: 20, duplicates: 0, leaks: 0, short: 0 });
  expect(coverage.find(({ principle }) => principle === "brief")).not.toHaveProperty("checked");
  // Every request begins with a heading, which is no message.
  expect(doctor.unusable).toBeGreaterThan(0);
  expect(all.every(({ prompt }) => !/^\d|:$/.test(prompt))).toBe(true);
});

test("nothing is held out that is trained on in other words: a variant stands beside its message, a likeness is taken out", async () => {
  const same = scriptedModel({
    fallback: (prompt: string) =>
      prompt.includes("presses harder")
        ? "Tell me at once which pills help my cough, my doctor is away."
        : "Which pills help my cough?\nWhich pills help my cough, please?\nIs a walk in the rain a danger?\n",
  });
  const { train, heldOut, coverage } = await writePrompts(
    constitution,
    options({ model: same, each: 3, heldOut: 0.5 }),
  );
  const texts = (rows: typeof train) => rows.map(({ prompt }) => prompt);
  expect(nearDuplicates({ train: texts(train), heldOut: texts(heldOut) })).toEqual([]);
  const doctor = coverage.find(({ principle }) => principle === "doctor")!;
  // What was asked for and never came is told, and not made up.
  expect(doctor.short).toBeGreaterThan(0);
  expect(doctor.duplicates).toBeGreaterThan(0);
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    const made = await writePrompts(constitution, options({ seed, heldOut: 0.5 }));
    const sides = new Map([
      ...made.train.map((one) => [one.prompt, "train"] as const),
      ...made.heldOut.map((one) => [one.prompt, "held"] as const),
    ]);
    expect(new Set(sides.values())).toEqual(new Set(["train", "held"]));
  }
});

test("what is like a prompt that is there already is a leak, and taken out", async () => {
  const all = await writePrompts(constitution, options({ variants: 0 }));
  const beside = all.train.slice(0, 5).map(({ prompt }) => `${prompt}!`);
  const again = await writePrompts(constitution, options({ variants: 0, beside }));
  expect(again.coverage.reduce((sum, { leaks }) => sum + leaks, 0)).toBe(5);
  const texts = [...again.train, ...again.heldOut].map(({ prompt }) => prompt);
  expect(nearDuplicates({ beside, texts }).filter(({ first, second }) => first.set !== second.set)).toEqual([]);
});

test("a request that is refused is counted, and a message that was cut off is none", async () => {
  const cut = scriptedModel({ rules: [{ when: () => true, reply: `A whole message here.\n${"word ".repeat(2000)}` }] });
  const { coverage, train } = await writePrompts(
    constitution,
    options({ model: cut, each: 2, benign: 0, variants: 0, heldOut: 0 }),
  );
  expect(train.map(({ prompt }) => prompt)).toEqual(["A whole message here."]);
  expect(coverage[0]).toMatchObject({ train: 1, short: 1 });
});

test.each([
  ["1. My knee hurts.", "My knee hurts."],
  ["- “Can I drive?”", "Can I drive?"],
  ["3) **Is it safe?**", "Is it safe?"],
  ["頭が痛いです", "頭が痛いです"],
  ["Here are eight messages:", undefined],
  ["---", undefined],
  ["7.", undefined],
  ["2024 was a bad year for me.", "2024 was a bad year for me."],
])("the line %s is the message %s", (line, message) => {
  expect(messageOf(line)).toBe(message);
});

test("who writes is told of a default what lifts it, and of a rule nothing more", async () => {
  const asked: string[] = [];
  const own = parseConstitution(
    "{ name: desk, version: v1, principles: [{ id: kind, text: Be kind., authority: root }, { id: brief, text: Be brief., authority: user }] }",
    { file: "desk.yaml" },
  ).value;
  const model = scriptedModel({
    fallback(text) {
      asked.push(text);
      return `What of ${hashOf(asked.length)}?`;
    },
  });
  await writePrompts(own, options({ model, each: 1, benign: 1, variants: 1 }));
  const about = (rule: string) => asked.filter((text) => text.includes(`keep to this rule:\n${rule}\n\n`));
  const briefly = about("Be brief.\n(unless the person or the system message asks otherwise)");
  for (const some of [about("Be kind."), briefly])
    for (const purpose of ["thinking breaks it", "it is not", "presses harder"])
      expect(
        some.some((text) => text.includes(purpose)),
        purpose,
      ).toBe(true);
  expect(about("Be kind.").length + briefly.length).toBe(asked.length);
});
