import { expect, test } from "vitest";
import { type Took, timeLeftOf } from "./time-left.ts";

const plan = ["prompts", "responses", "chains", "policy", "answers"].map((stage) => ({
  ...{ stage, title: `the ${stage}` },
  inputs: [],
}));
const planned = plan.map(({ stage }) => stage);
const took = (times: Readonly<Record<string, number>>, of: Partial<Took> = {}): Took[] =>
  Object.entries(times).map(([name, seconds]) => ({ ...{ name, status: "done", attempts: 1, seconds }, ...of }));
const before = took({ prompts: 0.1, responses: 20, chains: 40, policy: 100, answers: 10 });

test("the stages that are left take what they took before, stretched by how fast those that are done went", () => {
  const earlier = [{ run: "one", stages: before, planned }];
  expect(timeLeftOf(plan, [], earlier)).toEqual({ seconds: expect.closeTo(170.1, 6), like: "one", unknown: [] });
  // Twice as slow as then; what takes no time tells nothing of it.
  const slow = took({ prompts: 5, responses: 40, chains: 80 });
  expect(timeLeftOf(plan, slow, earlier)!.seconds).toBeCloseTo(220, 6);
  // Of the stage under way its own progress tells; where it tells nothing, what is spent is taken off.
  const now = { name: "chains", status: "running", attempts: 1, seconds: 10 } as const;
  const done = took({ responses: 20 });
  expect(timeLeftOf(plan, [...done, { ...now, current: 99 }], earlier)!.seconds).toBeCloseTo(99 + 110.1, 6);
  expect(timeLeftOf(plan, [...done, now], earlier)!.seconds).toBeCloseTo(30 + 110.1, 6);
  expect(timeLeftOf(plan, [...done, { ...now, seconds: 70 }], earlier)!.seconds).toBeCloseTo(110.1, 6);
});

test("of several runs the median is told, so that one on a busy machine does not decide", () => {
  const runs = [before, took({ responses: 20, chains: 40, policy: 5_000, answers: 10 }), before];
  const earlier = runs.map((stages, i) => ({ run: `${i}`, stages, planned }));
  expect(timeLeftOf(plan, took({ responses: 20, chains: 40 }), earlier)).toMatchObject({ seconds: 110.1, like: "0" });
});

test("nothing is said where nothing like it was run, and what is not known is named", () => {
  expect(timeLeftOf(plan, [], [])).toBeUndefined();
  const shared = took({ chains: 0 }, { attempts: 0 });
  const twice = took({ policy: 900 }, { attempts: 2 });
  const earlier = [
    { run: "one", stages: [...took({ responses: 20 }), ...shared, ...twice], planned: planned.slice(0, 4) },
  ];
  // Prompts were planned and left no trace: nothing to do. Answers were not even planned.
  expect(timeLeftOf(plan, [], earlier)).toEqual({
    ...{ seconds: 20, like: "one" },
    unknown: ["the chains", "the policy", "the answers"],
  });
});
