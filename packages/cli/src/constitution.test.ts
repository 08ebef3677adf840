import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { surroundings } from "../test/project.ts";
import { run } from "./index.ts";

const polis = fileURLToPath(new URL("../../align/src/constitution/polis.golden.export", import.meta.url));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-constitution-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function tenet(...args: string[]) {
  const { io, written } = surroundings();
  const code = await run(args, io);
  return { code, ...written };
}

it("draws a constitution from votes, and says how every statement fared", async () => {
  const [out, tallies] = [join(folder, "people.yaml"), join(folder, "tallies.csv")];
  const { code, stdout, stderr } = await tenet(
    ...["constitution", "from-votes", polis, "--out", out, "--tallies", tallies],
  );
  expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
  expect(stderr).toMatch(/12, 1 of them turned down/);
  expect(stderr).toMatch(/12 voters without a group; --cluster/);
  expect(await readFile(out, "utf8")).toMatch(/^# Drawn from the votes of 48 people .*\nname: polis\.golden\.export/);
  expect((await readFile(tallies, "utf8")).split("\n")[0]).toBe(
    "statement,agreement 0,votes 0,agreement 1,votes 1,consensus,weight,enters",
  );
  expect((await tenet("diff", out, out)).stdout).toMatch(/the principles are the same/);
  const printed = await tenet("constitution", "from-votes", polis, "--json");
  expect(JSON.parse(printed.stdout)).toMatchObject({ statements: 12, leftOut: 12, constitution: expect.any(String) });
});

it("says what is wrong with an export, and with a threshold nobody reaches", async () => {
  expect(await tenet("constitution", "from-votes", folder)).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/comments\.csv does not exist/),
  });
  expect(await tenet("constitution", "from-votes", polis, "--threshold", "0.99")).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/no candidate reaches an agreement of 0\.99/),
  });
  expect(await tenet("constitution", "from-votes", polis, "--threshold", "50")).toMatchObject({ code: 2 });
});

it("makes a constitution of a specification", async () => {
  const [spec, out] = [join(folder, "spec.md"), join(folder, "spec.yaml")];
  await writeFile(spec, "# Care {#care}\n\nWhy.\n\n## Be kind {#be_kind authority=user}\n\nIt is kind.\n");
  const { code, stderr } = await tenet("constitution", "from-spec", spec, "--out", out);
  expect(code).toBe(0);
  expect(stderr).toMatch(/principles +1: user 1/);
  expect(await readFile(out, "utf8")).toMatch(/authority: user/);
  await writeFile(spec, "## Be kind {#be_kind authority=usr}\n");
  expect(await tenet("constitution", "from-spec", spec)).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/spec\.md:1.*Did you mean "user"/),
  });
});
