import type { MetricEvent, PolicyResult } from "@tenet/train";
import { expect, it } from "vitest";
import { alarmsOf, withAlarms } from "./alarms.ts";
import type { RunEvent } from "./events.ts";

/** A training whose preference score rises while the constitutional reward falls. */
async function* gamed(): AsyncGenerator<MetricEvent, PolicyResult> {
  const history = Array.from({ length: 5 }, (_, i) => ({
    ...{ "reward/preference": i, "reward/constitution": 1 - 0.2 * i, "objective/scores": i },
  }));
  yield { step: 0, of: 5, metrics: { "validation/violations": 0.5 } };
  for (const [i, metrics] of history.entries()) yield { step: i + 1, of: 5, metrics };
  return { kind: "adapter", path: "adapter", report: { algorithm: "ppo", steps: 5, aside: [], history } };
}

it("tells an alarm once, when it sounds, and keeps it in the report", async () => {
  const told: RunEvent[] = [];
  const run = withAlarms(gamed(), { emit: (event) => told.push(event) }, "policy");
  let next = await run.next();
  let events = 0;
  for (; !next.done; next = await run.next()) events++;
  expect(events).toBe(6);
  expect(told).toHaveLength(1);
  expect(told[0]).toMatchObject({
    level: "warning",
    stage: "policy",
    message: expect.stringMatching(/^R1, iteration 4: /),
  });
  expect(alarmsOf(next.value.report)).toEqual([expect.stringMatching(/^R1, iteration 4: /)]);
  expect(alarmsOf(undefined)).toEqual([]);
});
