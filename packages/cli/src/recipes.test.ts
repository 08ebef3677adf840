import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStore } from "@tenet/runs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { reinforcedRecipe, supervisedRecipe, surroundings, writeProject } from "../test/project.ts";
import { run } from "./index.ts";

const home = mkdtempSync(join(tmpdir(), "tenet-recipes-"));
const store = join(home, "runs");
let recipe: string;
beforeAll(async () => {
  process.env.TENET_CACHE = join(home, "cache");
  recipe = await writeProject(join(home, "project"), reinforcedRecipe);
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** What a command line does: its exit code and what it writes. */
async function tenet(...args: string[]) {
  const { io, written } = surroundings({ env: { TENET_STORE: store } });
  const code = await run(args, io);
  return { code, ...written };
}

/** A recipe beside the project's, with other contents. */
function beside(name: string, text: string): string {
  const file = join(home, "project", name);
  writeFileSync(file, text);
  return file;
}

describe("audit", () => {
  it("executes what the audit needs and leaves the run to be continued", async () => {
    const { code, stdout, stderr } = await tenet("audit", recipe);
    expect(stderr).toMatch(/warning: the audit refuses the labeller/);
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringMatching(/accuracy +\d/) });
    const opened = openStore(store, { readOnly: true });
    const [info] = opened.runs();
    const stages = opened.stages(info!.id).map(({ name }) => name);
    opened.close();
    expect(stages.sort()).toEqual(["audit", "audit labels", "audit pairs", "known"]);
    expect(info).toMatchObject({ status: "interrupted", error: "only audit was asked for" });
  });

  it("exits with 3 where the gate refuses", async () => {
    const strict = beside("strict.yaml", reinforcedRecipe.replace("override: true", "override: false"));
    const { code, stderr } = await tenet("audit", strict);
    expect(stderr).toMatch(/tenet: the audit refuses the labeller: .*roles\.labeller/);
    expect(code).toBe(3);
    const shown = await tenet("ls");
    expect(shown.stdout).toMatch(/strict-\w+ +refused/);
  });

  it("says what a recipe lacks to be audited", async () => {
    const bare = await tenet("audit", beside("bare.yaml", supervisedRecipe));
    expect(bare).toMatchObject({ code: 2, stderr: expect.stringContaining("add feedback.audit") });
    const unused = beside("unused.yaml", `${supervisedRecipe}feedback: { audit: { path: known.jsonl } }\n`);
    expect(await tenet("audit", unused)).toMatchObject({ code: 2, stderr: expect.stringContaining("add policy") });
  });
});

describe("exit codes", () => {
  it("is 2 for a faulty document, with its lines, also as JSON", async () => {
    const faulty = beside("faulty.yaml", supervisedRecipe.replace("revisions", "revsions"));
    const text = await tenet("run", faulty);
    expect(text).toMatchObject({ code: 2, stderr: expect.stringMatching(/faulty\.yaml:6.*"revisions"/s) });
    const json = await tenet("run", faulty, "--json");
    expect(JSON.parse(json.stdout).error).toMatchObject({ name: "DocumentError", exitCode: 2 });
  });

  it("is 2 where there is no store or no such run", async () => {
    expect(await tenet("ls", "--store", join(home, "nowhere"))).toMatchObject({ code: 2 });
    expect(await tenet("show", "nothing")).toMatchObject({ code: 2, stderr: expect.stringContaining("holds no run") });
  });

  it("is 1 for what fails while it works, and the run says why", async () => {
    const long = beside("long.yaml", supervisedRecipe.replace("maxLength: 512", "maxLength: 8"));
    const { code, stderr } = await tenet("run", long);
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringMatching(/tenet: none of the .* rows/) });
    expect((await tenet("ls")).stdout).toMatch(/long-\w+ +failed/);
  });

  it("is 130 when interrupted, and the same command continues", async () => {
    const other = beside("other.yaml", `seed: 3\n${supervisedRecipe}`);
    const { io, written, interrupt, listeners } = surroundings({ env: { TENET_STORE: store } });
    const code = run(["run", other], io);
    while (!written.stderr.includes("first responses")) await new Promise((resolve) => setTimeout(resolve, 5));
    interrupt();
    expect(await code).toBe(130);
    expect(written.stderr).toContain("continues where this one stopped");
    expect(listeners.size).toBe(0);
    expect((await tenet("ls")).stdout).toMatch(/other-\w+ +interrupted/);
  });
});
