import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openDataset, type PairRow, type PreferenceRow, rowId } from "@tenet/align";
import { hashOf, openStore } from "@tenet/runs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { reinforcedRecipe, surroundings, writeProject } from "../test/project.ts";
import { run } from "./index.ts";

const home = mkdtempSync(join(tmpdir(), "tenet-label-"));
const store = join(home, "runs");
afterAll(() => rmSync(home, { recursive: true, force: true }));

let id: string;
const count = 12;

/** A run with pairs and a machine's labels, the last of which is the least sure. */
beforeAll(() => {
  const writer = openStore(store);
  const made = writer.begin({ name: "desk", recipe: {} });
  const stages = {
    pairs: made.stage({ name: "pairs", kind: "pairs", identity: hashOf("pairs") }),
    labels: made.stage({ name: "labels", kind: "label", identity: hashOf("labels") }),
  };
  for (let i = 0; i < count; i++) {
    const prompt = [{ role: "user" as const, content: `Question ${i}?` }];
    const [a, b] = [`Reply one of ${i}`, `Reply two of ${i}`];
    const pair: PairRow = { id: rowId("pair", prompt, a, b), prompt, a, b, origin: { parents: [] } };
    const label = {
      ...pair,
      id: rowId("preference", pair.id),
      p: 0.5 + (count - 1 - i) / 100,
      weight: 1,
      label: "ai",
      explanation: [],
      origin: { models: { labeller: "secret-labeller" }, parents: [pair.id] },
    };
    stages.pairs.append([{ key: hashOf(pair.id), input: pair.id, ordinal: i, rows: [pair] }]);
    stages.labels.append([{ key: hashOf(label.id), input: pair.id, ordinal: i, rows: [label] }]);
  }
  for (const stage of Object.values(stages)) stage.finish({ inputs: count });
  made.end("done");
  id = made.id;
  writer.close();
});

async function label(keys: string | undefined, ...args: string[]) {
  const { io, written } = surroundings({ ...(keys !== undefined && { stdin: keys }), env: { TENET_STORE: store } });
  const code = await run(["label", id, ...args], io);
  return { code, ...written };
}

const reading = <T>(read: (store: ReturnType<typeof openStore>) => T): T => {
  const reader = openStore(store, { readOnly: true });
  try {
    return read(reader);
  } finally {
    reader.close();
  }
};
const answersOf = (who: string) =>
  reading((reader) =>
    reader
      .queues()
      .flatMap((queue) => reader.answers(queue.id))
      .filter((one) => one.who === who),
  );

it("asks by single keys, blind, the least sure first; undo gives the same pair again; a skip and two bad replies are no label", async () => {
  // left, right much, undo, tie, both bad, skip, stop.
  const { code, stdout } = await label("25ut bsq", "--who", "ann");
  expect(code).toBe(0);
  expect(stdout).toContain("the machine least sure first");
  expect(stdout.match(/── \d+ of 12 ──/g)).toEqual([1, 2, 3, 2, 3, 4, 5].map((i) => `── ${i} of 12 ──`));
  for (const secret of ["secret-labeller", "0.5", "ai", "base"])
    expect(stdout.replaceAll("explain", "")).not.toContain(` ${secret} `);
  expect(stdout.indexOf("Question 11?")).toBeLessThan(stdout.indexOf("Question 10?"));
  expect(stdout).not.toContain("Question 0?");
  const answers = answersOf("ann");
  expect(answers.map(({ value }) => value.choice)).toEqual(["left", "tie", "both bad", "skip"]);
  for (const { value } of answers) expect(value).toMatchObject({ blind: true, milliseconds: expect.any(Number) });
  const labels = reading((reader) => reader.labels().filter(({ who }) => who === "ann"));
  expect(labels.map(({ p }) => p)).toEqual([answers[0]!.value.left === "a" ? 1 : 0, 0.5]);
  // Goes on where it was, and says what a key is for where it is none.
  const again = await label("z1q", "--who", "ann");
  expect(again.stdout).toContain("── 5 of 12 ──");
  expect(again.stdout.match(/skip · u undo/g)).toHaveLength(2);
  expect(answersOf("ann")).toHaveLength(5);
});

it("asks about as many pairs as are wanted, the first of the order, and refuses counts that no queue has", async () => {
  const { stdout } = await label("2q", "--who", "hal", "--size", "3");
  expect(stdout).toMatch(/── 1 of 3 ──.*\n.*Question 11\?/);
  const { queue } = answersOf("hal")[0]!;
  const questions = reading((reader) =>
    reader.queueItems(queue).map(({ row }) => JSON.stringify(reader.row<PairRow>(row)!.prompt)),
  );
  expect(questions).toEqual([11, 10, 9].map((i) => expect.stringContaining(`Question ${i}?`)));
  const queues = () => reading((reader) => reader.queues().length);
  const before = queues();
  for (const [option, value, expected] of [
    ["--size", "0", /--size: expected 1 or more, got 0/],
    ["--each", "9", /--each: expected 1 to 5, got 9/],
    ["--each", "0", /--each: expected 1 to 5, got 0/],
    ["--who", "x".repeat(201), /--who: expected a name of at most 200 characters, got 201/],
  ] as const)
    expect(await label("q", "--who", "hal", option, value)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(expected),
    });
  expect(queues()).toBe(before);
});

it("keeps a correction of the reply that was meant, and a note with the answer; gives corrections back as what recipes read", async () => {
  const file = (name: string) => join(home, `${name}.jsonl`);
  expect(await label(undefined, "--corrections", file("none"))).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/nobody corrected a reply .* has a key for it/),
  });
  await label("c1Better so.\nnit is kinder\n2q", "--who", "cora");
  const [answer] = answersOf("cora");
  expect(answer!.value).toMatchObject({ choice: "left", note: "it is kinder" });
  const [said] = reading((reader) => reader.annotations({ row: answer!.row }));
  expect(said).toMatchObject({ kind: "correction", about: answer!.value.left, value: "Better so.", who: "cora" });
  const { prompt, a, b } = reading((reader) => reader.row<PairRow>(answer!.row))!;
  const written = async (as: "examples" | "preferences", ...args: string[]) => {
    const { code, stdout } = await label(undefined, "--corrections", file(as), ...args);
    expect([code, stdout]).toEqual([0, expect.stringContaining(`1 correction in ${file(as)}`)]);
    const rows = [];
    for await (const one of await openDataset(file(as), { as })) rows.push("row" in one ? one.row : one);
    return rows;
  };
  expect(await written("examples")).toMatchObject([{ prompt, completion: "Better so." }]);
  const [preference] = await written("preferences", "--as", "preferences");
  const { p, ...told } = preference as PreferenceRow;
  const corrected = answer!.value.left === "a" ? a : b;
  expect(p === 1 ? [told.a, told.b] : [told.b, told.a]).toEqual(["Better so.", corrected]);
  expect(await label(undefined, "--corrections", file("examples"))).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/is there already; expected a new file, so that no corrections are lost/),
  });
});

it("an end of input stops it, and so does Ctrl-C; nobody who is unknown is asked", async () => {
  expect((await label("2", "--who", "dan")).code).toBe(0);
  expect((await label("\u0003", "--who", "dan")).code).toBe(0);
  expect(answersOf("dan")).toHaveLength(1);
  expect(await label("2")).toMatchObject({ code: 2, stderr: expect.stringContaining("--who <name>") });
  expect(await label("2", "--who", "x", "--order", "best")).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/--order: expected one of random/),
  });
  expect(await label("2", "--who", "x", "--queue", "none")).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/holds no queue "none"/),
  });
});

it("says how far people agree, and exports and imports for other programs", async () => {
  const file = join(home, "pairs.csv");
  const out = await label(undefined, "--who", "eva", "--export", file, "--order", "made", "--each", "2");
  expect(out.stdout).toMatch(/12 pairs for eva in .*pairs\.csv/);
  expect(await label(undefined, "--who", "eva", "--export", file)).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/is there already/),
  });
  const lines = readFileSync(file, "utf8").trimEnd().split("\r\n");
  writeFileSync(
    file,
    `${lines.map((line, i) => (i === 0 ? line : i < 11 ? line.replace(/,,,$/, ",left,3,") : i === 11 ? line.replace(/,,,$/, ",perhaps,,") : line)).join("\r\n")}\r\n`,
  );
  const read = await label(undefined, "--who", "eva", "--import", file, "--order", "made", "--each", "2", "--json");
  expect(JSON.parse(read.stdout)).toMatchObject({
    taken: 10,
    open: 1,
    known: 0,
    aside: [{ reason: expect.stringMatching(/^choice: expected one of left much/) }],
  });
  const told = /label \S+ --import (\S+) --queue (\S+)/.exec(out.stdout)!;
  expect(told[1]).toBe(file);
  // Of another queue nothing is taken.
  const astray = await label(undefined, "--who", "eva", "--import", file, "--json");
  expect(JSON.parse(astray.stdout)).toMatchObject({
    taken: 0,
    aside: Array(11).fill({ source: expect.any(String), reason: expect.stringContaining(`"${told[2]}"`) }),
  });
  await label("2".repeat(12), "--who", "fay", "--order", "made", "--each", "2");
  const { stdout } = await label(undefined, "--results");
  expect(stdout).toMatch(/krippendorff's alpha +-?\d\.\d{3} \[.*\] of 10/);
  expect(stdout).toMatch(/eva and fay +kappa/);
  expect(stdout).toMatch(/eva +10 answers, 3 s each; agrees with others/);
});

it("kill -9 while labelling loses no answer", async () => {
  const main = fileURLToPath(new URL("main.ts", import.meta.url));
  const args = [
    "--import",
    "tsx",
    "--conditions=source",
    main,
    "label",
    id,
    "--store",
    store,
    "--who",
    "gil",
    "--order",
    "made",
    "--size",
    "11",
  ];
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
  let shown = "";
  child.stdout.on("data", (chunk) => {
    shown += chunk;
  });
  const said = () => shown.match(/→ /g)?.length ?? 0;
  for (let i = 1; i <= 7; i++) {
    child.stdin.write("2");
    while (said() < i && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
  expect(answersOf("gil")).toHaveLength(7);
  expect(reading((reader) => reader.labels().filter(({ who }) => who === "gil"))).toHaveLength(7);
}, 120_000);

it("a run that waits for people ends with 4, and the command that it says goes on", async () => {
  const text = reinforcedRecipe
    .replace(/ {2}audit: .*\n/, "")
    .replace(/ {2}label: .*\n/, "")
    .replace("feedback:\n", "feedback:\n  label: { method: people }\n  people: { pairs: 3 }\n");
  const recipe = await writeProject(join(home, "project"), text);
  const { io, written } = surroundings({ env: { TENET_STORE: store } });
  expect(await run(["run", recipe], io)).toBe(4);
  const [, command] = /0 of 3 pairs are judged: tenet label (\S+)/.exec(written.stderr)!;
  const next = surroundings({ stdin: "2 4 1 ", env: { TENET_STORE: store } });
  expect(await run(["label", command!, "--who", "hal"], next.io)).toBe(0);
  expect(next.written.stdout).toContain("nothing is left for hal");
  const listed = surroundings({ env: { TENET_STORE: store } });
  await run(["ls"], listed.io);
  expect(listed.written.stdout).toMatch(/waiting/);
  const last = surroundings({ env: { TENET_STORE: store } });
  expect(await run(["run", recipe], last.io)).toBe(0);
}, 240_000);
