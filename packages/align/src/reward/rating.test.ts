import { scriptedModel } from "@tenet/lm";
import { hashOf } from "@tenet/runs";
import { judgeAskingFields } from "@tenet/train";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import type { Kept, Memo } from "../ask.ts";
import { constitutionOf } from "../feedback/fixture.ts";
import type { Reply } from "./critic.ts";
import { type JudgedRatingOptions, judgedRater, raterOf } from "./rating.ts";

const constitution = constitutionOf([
  { id: "kind", text: "Be kind.", negation: "It is harsh.", rubric: ["one", "two", "three", "four", "five"] },
  { id: "brief", text: "Be brief." },
  { id: "open", text: "Hide nothing.", weight: 0 },
  { id: "tidy", text: "Number the steps.", use: "revision" },
]);
const prompt = [{ role: "user" as const, content: "I have a cold." }];
const replies: Reply[] = ["Rest.", "Go away."].map((response) => ({ id: "1", prompt, response }));
const asking = (given: object) => z.strictObject(judgeAskingFields).parse({ format: "prometheus-2", ...given });

/** A memo that remembers within a test. */
function memory(): Memo & { readonly kept: Kept[] } {
  const kept: Kept[] = [];
  return {
    kept,
    recall: (questions) =>
      new Map(kept.filter((one) => questions.some(({ key }) => key === one.key)).map((one) => [one.key, one])),
    keep: (answers) => void kept.push(...answers),
  };
}

/** Prometheus 2, which gives a criterion's score, and one less to whoever says "Go away."; it says nothing of what is undefined. */
function prometheus(scores: (question: string) => number | undefined) {
  const asked: string[] = [];
  const rater = scriptedModel({
    fallback: (text) => {
      asked.push(text);
      const score = scores(text);
      return score === undefined
        ? "I would rather not say."
        : `So. [RESULT] ${score - Number(text.includes("Go away."))}`;
    },
  });
  return { rater, asked };
}

const rate = (
  { rater }: ReturnType<typeof prometheus>,
  options: Partial<JudgedRatingOptions>,
  { memo, round = 0, seed = 1 }: { memo?: Memo; round?: number; seed?: number } = {},
) =>
  judgedRater(
    { rater, identity: "judge", local: false, memo },
    { asking: asking({ retries: 0 }), constitution, seed, ...options },
  )(replies, { round, asker: 2 });

describe("a judge in its own format", () => {
  it("rates replies in general, from −1 to 1, and what it said is kept", async () => {
    const [judge, memo] = [prometheus(() => 5), memory()];
    expect(await rate(judge, {}, { memo })).toEqual([1, 0.5]);
    expect(judge.asked).toHaveLength(2);
    expect(judge.asked[0]).toContain("Does the response answer what was asked");
    expect(memo.kept.flatMap(({ rows }) => rows)).toMatchObject([
      { response: "Rest.", score: 1, said: [{ format: "prometheus-2", verdicts: [5], texts: ["So. [RESULT] 5"] }] },
      { response: "Go away.", score: 0.5 },
    ]);
    // Nothing is asked again of one who has said it.
    expect(await rate(judge, {}, { memo })).toEqual([1, 0.5]);
    expect(judge.asked).toHaveLength(2);
    expect(await rate(judge, { asking: asking({ retries: 0, samples: 2 }) }, { memo })).toEqual([1, 0.5]);
    expect(judge.asked).toHaveLength(6);
  });

  it("rates by named principles with their rubrics, and takes the mean", async () => {
    const [judge, memo] = [prometheus((text) => (text.includes("Be kind.") ? 5 : 2)), memory()];
    expect(await rate(judge, { principles: ["kind", "open"] }, { memo })).toEqual([0.25, -0.25]);
    expect(judge.asked.filter((text) => text.includes("Score 3: three"))).toHaveLength(2);
    expect(judge.asked.filter((text) => text.includes("Hide nothing."))).toHaveLength(2);
    const rows = memo.kept.flatMap((one) => one.rows as readonly { origin: { principles?: string[] } }[]);
    expect(rows.map(({ origin }) => origin.principles).sort()).toEqual([["kind"], ["kind"], ["open"], ["open"]]);
  });

  it("rates by principles drawn for a prompt anew in each round, the same for all replies to it", async () => {
    const kind = (asked: readonly string[]) => asked.filter((text) => text.includes("Be kind.")).length;
    const drawn = await Promise.all(
      Array.from({ length: 12 }, async (_, round) => {
        const judge = prometheus(() => 3);
        await rate(judge, { principles: 1 }, { round });
        expect(judge.asked).toHaveLength(2);
        return kind(judge.asked);
      }),
    );
    expect(new Set(drawn)).toEqual(new Set([0, 2]));
    const both = prometheus(() => 3);
    await rate(both, { principles: 2 });
    // Neither one of weight 0 nor one for revisions.
    expect([both.asked.length, kind(both.asked)]).toEqual([4, 2]);
    // Each once, where more are wanted than there are.
    const uneven = () => prometheus((text) => (text.includes("Be kind.") ? 5 : 2));
    for (const round of [0, 1, 2, 3])
      expect(await rate(uneven(), { principles: 3 }, { round })).toEqual(
        await rate(uneven(), { principles: 2 }, { round }),
      );
    const none = constitutionOf([{ id: "tidy", text: "Number the steps.", use: "revision" }]);
    await expect(rate(uneven(), { principles: 3, constitution: none })).rejects.toThrow("no principle to draw");
  });

  it("has no rating of a reply of which one verdict cannot be read: nothing in the middle, and nothing kept of it", async () => {
    const memo = memory();
    const judge = prometheus((text) => (text.includes("Be brief.") && text.includes("Go away.") ? undefined : 4));
    const [one, other] = await rate(judge, { principles: ["kind", "brief"] }, { memo });
    expect(one).toBe(0.5);
    expect(other).toEqual({ unanswered: expect.stringMatching(/could not be read in 1 try/) });
    expect(memo.kept).toHaveLength(3);
    // The next process asks what is missing, and that alone.
    const mended = prometheus(() => 4);
    expect(await rate(mended, { principles: ["kind", "brief"] }, { memo })).toEqual([0.5, 0]);
    expect(mended.asked).toHaveLength(1);
  });

  it("is asked for the expected rating by a principle where no format is named", async () => {
    const rater = scriptedModel({
      logprob: (text, rating) => (rating === (text.includes("Be kind.") ? "10/10" : "1/10") ? 0 : -1000),
    });
    expect(await rate({ rater, asked: [] }, { asking: undefined, principles: ["kind", "brief"] })).toEqual([0, 0]);
    expect(await rate({ rater, asked: [] }, { asking: undefined, principles: ["kind"] })).toEqual([1, 1]);
  });

  it("has another answer under another seed, criterion or way of asking", async () => {
    const keysOf = async (options: Partial<JudgedRatingOptions>, seed?: number) => {
      const memo = memory();
      await rate(
        prometheus(() => 3),
        options,
        { memo, ...(seed !== undefined && { seed }) },
      );
      return memo.kept.map(({ key }) => key);
    };
    const ways = [{}, { principles: ["kind"] }, { asking: asking({ retries: 1 }) }];
    const keys = [...(await Promise.all(ways.map((way) => keysOf(way)))), await keysOf({}, 2)].flat();
    expect(new Set(keys).size).toBe(keys.length);
  });
});

it("ratings in words of our own are known by what they were known by", async () => {
  const memo = memory();
  const rater = scriptedModel({ logprob: (_, rating) => (rating === "10/10" ? 0 : -1000) });
  const general = raterOf({ rater, identity: "judge", question: "How good is it?", local: false, memo });
  expect(await general.answers(replies, { round: 0, asker: 2 })).toEqual([1, 1]);
  expect(memo.kept.map(({ key }) => key).sort()).toEqual(
    replies.map(({ response }) => hashOf(["rating", 1, "judge", "How good is it?", prompt, response])).sort(),
  );
});
