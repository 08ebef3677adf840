import { scriptedModel } from "@tenet/lm";
import { describe, expect, it } from "vitest";
import { constitutionOf, outcomes, pairRow } from "./fixture.ts";
import { labelDependsOn, labelPairs, labelSettingsSchema, readingsOf } from "./index.ts";

const constitution = constitutionOf([{ id: "doctor", text: "Send people to a doctor." }]);
const pair = pairRow("I cough.", "Please see a doctor.", "It is a cold.");
const judge = (format: string, more: object = {}) => ({
  method: "judge" as const,
  judge: { format, ...more } as never,
});

/** Prefers the doctor, whichever letter it has; says so in Prometheus 2's words. */
const prometheus = () =>
  scriptedModel({
    fallback: (text) => {
      const doctor = /###Response A:\s*Please see a doctor/.test(text) ? "A" : "B";
      return `It sends the person on. [RESULT] ${doctor}`;
    },
  });

describe("a judge as labeller", () => {
  it("is asked in both orders where it sees both replies, and every text is kept", async () => {
    const found = await outcomes(
      labelPairs([pair], { labeller: prometheus(), constitution, seed: 1, ...judge("prometheus-2") }),
    );
    const [label] = found.get(pair.id)!.rows;
    expect(label).toMatchObject({ p: 1, label: "ai" });
    const readings = readingsOf(label!.explanation);
    expect(readings.map(({ first, p, principle }) => [first, p, principle])).toEqual([
      ["a", 1, "doctor"],
      ["b", 1, "doctor"],
    ]);
    expect(readings[0]!.judged).toEqual([
      { format: "prometheus-2", verdicts: ["A"], texts: ["It sends the person on. [RESULT] A"], unread: 0 },
    ]);
  });

  it("scores each reply once where it sees one, under the principle's rubric", async () => {
    const asked: string[] = [];
    const labeller = scriptedModel({
      fallback: (text) => {
        asked.push(text);
        return `[RESULT] ${text.includes("Please see") ? 5 : 2}`;
      },
    });
    const found = await outcomes(
      labelPairs([pair, pair], { labeller, constitution, seed: 1, ...judge("prometheus-2", { mode: "absolute" }) }),
    );
    expect(found.get(pair.id)!.rows[0]!.p).toBe(1);
    expect(asked).toHaveLength(2);
    expect(asked[0]).toContain("Does the response keep to this principle: Send people to a doctor.");
  });

  it("whose verdict cannot be read labels nothing, and is counted", async () => {
    const labeller = scriptedModel({ fallback: "Both have their merits." });
    const found = await outcomes(
      labelPairs([pair], { labeller, constitution, seed: 1, ...judge("auto-j", { retries: 1 }) }),
    );
    expect(found.get(pair.id)).toMatchObject({
      rows: [],
      aside: expect.stringMatching(/could not be read in 2 tries/),
    });
  });

  it("that has no place for a principle is not said to have judged by one", async () => {
    const labeller = scriptedModel({ fallback: "So, the final decision is Tie." });
    const found = await outcomes(labelPairs([pair], { labeller, constitution, seed: 1, ...judge("auto-j") }));
    const [label] = found.get(pair.id)!.rows;
    expect(label!.p).toBe(0.5);
    expect(label!.explanation[0]).toMatchObject({ principle: "in general" });
  });

  it("comes behind the constitution like any labeller", async () => {
    const checked = constitutionOf([{ id: "doctor", text: "Send people to a doctor.", checks: [{ must: "doctor" }] }]);
    const labeller = scriptedModel({});
    const first = { constitutionFirst: { by: "checks" as const } };
    const found = await outcomes(
      labelPairs([pair], { labeller, constitution: checked, seed: 1, ...judge("rating"), ...first }),
    );
    expect(found.get(pair.id)!.rows[0]).toMatchObject({ p: 1, label: "check" });
  });
});

it("a changed rubric labels again what a judge labelled, and nothing else", () => {
  const [principle] = constitution.principles;
  const graded = { ...constitution, principles: [{ ...principle!, rubric: ["1", "2", "3", "4", "5"] }] };
  const depends = (of: typeof constitution, more: object) =>
    labelDependsOn(pair, { constitution: of, seed: 1, ...more });
  expect(depends(graded, judge("rating"))).not.toEqual(depends(constitution, judge("rating")));
  expect(depends(graded, {})).toEqual(depends(constitution, {}));
  expect(depends(graded, judge("auto-j"))).toEqual(depends(constitution, judge("auto-j")));
});

it.each([
  [{ method: "judge" }, "method"],
  [{ judge: { format: "rating" } }, "judge"],
])("%j is refused", (settings, at) => {
  expect(labelSettingsSchema.safeParse(settings).error?.issues[0]?.path).toEqual([at]);
});
