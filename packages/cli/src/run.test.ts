import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { families, familyText, writeTinyModel } from "@tenet/fixtures";
import { CheckpointError, scriptedModel } from "@tenet/lm";
import { openStore } from "@tenet/runs";
import { afterAll, describe, expect, it, vi } from "vitest";
import { surroundings as bareSurroundings } from "../test/project.ts";
import type { OpenModel } from "./chat-models.ts";
import { type DoctorReport, run } from "./index.ts";
import { faultOfNamed } from "./models.ts";

const cache = mkdtempSync(join(tmpdir(), "tenet-cli-"));
afterAll(() => rmSync(cache, { recursive: true, force: true }));

const surroundings = (options: Parameters<typeof bareSurroundings>[0] = {}) =>
  bareSurroundings({ ...options, env: { TENET_CACHE: cache } });

const open =
  (script: Parameters<typeof scriptedModel>[0]): OpenModel =>
  async () =>
    scriptedModel(script);
const turns = open({ fallback: (text) => `${text.split("\n").length} lines, the last is ${text.split("\n").at(-1)}` });

describe("called wrongly, it exits with 2 and names what comes nearest", () => {
  const cases: [string[], RegExp][] = [
    [["modls"], /unknown command 'modls'\s+\(Did you mean models\?\)/],
    [["models", "lss"], /Did you mean ls\?/],
    [["chat", "--temprature", "1"], /Did you mean --temperature\?/],
    [["chat", "--seed", "x"], /expected a number/],
    [["chat", "--top-p", "3", "x y"], /--top-p: .*1/],
    [["chat", "--device", "gpu"], /Allowed choices are auto, cpu/],
    [["chat", "smollm2-135m-instrct", "Hi"], /did you mean smollm2-135m-instruct\?/],
    [["chat", "--weights", "int2"], /Allowed choices are float32, int8, int4/],
    [["chat", "--endpoint", "http://localhost:1/v1", "--weights", "int8", "x y"], /--weights is for local models/],
    [["chat", "--endpoint", "http://localhost:1/v1", "--threads", "2", "x y"], /--threads is for local models/],
    [
      ["chat", "smollm2-135m-instruct", "--threads", "100000", "x y"],
      /expected 1 to \d+ threads on this machine's \d+/,
    ],
    [["chat", "smollm2-135m-instruct", "--threads", "0", "x y"], /expected 1 to \d+ threads/],
    [["run", "recipes/clinical-desk.quick.yaml", "--threads", "100000"], /expected 1 to \d+ threads/],
    [["chat", "--endpoint", "nonsense", "x y"], /--endpoint: expected an address such as http:.*, got nonsense/],
    [["chat", "--endpoint", "localhost:8000/v1", "x y"], /--endpoint: expected .*, got localhost:8000\/v1/],
    [["chat", "--temperature", "-1", "x y"], /--temperature: .*, got -1/],
    [["chat", "--stop", "", "x y"], /--stop: .*, got ""/],
    [["chat", "--memory-budget", "0", "x y"], /argument '0' is invalid. expected a size above 0/],
    [["run", "recipes/clinical-desk.quick.yaml", "--dry-run", "--memory-budget=0"], /expected a size above 0/],
    [["serve", "--port", "70000"], /--port <number>' argument '70000' is invalid. expected 0 to 65535/],
    [["serve", "reward", "latest", "--port", "-1"], /argument '-1' is invalid. expected 0 to 65535/],
    [["serve", "--context", "0"], /--context <count>' argument '0' is invalid. expected 1 or more/],
    [["view", "--port", "70000"], /argument '70000' is invalid. expected 0 to 65535/],
    [["view", "--project", "nodir"], /--project nodir: expected a folder that is there/],
    [["models", "show", "zzz"], /the catalogue has smollm2-135m-instruct/],
    [["models", "pull", "hf:nonsense"], /expected hf:owner\/name/],
  ];
  for (const [args, message] of cases)
    it(args.join(" "), async () => {
      const { io, written } = surroundings({ stdin: "" });
      expect(await run(args, io)).toBe(2);
      expect(written.stderr).toMatch(message);
      expect(written.stderr).not.toContain("    at ");
      expect(written.stdout).toBe("");
    });

  it("says it as an object with --json, and where from with --debug", async () => {
    const { io, written } = surroundings({ stdin: "" });
    expect(await run(["models", "show", "zzz", "--json", "--debug"], io)).toBe(2);
    expect(JSON.parse(written.stdout).error).toMatchObject({ name: "UsageError", exitCode: 2 });
    expect(written.stderr).toContain("    at ");
  });
});

describe("chat", () => {
  it("answers a prompt once", async () => {
    const { io, written } = surroundings();
    expect(await run(["chat", "Hello", "there", "--system", "Be brief."], io, { openModel: turns })).toBe(0);
    expect(written.stdout).toBe("2 lines, the last is user: there\n");
  });

  it("takes a quoted prompt without a model, and options for sampling", async () => {
    const openModel = vi.fn(open({ fallback: "one two three four" }));
    const { io, written } = surroundings();
    expect(await run(["chat", "Hello there", "--max-tokens", "2", "--temperature", "0"], io, { openModel })).toBe(0);
    expect(openModel.mock.calls[0]?.[0]).toBeUndefined();
    expect(written.stdout).toBe("one two\n");
  });

  it("answers what is piped in, as an object with --json", async () => {
    const { io, written } = surroundings({ stdin: "Hello" });
    expect(await run(["chat", "m", "--json"], io, { openModel: turns })).toBe(0);
    expect(JSON.parse(written.stdout)).toMatchObject({
      model: "scripted",
      text: "1 lines, the last is user: Hello",
      finishReason: "stop",
      usage: { promptTokens: expect.any(Number), completionTokens: expect.any(Number) },
    });
    const empty = surroundings({ stdin: " \n" });
    expect(await run(["chat", "m", "--json"], empty.io, { openModel: turns })).toBe(2);
    expect(JSON.parse(empty.written.stdout).error.message).toMatch(/nothing to say/);
  });

  it("keeps the conversation, clears it, and survives a failed reply", async () => {
    let calls = 0;
    const openModel = open({
      fallback: (text) => `${text.split("\n").length}.`,
      fail: () => (calls++ === 2 ? new Error("the server hiccuped") : undefined),
    });
    const { io, written } = surroundings({ terminal: true, stdin: "a\nb\nfails\n/clear\n\nc\n/exit\nnever\n" });
    expect(await run(["chat", "m"], io, { openModel })).toBe(0);
    expect(written.stdout).toBe("1.\n3.\n1.\n");
    expect(written.stderr).toContain("tenet: the server hiccuped\n");
  });

  it("Ctrl-C cancels the reply and keeps the conversation; twice, it ends with 130", async () => {
    const openModel = open({ fallback: "slow ".repeat(100), tokenMs: 20 });
    const { io, written, input, interrupt, listeners } = surroundings({ terminal: true });
    const code = run(["chat", "m"], io, { openModel });
    input.write("Go\n");
    await vi.waitFor(() => expect(written.stdout).toContain("slow slow"), 10_000);
    interrupt();
    await vi.waitFor(() => expect(written.stdout).toContain("…"), 10_000);
    interrupt();
    await vi.waitFor(() => expect(written.stderr).toContain("Ctrl-C again"), 10_000);
    interrupt();
    expect(await code).toBe(130);
    expect(listeners.size).toBe(0);
  });

  it("Ctrl-C ends a single reply with 130, keeping what there is; a second one ends at once", async () => {
    const openModel = open({ fallback: "slow ".repeat(100), tokenMs: 20 });
    const { io, written, interrupt, exits } = surroundings();
    const code = run(["chat", "m", "Go"], io, { openModel });
    await vi.waitFor(() => expect(written.stdout).toContain("slow slow"), 10_000);
    interrupt();
    interrupt();
    expect(await code).toBe(130);
    expect(exits).toEqual([130]);
  });

  it("reports a model that fails in one line", async () => {
    const { io, written } = surroundings();
    const openModel = open({ fail: () => new Error("out of order") });
    expect(await run(["chat", "m", "Go"], io, { openModel })).toBe(1);
    expect(written.stderr).toBe("tenet: out of order\n");
  });

  it("does not let a model's words steer the terminal", async () => {
    const { io, written } = surroundings();
    Object.assign(io.stdout, { isTTY: true });
    const openModel = open({ fallback: "a\u001b]0;title\u0007b\u009b2Jc\td" });
    expect(await run(["chat", "m", "Go"], io, { openModel })).toBe(0);
    expect(written.stdout).toBe("a]0;titleb2Jc\td\n");
  });
});

describe("models", () => {
  it("lists the catalogue, for people and for programs", async () => {
    const { io, written } = surroundings();
    expect(await run(["models", "ls"], io)).toBe(0);
    expect(written.stdout).toMatch(/smollm2-135m-instruct +135M +98\.4 MB +Apache-2\.0 +- +default/);
    const other = surroundings();
    expect(await run(["models", "ls", "--json"], other.io)).toBe(0);
    const [model] = JSON.parse(other.written.stdout).models;
    expect(model).toMatchObject({ name: "smollm2-135m-instruct", default: true, path: null });
    expect(model.sources[0]).toMatchObject({ bytes: 98362432, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
  });

  it("shows where a model comes from", async () => {
    const { io, written } = surroundings();
    expect(await run(["models", "show", "smollm2-135m-instruct"], io)).toBe(0);
    expect(written.stdout).toMatch(/licence +Apache-2\.0/);
    expect(written.stdout).toContain("tenet models pull smollm2-135m-instruct");
  });

  it("shows what a model's chat template does, and what of its tokens cannot be used", async () => {
    const folder = (name: string) => join(cache, "shown", name);
    const qwen = families.find(({ name }) => name === "qwen-3")!;
    await writeTinyModel(folder("qwen"), { text: familyText(qwen) });
    const { io, written } = surroundings();
    expect(await run(["models", "show", folder("qwen"), "--json"], io)).toBe(0);
    expect(JSON.parse(written.stdout).text).toMatchObject({
      traits: { opening: "other", keepsReplies: false, system: "written", alternates: false, bos: 0 },
      ends: ["<|im_end|>"],
      findings: [expect.stringContaining("training goes by what is asked")],
      rowless: [],
    });
    const text = familyText({ ...qwen, added: [...qwen.added!, "[TOOL]"] });
    await writeTinyModel(folder("rows"), { text, rows: text.vocabulary - 1 });
    const people = surroundings();
    expect(await run(["models", "show", folder("rows")], people.io)).toBe(0);
    expect(people.written.stdout).toMatch(/earlier replies +are rewritten/);
    expect(people.written.stdout).toMatch(/note +the embedding has no row for a token of tokenizer\.json: \[TOOL\]/);
    await writeTinyModel(folder("odd"), { text: familyText({ ...qwen, template: "{% for m in messages %}" }) });
    const odd = surroundings();
    expect(await run(["models", "show", folder("odd")], odd.io)).toBe(0);
    expect(odd.written.stdout).toMatch(/cannot be used +chat template/);
  });

  it("takes files at a path that was named, and are no model's, for a wrong call", async () => {
    const [empty, model] = [join(cache, "named", "empty"), join(cache, "named", "model")];
    mkdirSync(empty, { recursive: true });
    await writeTinyModel(model, { text: familyText(families[0]!) });
    for (const [args, message] of [
      [["models", "show", empty], `${empty}: expected model.safetensors`],
      [["chat", empty, "Hello"], `${empty}: expected model.safetensors`],
      [["serve", empty], `${empty}: expected model.safetensors`],
      [["chat", model, "--adapter", empty, "Hello"], join(empty, "adapter_config.json")],
    ] as const) {
      const { io, written } = surroundings();
      expect(await run(args, io), args.join(" ")).toBe(2);
      expect(written.stderr).toContain(message);
    }
    // Files of the cache were not given by anybody.
    const fault = new CheckpointError({ file: join(cache, "models", "a"), expected: "weights", found: "none" });
    expect(faultOfNamed(fault, ["smollm2-135m-instruct", model, undefined])).toBe(fault);
    expect(faultOfNamed(fault, [join(cache, "models")])).toMatchObject({ name: "UsageError", message: fault.message });
  });

  it("says how to proceed without a network", async () => {
    const { io, written } = surroundings();
    expect(await run(["models", "pull", "smollm2-135m-instruct", "--offline"], io)).toBe(1);
    expect(written.stderr).toMatch(/put the file at/);
  });
});

it("doctor reports the machine", async () => {
  const { io, written } = surroundings();
  expect(await run(["doctor", "--json"], io)).toBe(0);
  const report = JSON.parse(written.stdout) as DoctorReport;
  expect(report).toMatchObject({
    node: { version: process.versions.node, supported: true },
    machine: { platform: process.platform, cores: expect.any(Number), memory: expect.any(Number) },
    runtime: { onnxruntime: expect.stringMatching(/^\d+\.\d+/) },
    cache: { path: cache, writable: true, free: expect.any(Number) },
    model: { name: "smollm2-135m-instruct", path: null },
  });
  expect(report.runtime.devices).toContainEqual({ device: "cpu", usable: true });
  for (const { usable, reason } of report.runtime.devices) expect(usable || reason).toBeTruthy();
  expect(report.works.find(({ what }) => what === "chat with a local model")).toMatchObject({
    works: false,
    how: expect.stringContaining("tenet models pull"),
  });
});

it("docs/cli.md names every command and every option", async () => {
  const page = readFileSync(new URL("../../../docs/cli.md", import.meta.url), "utf8");
  const helpOf = async (...args: string[]) => {
    const { io, written } = surroundings();
    expect(await run([...args, "--help"], io)).toBe(0);
    return written.stdout;
  };
  const commandsIn = (help: string) =>
    [...help.slice(help.search(/^(Begin|Commands):/m)).matchAll(/^ {2}([a-z]+)[ \n]/gm)]
      .map(([, name]) => name!)
      .filter((name) => name !== "help");
  const commands = commandsIn(await helpOf());
  expect(commands).toEqual(expect.arrayContaining(["init", "run", "export", "chat"]));
  for (const name of commands) {
    expect(page, name).toContain(`\`${name}`);
    const help = await helpOf(name);
    for (const [, option] of help.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm))
      expect(page, `${name} ${option}`).toContain(option!);
  }
});

describe("gc", () => {
  it("clears what is half written out of the cache too, and says so", async () => {
    const store = join(cache, "runs");
    openStore(store).close();
    const left = join(cache, "weights", "a.f32.0123456789ab.tmp");
    mkdirSync(join(cache, "weights"), { recursive: true });
    writeFileSync(left, "12345");
    const yesterday = new Date(Date.now() - 86_400_000);
    utimesSync(left, yesterday, yesterday);
    const collect = async (...args: string[]) => {
      const { io, written } = surroundings();
      expect(await run(["gc", "--store", store, ...args], io)).toBe(0);
      return written.stdout;
    };
    const told = JSON.parse(await collect("--dry-run", "--json"));
    expect(told.cache).toEqual({ files: 1, bytes: 5 });
    const page = readFileSync(new URL("../../../docs/cli.md", import.meta.url), "utf8");
    expect(page).toContain(`{${Object.keys(told).join(", ")}: {files, bytes}}`);
    expect(existsSync(left)).toBe(true);
    expect(await collect()).toContain("freed 5 B of weights and graphs in the cache: 1 files");
    expect(existsSync(left)).toBe(false);
    expect(await collect()).not.toContain("weights");
  });
});
