import { readReply } from "@tenet/lm";
import { describe, expect, it } from "vitest";
import { examplesFromChains, examplesFromResponses } from "./examples.ts";
import { constitutionOf, outcomes, responseRow } from "./fixture.ts";

describe("replies as examples", () => {
  const learnt = async (response: string, finishReason: "stop" | "length" = "stop") => {
    const row = { ...responseRow("What is a tide?", response), finishReason };
    return (await outcomes(examplesFromResponses([row]))).get(row.id)!;
  };

  it("are learnt as they are, and say where they come from", async () => {
    const { rows, aside, input } = await learnt("The sea rises");
    expect(rows).toMatchObject([{ completion: "The sea rises", weight: 1, origin: { parents: [input] } }]);
    expect(aside).toBeUndefined();
  });

  it("go on, without an end to learn, where the limit cut them", async () => {
    const { rows } = await learnt("The sea rises. And then the", "length");
    expect(rows).toMatchObject([{ completion: "The sea rises. And then the", cut: true }]);
    expect((await learnt("The sea rises. And then the")).rows[0]).not.toHaveProperty("cut");
  });

  it("are learnt behind the reasoning that they were given with", async () => {
    const row = { ...responseRow("What is a tide?", "The sea rises"), reasoning: "The moon pulls." };
    const [example] = (await outcomes(examplesFromResponses([row]))).get(row.id)!.rows;
    expect(readReply(example!.completion)).toMatchObject({ thoughts: "The moon pulls.", text: "The sea rises" });
  });

  it("are set aside where they are no text", async () => {
    expect(await learnt("", "length")).toMatchObject({ rows: [], aside: "the reply is empty" });
    expect(await learnt("aaaaaaaaaaaaaaaaaaaa")).toMatchObject({ rows: [], aside: "repeats one character" });
  });
});

describe("chains as examples", () => {
  const constitution = constitutionOf([{ id: "doctor", text: "Send them to a doctor.", checks: [{ must: "doctor" }] }]);
  const learnt = async (responses: string[], settings: object, cut: { cut?: true } = {}) => {
    const { prompt, origin, id } = responseRow("I cough.", responses[0]!);
    const rounds = responses.slice(1).map((revision) => ({ principle: "doctor", critique: "No doctor.", revision }));
    const chain = { id, prompt, origin, responses, rounds, ...cut };
    return (await outcomes(examplesFromChains([chain], { constitution, ...settings }))).get(id)!;
  };
  const completions = async (responses: string[], settings: object = {}) =>
    (await learnt(responses, settings)).rows.map(({ completion }) => completion);
  const chain = ["Rest.", "Ask a doctor.", "See a nurse."];

  it("are their last response, every revision, or a critique and a response", async () => {
    expect(await completions(chain)).toEqual(["See a nurse."]);
    expect(await completions(chain, { from: "every-revision" })).toEqual(["Ask a doctor.", "See a nurse."]);
    expect(await completions(chain, { from: "critique-and-revision" })).toEqual(["No doctor.\n\nSee a nurse."]);
  });

  it("are kept where the checks pass, or where they say it got better", async () => {
    expect(await completions(chain, { from: "every-revision", keep: "checks-pass" })).toEqual(["Ask a doctor."]);
    expect((await learnt(chain, { keep: "checks-pass" })).aside).toBe("the checks find violations");
    expect(await completions(["Rest.", "Ask a doctor."], { keep: "improved" })).toEqual(["Ask a doctor."]);
    expect((await learnt(["Rest.", "Walk."], { keep: "improved" })).aside).toBe("no improvement by the checks");
  });

  it("without a revision teach nothing, unless they are to be kept", async () => {
    expect((await learnt(["Rest."], {})).aside).toBe("no revision was accepted");
    expect(await completions(["Rest."], { unchanged: "keep" })).toEqual(["Rest."]);
    const [whole, stump] = await Promise.all(
      [{}, { cut: true as const }].map((cut) => learnt(["You should take your"], { unchanged: "keep" }, cut)),
    );
    // No end is learnt behind half a sentence.
    expect(whole!.rows[0]).not.toHaveProperty("cut");
    expect(stump!.rows[0]).toMatchObject({ completion: "You should take your", cut: true });
    expect(stump!.rows[0]!.id).not.toBe(whole!.rows[0]!.id);
  });
});
