import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { constitution, surroundings } from "../test/project.ts";
import { shellWord } from "./format.ts";
import { run } from "./index.ts";
import { presets } from "./presets.ts";

const home = mkdtempSync(join(tmpdir(), "tenet-projects-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

async function tenet(...args: string[]) {
  const { io, written } = surroundings({ env: { TENET_STORE: join(home, "runs") } });
  const code = await run(args, io);
  return { code, ...written };
}

describe("init", () => {
  for (const preset of presets)
    it(`writes a project from ${preset} that validates and can be estimated`, async () => {
      const folder = join(home, preset);
      const made = await tenet("init", folder, "--preset", preset, "--json");
      expect(made).toMatchObject({ code: 0 });
      const { files } = JSON.parse(made.stdout) as { files: string[] };
      const recipe = readFileSync(join(folder, "recipe.yaml"), "utf8");
      expect(recipe).not.toContain("../");
      const named = files.filter((file) => !["recipe.yaml", "README.md"].includes(file));
      for (const file of named) expect(recipe).toContain(file);
      expect(await tenet("validate", join(folder, "recipe.yaml"))).toMatchObject({
        code: 0,
        stdout: expect.stringContaining("is in order"),
      });
      const estimate = JSON.parse((await tenet("run", join(folder, "recipe.yaml"), "--dry-run", "--json")).stdout);
      expect(estimate.left.completionTokens).toBeGreaterThan(1000);
      expect(estimate.run).toMatch(new RegExp(`^${preset}-[0-9a-f]{8}$`));
    });

  it("names its runs after the project's folder, as far as a run may be called so", async () => {
    for (const [folder, name] of [
      ["Pflege im Ärztehaus (2)", "Pflege-im-rztehaus-2"],
      ["007", "007"],
      ["مكتب", "recipe"],
    ]) {
      await tenet("init", join(home, folder!));
      const { stdout } = await tenet("run", join(home, folder!, "recipe.yaml"), "--dry-run", "--json");
      expect(JSON.parse(stdout).run.replace(/-[0-9a-f]{8}$/, "")).toBe(name);
    }
  });

  it("says the next command as a shell takes it", async () => {
    const { stdout } = await tenet("init", join(home, "p ünï"));
    expect(stdout).toMatch(/Next: .*tenet.* validate '[^']*\/p ünï\/recipe\.yaml'\n/);
    expect((await tenet("init", join(home, "ünï"))).stdout).toMatch(/ validate [^' ]*\/ünï\/recipe\.yaml\n/);
    expect(["a b", "it's", "$HOME", "~/a", "~"].map((path) => shellWord(path, "linux"))).toEqual([
      ...["'a b'", "'it'\\''s'", "'$HOME'", "'~/a'", "'~'"],
    ]);
    expect(["C:\\a\\b", "C:\\a b", "a%b"].map((path) => shellWord(path, "win32"))).toEqual([
      ...["C:\\a\\b", '"C:\\a b"', '"a%b"'],
    ]);
  });

  it("overwrites nothing", async () => {
    const folder = join(home, "mine");
    mkdirSync(folder);
    writeFileSync(join(folder, "notes.txt"), "mine");
    expect(await tenet("init", folder)).toMatchObject({ code: 2, stderr: expect.stringContaining("is not empty") });
    expect(readdirSync(folder)).toEqual(["notes.txt"]);
    const wrong = await tenet("init", join(home, "other"), "--preset", "clinic");
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining("clinical-desk") });
  });
});

describe("diff of constitutions", () => {
  const file = (name: string, text: string) => {
    writeFileSync(join(home, name), text);
    return join(home, name);
  };

  it("says what came, went and changed", async () => {
    const before = file("before.yaml", constitution);
    const changed = constitution.replace("Be brief.", "Be very brief.").replace("id: no-q", "id: no-z");
    const { code, stdout } = await tenet("diff", before, file("after.yaml", changed));
    expect(code).toBe(0);
    expect(stdout).toContain("- no-q: Do not use the letter q.\n+ no-z: Do not use the letter q.\n~ short\n");
    expect(stdout).toContain("    text\n      - Be brief.\n      + Be very brief.\n");
    expect((await tenet("diff", before, before)).stdout).toContain("the principles are the same");
    const json = JSON.parse((await tenet("diff", before, join(home, "after.yaml"), "--json")).stdout);
    expect(json).toMatchObject({ added: [{ id: "no-z" }], removed: [{ id: "no-q" }], changed: [{ id: "short" }] });
  });

  it("needs two files, or two runs", async () => {
    const one = file("one.yaml", constitution);
    const { code, stderr } = await tenet("diff", one, "latest");
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining("give two files, or two runs") });
  });
});

it("hints are what a person types: in a clone npm stands before the name", async () => {
  const folder = join(home, "hints");
  const recipe = join(folder, "recipe.yaml");
  const hints = async (...args: string[]) => {
    const texts: string[] = [];
    for (const env of [{}, { npm_package_name: "tenet-workspace" }]) {
      const { io, written } = surroundings({ env: { TENET_CACHE: home, TENET_STORE: join(home, "runs"), ...env } });
      await run(args, io);
      texts.push(`${written.stdout}${written.stderr}`);
      if (args[0] === "init") rmSync(folder, { recursive: true, force: true });
    }
    return texts;
  };
  const typed: [args: string[], command: string][] = [
    [["init", folder], "validate "],
    [["validate", recipe], `run ${recipe} --dry-run`],
    [["models", "show", "smollm2-135m-instruct"], "models pull smollm2-135m-instruct"],
    [["models", "lss"], "models --help"],
  ];
  for (const [args, command] of typed) {
    if (args[0] === "validate") await tenet("init", folder);
    const [installed, inClone] = await hints(...args);
    expect(installed, args[0]).toContain(` tenet ${command}`);
    expect(inClone, args[0]).toContain(`npm run -s tenet -- ${command}`);
    expect(inClone, args[0]).not.toContain(` tenet ${command}`);
  }
});
