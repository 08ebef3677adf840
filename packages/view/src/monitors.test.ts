import { monitorRules } from "@tenet/align";
import { afterAll, expect, test } from "vitest";
import { Asking } from "../test/asking.ts";
import type { Monitors, Rollouts } from "./api.ts";

const asking = new Asking({ prompts: 6, done: 1 });
afterAll(() => asking.close());
const { store } = asking.written;
const [run] = asking.written.done as [string];
const monitors = async () => (await asking.get<Monitors>(`/api/runs/${run}/monitors`)).stages[0]!;

test("alarms are those of the rules on the stored iterations, and lead to the iteration", async () => {
  const history = new Map<number, Record<string, number>>();
  for (const { step, name, value } of store.metrics(run, { stage: "policy" }))
    history.set(step, { ...history.get(step), [name]: value });
  const expected = monitorRules([...history.values()]).map(({ rule, iteration, message }) => ({
    rule,
    iteration,
    message,
  }));
  const { alarms, panels } = await monitors();
  expect(alarms).toEqual(expected);
  expect(alarms.map(({ rule }) => rule)).toContain("R1");
  expect(alarms.find(({ rule }) => rule === "R1")!.iteration).toBeGreaterThan(50);
  const [gap] = panels;
  expect(gap!.series.map(({ name }) => name)).toEqual(["reward/preference", "reward/constitution"]);
  expect(gap!.series[0]!.points).toHaveLength(60);
});

test("an alarm is dismissed with a reason, and stays to be seen", async () => {
  const { rule, iteration } = (await monitors()).alarms[0]!;
  const dismissal = { stage: "policy", rule, iteration, why: "the replies are fine", who: "ann" };
  await asking.post(`/api/runs/${run}/alarms`, dismissal);
  expect((await monitors()).alarms[0]).toMatchObject({ rule, dismissed: { who: "ann", why: "the replies are fine" } });
  for (const wrong of [
    { ...dismissal, why: " " },
    { ...dismissal, stage: "labels" },
    { ...dismissal, rule: "<b>" },
  ])
    expect((await asking.send(`/api/runs/${run}/alarms`, wrong)).status).toBe(400);
  // What is said of a training is not said of replies.
  const { counts } = await asking.get<{ counts: { flagged: number } }>(`/api/runs/${run}/samples/counts`);
  expect(counts.flagged).toBe(0);
});

test("replies of every iteration stand in the row of their prompt", async () => {
  const get = (more = "") => asking.get<Rollouts>(`/api/runs/${run}/stages/policy/rollouts?limit=100${more}`);
  const { steps, prompts, total } = await get();
  expect(steps).toEqual([1, 30, 60]);
  expect(total).toBe(6);
  const stored = store.rollouts(run, "policy");
  for (const { prompt, replies } of prompts) {
    const own = stored.filter((one) => one.prompt[0]!.content === prompt[0]!.content);
    expect(replies.map(({ step, response }) => [step, response])).toEqual(
      own.map(({ step, response }) => [step, response]),
    );
    expect(Object.keys(replies[0]!.parts)).toEqual(["constitution", "preference"]);
  }
  const words = "alert(1)";
  const found = (await get(`&q=${encodeURIComponent(words)}`)).prompts;
  expect(found.map(({ prompt }) => prompt[0]!.content.includes(words))).toEqual([true]);
});
