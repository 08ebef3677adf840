import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDataset, parseScorecard, type RunDiff, type RunEstimate } from "@tenet/align";
import { openStore } from "@tenet/runs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { constitution, reinforcedRecipe, supervisedRecipe, surroundings, writeProject } from "../test/project.ts";
import { run } from "./index.ts";
import { gateFault } from "./run-recipe.ts";

const home = mkdtempSync(join(tmpdir(), "tenet-recipes-"));
const store = join(home, "runs");
let recipe: string;
beforeAll(async () => {
  process.env.TENET_CACHE = join(home, "cache");
  recipe = await writeProject(join(home, "project"), reinforcedRecipe);
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** The id of the run that a recipe's name begins. */
function runOf(name: string): string {
  const opened = openStore(store, { readOnly: true });
  try {
    return opened.runs().find((info) => info.name === name)!.id;
  } finally {
    opened.close();
  }
}

/** What a command line does: its exit code and what it writes. */
async function tenet(...args: string[]) {
  return tenetWith({}, ...args);
}

/** The same under variables of the environment. */
async function tenetWith(env: Record<string, string>, ...args: string[]) {
  const { io, written } = surroundings({ env: { TENET_STORE: store, ...env } });
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

  it("shows what it found where the gate refuses, and exits with 3", async () => {
    const strict = beside("strict.yaml", reinforcedRecipe.replace("override: true", "override: false"));
    const { code, stdout, stderr } = await tenet("audit", strict);
    expect(stderr).toMatch(/tenet: the audit refuses the labeller: .*roles\.labeller/);
    expect(stdout).toMatch(/^gate +refused: .*\naccuracy +\d\.\d+ \[.*\] of 6\ncalibration error +\d/m);
    expect(code).toBe(3);
    const json = await tenet("audit", strict, "--json");
    const lines = json.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(json.code).toBe(3);
    expect(lines.at(-2)).toMatchObject({
      type: "result",
      audit: { gate: { open: false }, health: { accuracy: { n: 6 } } },
    });
    expect(lines.at(-1)).toMatchObject({ error: { name: "GateError", exitCode: 3 } });
    const shown = await tenet("ls");
    expect(shown.stdout).toMatch(/strict-\w+ +refused/);
  });

  it("says what a recipe lacks to be audited", async () => {
    const bare = await tenet("audit", beside("bare.yaml", supervisedRecipe));
    expect(bare).toMatchObject({ code: 2, stderr: expect.stringContaining("add feedback.audit") });
  });
});

describe("a run", () => {
  it("continues behind the audit, and ends with the scorecard and how to talk to the model", async () => {
    const { code, stdout, stderr } = await tenet("run", recipe);
    expect({ code, stderr }).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/what the labels are worth +in the store/),
    });
    expect(stdout).toMatch(/SL-CAI.*RL-CAI/);
    expect(stdout).toMatch(/report: .*scorecard\.html/);
    expect(stdout).toContain(`tenet chat --run ${runOf("recipe")} --compare base,sl,rl`);
    expect((await tenet("ls")).stdout).toMatch(/recipe-\w+ +done +\S+ \S+ +(\d+) of \1 /);
    expect(stdout).toMatch(
      /what (Base|SL-CAI|RL-CAI) still breaks:\n {2}\S+, \d+% of the replies it applies to\n {4}\S.*\n {4}→ /,
    );
    expect(stderr).toMatch(/^\d\d:\d\d:\d\d run recipe-\w+ in /);
    expect(stderr).toMatch(/log-probabilities of replies of RL-CAI under Base/);
  });

  it("with --quiet says nothing on the way", async () => {
    const { code, stdout, stderr } = await tenet("run", recipe, "--quiet");
    expect(code).toBe(0);
    expect(stderr.split("\n").filter((line) => line !== "" && !line.startsWith("warning: "))).toEqual([]);
    expect(stdout).toMatch(/report: .*scorecard\.html/);
  });

  it("ends with 3 under --gate, where nothing is shown to be better than the model, and is done all the same", async () => {
    const { code, stdout, stderr } = await tenet("run", recipe, "--quiet", "--gate");
    expect(code).toBe(3);
    expect(stderr).toMatch(/tenet: --gate: run recipe-\w+: nothing is shown to be better than Base/);
    expect(stdout).toMatch(/report: .*scorecard\.html/);
  });

  it("passes the gate where something is better and what must hold does", () => {
    const share = { n: 13, interval: [0, 0.2] as [number, number], better: "lower" as const, checkpoint: "sl" };
    const card = (better: boolean, ...values: number[]) => ({
      ...{ better, checkpoints: [{ id: "base", label: "Base", model: "m" }] },
      mustHold: values.map((value, i) => ({ ...share, principle: `principle-${i}`, value })),
    });
    expect(gateFault(card(true, 0, 0))).toBeUndefined();
    expect(gateFault(card(true, 0, 0.1))).toMatch(/principle-1 does not/);
    expect(gateFault(card(false, 0))).toMatch(/nothing is shown to be better than Base/);
    expect(gateFault({ ...card(true, 0), unseen: ["kind"] })).toMatch(/nothing tells whether kind does/);
    expect(gateFault(undefined)).toMatch(/no scorecard/);
  });

  it("shows chains as text with what changed", async () => {
    const { stdout } = await tenet("show", runOf("recipe"), "chains", "--rows", "6");
    expect(stdout).toMatch(/\n {2}\[user\]: .*\n {2}first response: /);
    expect(stdout).toMatch(/\n {2}round 1, (no-q|short)\n {4}critique: /);
    expect(stdout).not.toContain('"principle"');
  });

  it("points from its scorecard to the report", async () => {
    expect((await tenet("show", runOf("recipe"), "scorecard")).stdout).toMatch(/tenet report recipe-\w+ prints it/);
  });

  it("is one event to a line with --json, the result last", async () => {
    const { code, stdout } = await tenet("run", recipe, "--json");
    const events = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(code).toBe(0);
    expect(events[0]).toMatchObject({ type: "run", status: "running", run: runOf("recipe") });
    expect(events.filter(({ type }) => type === "stage").every(({ status }) => status === "reused")).toBe(true);
    expect(events.at(-1)).toMatchObject({ type: "result", report: { html: expect.stringMatching(/\.html$/) } });
  });
});

describe("a dry run", () => {
  const estimate = async (file: string, ...args: string[]) =>
    JSON.parse((await tenet("run", file, "--dry-run", "--json", ...args)).stdout) as RunEstimate & { recipe: object };

  it("knows the stages, their rows and their bounds, and that no rate is known", async () => {
    const { code, stdout } = await tenet("run", recipe, "--dry-run", "--store", join(home, "new"));
    expect(code).toBe(0);
    expect(stdout).not.toMatch(/maxTokens: 12\n/);
    expect(stdout).toMatch(/^run recipe-\w+ in .*\n\nstage +rows/);
    const whole = await tenet("run", recipe, "--dry-run", "--defaults", "--store", join(home, "new"));
    expect(whole.stdout).toMatch(/maxTokens: 12\n/);
    expect(await tenet("run", recipe, "--defaults", "--store", join(home, "new"))).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--defaults belongs to --dry-run"),
    });
    expect(stdout).toMatch(/^responses +6 +\d+ +72 +\d+ MB +\?$/m);
    expect(stdout).toMatch(/no rate known yet on this machine for .*responses/);
    expect(existsSync(join(home, "new"))).toBe(false);
    const { stages, left, begun } = await estimate(recipe, "--store", join(home, "new"));
    expect(begun).toBe(false);
    expect(left).toMatchObject({ seconds: 0, completionTokens: 6 * 12 * 5 + (3 + 1) * 3 * 12 + 2 * 2 * 8 });
    expect(stages.map(({ stage }) => stage)).toEqual(
      expect.arrayContaining(["audit labels", "policy", "answers of rl"]),
    );
  });

  it("bounds what a run then used, and names its stages", async () => {
    const { stages, begun, left } = await estimate(recipe);
    expect(begun).toBe(true);
    expect(stages.every(({ state }) => state === "done")).toBe(true);
    expect(left).toMatchObject({ promptTokens: 0, seconds: 0, untimed: [] });
    const opened = openStore(store, { readOnly: true });
    const used = opened.usage(runOf("recipe"));
    const names = opened.stages(runOf("recipe")).map(({ name }) => name);
    opened.close();
    expect(stages.map(({ stage }) => stage)).toEqual(expect.arrayContaining(names));
    for (const { stage, role, completionTokens } of used) {
      const expected = stages.find((one) => one.stage === stage)!.roles.find((one) => one.role === role);
      if (completionTokens > 0) expect(expected?.completionTokens).toBeGreaterThanOrEqual(completionTokens);
    }
  });

  it("takes rates from earlier runs, and prices from endpoints", async () => {
    const labeller =
      "roles: { labeller: { endpoint: http://localhost:1/v1, model: m, price: { prompt: 1, completion: 2 } } }";
    const { stages, left } = await estimate(beside("priced.yaml", `seed: 9\n${labeller}\n${reinforcedRecipe}`));
    const of = (name: string) => stages.find(({ stage }) => stage === name)!;
    expect(of("responses").seconds).toBeGreaterThan(0);
    expect(of("supervised").seconds).toBeGreaterThan(0);
    expect(of("policy").seconds).toBeGreaterThan(0);
    expect(left.untimed).toEqual(["audit labels", "labels"]);
    const [asked] = of("labels").roles;
    expect(asked).toMatchObject({ role: "labeller", model: "m at http://localhost:1/v1", completionTokens: 0 });
    expect(asked!.dollars).toBeCloseTo(asked!.promptTokens / 1e6);
    expect(left.dollars).toBeCloseTo(asked!.dollars! + of("audit labels").roles[0]!.dollars!);
  });
});

describe("chat with a run", () => {
  const greedy = ["--temperature", "0", "--max-tokens", "8"];

  it("opens the recommended checkpoint, or the one that is named with a note", async () => {
    const id = runOf("recipe");
    // Three held-out prompts show nothing to be better than the base.
    const meant = await tenet("chat", "--run", "recipe", "Hello", "--json", ...greedy);
    expect(JSON.parse(meant.stdout)).toMatchObject({ run: id, checkpoint: "base" });
    expect(meant.stderr).toBe("");
    const last = await tenet("chat", "--run", "recipe", "--checkpoint", "rl", "Hello", "--json", ...greedy);
    expect(JSON.parse(last.stdout)).toMatchObject({
      run: id,
      checkpoint: "rl",
      label: "RL-CAI",
      usage: { completionTokens: expect.any(Number) },
    });
    expect(last.stderr).toContain("the scorecard recommends base (Base), not rl");
    const base = JSON.parse(
      (await tenet("chat", "--run", id, "--checkpoint", "base", "Hello", "--json", ...greedy)).stdout,
    );
    const plain = JSON.parse(
      (await tenet("chat", join(home, "project", "model"), "Hello", "--json", ...greedy)).stdout,
    );
    expect(base).toMatchObject({ checkpoint: "base", text: plain.text });
  });

  it("compares several, each under its name, with what each says alone", async () => {
    const sampled = ["--seed", "7", "--max-tokens", "12"];
    const { code, stdout } = await tenet("chat", "--run", "recipe", "--compare", "base,sl,rl", "Hello you", ...sampled);
    expect(code).toBe(0);
    const alone = await tenet("chat", "--run", "recipe", "--checkpoint", "sl", "Hello you", ...sampled);
    expect(stdout).toMatch(/^base \(Base\):\n.*\n\nsl \(SL-CAI\):\n.*\n\nrl \(RL-CAI\):\n.*\n$/s);
    expect(stdout.split("sl (SL-CAI):\n")[1]!.split("\n\nrl")[0]).toBe(alone.stdout.trimEnd());
    const json = await tenet("chat", "--run", "recipe", "--compare", "base,sl", "Hello you", "--json", ...sampled);
    const { replies } = JSON.parse(json.stdout) as { replies: { checkpoint: string; text: string }[] };
    expect(replies.map(({ checkpoint }) => checkpoint)).toEqual(["base", "sl"]);
    expect(stdout).toContain(replies[0]!.text);
  });

  it("keeps a conversation with each, and forgets it", async () => {
    const stdin = "a\nb\n/clear\na\n/clear\nb\n/exit\n";
    const { io, written } = surroundings({ env: { TENET_STORE: store }, terminal: true, stdin });
    const sampled = ["--seed", "7", "--max-tokens", "12"];
    expect(await run(["chat", "--run", "recipe", "--compare", "base,rl", ...sampled], io)).toBe(0);
    const said = written.stdout.split(/(?:base \(Base\)|rl \(RL-CAI\)):\n/).slice(1);
    expect(said).toHaveLength(8);
    expect(said.slice(4, 6)).toEqual(said.slice(0, 2));
    for (const i of [2, 3]) expect(said[i]).not.toBe(said[4 + i]);
  });

  const wrong: [string[], RegExp][] = [
    [["--run", "recipe", "--checkpoint", "xl"], /no checkpoint "xl"; did you mean "sl"\?.*base, sl, rl/],
    [["--run", "recipe", "--compare", "sl,sl"], /names a checkpoint twice/],
    [["--run", "recipe", "--compare", "sl", "--checkpoint", "rl"], /give one of them/],
    [["--run", "recipe", "--adapter", "here"], /--adapter does not go with --run/],
    [["--compare", "base"], /--compare belongs to --run/],
  ];
  for (const [args, message] of wrong)
    it(`is refused: ${args.join(" ")}`, async () => {
      expect(await tenet("chat", ...args, "Hello you")).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(message),
      });
    });
});

describe("export", () => {
  it("writes an adapter and merged weights that say the same, datasets and a card", async () => {
    const folder = join(home, "out", "given");
    const { code, stdout } = await tenet(
      ...["export", "recipe", folder, "--checkpoint", "rl", "--what", "adapter,merged,datasets,card"],
      ...["--dtype", "F32", "--json"],
    );
    expect(code).toBe(0);
    const written = ["adapter", "merged", "datasets/examples", "datasets/audit-labels", "datasets/labels", "README.md"];
    expect(JSON.parse(stdout)).toMatchObject({
      checkpoint: "rl",
      recommended: "base",
      written: expect.arrayContaining(written),
    });
    expect(readdirSync(join(home, "out"))).toEqual(["given"]);

    const greedy = ["Hello", "--temperature", "0", "--max-tokens", "8", "--json"];
    const said = async (...args: string[]) => JSON.parse((await tenet("chat", ...args, ...greedy)).stdout).text;
    const own = await said("--run", "recipe", "--checkpoint", "rl");
    expect(await said(join(home, "project", "model"), "--adapter", join(folder, "adapter"))).toBe(own);
    expect(await said(join(folder, "merged"))).toBe(own);

    const config = JSON.parse(readFileSync(join(folder, "adapter", "adapter_config.json"), "utf8"));
    expect(config).toMatchObject({ peft_type: "LORA", base_model_name_or_path: "model" });
    const card = readFileSync(join(folder, "README.md"), "utf8");
    expect(card).toMatch(/\| examples \| examples \| \d \|/);
    expect(card).toContain("- **no-q**: Do not use the letter q.");
    expect(card).toMatch(/\| {2}\| Base \| SL-CAI \| RL-CAI \|/);
    expect(card).not.toContain(home);
    const pairs = await openDataset(join(folder, "datasets", "labels", "data", "train-00000-of-00001.parquet"), {
      as: "preferences",
    });
    let rows = 0;
    for await (const read of pairs) if ("row" in read) rows++;
    expect(rows).toBeGreaterThan(0);
  });

  const gguf = ["--checkpoint", "rl", "--what", "gguf,gguf-adapter,onnx,card", "--dtype", "F32"];

  it("writes GGUF and ONNX files that say the same, opens them again and says what it found", async () => {
    const folder = join(home, "gguf");
    const { code, stdout } = await tenet("export", "recipe", folder, ...gguf, "--json");
    expect(code).toBe(0);
    const { written, proofs } = JSON.parse(stdout);
    expect(written).toEqual(["gguf/model-F32.gguf", "gguf/adapter.gguf", "onnx", "README.md"]);
    expect(readdirSync(join(folder, "onnx", "onnx")).sort()).toEqual(["model.onnx", "model.onnx_data"]);
    expect(readdirSync(join(folder, "gguf")).sort()).toEqual(["Modelfile", "adapter.gguf", "model-F32.gguf"]);
    expect(proofs.map((proof: { part: string }) => proof.part)).toEqual(["gguf", "gguf-adapter", "onnx"]);
    for (const { part, faults, unverified } of proofs) {
      expect(faults).toEqual([]);
      expect(unverified.join()).toMatch(part === "onnx" ? /transformers\.js/ : /llama\.cpp/);
    }
    for (const [proof, runtime] of [
      [proofs[0], "Tenet"],
      [proofs[2], "ONNX Runtime"],
    ]) {
      const [{ prompts, samePrompts, tokens, largest, replies, sameReplies, violations, ...rest }] = proof.runtimes;
      expect(rest).toMatchObject({ runtime, nearTies: 0 });
      expect(sameReplies).toBe(replies);
      expect(violations.after).toEqual(violations.before);
      expect(samePrompts).toBe(prompts);
      expect(tokens > 8 && largest < 1e-3).toBe(true);
    }

    const greedy = ["Hello", "--temperature", "0", "--max-tokens", "8", "--json"];
    const said = async (...args: string[]) => JSON.parse((await tenet("chat", ...args, ...greedy)).stdout).text;
    expect(await said(join(folder, "gguf", "model-F32.gguf"))).toBe(
      await said("--run", "recipe", "--checkpoint", "rl"),
    );
    const card = readFileSync(join(folder, "README.md"), "utf8");
    expect(card).toMatch(/## Verified[\s\S]*\| gguf \| Tenet \| (\d+) of \1 \|[\s\S]*gguf, not verified: llama\.cpp/);
    expect(card).toContain("library_name: gguf");
  });

  /** A program that answers so, whatever it is asked. */
  const writeServer = (program: string, answers: Record<string, object>) => {
    const source = `const answers = ${JSON.stringify(answers)};
require("node:http").createServer((request, response) => response.end(JSON.stringify(answers[request.url])))
  .listen(Number(process.argv[process.argv.indexOf("--port") + 1]), "127.0.0.1");`;
    writeFileSync(program, `#!${process.execPath}\n${source}`, { mode: 0o755 });
  };

  it("writes nothing that another program runs otherwise, unless it is told to", async () => {
    // Such a server cuts every prompt into one token, and never ends a reply.
    const program = join(home, "llama-server");
    const answers = {
      "/health": {},
      "/apply-template": { prompt: "x" },
      "/tokenize": { tokens: [33] },
      "/completion": {
        content: "qq",
        stop_type: "limit",
        tokens_predicted: 1,
        completion_probabilities: [{ id: 34, top_logprobs: [] }],
      },
    };
    writeServer(program, answers);
    const env = { TENET_LLAMA_SERVER: program };
    const folder = join(home, "lying");
    const { code, stderr } = await tenetWith(env, "export", "recipe", folder, ...gguf);
    expect(code).toBe(2);
    expect(stderr).toMatch(/nothing was exported: .*\ngguf: prompt 1 becomes other tokens .*in llama\.cpp/);
    expect(stderr).toMatch(/replies do not end at "<\|im_end\|>".*\n.*--unverified/s);
    expect(existsSync(folder)).toBe(false);
    const all = await tenetWith(env, "export", "recipe", folder, ...gguf, "--unverified");
    expect(all).toMatchObject({ code: 0, stdout: expect.stringMatching(/^gguf FAILED its proof$/m) });
    expect(readFileSync(join(folder, "README.md"), "utf8")).toContain("**gguf failed its proof**");
  });

  it("holds safetensors against the Python that is named, and says what it does not take", async () => {
    const python = join(home, "python");
    const source = `console.log(JSON.stringify({ versions: "transformers 0", ends: [] }));
require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const { ask, tokens } = JSON.parse(line);
  if (tokens) console.log(JSON.stringify({ error: "ValueError: no such model" }));
  else console.log(JSON.stringify({ answer: ask === "prompt" ? [33] : "qq" }));
});`;
    writeFileSync(python, `#!${process.execPath}\n${source}`, { mode: 0o755 });
    const env = { TENET_TRANSFORMERS_PYTHON: python };
    const folder = join(home, "refused");
    const { code, stderr } = await tenetWith(
      env,
      "export",
      "recipe",
      folder,
      "--checkpoint",
      "rl",
      "--what",
      "adapter,merged",
    );
    expect(code).toBe(2);
    for (const part of ["adapter", "merged"])
      expect(stderr).toMatch(new RegExp(`${part}: transformers in .* does not take .*: ValueError: no such model`));
    expect(existsSync(folder)).toBe(false);
  });

  it("holds safetensors against vLLM where its program is named", async () => {
    const program = join(home, "vllm");
    writeServer(program, {
      "/health": {},
      "/tokenize": { tokens: [33] },
      "/detokenize": { prompt: "qq" },
      "/v1/completions": {
        choices: [{ finish_reason: "length", token_ids: [34], prompt_logprobs: [null] }],
      },
    });
    const what = ["--checkpoint", "rl", "--what", "adapter,merged"];
    const folder = join(home, "unserved");
    const { code, stderr } = await tenetWith({ TENET_VLLM: program }, "export", "recipe", folder, ...what);
    expect(code).toBe(2);
    for (const part of ["adapter", "merged"])
      expect(stderr).toContain(`${part}: vLLM tells no log-probability of token 1 of a reply`);
    expect(existsSync(folder)).toBe(false);
  });

  it("refuses quantised safetensors before anything is written", async () => {
    const wrong = await tenet(
      "export",
      "recipe",
      join(home, "none"),
      "--checkpoint",
      "rl",
      "--what",
      "merged",
      "--dtype",
      "Q8_0",
    );
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringMatching(/Q8_0 is for gguf/) });
    expect(existsSync(join(home, "none"))).toBe(false);
  });

  it("say who speaks where a run trained nothing, and what is loaded", async () => {
    const greedy = ["--temperature", "0", "--max-tokens", "4"];
    const untrained = await tenet("chat", "--run", "strict", "Hello you", ...greedy);
    expect(untrained).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/^note: run strict-\w+ has trained nothing yet: base \(Base\) is the model/),
    });
    const compared = await tenet("chat", "--run", "recipe", "--compare", "base,sl", "Hello you", ...greedy);
    expect(compared.stderr).toMatch(/^loading base \(Base\), sl \(SL-CAI\) …$/m);
    expect(compared.stderr).not.toContain("trained nothing");
    const wrong = await tenet("chat", "--run", "recipe", "--checkpoint", "xl", "Hello you");
    expect(wrong.stderr).toMatch(/did you mean "sl"\? It has base, sl, rl\n/);
  });

  it("refuses a folder with something in it, and leaves nothing behind", async () => {
    const folder = join(home, "taken");
    mkdirSync(folder);
    writeFileSync(join(folder, "mine.txt"), "mine");
    expect(await tenet("export", "recipe", folder, "--checkpoint", "rl")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("not empty"),
    });
    expect(readdirSync(folder)).toEqual(["mine.txt"]);
    expect(await tenet("export", "recipe", folder, "--what", "adaptr")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('did you mean "adapter"'),
    });
    const unnamed = await tenet("export", "recipe", join(home, "none"));
    expect(unnamed).toMatchObject({ code: 2, stderr: expect.stringMatching(/recommends that: name .*, sl, rl\./) });
    const none = await tenet("export", "recipe", join(home, "none"), "--checkpoint", "base");
    expect(none).toMatchObject({ code: 2, stderr: expect.stringContaining("it has sl, rl") });
    expect(existsSync(join(home, "none"))).toBe(false);
    const early = await tenet("export", "strict", join(home, "none"));
    expect(early).toMatchObject({ code: 2, stderr: expect.stringContaining("trained nothing yet") });
  });
});

describe("diff of runs", () => {
  it("says which settings differ, which stages are shared, and what both came to", async () => {
    const other = beside("slower.yaml", reinforcedRecipe.replace("batchSize: 4\n", "batchSize: 3\n"));
    expect(await tenet("run", other)).toMatchObject({ code: 0 });
    const { code, stdout } = await tenet("diff", "recipe", "slower");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^supervised\.batchSize +4 +3$/m);
    expect(stdout).toContain("the principles are the same");
    expect(stdout).toMatch(/^chains +shared$/m);
    expect(stdout).toMatch(/^supervised +differs$/m);
    expect(stdout).toMatch(/^rl +\S.*\d.* +\d.*$/m);
    const json = JSON.parse((await tenet("diff", "recipe", "slower", "--json")).stdout);
    expect(json.settings).toEqual([{ setting: "supervised.batchSize", a: 4, b: 3 }]);
    // The preference models differ, and with them what they say of the same replies.
    const base = (json as RunDiff).scores.filter((one) => one.checkpoint === "base" && one.metric !== "proxy");
    expect(base.length).toBeGreaterThan(2);
    for (const { a, b } of base) expect(b).toEqual(a);
  });

  it("shows principles that changed, and stages that one run has", async () => {
    writeFileSync(join(home, "project", "brief.yaml"), constitution.replace("Be brief.", "Be very brief."));
    const text = supervisedRecipe.replace("constitution.yaml", "brief.yaml");
    expect(await tenet("run", beside("briefer.yaml", text))).toMatchObject({ code: 0 });
    const { stdout } = await tenet("diff", "recipe", "briefer");
    expect(stdout).toContain("      - Be brief.\n      + Be very brief.");
    expect(stdout).toMatch(/^constitution +constitution\.yaml +brief\.yaml$/m);
    expect(stdout).not.toContain("constitutionHash");
    expect(stdout).toMatch(/^policy +only a$/m);
  });
});

describe("eval", () => {
  it("makes the scorecard of the model and of adapters, and trains nothing", async () => {
    const folder = join(home, "adapters");
    expect(await tenet("export", "recipe", folder, "--what", "adapter", "--checkpoint", "sl")).toMatchObject({
      code: 0,
    });
    const adapter = `mine=${join(folder, "adapter")}`;
    const { code, stdout } = await tenet("eval", recipe, "--adapter", adapter, "--store", join(home, "evaluations"));
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/ Base +mine +mine against Base/),
    });
    expect(stdout).not.toContain("tenet chat");
    const opened = openStore(join(home, "evaluations"), { readOnly: true });
    const [info] = opened.runs();
    const stages = opened.stages(info!.id);
    opened.close();
    expect(info).toMatchObject({ name: "recipe.eval", status: "done" });
    expect(stages.flatMap(({ artifacts }) => artifacts)).toEqual([]);
    expect(stages.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["answers of base", "answers of mine", "scorecard"]),
    );
  });

  it("is of the same figures as the run's own scorecard", async () => {
    const json = await tenet("eval", recipe, "--adapter", `sl=${join(home, "adapters", "adapter")}`, "--json");
    const { report } = JSON.parse(json.stdout.trimEnd().split("\n").at(-1)!) as { report: { json: string } };
    const card = parseScorecard(readFileSync(report.json, "utf8"));
    const own = await tenet("report", runOf("recipe"), "--json");
    const run = parseScorecard(readFileSync(JSON.parse(own.stdout).json, "utf8"));
    for (const { checkpoint, metric, value } of card.rows)
      expect(run.rows.find((row) => row.checkpoint === checkpoint && row.metric === metric)?.value).toBe(value);
    expect(card.rows.length).toBeGreaterThan(4);
  });

  const wrong: [string[], RegExp][] = [
    [["--adapter", "here"], /expected name=folder/],
    [["--adapter", "base=here"], /that of the model itself/],
    [["--adapter", `mine=${home}`], /holds no adapter_config\.json/],
  ];
  for (const [args, message] of wrong)
    it(`refuses ${message.source}`, async () => {
      expect(await tenet("eval", recipe, ...args)).toMatchObject({ code: 2, stderr: expect.stringMatching(message) });
    });

  it("needs held-out prompts", async () => {
    const bare = beside(
      "no-held-out.yaml",
      supervisedRecipe.replace(", heldOut: held-out.jsonl", "").replace(", neutral: neutral.yaml", ""),
    );
    expect(await tenet("eval", bare)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("add prompts.heldOut"),
    });
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
    expect(await tenet("show", "latest", "--store", join(home, "nowhere"))).toMatchObject({ code: 2 });
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
