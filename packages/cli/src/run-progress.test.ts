import { expect, it } from "vitest";
import { surroundings } from "../test/project.ts";
import { runProgress } from "./run-progress.ts";

function shown(options: { quiet?: boolean } = {}) {
  const { io, written } = surroundings();
  let time = 0;
  const progress = runProgress(io, { ...options, now: () => time });
  progress.show({ type: "stage", stage: "policy", title: "learning", status: "started" });
  for (let step = 1; step <= 100; step++) {
    time += 10_000;
    progress.show({ type: "metrics", stage: "policy", step, of: 1000, metrics: { loss: 1 } });
  }
  progress.show({ type: "message", level: "warning", message: "look" });
  progress.show({ type: "message", level: "info", message: "by the way" });
  progress.end();
  return written.stderr.trimEnd().split("\n");
}

it("off a terminal each line has the time, and a slow stage one at least every half minute", () => {
  const lines = shown();
  for (const line of lines) expect(line).toMatch(/^\d\d:\d\d:\d\d /);
  const steps = lines.flatMap((line) => /learning {2}(\d+) of 1000/.exec(line)?.[1] ?? []).map(Number);
  expect(steps.length).toBeGreaterThanOrEqual(33);
  for (const [i, step] of steps.slice(1).entries()) expect(step - steps[i]!).toBeLessThanOrEqual(3);
});

it("quietly nothing is shown but warnings", () => expect(shown({ quiet: true })).toEqual(["warning: look"]));
