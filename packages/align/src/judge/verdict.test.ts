import { type LanguageModel, scriptedModel } from "@tenet/lm";
import { expect, it } from "vitest";
import { verdicts } from "./verdict.ts";

const prompt = [{ role: "user" as const, content: "I have a cold." }];
const about = (response: string) => ({ prompt, response, principle: "Be kind." });

async function ask(critic: LanguageModel, responses: string[]) {
  const answers = [];
  for await (const answer of verdicts(critic, responses.map(about), { seed: 1 })) answers[answer.request] = answer;
  return answers;
}

it("is P(yes) over both orders, so that a love of (A) says nothing", async () => {
  const critic = scriptedModel({
    choice: {
      value: (option, text) => (option === "Yes." && text.includes("Go away") ? 2 : 0),
      positionBias: 1,
    },
  });
  const [rude, kind] = await ask(critic, ["Go away.", "Rest."]);
  const sigma = (x: number) => 1 / (1 + Math.exp(-x));
  expect("breaks" in rude! && rude.breaks).toBeCloseTo((sigma(3) + sigma(1)) / 2, 12);
  expect("breaks" in kind! && kind.breaks).toBeCloseTo(0.5, 12);
});

it("asks equal questions once", async () => {
  const critic = scriptedModel({ choice: { value: () => 0 } });
  expect(await ask(critic, ["Rest.", "Rest."])).toHaveLength(2);
  // In two orders.
  expect(critic.usage().scored).toBe(2);
});

it("what cannot be read is no verdict", async () => {
  const critic = scriptedModel({ fallback: "Hard to say." });
  const mute: LanguageModel = {
    ...critic,
    capabilities: async () => ({ ...(await critic.capabilities()), score: { raw: "none", chat: "none" } }),
  };
  expect(await ask(mute, ["Rest."])).toEqual([{ request: 0, unread: expect.any(String) }]);
});
