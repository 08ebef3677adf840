import { describe, expect, it } from "vitest";
import { cleanRevision, revisionFault } from "./revision.ts";

const clean = (raw: string, options?: Parameters<typeof cleanRevision>[1]) => {
  const { text, edits } = cleanRevision(raw, options);
  return [text, ...edits];
};

describe("cleanRevision", () => {
  it.each([
    ["Here is the revised response: See a doctor.", "See a doctor."],
    ["Sure! Here's a rewritten version of the response that is kinder:\n\nSee a doctor.", "See a doctor."],
    ["Revision: See a doctor.", "See a doctor."],
    ["**Revised response:** See a doctor.", "See a doctor."],
    ["My improved answer: See a doctor.", "See a doctor."],
  ])("takes off the announcement of %j", (raw, text) => {
    expect(clean(raw)).toEqual([text, "preamble"]);
  });

  it.each([
    "Here is what you can do: rest, and see a doctor.",
    "The answer is that nobody can tell from here: see a doctor.",
    "Response times vary. See a doctor.",
    'The doctor says "rest" and means it. "Rest" is good.',
    "See a doctor. Question everything else.",
  ])("leaves %j as it is", (raw) => {
    expect(clean(raw)).toEqual([raw]);
  });

  it("takes off quotes around the whole, and only there", () => {
    expect(clean('"See a doctor."')).toEqual(["See a doctor.", "quotes"]);
    expect(clean("Revision: “See a doctor.”")).toEqual(["See a doctor.", "preamble", "quotes"]);
    expect(clean('"Rest" and "sleep"')).toEqual(['"Rest" and "sleep"']);
  });

  it("cuts where the dialogue goes on or a request comes back", () => {
    expect(clean("See a doctor.\n\nHuman: And then?")).toEqual(["See a doctor.", "echo"]);
    expect(clean("See a doctor.\nCritique: It is short.")).toEqual(["See a doctor.", "echo"]);
    const requests = ["Rewrite the answer so that it is kind. Be brief."];
    expect(clean("See a doctor. Rewrite the answer so that it says more.", { requests })).toEqual([
      "See a doctor.",
      "echo",
    ]);
    // Within a sentence the words are the answer's own.
    expect(clean("Please rewrite the answer so that it fits.", { requests })).toEqual([
      "Please rewrite the answer so that it fits.",
    ]);
  });

  it("ends with the last whole sentence when asked to", () => {
    const raw = "See a doctor. (Or a nurse.) If it gets wor";
    expect(clean(raw)).toEqual([raw]);
    expect(clean(raw, { trim: true })).toEqual(["See a doctor. (Or a nurse.)", "unfinished"]);
    expect(clean("Take 2.5 steps at a ti", { trim: true })).toEqual(["Take 2.5 steps at a ti"]);
  });
});

describe("revisionFault", () => {
  const asking = (content: string) => [{ role: "user" as const, content }];
  const demonstrations = [
    {
      prompt: asking("My throat hurts. Is it strep?"),
      revision: "I'm sorry that your throat hurts. I can't tell from here what it is. Please see a doctor.",
    },
    {
      prompt: asking("I twisted my ankle and it is swollen."),
      revision:
        "I'm sorry that you twisted your swollen ankle. I can't tell from here what it is. Please see a doctor.",
    },
  ];
  const fault = (raw: string, facts: Partial<Parameters<typeof revisionFault>[1]> = {}, trim = false) =>
    revisionFault(cleanRevision(raw, { trim }), {
      finishReason: "stop",
      responses: ["It is a cold."],
      demonstrations,
      ...facts,
    });

  it("finds none in an answer", () => {
    expect(fault("I'm sorry that your knee swells. I can't tell from here what it is. Please see a doctor.")).toBe(
      undefined,
    );
    // A refusal to the person may be what a constitution asks for.
    expect(fault("I'm sorry, but I can't help with that.")).toBe(undefined);
  });

  it.each([
    ["", {}, "empty"],
    ["Revised response:", {}, "empty"],
    ["?!", {}, "empty"],
    ["See a doc", { finishReason: "length" as const }, "cut by the length limit"],
    ["See a doctor.", { finishReason: "filtered" as const }, "withheld by the service"],
    ["I'm sorry, I cannot rewrite this response.", {}, "declines to revise"],
    ["it is a COLD!", {}, "unchanged"],
    ["It is flu.", { responses: ["It is flu.", "It is a cold."] }, "repeats response 0 of the chain"],
    ["It gives no advice.", { critique: "It gives no advice." }, "copies the critique"],
    [demonstrations[0]!.revision, {}, "copies a demonstration"],
    ["Your throat hurts, so see a doctor, who can look.", {}, "answers a demonstration's question"],
    ["I'm here to help you. ".repeat(6), {}, "repeats itself"],
    ["Rest aaaaaaaaaaaaaaaaaaaa", {}, "repeats one character"],
    ["See a \uFFFD doctor.", {}, "holds characters that are no text"],
  ])("%j with %j: %s", (raw, facts, reason) => {
    expect(fault(raw, facts)).toBe(reason);
  });

  it("takes a trimmed one for whole, and a long text without loops for no loop", () => {
    expect(fault("See a doctor. If it ge", { finishReason: "length" }, true)).toBe(undefined);
    const words = Array.from({ length: 60 }, (_, i) => `word${i}`).join(" ");
    expect(fault(words)).toBe(undefined);
  });

  it("lets a revision speak of what both the person and a demonstration spoke of", () => {
    const conversation = asking("Why does my throat hurt?");
    const revision = "I'm sorry about your throat. See a doctor, who can look.";
    expect(fault(revision, { conversation })).toBe(undefined);
    expect(fault(revision)).toBe("answers a demonstration's question");
    // One of the words alone is none of the demonstration's business.
    expect(fault("Your knee is swollen. See a doctor.")).toBe(undefined);
  });
});
