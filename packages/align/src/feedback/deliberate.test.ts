import { type ChainRow, citedIn, rowId } from "@tenet/data";
import { asReplies, readReply, scriptedModel } from "@tenet/lm";
import { describe, expect, it } from "vitest";
import { constitutionOf, outcomes, promptRow } from "./fixture.ts";
import {
  deliberate,
  deliberateDependsOn,
  deliberateSettingsSchema,
  examplesDependsOn,
  examplesFromChains,
  reasonedByChecks,
  respond,
} from "./index.ts";

const constitution = constitutionOf([
  { id: "doctor", text: "Send people to a doctor. Always.", weight: 3, checks: [{ must: "doctor", when: "cough" }] },
  { id: "kind", text: "Be kind.", checks: [{ mustNot: "stupid" }] },
]);
const prompt = promptRow("I cough.");

describe("by the checks", () => {
  const reason = (content: string, response: string, principles = 3) =>
    reasonedByChecks(constitution, { prompt: promptRow(content).prompt, response }, { principles });

  it("cites what bears on the prompt, the weightiest first, and no more than asked", () => {
    expect(reason("I cough.", "See a doctor.")).toBe(
      "What bears on this:\n[doctor] Send people to a doctor.\n[kind] Be kind.\nMy answer keeps to it.",
    );
    expect(reason("I cough.", "See a doctor.", 1)).not.toContain("[kind]");
    expect(reason("Hello.", "Hello!")).not.toContain("[doctor]");
  });

  it("says nothing before a reply that breaks something: that would be a lie to learn", () => {
    expect(reason("I cough.", "It is a cold.")).toBeUndefined();
  });

  it("stands before what is learnt of a chain, and is read back off it", async () => {
    const chain = (responses: string[]): ChainRow => {
      const rounds = [{ principle: "doctor", critique: "", revision: responses[1]! }];
      return { id: rowId("chain", responses), prompt: prompt.prompt, responses, rounds, origin: { parents: [] } };
    };
    const [good, bad] = [chain(["A cold.", "See a doctor."]), chain(["A cold.", "A flu."])];
    const found = await outcomes(examplesFromChains([good, bad], { constitution, deliberate: { principles: 2 } }));
    const { completion } = found.get(good.id)!.rows[0]!;
    const { text, thoughts } = readReply(completion);
    expect(text).toBe("See a doctor.");
    expect(citedIn(thoughts!, new Set(["doctor", "kind"]))).toEqual(["doctor", "kind"]);
    expect(found.get(bad.id)).toMatchObject({ rows: [], aside: expect.stringMatching(/the reply breaks one/) });
    // What is learnt without reasoning is what it was.
    expect(examplesDependsOn(good, { constitution })).toEqual({ settings: expect.any(Object), checks: [] });
  });
});

describe("by a model", () => {
  const settings = (more: object = {}) => deliberateSettingsSchema.parse({ by: "model", principles: 2, ...more });
  const ask = (says: string, more: object = {}, critic = scriptedModel({ fallback: "Rating: 9" })) => {
    const generator = asReplies(scriptedModel({ fallback: says }));
    const options = { settings: settings(more), constitution, generator, critic, seed: 1 };
    return outcomes(deliberate([prompt], options)).then((found) => found.get(prompt.id)!);
  };

  it("keeps reasoning that cites what was shown, in front of the reply, behind the bare prompt", async () => {
    const { rows } = await ask("<think>By [doctor] I send them on.</think>\n\nSee a doctor.");
    expect(rows).toMatchObject([
      {
        prompt: prompt.prompt,
        completion: "<think>\nBy [doctor] I send them on.\n</think>\n\nSee a doctor.",
        origin: { principles: expect.arrayContaining(["doctor", "kind"]) },
      },
    ]);
  });

  it.each([
    ["See a doctor.", /no reasoning/],
    ["<think>I send them on.</think>See a doctor.", /cites no principle/],
    ["<think>By [law] I send them on.</think>See a doctor.", /cites no principle/],
    ["<think>By [doctor] I send them on.</think>", /no reply/],
  ])("%j is set aside", async (says, why) => {
    expect(await ask(says)).toMatchObject({ rows: [], aside: expect.stringMatching(why) });
  });

  it("takes the lowest of the critic's readings, and an unreadable one for none", async () => {
    const says = "<think>By [doctor] I send them on.</think>See a doctor.";
    const keep = { judge: 0.5, readings: 3, asking: { format: "rating", retries: 0 } };
    let reading = 0;
    const critic = (...ratings: string[]) => {
      reading = 0;
      return scriptedModel({ fallback: () => ratings[reading++ % ratings.length]! });
    };
    expect((await ask(says, { keep }, critic("Rating: 9", "Rating: 10", "Rating: 8"))).rows).toHaveLength(1);
    expect(await ask(says, { keep }, critic("Rating: 9", "Rating: 3", "Rating: 9"))).toMatchObject({
      aside: expect.stringMatching(/not good enough/),
    });
    expect(await ask(says, { keep }, critic("Rating: 9", "Hm.", "Rating: 9"))).toMatchObject({
      aside: expect.stringMatching(/could not be read/),
    });
  });

  it("shows a default with what lifts it, to who writes and to who reads, and depends on it", async () => {
    const own = constitutionOf([
      { id: "kind", text: "Be kind.", authority: "root" },
      { id: "brief", text: "Be brief.", authority: "user" },
    ]);
    const asked: string[] = [];
    const hearing = (says: string) =>
      scriptedModel({
        fallback(text) {
          asked.push(text);
          return says;
        },
      });
    const keep = { judge: 0.5, readings: 1, asking: { format: "rating" } };
    const options = { settings: settings({ keep }), constitution: own, seed: 1 };
    const generator = asReplies(hearing("<think>By [kind] I greet.</think>Hello."));
    const found = await outcomes(deliberate([prompt], { ...options, generator, critic: hearing("Rating: 9") }));
    expect(found.get(prompt.id)!.rows).toHaveLength(1);
    expect(asked).toHaveLength(2);
    const brief = "Be brief.\n(unless the person or the system message asks otherwise)";
    for (const text of asked) {
      expect(text).toContain(`[brief] ${brief}`);
      expect(text).toMatch(/\[kind\] Be kind\.\n(?!\(unless)/);
    }
    expect(deliberateDependsOn(prompt, options)).toMatchObject({
      shown: expect.arrayContaining([
        ["kind", "Be kind."],
        ["brief", brief],
      ]),
    });
  });

  it("depends on the principles that it was shown", () => {
    const [first, ...rest] = constitution.principles;
    const changed = { ...constitution, principles: [{ ...first!, text: "Send them home." }, ...rest] };
    const depends = (of: typeof constitution) =>
      deliberateDependsOn(prompt, { settings: settings(), constitution: of, seed: 1 });
    expect(depends(changed)).not.toEqual(depends(constitution));
  });
});

it("a reply is what a person sees: reasoning is kept beside it, and checks never look at it", async () => {
  const generator = asReplies(scriptedModel({ fallback: "<think>[kind] They are stupid.</think>\n\nSee a doctor." }));
  const { rows } = (await outcomes(respond([prompt], { generator, seed: 1 }))).get(prompt.id)!;
  expect(rows).toMatchObject([{ response: "See a doctor.", reasoning: "[kind] They are stupid." }]);
});
