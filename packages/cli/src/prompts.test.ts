import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { collect, openDataset } from "@tenet/align";
import { scriptedModel } from "@tenet/lm";
import { afterAll, expect, it } from "vitest";
import { constitution, surroundings } from "../test/project.ts";
import { run } from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "tenet-prompts-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, "constitution.yaml");
writeFileSync(file, constitution);

/** How often a model was opened. */
let opened = 0;

async function tenet(...args: string[]) {
  let said = 0;
  const words = ["kettle", "marble", "lantern", "pepper", "walnut", "saddle", "ribbon", "copper"];
  const line = () => `${words[said % 8]} ${words[(said * 3 + 1) % 8]} ${7919 * said++}?`;
  const model = scriptedModel({ fallback: () => Array.from({ length: 8 }, line).join("\n") });
  const { io, written } = surroundings();
  const openModel = async () => {
    opened++;
    return model;
  };
  const code = await run(["prompts", file, ...args], io, { openModel });
  return { code, ...written };
}

it("writes prompts that data sets read, and a table of how each principle is covered", async () => {
  const out = join(folder, "made");
  const { code, stdout, stderr } = await tenet(
    "--out",
    out,
    "--each",
    "6",
    "--benign",
    "2",
    "--variants",
    "0",
    "--held-out",
    "0.4",
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/principle +train +held out +benign/);
  expect(stdout).toMatch(/no-q +\d+ +\d+ +2 +8 /);
  const rows = async (name: string) => (await collect(await openDataset(join(out, name), { as: "prompts" }))).rows;
  const [train, held] = [await rows("train.jsonl"), await rows("held-out.jsonl")];
  expect(train.length + held.length).toBe(16);
  expect([...train, ...held].filter(({ benign }) => benign)).toHaveLength(4);
  // Nothing is written over.
  expect(await tenet("--out", out)).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/train\.jsonl is there already/),
  });
  const again = await tenet(
    "--out",
    join(folder, "again"),
    "--each",
    "6",
    "--benign",
    "0",
    "--variants",
    "0",
    "--beside",
    join(out, "train.jsonl"),
    "--json",
  );
  const { coverage, files } = JSON.parse(again.stdout);
  expect(coverage.some(({ leaks }: { leaks: number }) => leaks > 0)).toBe(true);
  expect(readFileSync(files.train, "utf8")).not.toBe("");
});

it("refuses what cannot be, before anything is written", async () => {
  expect(await tenet("--held-out", "1")).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/--held-out: expected a share/),
  });
  expect(await tenet("--each", "0")).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/--each: expected at least 1/),
  });
  expect(existsSync("prompts/train.jsonl")).toBe(false);
});

it("refuses a place where nothing can be written, before a model is opened", async () => {
  const before = opened;
  for (const out of [file, join(file, "inside")])
    expect(await tenet("--out", out), out).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(
        `--out ${out}: expected a folder to write into, or a place where one can be made`,
      ),
    });
  expect(opened).toBe(before);
});

it("leaves no folder behind where a model fails", async () => {
  const out = join(folder, "failed");
  const { io, written } = surroundings();
  const openModel = async () => {
    throw new Error("no such server");
  };
  expect(await run(["prompts", file, "--out", out], io, { openModel })).toBe(1);
  expect(written.stderr).toContain("no such server");
  expect(existsSync(out)).toBe(false);
});
