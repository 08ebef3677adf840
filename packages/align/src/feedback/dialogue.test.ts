import { tinyImage } from "@tenet/fixtures";
import { EndpointError, type LanguageModel, promptText, scriptedModel } from "@tenet/lm";
import { expect, it } from "vitest";
import { type DialogueOptions, dialogueDependsOn, dialogueSettingsSchema, dialogues } from "./dialogue.ts";
import { outcomes, promptRow } from "./fixture.ts";

const settings = dialogueSettingsSchema.parse({ turns: 3 });
const assistant = scriptedModel({ id: "desk", fallback: (text) => `Reply ${text.length}.` });
const person = scriptedModel({ id: "person", fallback: (text) => `And what of ${text.length}?` });
const personas = ["You are in a hurry.", "You are afraid."];
const options = (more: Partial<DialogueOptions> = {}) => ({ settings, assistant, person, personas, seed: 1, ...more });
const rows = ["My knee hurts.", "I cough.", "I cannot sleep."].map(promptRow);

it("every turn of the person is a prompt, and roles alternate", async () => {
  const found = await outcomes(dialogues(rows, options()));
  for (const row of rows) {
    const prompts = found.get(row.id)!.rows;
    expect(prompts.map(({ prompt }) => prompt.map(({ role }) => role))).toEqual([
      ["user"],
      ["user", "assistant", "user"],
      ["user", "assistant", "user", "assistant", "user"],
    ]);
    expect(prompts[0]).toEqual(row);
    expect(prompts[2]!.prompt.slice(0, 3)).toEqual(prompts[1]!.prompt);
    expect(prompts[1]!.origin).toMatchObject({ parents: [row.id], models: { assistant: "desk", person: "person" } });
  }
});

it("is the same whatever else is in the batch", async () => {
  const together = await outcomes(dialogues(rows, options()));
  for (const row of rows)
    expect((await outcomes(dialogues([row], options()))).get(row.id)).toEqual(together.get(row.id));
});

it("tells the person's model who it is, with the roles exchanged", async () => {
  const seen: string[] = [];
  const listening = scriptedModel({
    fallback: (text) => {
      seen.push(text);
      return "Go on.";
    },
  });
  await outcomes(dialogues(rows.slice(0, 1), options({ person: listening })));
  expect(seen[0]).toMatch(
    /^system: You are a person.*You are (in a hurry|afraid)\..*\nuser: How can I help you\?\nassistant: My knee hurts\.\nuser: Reply/s,
  );
});

it("ends where the person is done, or where nothing more can be used, and keeps what was said", async () => {
  const says = async (fallback: string) => {
    const found = await outcomes(dialogues(rows.slice(0, 1), options({ person: scriptedModel({ fallback }) })));
    return found.get(rows[0]!.id)!.rows.map(({ prompt }) => prompt.at(-1)!.content);
  };
  expect(await says("Thanks. [END]")).toEqual(["My knee hurts.", "Thanks."]);
  expect(await says("[END]")).toEqual(["My knee hurts."]);
  expect(await says(" ")).toEqual(["My knee hurts."]);
});

it("a prompt with an image is set aside: the person's model could not be shown it as its own turn", async () => {
  const row = promptRow("What is it?");
  const shown = { ...row, prompt: [{ ...row.prompt[0]!, images: [tinyImage()] }] };
  const asked: string[] = [];
  const listening = scriptedModel({ fallback: (text) => (asked.push(text) > 0 ? "A cat." : "") });
  const found = await outcomes(dialogues([shown], options({ assistant: listening, person: listening })));
  expect(found.get(shown.id)).toEqual({
    ...{ input: shown.id, rows: [] },
    aside: expect.stringMatching(/^the prompt shows an image, and the person's model/),
  });
  expect(asked).toEqual([]);
});

it("a refused request sets its own dialogue aside, and no other", async () => {
  const refusing: LanguageModel = {
    ...person,
    async *generate(requests, call) {
      if (requests.some(({ prompt }) => promptText(prompt).includes("cough")))
        throw new EndpointError("too long for it", { fault: "refused" as never, status: 400 });
      yield* person.generate(requests, call);
    },
  };
  const found = await outcomes(dialogues(rows, options({ person: refusing })));
  expect(rows.map(({ id }) => found.get(id)!.rows.length)).toEqual([3, 0, 3]);
  expect(found.get(rows[1]!.id)!.aside).toMatch(/^person: too long/);
});

it("a share of the prompts stays as it is, and a persona that is not drawn changes nothing", async () => {
  const some = dialogueSettingsSchema.parse({ turns: 2, share: 0.5 });
  const many = Array.from({ length: 40 }, (_, i) => promptRow(`Question ${i}`));
  const found = await outcomes(dialogues(many, options({ settings: some })));
  const held = many.filter(({ id }) => found.get(id)!.rows.length > 1);
  expect(held.length).toBeGreaterThan(10);
  expect(held.length).toBeLessThan(30);
  const left = many.find(({ id }) => found.get(id)!.rows.length === 1)!;
  const depends = (cards: string[]) => dialogueDependsOn(left, { settings: some, personas: cards, seed: 1 });
  expect(depends(personas)).toEqual(depends(["You are old."]));
});
