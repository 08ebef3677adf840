import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { rowId } from "@tenet/align";
import { hashOf, openStore } from "@tenet/runs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { surroundings } from "../test/project.ts";
import { run } from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "tenet-store-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A store with one run of one stage that made an artifact. */
async function storeWithRun(name: string) {
  const store = openStore(join(folder, name));
  const writer = store.begin({ name: "desk", recipe: {} });
  const stage = writer.stage({ name: "train", kind: "train", identity: hashOf("train") });
  const file = join(folder, `${name}.bin`);
  writeFileSync(file, Buffer.alloc(100_000, 7));
  const { hash } = await stage.addArtifact(file);
  stage.finish({ artifacts: [hash], output: { artifact: hash } });
  writer.end("done");
  const facts = { place: store.folder, id: writer.id, hash, path: store.artifactPath(hash) };
  store.close();
  return facts;
}

it("verify says whether all is as it was written, and names what is not", async () => {
  const { place, id, hash, path } = await storeWithRun("verified");
  const sound = surroundings();
  expect(await run(["verify", "--store", place], sound.io)).toBe(0);
  expect(sound.written.stdout).toBe(`${place}: everything is as it was written\n`);

  const bytes = Buffer.alloc(100_000, 7);
  bytes[50_000]! ^= 1;
  writeFileSync(path, bytes);
  const problem = `artifact ${hash} of stage ${id} train was changed`;
  const changed = surroundings();
  expect(await run(["verify", "--store", place], changed.io)).toBe(1);
  expect(changed.written.stdout).toBe(`${problem}\n`);
  expect(changed.written.stderr).toMatch(/Restore a copy .* run the recipe again/);
  const json = surroundings();
  expect(await run(["verify", "--store", place, "--json"], json.io)).toBe(1);
  expect(JSON.parse(json.written.stdout)).toEqual({ store: place, intact: false, problems: [problem] });
});

describe("show", () => {
  const place = join(folder, "shown");
  let id: string;
  beforeAll(() => {
    const store = openStore(place);
    const writer = store.begin({ name: "desk", recipe: {} });
    const stage = writer.stage({ name: "answers", kind: "respond", identity: hashOf("answers") });
    for (const [i, content] of ["Is syrup safe?", "Why do I cough?"].entries()) {
      const prompt = [{ role: "user", content }];
      const row = {
        id: rowId("example", prompt, i),
        prompt,
        response: "Ask.",
        origin: { principles: [], parents: [] },
      };
      stage.append([{ key: hashOf(i), input: content, ordinal: i, rows: [row] }]);
    }
    stage.finish({ inputs: 2 });
    writer.end("done");
    id = writer.id;
    store.close();
  });
  const show = async (...args: string[]) => {
    const { io, written } = surroundings();
    return { code: await run(["show", id, "answers", "--store", place, ...args], io), ...written };
  };

  it("finds rows by what is said in their conversations, and says where there is none", async () => {
    const { stdout } = await show("--where", "prompt~SYRUP");
    expect(stdout).toContain("Is syrup safe?");
    expect(stdout).not.toContain("Why do I cough?");
    expect(stdout).not.toContain("no row");
    for (const [args, message] of [
      [["--where", "prompt~doctor"], "no row of 2 fits"],
      [["--where", "prompt~syrup", "--skip", "1"], "no row of 2 fits behind the first 1"],
      [["--where", "prompt~doctor", "--sample", "3", "--skip", "1"], "no row of 2 fits"],
      [["--skip", "2"], "no row of 2 is behind the first 2"],
    ] as const)
      expect((await show(...args)).stdout, args.join(" ")).toMatch(new RegExp(`\n\n${message}\n$`));
    expect((await show("--rows", "0")).stdout).not.toContain("no row");
    expect(JSON.parse((await show("--where", "prompt~doctor", "--json")).stdout)).toMatchObject({
      rows: 2,
      sample: [],
    });
  });

  it.each([
    ["rows", "-1", "0 or more"],
    ["skip", "-5", "0 or more"],
    ["sample", "0", "1 or more"],
    ["sample", "-3", "1 or more"],
    ["seed", "-1", "0 or more"],
  ])("refuses --%s %s", async (name, value, range) => {
    const { code, stdout, stderr } = await show("--sample", "1", `--${name}`, value);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(new RegExp(`--${name} <.*argument '${value}' is invalid. expected ${range}.`));
  });
});

it("an empty argument, as a shell's variable that is not set gives, is refused and does nothing", async () => {
  const { place, id } = await storeWithRun("kept");
  const calls = [
    ["rm", "", "--store", place],
    ["show", "", "--store", place],
    ["report", ""],
    ["export", "", "there"],
    ["export", id, "", "--store", place],
    ["diff", id, ""],
    ["chat", "--run", "", "Hello you"],
    ["rm", id, "--store", ""],
    ["ls", "--store", ""],
    ["run", "", "--store", place],
    ["run", "recipe.yaml", "--store", ""],
    ["init", ""],
  ];
  for (const args of calls) {
    const { io, written } = surroundings({ stdin: "" });
    expect(await run(args, io), args.join(" ")).toBe(2);
    expect(written.stderr, args.join(" ")).toMatch(
      / is empty; expected a value\. Is a variable of the shell not set\?/,
    );
  }
  const store = openStore(place, { readOnly: true });
  expect(store.runs().map((one) => one.id)).toEqual([id]);
  store.close();
});

it("a store from elsewhere cannot lead out of its folder", async () => {
  const { place, id } = await storeWithRun("foreign");
  const database = new DatabaseSync(join(place, "store.db"));
  for (const table of ["run", "stage", "event"]) {
    const column = table === "run" ? "id" : "run";
    database.exec(`UPDATE ${table} SET ${column} = '../../../evil-12345678' WHERE ${column} = '${id}'`);
  }
  database.close();
  const before = readdirSync(folder);
  for (const args of [["ls"], ["report", "latest"], ["show", "latest"], ["rm", "latest"]]) {
    const { io, written } = surroundings();
    expect(await run([...args, "--store", place], io), args.join(" ")).toBe(1);
    expect(written.stderr).toMatch(/holds a run with the id "\.\.\/\.\.\/\.\.\/evil-12345678", which no Tenet gives/);
  }
  expect(readdirSync(folder)).toEqual(before);
});
