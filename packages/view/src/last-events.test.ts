import { openStore } from "@tenet/runs";
import { expect, test } from "vitest";
import { folder } from "../test/asking.ts";
import { LastEvents } from "./last-events.ts";

test("the last of a kind is looked for among what came since, and a run that was made anew is looked through again", () => {
  const store = openStore(folder());
  const begin = () => store.begin({ name: "desk", recipe: {} });
  const looks: number[] = [];
  const { lastEvent } = store;
  store.lastEvent = (run, kind, options) => {
    looks.push(options?.after ?? 0);
    return lastEvent.call(store, run, kind, options);
  };
  const plans = new LastEvents(store, "plan", ({ data }) => data);
  let run = begin();
  expect(plans.of(run.id)).toBeUndefined();
  run.event({ kind: "plan", data: 1 });
  for (let i = 0; i < 20; i++) run.event({ kind: "message" });
  expect([plans.of(run.id), plans.of(run.id), plans.of(run.id)]).toEqual([1, 1, 1]);
  run.event({ kind: "message" });
  expect(plans.of(run.id)).toBe(1);
  run.event({ kind: "plan", data: 2 });
  expect(plans.of(run.id)).toBe(2);
  expect(looks).toEqual([0, 0, 21, 22]);
  run.end("done");
  store.remove(run.id);
  run = begin();
  for (let i = 0; i < 40; i++) run.event({ kind: "message" });
  expect(plans.of(run.id)).toBeUndefined();
  store.close();
});
