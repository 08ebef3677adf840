import { EndpointError, type ScriptedOptions, scriptedModel } from "@tenet/lm";
import { describe, expect, it } from "vitest";
import { type CritiqueOptions, critiqueAndRevise, critiqueDependsOn } from "./critique.ts";
import { constitutionOf, outcomes, responseRow, rowsByPrompt } from "./fixture.ts";

const constitution = constitutionOf([
  {
    id: "doctor",
    text: "Send them to a doctor.",
    critiqueRequest: "Is a doctor named?",
    revisionRequest: "Name a doctor.",
    checks: [{ name: "names a doctor", must: "doctor" }],
  },
  {
    id: "kind",
    text: "Be kind.",
    critiqueRequest: "Is it kind?",
    revisionRequest: "Make it kind.",
    checks: [{ mustNot: "stupid" }],
  },
]);
const onlyDoctor = constitutionOf([constitution.principles[0]!]);

/** A model whose critique is always the same and whose revisions count up. */
const obliging: ScriptedOptions = {
  rules: [
    { when: /\?$/, reply: "It could be better." },
    { when: /\.$/, reply: (text) => `See doctor number ${Number(/doctor number (\d+)/.exec(text)?.[1] ?? 0) + 1}.` },
  ],
};

function options(script: ScriptedOptions = obliging, more: Partial<CritiqueOptions> = {}): CritiqueOptions {
  const model = scriptedModel(script);
  return { constitution: onlyDoctor, critic: model, reviser: model, seed: 1, rounds: 1, ...more };
}

async function chain(script: ScriptedOptions, more: Partial<CritiqueOptions> = {}, first = "It is a cold.") {
  const rows = await rowsByPrompt(critiqueAndRevise([responseRow("I cough.", first)], options(script, more)));
  return rows["I cough."]!;
}

/** A reply that notes what it was asked. */
function noting(asked: string[], reply: (text: string) => string) {
  return (text: string) => {
    asked.push(text);
    return reply(text);
  };
}

const revising = (reply: string | string[]): ScriptedOptions => ({
  rules: [
    { when: /named\?$/, reply: "No doctor is named." },
    { when: /Name a doctor\.$/, reply },
  ],
});

describe("critiqueAndRevise", () => {
  it("asks for a critique and then, with it, for a revision", async () => {
    const asked: string[] = [];
    const model = scriptedModel({
      fallback: noting(asked, (text) => (text.endsWith("?") ? "It is rude." : "See a doctor.")),
    });
    const row = responseRow("I cough.", "It is a cold.");
    const rows = await rowsByPrompt(
      critiqueAndRevise([row], options({}, { critic: model, reviser: model, system: "Be good." })),
    );
    const said = "system: Be good.\nuser: I cough.\nassistant: It is a cold.\nuser: Is a doctor named?";
    expect(asked).toEqual([said, `${said}\nassistant: It is rude.\nuser: Name a doctor.`]);
    expect(rows["I cough."]).toMatchObject({
      responses: ["It is a cold.", "See a doctor."],
      rounds: [{ principle: "doctor", critique: "It is rude.", revision: "See a doctor." }],
      origin: {
        models: { critic: "scripted", reviser: "scripted" },
        principles: ["doctor"],
        parents: [row.id],
        seed: 1,
      },
    });
  });

  it("shows demonstrations as turns, and quotes the response where the layout says so", async () => {
    const demonstration = {
      prompt: [{ role: "user" as const, content: "I itch." }],
      response: "Scratch it. Hard.",
      critiqueRequest: "What is wrong?",
      critique: "It is rude.",
      revisionRequest: "Do better.",
      revision: "Please see a doctor.",
    };
    const asked: string[] = [];
    const ask = async (layout: "turns" | "excerpt") => {
      asked.length = 0;
      const reviser = scriptedModel({ fallback: noting(asked, () => "I would see a doctor.") });
      await chain(
        {},
        { reviser, layout, critiques: "none", demonstrations: [demonstration] },
        "It is a cold. Go home.",
      );
      return asked[0];
    };
    expect(await ask("turns")).toBe(
      "user: I itch.\nassistant: Scratch it. Hard.\nuser: Do better.\nassistant: Please see a doctor.\n" +
        "user: I cough.\nassistant: It is a cold. Go home.\nuser: Name a doctor.",
    );
    expect(await ask("excerpt")).toBe(
      "user: A poor answer: Scratch it.\nDo better.\n\nI itch.\nassistant: Please see a doctor.\n" +
        "user: A poor answer: It is a cold.\nName a doctor.\n\nI cough.",
    );
  });

  it("shows a demonstration that names principles under these alone", async () => {
    const asked: string[] = [];
    const reviser = scriptedModel({ fallback: noting(asked, () => "I would see a doctor.") });
    const shown = (content: string, principles?: string[]) => ({
      ...{ prompt: [{ role: "user" as const, content }], response: "Hm.", critique: "Poor.", revision: "Better." },
      ...{ critiqueRequest: "What is wrong?", revisionRequest: "Do better.", ...(principles && { principles }) },
    });
    const demonstrations = [shown("I itch.", ["kind"]), shown("I ache.", ["doctor", "kind"]), shown("I sneeze.")];
    await chain({}, { reviser, critiques: "none", demonstrations }, "Go home.");
    expect(asked[0]).not.toContain("I itch.");
    expect(asked[0]).toMatch(/I ache[\s\S]*I sneeze[\s\S]*I cough/);
  });

  it("draws principles without replacement until all are used", async () => {
    const row = await chain(obliging, { constitution, rounds: 4 });
    const drawn = row.rounds.map(({ principle }) => principle);
    expect(drawn.slice(0, 2).sort()).toEqual(["doctor", "kind"]);
    expect(drawn.slice(2).sort()).toEqual(["doctor", "kind"]);
    expect(row.responses).toHaveLength(5);
  });

  it.each([
    ["", "empty"],
    ["It is a cold.", "unchanged"],
    ["No doctor is named.", "copies the critique"],
    ["I cannot revise this.", "declines to revise"],
    ["Go. ".repeat(40), "repeats itself"],
  ])("keeps the response when the revision is %j: %s", async (revision, rejected) => {
    const row = await chain(revising(revision));
    expect(row.responses).toEqual(["It is a cold."]);
    expect(row.rounds[0]).toMatchObject({ revision, rejected });
  });

  it("rejects a revision that the length limit cut, or trims it", async () => {
    const long = revising("See a doctor. It may be one of many things.");
    const revision = { maxTokens: 8 };
    expect((await chain(long, { revision })).rounds[0]).toMatchObject({ rejected: "cut by the length limit" });
    const trimmed = await chain(long, { revision, whenCut: "trim" });
    expect(trimmed.responses).toEqual(["It is a cold.", "See a doctor."]);
    expect(trimmed.rounds[0]).toMatchObject({ revision: "See a doctor. It may be one", edits: ["unfinished"] });
  });

  it("says that its last response goes on where the first was cut and nothing replaced it", async () => {
    const cut = { ...responseRow("I cough.", "It is a cold and"), finishReason: "length" as const };
    const of = async (text: string) =>
      (await outcomes(critiqueAndRevise([cut], options(revising(text))))).get(cut.id)!.rows[0]!;
    expect(await of("")).toMatchObject({ responses: ["It is a cold and"], cut: true });
    expect(await of("Ask a doctor.")).not.toHaveProperty("cut");
  });

  it("lets the checks veto a revision that violates more", async () => {
    const worse = revising("It is nothing at all.");
    expect((await chain(worse, {}, "See a doctor.")).responses).toHaveLength(2);
    const vetoed = await chain(worse, { accept: "no-worse-by-checks" }, "See a doctor.");
    expect(vetoed.responses).toEqual(["See a doctor."]);
    expect(vetoed.rounds[0]!.rejected).toMatch("violates more");
    expect((await chain(worse, { accept: "no-worse-by-checks" })).responses).toHaveLength(2);
  });

  it("takes the candidate that the checks value most", async () => {
    const row = await chain(revising(["It is nothing.", "", "Ask a doctor.", "It is flu."]), { candidates: 4 });
    expect(row.responses[1]).toBe("Ask a doctor.");
  });

  it("ends early when the critique finds nothing and the settings say so", async () => {
    const satisfied: ScriptedOptions = {
      rules: [
        { when: /named\?$/, reply: "No critique needed." },
        { when: /Name a doctor\.$/, reply: "See a doctor." },
      ],
    };
    expect((await chain(satisfied, { rounds: 3 })).rounds).toHaveLength(3);
    const ended = await chain(satisfied, { rounds: 3, endWhen: "critique-finds-nothing" });
    expect(ended.rounds).toEqual([
      { principle: "doctor", critique: "No critique needed.", rejected: "the critique finds nothing" },
    ]);
    expect(ended.responses).toEqual(["It is a cold."]);
  });

  it("ends early when the checks pass and the settings say so", async () => {
    const good = revising(["See a doctor."]);
    expect((await chain(good, { rounds: 3, endWhen: "checks-pass" })).rounds).toHaveLength(1);
    expect((await chain(good, { rounds: 3, endWhen: "checks-pass" }, "Ask a doctor.")).rounds).toHaveLength(0);
  });

  it("takes critiques from the checks, under the principles that are violated", async () => {
    const reviser = scriptedModel({ fallback: "A doctor knows." });
    const row = await chain({}, { constitution, reviser, critiques: "checks", rounds: 4 }, "A stupid cold.");
    const critiques = row.rounds.map(({ principle, critique }) => [principle, critique]);
    for (const [principle, critique] of critiques)
      expect(critique).toBe(`The answer breaks this rule: ${principle === "doctor" ? "names a doctor" : "Be kind"}.`);
    expect(row.responses).toEqual(["A stupid cold.", "A doctor knows."]);
    // Nothing is violated any more: no further round.
    expect(row.rounds).toHaveLength(1);
    expect(row.origin.models).not.toHaveProperty("critic");
  });

  it("takes the gravest violation first, and each once before one comes again", async () => {
    const grave = (id: string, weight: number, severity: number) => ({
      ...constitution.principles[0]!,
      ...{ id, weight },
      checks: [{ name: id, must: ["never said"], severity }],
    });
    const many = { ...constitution, principles: [grave("light", 3, 0.2), grave("middle", 1, 1), grave("worst", 2, 1)] };
    const reviser = scriptedModel({ fallback: "Still wrong, in other words." });
    for (const seed of [0, 1, 2, 3, 4]) {
      const row = await chain(
        {},
        { constitution: many, reviser, critiques: "checks", rounds: 4, seed, accept: "always" },
      );
      expect(row.rounds.map(({ principle }) => principle)).toEqual(["worst", "middle", "light", "worst"]);
    }
  });

  it("gives no revision behind a critique that is empty", async () => {
    const row = await chain({ rules: [{ when: /\?$/, reply: " " }] });
    expect(row.rounds).toEqual([{ principle: "doctor", critique: "", rejected: "the critique is empty" }]);
  });

  it("sets aside a row that the model cannot take, and goes on with the others", async () => {
    const model = scriptedModel({ ...obliging, contextTokens: 60 });
    const rows = [responseRow("I cough.", "It is a cold."), responseRow("I ache.", "long ".repeat(80))];
    const all = await outcomes(critiqueAndRevise(rows, options({}, { critic: model, reviser: model })));
    expect(all.get(rows[0]!.id)!.rows).toHaveLength(1);
    expect(all.get(rows[1]!.id)).toMatchObject({
      rows: [],
      aside: expect.stringContaining("more than the model's context"),
    });
  });

  it("fails when the model fails", async () => {
    const broken = { ...obliging, fail: () => new EndpointError("gone", { fault: "network" }) };
    await expect(chain(broken)).rejects.toThrow("gone");
  });

  it("gives the same chains in any order, batch and company", async () => {
    const rows = Array.from({ length: 6 }, (_, i) => responseRow(`I cough ${i}.`, `It is cold number ${i}.`));
    const varied: ScriptedOptions = {
      rules: [
        { when: /\?$/, reply: ["Bad.", "Worse.", "Worst."] },
        { when: /\.$/, reply: ["See a doctor.", "Ask a doctor, please.", "A doctor can help you."] },
      ],
    };
    const run = (some: typeof rows, seed: number) =>
      rowsByPrompt(critiqueAndRevise(some, options(varied, { constitution, rounds: 3, seed })));
    const whole = await run(rows, 1);
    expect(await run(rows.toReversed(), 1)).toEqual(whole);
    expect({ ...(await run(rows.slice(0, 2), 1)), ...(await run(rows.slice(2), 1)) }).toEqual(whole);
    expect(await run(rows, 2)).not.toEqual(whole);
  });

  it("yields a chain before its neighbours are done", async () => {
    const slow = scriptedModel({ ...obliging, latencyMs: (text) => (text.includes("slow") ? 200 : 0) });
    const rows = [responseRow("slow", "It is a cold."), responseRow("fast", "It is a cold.")];
    const order: string[] = [];
    for await (const { rows: made } of critiqueAndRevise(
      rows,
      options({}, { critic: slow, reviser: slow, critiques: "none" }),
    ))
      order.push(made[0]!.prompt[0]!.content);
    expect(order).toEqual(["fast", "slow"]);
  });

  it("stops when cancelled", async () => {
    const controller = new AbortController();
    const model = scriptedModel({ ...obliging, latencyMs: (text) => (text.includes("slow") ? 60_000 : 0) });
    const rows = [responseRow("slow", "It is a cold."), responseRow("fast", "It is a cold.")];
    const made: string[] = [];
    const stage = critiqueAndRevise(rows, options({}, { critic: model, reviser: model, critiques: "none" }), {
      signal: controller.signal,
    });
    await expect(async () => {
      for await (const outcome of stage) {
        made.push(outcome.input);
        controller.abort(new Error("enough"));
      }
    }).rejects.toThrow("enough");
    expect(made).toEqual([rows[1]!.id]);
  });
});

describe("critiqueDependsOn", () => {
  it("changes with the principles that were drawn and with no others", () => {
    const row = responseRow("I cough.", "It is a cold.");
    const of = (principles: object[]) =>
      critiqueDependsOn(row, { constitution: constitutionOf(principles), seed: 1, rounds: 1 });
    const before = of(constitution.principles);
    const drawn = (before as { principles: { id: string }[] }).principles[0]!.id;
    const reworded = (id: string) =>
      constitution.principles.map((each) => (each.id === id ? { ...each, revisionRequest: "Else." } : each));
    expect(of(reworded(drawn))).not.toEqual(before);
    expect(of(reworded(drawn === "kind" ? "doctor" : "kind"))).toEqual(before);
  });
  it("changes with the checks where they judge", () => {
    const row = responseRow("I cough.", "It is a cold.");
    const stricter = constitution.principles.map((each) => ({ ...each, checks: [{ must: "please" }] }));
    const of = (principles: object[], accept: "always" | "no-worse-by-checks") =>
      critiqueDependsOn(row, { constitution: constitutionOf(principles), seed: 1, rounds: 1, accept });
    expect(of(stricter, "always")).toEqual(of(constitution.principles, "always"));
    expect(of(stricter, "no-worse-by-checks")).not.toEqual(of(constitution.principles, "no-worse-by-checks"));
  });
});
