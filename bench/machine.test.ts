import { spawn, spawnSync } from "node:child_process";
import { platform } from "node:os";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { busyShare, describeMachine, instructions, watchOthers } from "./machine.ts";

/** The command as a person calls it, with arguments that end it before anything is measured. */
function bench(...args: string[]) {
  const program = fileURLToPath(new URL("run.ts", import.meta.url));
  return spawnSync(process.execPath, ["--conditions=source", "--import", "tsx", program, ...args], {
    encoding: "utf8",
  });
}

test("a machine is described with its instructions, its load and, where that computes, its device", () => {
  const said = describeMachine();
  expect(said).toMatch(/, load \d+\.\d, /);
  expect(said).toContain(instructions().join(" and "));
  expect(describeMachine("cuda").split(", ")).toContain("cuda");
});

test("the share of busy processors counts what runs meanwhile", async () => {
  const share = busyShare(400);
  const until = performance.now() + 400;
  // This process keeps one of them busy.
  while (performance.now() < until);
  expect(await share).toBeGreaterThan(0);
  expect(await share).toBeLessThanOrEqual(1);
});

test.runIf(platform() === "linux")("others are who neither this process nor one of those that are named is", () => {
  const works = "const until = Date.now() + 1500; while (Date.now() < until);";
  const child = spawn(process.execPath, ["-e", works]);
  const [all, others] = [watchOthers([]), watchOthers([child.pid!])];
  const until = performance.now() + 1000;
  while (performance.now() < until);
  const [withChild, without] = [all()!, others()!];
  child.kill();
  expect(withChild).toBeGreaterThan(without);
  expect(without).toBeGreaterThanOrEqual(0);
  expect(watchOthers([2 ** 30])()).toBeUndefined();
});

// Two processes that load the whole of Tenet.
test("a bench that takes no device, and a peer that a device does not have, are refused", { timeout: 180_000 }, () => {
  expect(bench("store", "--device", "cuda")).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("store takes no --device"),
  });
  expect(bench("decode", "--device", "cuda", "--peer", "llama.cpp")).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('There is no peer "llama.cpp"'),
  });
});
