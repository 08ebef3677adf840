import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadConstitution, rowId } from "@tenet/align";
import { scriptedModel } from "@tenet/lm";
import { hashOf, openStore } from "@tenet/runs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { surroundings } from "../test/project.ts";
import { run } from "./index.ts";
import { writeWhole } from "./report.ts";

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

it("writes over nothing, and says so before it reads anything", async () => {
  const [there, fresh] = [join(folder, "mine.yaml"), join(folder, "fresh.yaml")];
  await writeFile(there, "mine");
  const votes = ["constitution", "from-votes", join(folder, "no export")];
  for (const args of [
    [...votes, "--out", there],
    [...votes, "--out", fresh, "--tallies", there],
    ["constitution", "from-spec", join(folder, "no spec.md"), "--out", there],
  ])
    expect(await tenet(...args), args.join(" ")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`${there} is there already; expected a new file`),
    });
  expect(await readFile(there, "utf8")).toBe("mine");
  expect(await tenet(...votes, "--out", fresh, "--tallies", fresh)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining(`--out and --tallies are both ${fresh}`),
  });
});

it("says of a place where no file can lie what is wrong with it, by the name that it was given", async () => {
  const [spec, file, inside] = [join(folder, "care.md"), join(folder, "a file"), join(folder, "a folder")];
  await writeFile(spec, "# Care {#care}\n\nWhy.\n\n## Be kind {#be_kind authority=user}\n\nIt is kind.\n");
  await writeFile(file, "");
  await mkdir(inside);
  for (const place of [join(folder, "none"), file]) {
    const out = join(place, "care.yaml");
    const told = `${out} cannot be written: ${place} is no folder; make it, or name a file in a folder that is there`;
    expect(await tenet("constitution", "from-spec", spec, "--out", out)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(told),
    });
    await expect(writeWhole(out, "text")).rejects.toMatchObject({ name: "UsageError", message: told });
  }
  await expect(writeWhole(inside, "text")).rejects.toMatchObject({
    name: "UsageError",
    message: `${inside} is a folder; expected the name of a file`,
  });
  expect((await readdir(folder)).filter((name) => name.includes(".partial"))).toEqual([]);
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

it("holds replies of a file to the checks of their category, and takes no mistyped name for a reply", async () => {
  const file = join(folder, "categories.yaml");
  await writeFile(file, desk.replace("when: cough", "whenCategory: emergency"));
  const replies = join(folder, "categories.jsonl");
  const rows = ["emergency", undefined].map((category) => ({ prompt: `I ${category}`, completion: "Rest.", category }));
  await writeFile(replies, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const gated = await tenet("check", file, replies, "--gate");
  expect(gated).toMatchObject({ code: 3, stdout: expect.stringMatching(/doctor +1 of 1\s+kind +0 of 2/) });
  for (const [reply, said, ...more] of [
    [replies, /--category is for one reply/, "--category", "emergency"],
    ["replies.jsonll.jsonl", /got "replies.jsonll.jsonl": there is no such file/],
    ["./answers", /there is no such file/],
    [folder, /got the folder/],
  ] as const)
    expect(await tenet("check", file, reply, "--gate", ...more)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(said),
    });
  for (const reply of ["yes/no", "Rest.", "Please see a.md."])
    expect((await tenet("check", file, reply, "--gate")).code).toBe(0);
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

/** A run whose labeller read pairs under two principles, `opposed` of them against each other. */
async function labelledRun(store: string, file: string, { opposed, of }: { opposed: number; of: number }) {
  const writer = openStore(store);
  const made = writer.begin({ name: `opposed-${opposed}`, recipe: {} });
  made.event({ kind: "opened", data: { constitution: await loadConstitution(file) } });
  const stage = made.stage({ name: "labels", kind: "label", identity: hashOf([opposed, of]) });
  for (let i = 0; i < of; i++) {
    const prompt = [{ role: "user" as const, content: `Question ${i}?` }];
    const reading = (principle: string, p: number) =>
      ["a", "b"].map((first) => ({ step: "reading", principle, first, p }));
    const id = rowId("preference", prompt, opposed);
    const row = {
      ...{ id, prompt, a: "Reply one", b: "Reply two", p: 0.5, weight: 1, label: "ai" },
      explanation: [...reading("doctor", 0.8), ...reading("kind", i < opposed ? 0.3 : 0.7)],
      origin: { principles: ["doctor", "kind"], parents: [`pair ${i}`] },
    };
    stage.append([{ key: hashOf(id), input: `pair ${i}`, ordinal: i, rows: [row] }]);
  }
  stage.finish({ inputs: of });
  made.end("done");
  writer.close();
  return made.id;
}

it("says which principles pull apart, by the readings of a run", async () => {
  const [file, store] = [join(folder, "read.yaml"), join(folder, "runs")];
  await writeFile(file, desk);
  const apart = await labelledRun(store, file, { opposed: 18, of: 20 });
  const few = await labelledRun(store, file, { opposed: 6, of: 6 });
  const lint = (...args: string[]) => tenet("constitution", "lint", file, "--store", store, ...args);

  const found = await lint("--run", apart, "--gate");
  expect(found).toMatchObject({ code: 3, stderr: "" });
  // By hand: Wilson's interval of 2 of 20.
  expect(found.stdout).toMatch(
    /^pull apart +doctor, kind +they prefer the same reply in 0\.10 \[0\.03, 0\.30\] of 20 pairs\n/,
  );
  expect(found.stdout).toContain(`${apart}: 20 pairs labelled under two of these principles or more\n`);
  expect(found.stdout).not.toContain("at one half");
  expect((await lint("--run", apart, "--matrix")).stdout).toMatch(
    /principles +prefer the same +of +at one half +not read\ndoctor, kind +0\.10 \[0\.03, 0\.30\] +20 +0 +0\n$/,
  );
  const { findings, readings } = JSON.parse((await lint("--run", apart, "--json")).stdout);
  expect(findings).toMatchObject([{ kind: "pull apart", principles: ["doctor", "kind"] }]);
  expect(readings).toMatchObject({
    ...{ run: apart, enough: 10, pairs: 20, leftOut: [] },
    matrix: [{ principles: ["doctor", "kind"], same: { value: 0.1, n: 20 }, halves: 0, unread: 0 }],
  });

  // All six are opposed, and six are too few.
  expect(await lint("--run", few, "--gate")).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(
      /^nothing to say of 2 principles\n\n.*: 6 pairs labelled.*\nnothing is said of 1 of 1 combinations.* takes 10 pairs .* 6 at most\n$/,
    ),
  });
  // What is asked otherwise now was not read.
  await writeFile(file, desk.replace("Be kind.", "Be gentle."));
  expect((await lint("--run", apart)).stdout).toMatch(
    /0 pairs labelled.*feedback\.label\.principles.*\nleft out.*: kind\n$/,
  );
});

it("says what reads no run, and which run was not read", async () => {
  const [file, store] = [join(folder, "unread.yaml"), join(folder, "unread")];
  await writeFile(file, desk);
  const writer = openStore(store);
  const made = writer.begin({ name: "bare", recipe: {} });
  made.end("done");
  writer.close();
  for (const [args, message] of [
    [["--matrix"], /--matrix belongs to --run/],
    [["--store", store], /--store belongs to --run/],
    [["--store", store, "--run", made.id], /has no labels by a labeller/],
    [["--store", store, "--run", "none"], /holds no run none/],
  ] as const)
    expect(await tenet("constitution", "lint", file, ...args)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(message),
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

it("takes a constitution whose checks are programs where that is allowed, and says how else", async () => {
  const file = join(folder, "programs.yaml");
  await writeFile(join(folder, "rules.mjs"), "export default () => true;\n");
  await writeFile(file, `${desk}  - { id: own, text: Ours., checks: [{ module: rules.mjs }] }\n`);
  const out = join(folder, "programs");
  const openModel = async () => scriptedModel({ fallback: () => "What is it?" });
  for (const args of [
    ["constitution", "lint", file],
    ["diff", file, file],
    ["prompts", file, "--out", out, "--each", "1", "--benign", "0", "--variants", "0", "--held-out", "0"],
  ]) {
    const refused = surroundings();
    expect(await run(args, refused.io, { openModel }), args[0]).toBe(2);
    expect(refused.written.stderr).toMatch(/expected no module, .*--allow-modules/);
    const { io, written } = surroundings();
    expect(await run([...args, "--allow-modules"], io, { openModel }), written.stderr).toBe(0);
  }
});
