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

const desk = `name: desk
version: "1"
principles:
  - id: doctor
    text: Send people to a doctor.
    checks: [{ name: names one, must: doctor, when: cough, severity: 0.5 }]
  - id: kind
    text: Be kind.
    checks: [{ mustNot: stupid }]
`;

it("checks a reply, one on standard input, and a file of them", async () => {
  const file = join(folder, "desk.yaml");
  await writeFile(file, desk);
  expect(await tenet("check", file, "See a doctor.", "--prompt", "I cough.")).toMatchObject({
    code: 0,
    stdout: "it breaks none of 2 checks that apply\n",
  });
  const rude = await tenet("check", file, "How stupid.", "--prompt", "I cough.", "--gate", "--json");
  expect(rude.code).toBe(3);
  expect(JSON.parse(rude.stdout)).toMatchObject({
    broken: 1,
    replies: [
      { applying: 2, worst: 1, violated: [{ principle: "doctor", check: "names one" }, { principle: "kind" }] },
    ],
  });
  const { io, written } = surroundings({ stdin: "How stupid.\n" });
  expect(await run(["check", file], io)).toBe(0);
  expect(written.stdout).toMatch(/kind +1 mustNot +1/);

  const replies = join(folder, "replies.jsonl");
  const rows = [
    { prompt: "I cough.", completion: "See a doctor." },
    { prompt: "I cough.", completion: "Rest." },
    { prompt: "Hello.", completion: "Hello!" },
  ];
  await writeFile(replies, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const all = await tenet("check", file, replies);
  expect(all.stdout).toMatch(/doctor +1 of 2\s+kind +0 of 3\s+1 of 3 replies break something/);
});

it("says what a constitution's author probably did not mean", async () => {
  const file = join(folder, "planted.yaml");
  await writeFile(file, `${desk}  - { id: kindly, text: "be kind", checks: [{ words: { min: 0 } }] }\n`);
  const found = await tenet("constitution", "lint", file, "--gate");
  expect(found.code).toBe(3);
  expect(found.stdout).toMatch(/duplicate +kind, kindly +they say the same/);
  expect(found.stdout).toMatch(/cannot fire +kindly/);
  await writeFile(file, desk);
  expect(await tenet("constitution", "lint", file, "--gate")).toMatchObject({
    code: 0,
    stdout: "nothing to say of 2 principles\n",
  });
});

it("refuses a check that says otherwise of its own examples", async () => {
  const file = join(folder, "examples.yaml");
  const examples = "examples: { keeps: [Rest.], breaks: [{ prompt: I cough., reply: Rest. }, See a doctor.] }";
  await writeFile(file, desk.replace("severity: 0.5", `severity: 0.5, ${examples}`));
  const { code, stderr } = await tenet("constitution", "lint", file);
  expect(code).toBe(2);
  expect(stderr).toMatch(/principles\[0\]\.checks\[0\]\.examples\.keeps\[0\].*lets pass.*nothing in it matches/);
  expect(stderr).toMatch(/examples\.breaks\[1\].*a reply that the check finds.*it says "doctor"/);
  expect(stderr).not.toMatch(/breaks\[0\]/);
});
