import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import { writeTalkingModel } from "@tenet/fixtures";
import { openStore, type Store, type StoredRow } from "@tenet/runs";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { reinforcedRecipe, writeRecipe } from "../../packages/align/test/pipeline/fixture.ts";
import { executable, launch, noBrowser } from "../../packages/view/test/chromium.ts";
import { Visitor } from "../../packages/view/test/visitor.ts";

if (!executable) console.log(`a project is not worked on in a browser: ${noBrowser}`);

const main = fileURLToPath(new URL("../../packages/cli/src/main.ts", import.meta.url));
const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
const program = ["--conditions=source", "--import", tsx, main];

/** What the page starts are runs of tenet itself, on a model that is made up: nothing stands in for anything. */
describe.skipIf(!executable)("a project, from the page alone", () => {
  const folder = mkdtempSync(join(tmpdir(), "tenet-project-"));
  const store = join(folder, "runs");
  const env = { ...process.env, TENET_STORE: store, TENET_CACHE: join(folder, "cache"), TENET_OFFLINE: "1" };
  const servers: ChildProcess[] = [];
  let browser: Browser;

  beforeAll(async () => {
    browser = await launch();
  }, 120_000);
  afterEach(async () => {
    for (const server of servers.splice(0)) {
      server.kill("SIGINT");
      if (server.exitCode === null) await once(server, "exit");
    }
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** `tenet view` in a process of its own, as a user starts it. */
  async function visit(project: string): Promise<Visitor> {
    const server = spawn(process.execPath, [...program, "view", "--port", "0", "--json", "--project", project], {
      ...{ env, cwd: folder, stdio: ["ignore", "pipe", "inherit"] },
    });
    servers.push(server);
    const [line] = (await once(createInterface({ input: server.stdout! }), "line")) as [string];
    return new Visitor(browser, new URL((JSON.parse(line) as { url: string }).url).origin);
  }

  function read<T>(what: (store: Store) => T): T {
    const open = openStore(store, { readOnly: true });
    try {
      return what(open);
    } finally {
      open.close();
    }
  }

  /** Chooses a recipe of a folder, and waits until it was checked. */
  async function choose(page: Page, recipe: string, project: string): Promise<void> {
    const option = page.locator("option", { hasText: new RegExp(`^${recipe} in .*/${project}$`) });
    await option.waitFor({ state: "attached" });
    await page.locator("main select").selectOption((await option.getAttribute("value"))!);
    await page.getByText("Run ", { exact: false }).or(page.getByRole("alert")).first().waitFor();
  }

  test("a recipe of tenet init is changed, saved, started, stopped and started anew; a run that fails says what to do", async () => {
    const desk = join(folder, "desk");
    const made = spawnSync(process.execPath, [...program, "init", desk], { env, encoding: "utf8" });
    expect([made.status, made.stderr]).toEqual([0, ""]);
    await writeTalkingModel(join(desk, "model"), { endBias: 0.5 });
    const before = readFileSync(join(desk, "recipe.yaml"), "utf8");
    const visitor = await visit(desk);
    const page = await visitor.open("/runs");
    for (const command of ["tenet init my-desk", "tenet run my-desk/recipe.yaml"])
      await page.getByText(command, { exact: true }).first().waitFor();
    await visitor.go(page, "/launch");
    await choose(page, "recipe.yaml", "desk");
    const text = page.locator("textarea.code");
    await text.fill(before.replace(/^model: .*/m, "model: ./modle"));
    await page.getByRole("alert").getByText("modle").first().waitFor();
    await text.fill(before.replace(/^model: .*/m, "model: ./model"));
    await page.getByLabel("Save as", { exact: true }).fill("tiny.yaml");
    await page.getByRole("button", { name: "Save as a new file" }).click();
    await page.locator("label", { hasText: /^tiny\.yaml/ }).waitFor();
    expect(readFileSync(join(desk, "recipe.yaml"), "utf8")).toBe(before);

    await page.getByRole("button", { name: "Start the run" }).click();
    await page.getByText("It is running").getByRole("link").click();
    await page.getByRole("button", { name: "Stop", exact: true }).click();
    await page.getByText("The run was interrupted").waitFor();
    const [stopped] = read((open) => open.runs());
    expect(stopped!.status).toBe("interrupted");
    expect(read((open) => open.stages(stopped!.id)).length).toBeGreaterThan(0);
    await page
      .getByText(`tenet run ${join(desk, "tiny.yaml")}`)
      .first()
      .waitFor();

    // Three prompts leave nothing to learn from; the page says so where the run stopped, and what to do.
    await visitor.go(page, "/launch");
    await choose(page, "tiny.yaml", "desk");
    await page.getByLabel("Prompts at most").fill("3");
    await page.getByRole("button", { name: "Start the run" }).click();
    await page.getByText("It is running").getByRole("link").click();
    await page.getByText("The run failed").waitFor({ timeout: 240_000 });
    await page.getByText("nothing is left to train on").first().waitFor();
    await page.getByText("give more prompts").first().waitFor();
    expect(read((open) => open.runs()).map(({ status }) => status)).toEqual(["failed", "interrupted"]);
    expect(visitor.complaints).toEqual([]);
    await page.context().close();
  }, 600_000);

  test("twenty pairs judged by keys alone teach the next run, and what it had come to stays to be read", async () => {
    const letters = join(folder, "letters");
    await writeRecipe(letters, { recipe: reinforcedRecipe, prompts: 24 });
    const visitor = await visit(letters);
    const page = await visitor.open("/launch");
    await choose(page, "recipe.yaml", "letters");
    await page.getByRole("button", { name: "Start the run" }).click();
    await page.getByText("It is done.").waitFor({ timeout: 400_000 });
    const run = read((open) => open.runs()).find(({ name }) => name === "recipe");
    expect(run!.status).toBe("done");
    const before = read((open) => open.stage(run!.id, "scorecard")!);

    await visitor.go(page, `/review?run=${run!.id}`);
    await visitor.callMyself(page, "ann");
    await page.getByLabel("How many").fill("20");
    await page.getByRole("button", { name: "Make the queue" }).click();
    for (let i = 0; i < 20; i++) {
      await page.getByText(`${i} of 20 judged`).waitFor();
      await page.keyboard.press("1");
    }
    await page.getByText("Nothing is left for you here: 20 judged").waitFor();
    expect(read((open) => open.labels()).filter(({ who }) => who === "ann")).toHaveLength(20);

    await visitor.go(page, "/launch");
    await choose(page, "recipe.yaml", "letters");
    await page.getByRole("button", { name: "Continue the run" }).click();
    await page.getByText("It is done.").waitFor({ timeout: 400_000 });
    const stages = read((open) => new Map(open.stages(run!.id).map((stage) => [stage.name, stage])));
    const learnt = read((open) => [...open.rows<StoredRow & { label: string }>(stages.get("human labels")!.identity)]);
    expect(learnt.filter(({ label }) => label === "human")).toHaveLength(20);
    expect(stages.get("scorecard")!.identity).not.toBe(before.identity);

    // The former scorecard, as it was, from the run's page.
    await visitor.go(page, `/runs/${run!.id}`);
    await page.getByText("results that later ones replaced").click();
    await page.getByRole("link", { name: "scorecard as it was" }).click();
    await page.waitForURL(/\/reports\/.*result=/);
    await page.getByRole("heading", { level: 1 }).waitFor();
    const former = read((open) => open.superseded(run!.id)).find(({ name }) => name === "scorecard")!;
    expect(former.identity).toBe(before.identity);
    await page.goBack();
    await page.getByText("results that later ones replaced").click();
    await page
      .getByRole("link", { name: "human labels as it was" })
      .or(page.getByRole("link", { name: "preference model as it was" }))
      .first()
      .click();
    await page.getByText("A result that a later one replaced").waitFor();
    expect(visitor.complaints).toEqual([]);
    await page.context().close();
  }, 900_000);

  test("two people of two groups vote by keys; each vote is in the store, and what both agree on is a constitution", async () => {
    const visitor = await visit(join(folder, "letters"));
    const page = await visitor.open("/constitutions/votes");
    await visitor.callMyself(page, "Änne Weiß");
    await page.getByLabel("Name", { exact: true }).fill("Wishes");
    await page.getByLabel("Candidates, one a line").fill("Say whom to see.\nمرحبا، لا جرعات\nBe funny.");
    await page.getByRole("button", { name: "Make the set" }).click();
    await page.getByText("0 of 3 voted on").waitFor();
    await page.getByLabel("I vote as one of").fill("clinic");
    await page.getByLabel("I vote as one of").blur();
    await page.keyboard.press("1");
    await page.getByText("1 of 3 voted on").waitFor();
    await page.reload();
    await page.getByText("1 of 3 voted on").waitFor();
    expect(await page.getByLabel("I vote as one of").inputValue()).toBe("clinic");
    await page.keyboard.press("3");
    await page.getByText("2 of 3 voted on").waitFor();
    await page.keyboard.press("1");
    await page.getByText("You have voted on all 3").waitFor();
    await page.keyboard.press("u");
    await page.getByText("2 of 3 voted on").waitFor();
    await page.keyboard.press("2");
    await page.getByText("You have voted on all 3").waitFor();
    const set = new URL(page.url()).pathname.split("/").at(-1)!;

    await visitor.callMyself(page, "ben");
    await page.getByText("0 of 3 voted on").waitFor();
    await page.getByLabel("I vote as one of").fill("patients");
    await page.getByLabel("I vote as one of").blur();
    for (const [i, key] of ["1", "1", "2"].entries()) {
      await page.getByText(`${i} of 3 voted on`).waitFor();
      await page.keyboard.press(key);
    }
    await page.getByText("You have voted on all 3").waitFor();
    expect(read((open) => open.answers(set)).map(({ who, row, value }) => [who, row, value])).toEqual([
      ["Änne Weiß", "candidate-1", { vote: "agree", group: "clinic" }],
      ["Änne Weiß", "candidate-2", { vote: "pass", group: "clinic" }],
      ["Änne Weiß", "candidate-3", { vote: "disagree", group: "clinic" }],
      ["ben", "candidate-1", { vote: "agree", group: "patients" }],
      ["ben", "candidate-2", { vote: "agree", group: "patients" }],
      ["ben", "candidate-3", { vote: "disagree", group: "patients" }],
    ]);
    await page.getByRole("link", { name: "results" }).click();
    await page.getByText("2 people in 2 groups").waitFor();
    expect(await page.getByRole("row").filter({ hasText: "Be funny." }).textContent()).toContain("does not enter");
    expect(await page.locator("pre").textContent()).toContain("Say whom to see.");
    expect(visitor.complaints).toEqual([]);
    await page.context().close();
  }, 300_000);
});
