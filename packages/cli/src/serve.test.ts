import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { reinforcedRecipe, surroundings, writeProject } from "../test/project.ts";
import { run } from "./index.ts";

const home = mkdtempSync(join(tmpdir(), "tenet-serve-"));
const env = { TENET_STORE: join(home, "runs"), SERVE_TOKEN: "secret" };
beforeAll(async () => {
  process.env.TENET_CACHE = join(home, "cache");
  const recipe = await writeProject(join(home, "project"), reinforcedRecipe);
  expect(await run(["run", recipe], surroundings({ env }).io)).toBe(0);
}, 240_000);
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** Serves while `use` lasts, then interrupts; gives what was written. */
async function serving(args: string[], use: (url: string) => Promise<void>) {
  const { io, written, interrupt } = surroundings({ env });
  const ended = run(["serve", ...args, "--port", "0", "--json"], io);
  await expect.poll(() => written.stdout, { timeout: 120_000 }).toContain("\n");
  const { url, models } = JSON.parse(written.stdout);
  try {
    await use(url);
  } finally {
    interrupt();
  }
  expect(await ended).toBe(0);
  await expect(fetch(url)).rejects.toThrow();
  return { models };
}

const ask = async (url: string, model: string, seed: number, headers = {}) => {
  const body = { model, messages: [{ role: "user", content: "Hello" }], temperature: 0, seed, max_tokens: 8 };
  const response = await fetch(`${url}/chat/completions`, { method: "POST", body: JSON.stringify(body), headers });
  return (await response.json()) as { choices: { message: { content: string } }[]; error?: { code: string } };
};

describe("serve", () => {
  it("serves the checkpoints of a run, each as chat has it, until it is interrupted", async () => {
    const said: Record<string, string> = {};
    const { models } = await serving(["--run", "recipe"], async (url) => {
      for (const id of ["base", "sl", "rl"]) said[id] = (await ask(url, id, 1)).choices[0]!.message.content;
    });
    expect(models).toEqual(["base", "sl", "rl"]);
    for (const id of ["base", "rl"]) {
      const { io, written } = surroundings({ env });
      const greedy = ["Hello", "--temperature", "0", "--max-tokens", "8", "--json"];
      expect(await run(["chat", "--run", "recipe", "--checkpoint", id, ...greedy], io)).toBe(0);
      expect(JSON.parse(written.stdout).text).toBe(said[id]);
    }
  }, 240_000);

  it("serves a model, to those who have its token", async () => {
    const model = join(home, "project", "model");
    const { models } = await serving([model, "--token-variable", "SERVE_TOKEN"], async (url) => {
      expect(await ask(url, model, 1)).toMatchObject({ error: { code: "invalid_api_key" } });
      const told = await ask(url, model, 1, { authorization: "Bearer secret" });
      expect(told.choices).toHaveLength(1);
    });
    expect(models).toEqual([model]);
  }, 240_000);

  it.each([
    [["--host", "0.0.0.0", "--port", "0"], /give a token/],
    [["--token-variable", "NONE"], /NONE, named by --token-variable, is not set/],
    [["--run", "latest", "--adapter", "a=b"], /a=b.*no adapter|--run says what is served/],
    [["--run", "none"], /holds no run none/],
    [["--store", "x"], /--store belongs to --run/],
  ])(
    "refuses %j",
    async (args, message) => {
      const { io, written } = surroundings({ env });
      const model = args.includes("--run") || args.includes("--store") ? [] : [join(home, "project", "model")];
      expect(await run(["serve", ...model, ...args], io)).toBe(2);
      expect(written.stderr).toMatch(message);
    },
    240_000,
  );
});

describe("verify", () => {
  it("says of an evidence pack whether it is as it was written", async () => {
    const said = async (...args: string[]) => {
      const { io, written } = surroundings({ env });
      return { code: await run(args, io), ...written };
    };
    const folder = join(home, "out");
    const exported = await said("export", "recipe", folder, "--checkpoint", "rl", "--what", "evidence", "--json");
    expect(exported.code).toBe(0);
    const { evidence } = JSON.parse(exported.stdout);
    const pack = join(folder, "evidence");
    expect(await said("verify", pack, "--manifest", evidence)).toMatchObject({ code: 0, stderr: "" });
    const other = await said("verify", pack, "--manifest", "0".repeat(64));
    expect(other).toMatchObject({ code: 1, stdout: expect.stringMatching(/SHA256SUMS was changed/) });
    expect(await said("verify", home)).toMatchObject({ code: 2, stderr: expect.stringMatching(/no evidence pack/) });
    expect(await said("verify", "--manifest", evidence)).toMatchObject({ code: 2 });
  }, 240_000);
});

describe("docs/serve.md", () => {
  const page = readFileSync(new URL("../../../docs/serve.md", import.meta.url), "utf8");
  const lines = [...page.matchAll(/^ {4}(.*)$/gm)].map(([, line]) => line!.replace(/ {2,}#.*/, ""));
  const commands = lines.map((line) => line.replace(/^[A-Z_]+=\S+ /, "")).filter((line) => line.startsWith("tenet "));
  /** The page's names, as they are here. */
  const here = (word: string) =>
    word === "smollm2-135m-instruct"
      ? join(home, "project", "model")
      : word.replace(
          /^(mine=)?(out|small|adapter)(?=\/|$)/,
          (_, name = "", folder) => `${name}${join(home, "page", folder)}`,
        );
  // No test is reached from other machines.
  const wordsOf = (line: string) => line.replace("0.0.0.0", "127.0.0.1").split(" ").slice(1).map(here);

  it("has exports that are written and verified as it says", async () => {
    const exports_ = commands.filter((line) => /^tenet (export|verify) /.test(line));
    expect(exports_.length).toBeGreaterThan(5);
    for (const line of exports_) {
      const words = wordsOf(line);
      if (words[0] === "export") {
        rmSync(words[2]!, { recursive: true, force: true });
        // Nothing of this run is recommended over its base.
        words.push("--checkpoint", "rl");
      }
      const { io, written } = surroundings({ env });
      expect({ line, code: await run(words, io), ...written }).toMatchObject({ code: 0 });
    }
  }, 480_000);

  it("has servers that answer what it has asked of them", async () => {
    const out = join(home, "page", "out");
    rmSync(out, { recursive: true, force: true });
    const { io } = surroundings({ env });
    expect(await run(["export", "recipe", out, "--checkpoint", "rl", "--what", "adapter"], io)).toBe(0);
    const servers = commands.filter((line) => line.startsWith("tenet serve "));
    expect(servers.length).toBeGreaterThan(3);
    for (const line of servers) {
      const token = line.includes("--token-variable");
      const { models } = await serving(wordsOf(line).slice(1), async (url) => {
        const headers: Record<string, string> = token ? { authorization: "Bearer secret" } : {};
        expect((await fetch(`${url}/models`, { headers })).status, line).toBe(200);
        const body = /-d '(.*)'/.exec(lines.join("\n"))![1]!;
        const model = line.includes("--run") ? "rl" : line.includes("mine=") ? "mine" : join(home, "project", "model");
        const sent = JSON.stringify({ ...JSON.parse(body), model });
        const answer = await fetch(`${url}/chat/completions`, { method: "POST", body: sent, headers });
        expect(answer.status, line).toBe(200);
      });
      if (line.includes("mine=")) expect(models).toHaveLength(2);
    }
  }, 240_000);

  it("serves what a run's responses are worth: its reward, or other weights", async () => {
    const asked = {
      query: ["Say a word.Rest.", `Say a word.${"q".repeat(30)}`],
      prompts: ["Say a word.", "Say a word."],
    };
    const rewards = async (url: string) => {
      const reply = await fetch(`${url}/get_reward`, { method: "POST", body: JSON.stringify(asked) });
      return (await reply.json()) as { rewards: number[]; extra_logs: Record<string, number[]> };
    };
    await serving(["reward", "recipe"], async (url) => {
      expect(Object.keys((await rewards(url)).extra_logs)).toEqual(["preference", "missing_end", "length"]);
    });
    await serving(["reward", "recipe", "--weight", "preference=1", "--weight", "constitution=0.5"], async (url) => {
      const { rewards: both, extra_logs: parts } = await rewards(url);
      expect(Object.keys(parts)).toEqual(["preference", "constitution", "missing_end", "length"]);
      // Neither text says that it ended.
      for (const i of [0, 1]) expect(both[i]).toBeCloseTo(parts.preference![i]! + 0.5 * parts.constitution![i]! - 1, 6);
      expect(parts.constitution![0]).toBeGreaterThan(parts.constitution![1]!);
      const about = await (await fetch(`${url}/health`)).json();
      expect(about).toMatchObject({ weights: { preference: 1, constitution: 0.5 }, constitution: { name: "letters" } });
    });
    await serving(["reward", "recipe", "--weight", "constitution=2"], async (url) => {
      const { rewards: checks, extra_logs: parts } = await rewards(url);
      expect(Object.keys(parts)).not.toContain("preference");
      expect(checks[0]).toBeCloseTo(2 * parts.constitution![0]! - 1, 6);
    });
    const { io, written } = surroundings({ env });
    expect(await run(["serve", "reward", "recipe", "--weight", "kindness=1"], io)).toBe(2);
    expect(written.stderr).toMatch(/there is no "kindness"; expected preference or constitution/);
    expect(await run(["serve", "reward", "recipe", "--weight", "constitution"], io)).toBe(2);
    expect(written.stderr).toMatch(/expected a name and a number of at least 0/);
  }, 240_000);
});
