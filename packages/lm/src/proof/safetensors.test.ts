import { once } from "node:events";
import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { failure } from "../../test/checkpoint/build.ts";
import { dialogues } from "../../test/dialogues.ts";
import { randomAdapter } from "../../test/gguf/adapter.ts";
import { familyShapes, shapes } from "../../test/gguf/shapes.ts";
import { writeTinyModel } from "../../test/tiny-model.ts";
import { adapterFactors, mergeAdapter, saveAdapter } from "../adapter/index.ts";
import { resolveModel } from "../catalogue/index.ts";
import { type Checkpoint, CheckpointError, openCheckpoint } from "../checkpoint/index.ts";
import { weightFaults } from "../gguf/index.ts";
import type { Prompt } from "../language-model/index.ts";
import { type LocalModel, openLocalModel } from "../local/index.ts";
import {
  type ExportRuntime,
  ExportRuntimeError,
  ownRuntime,
  proveExport,
  startTransformers,
  startVllm,
} from "./index.ts";

let folder: string;
let source: string;
let checkpoint: Checkpoint;
let base: LocalModel;
let model: LocalModel;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-merged-"));
  source = await writeTinyModel(join(folder, "model"));
  checkpoint = await openCheckpoint(source);
  base = await openLocalModel(source, { device: "cpu", cacheDir: folder });
  model = (await base.withAdapter({ id: "a", ...adapterFactors(randomAdapter(checkpoint.config, 1)) })) as LocalModel;
});
afterAll(async () => {
  await base?.close();
  await checkpoint?.close();
  await rm(folder, { recursive: true });
});

const prompts: Prompt[] = [
  [{ role: "user", content: "Hello there" }],
  [
    { role: "system", content: "Be brief." },
    { role: "user", content: "12 × 34?\n\nNaïve 🌊" },
  ],
];

let count = 0;
async function merged(seed = 1, onto = checkpoint): Promise<string> {
  const into = join(folder, `merged-${count++}`);
  await mergeAdapter(onto, { ...randomAdapter(onto.config, seed), baseModel: undefined }, into, { dtype: "F32" });
  return into;
}

/** A model, an adapter beside it, and both merged: as the engine has them, and in folders. */
async function adapted(config: Record<string, unknown>) {
  const from = await writeTinyModel(join(folder, `family-${count++}`), { config });
  await writeFile(join(from, "generation_config.json"), JSON.stringify({ eos_token_id: [256, 258] }));
  const plain = await openLocalModel(from, { device: "cpu", cacheDir: folder });
  const factors = randomAdapter(plain.config, 1);
  const own = (await plain.withAdapter({ id: "a", ...adapterFactors(factors) })) as LocalModel;
  const adapter = join(folder, `adapter-${count++}`);
  await saveAdapter(adapter, { ...factors, baseModel: "base", config: plain.config });
  const opened = await openCheckpoint(from);
  const into = await merged(1, opened).finally(opened.close);
  return { plain, own, from, adapter, into };
}

async function prove(runtime: ExportRuntime, of: LocalModel = model) {
  return proveExport({ model: of, prompts, runtime, type: "F32", maxTokens: 12 }).finally(() => runtime.close());
}

async function opened(path: string) {
  const { config, close } = await openCheckpoint(path);
  await close();
  const again = await openLocalModel(path, { device: "cpu", cacheDir: folder });
  return ownRuntime(again, { ends: new Set(config.eos_token_ids) });
}

async function edit(path: string, change: (json: Record<string, unknown>) => void) {
  const json = JSON.parse(await readFile(path, "utf8"));
  change(json);
  await writeFile(path, JSON.stringify(json));
}

/** Faults planted in a merged checkpoint, and what a proof says of it, in whatever opens it. */
const planted: Record<string, { plant: (into: string) => Promise<void>; found: RegExp }> = {
  "a wrong template": {
    plant: (into) =>
      edit(join(into, "tokenizer_config.json"), (json) => {
        json.chat_template = (json.chat_template as string).replace("{{ m.role }}\n", "{{ m.role }} ");
      }),
    found: /prompt 1 becomes other tokens from token \d+ on/,
  },
  "a dropped stop token": {
    plant: (into) =>
      edit(join(into, "generation_config.json"), (json) => {
        json.eos_token_id = 256;
      }),
    found: /replies do not end at "<\|im_end\|>" \(token 258\)/,
  },
};

describe("a merged checkpoint", () => {
  it("passes its proof, and names every token at which replies end", async () => {
    const into = await merged();
    const found = await prove(await opened(into));
    expect(found).toMatchObject({ runtime: "Tenet", samePrompts: 2, faults: [] });
    expect(found.largest).toBeLessThan(1e-3);
    // The base's own files name one; its template the other.
    const { eos_token_id } = JSON.parse(await readFile(join(into, "generation_config.json"), "utf8"));
    expect(new Set(eos_token_id)).toEqual(new Set([256, 258]));
  });

  it.each(Object.entries(planted))("is found to have %s", async (_, { plant, found }) => {
    const into = await merged();
    await plant(into);
    expect((await prove(await opened(into))).faults.join()).toMatch(found);
  });

  it("is found to have a swapped adapter, by its weights and by what it says", async () => {
    const into = await merged(2);
    const again = await openCheckpoint(into);
    const adapter = randomAdapter(checkpoint.config, 1);
    const faults = await weightFaults(again, { checkpoint, adapter, type: "F32" }).finally(() => again.close());
    expect(faults.join()).toMatch(/14 of \d+ weights are not those of the checkpoint/);
    expect((await prove(await opened(into))).faults.join()).toMatch(/log-probabilities differ by up to/);
  });

  it("is found to be cut short", async () => {
    const path = join(await merged(), "model.safetensors");
    await truncate(path, (await readFile(path)).length - 64);
    expect(await failure(openCheckpoint(path))).toBeInstanceOf(CheckpointError);
  });
});

describe("Python's transformers", () => {
  it("says why it did not come up", async () => {
    await expect(startTransformers({ python: join(folder, "none"), model: "x" })).rejects.toThrow(/ENOENT/);
    await expect(startTransformers({ python: process.execPath, model: "x" })).rejects.toThrow(
      /cannot run transformers on x: .+/s,
    );
  });
});

/*
 * transformers and PEFT themselves, where this is set:
 *
 *   TENET_TRANSFORMERS_PYTHON  a Python that has torch, transformers and peft
 *   TENET_TEST_MODEL           also this model, by catalogue name or path
 */
const { TENET_TRANSFORMERS_PYTHON: python, TENET_TEST_MODEL: real } = process.env;

describe.skipIf(!python)("transformers and PEFT", () => {
  it.each(Object.entries(shapes))(
    "%s: the same prompts, log-probabilities, replies and ends",
    async (name, config) => {
      const from = await writeTinyModel(join(folder, `shape-${count++}`), { config });
      await writeFile(join(from, "generation_config.json"), JSON.stringify({ eos_token_id: [256, 258] }));
      const own = await openLocalModel(from, { device: "cpu", cacheDir: folder });
      const found = await prove(await startTransformers({ python: python!, model: from }), own).finally(() =>
        own.close(),
      );
      console.log(name, { ...found, replies: found.replies.length });
      expect(found).toMatchObject({ samePrompts: 2, faults: [] });
      expect(found.tokens).toBeGreaterThan(4);
      expect(found.largest).toBeLessThan(1e-3);
    },
    300_000,
  );

  it.skipIf(!real)(
    "a real model: the same in F16, in replies of 8 tokens to fifty dialogues",
    async () => {
      const [from, into] = [await resolveModel(real!), join(folder, `real-${count++}`)];
      const opened = await openCheckpoint(from);
      // An adapter that changes nothing: the model's own weights.
      const nothing = { ...randomAdapter(opened.config, 1, 0), baseModel: undefined };
      await mergeAdapter(opened, nothing, into, { dtype: "F16" }).finally(opened.close);
      const own = await openLocalModel(from, { device: "cpu", cacheDir: folder });
      const runtime = await startTransformers({ python: python!, model: into });
      const asked = { prompts: dialogues, maxTokens: 8, type: "F16" } as const;
      const found = await proveExport({ model: own, ...asked, runtime }).finally(() => runtime.close());
      await own.close();
      const parts = found.replies.flatMap(({ parts }) => parts ?? []);
      console.log(real, JSON.stringify({ ...found, replies: found.replies.length, parts }));
      expect(found).toMatchObject({ samePrompts: 50, faults: [] });
      expect(found.tokens).toBeGreaterThan(256);
      expect(found.largest).toBeLessThan(0.05);
    },
    1_800_000,
  );

  it.each(familyShapes)(
    "%s: load an adapter on its base as the engine does, and what is merged",
    async (name, config) => {
      const { plain, own, from, adapter, into } = await adapted(config);
      for (const files of [{ model: from, adapter }, { model: into }]) {
        const found = await prove(await startTransformers({ python: python!, ...files }), own);
        console.log(name, { ...found, replies: found.replies.length });
        expect(found).toMatchObject({ samePrompts: 2, faults: [] });
        expect(found.largest).toBeLessThan(1e-3);
      }
      await plain.close();
    },
    300_000,
  );

  it("find a swapped adapter beside its base, and merged, and one that is missing", async () => {
    const [adapter, into] = [join(folder, "adapter"), await merged(2)];
    const other = randomAdapter(checkpoint.config, 2);
    await saveAdapter(adapter, { ...other, baseModel: "base", config: checkpoint.config });
    await writeFile(join(source, "generation_config.json"), JSON.stringify({ eos_token_id: [256, 258] }));
    for (const files of [{ model: source, adapter }, { model: into }, { model: source }])
      expect((await prove(await startTransformers({ python: python!, ...files }))).faults.join()).toMatch(
        /log-probabilities differ/,
      );
    const path = join(adapter, "adapter_model.safetensors");
    await truncate(path, (await readFile(path)).length - 64);
    await expect(startTransformers({ python: python!, model: source, adapter })).rejects.toThrow(/does not take/);
  }, 300_000);

  it("take what a message says for a special token, which is told and is no fault", async () => {
    const runtime = await startTransformers({ python: python!, model: await merged() });
    const said: Prompt[] = [[{ role: "user", content: "Hello <|im_end|>\n there" }]];
    const found = await proveExport({ model, prompts: said, runtime, type: "F32" }).finally(() => runtime.close());
    expect(found).toMatchObject({ samePrompts: 0, injectable: 1, faults: [] });
  }, 300_000);

  it.each(Object.entries(planted))(
    "find %s",
    async (_, { plant, found }) => {
      const into = await merged();
      await plant(into);
      expect((await prove(await startTransformers({ python: python!, model: into }))).faults.join()).toMatch(found);
    },
    300_000,
  );

  it("refuse a file that was cut short", async () => {
    const into = await merged();
    const path = join(into, "model.safetensors");
    await truncate(path, (await readFile(path)).length - 64);
    await expect(startTransformers({ python: python!, model: into })).rejects.toThrow(/does not take/);
  }, 300_000);
});

/**
 * A program that answers as vLLM does, by its server's answers of version 0.32.0: the model's own tokens, greedy replies and
 * log-probabilities, and an end at the tokens at which its replies end. `answers` are given in their place: a text, "exit" or "wait".
 */
async function standIn(answers: Record<string, string> = {}) {
  const { text } = model;
  const known = new Map<string, object>();
  const sampling = { temperature: 0, maxTokens: 12, logprobs: 2 };
  const requests = prompts.map((prompt) => ({ prompt, sampling }));
  for await (const { request, completion } of model.generate(requests)) {
    const ids = text.encodePrompt(prompts[request]!);
    const reply = (completion.tokens ?? []).map(({ id }) => id!);
    const stopped = completion.finishReason === "stop";
    const choice = { finish_reason: completion.finishReason, token_ids: stopped ? [...reply, 258] : reply };
    known.set(`${ids}`, { choices: [choice] });
    const told = completion.tokens!.map(({ id, logprob }) => ({ [id!]: { logprob } }));
    known.set(`${[...ids, ...reply]}`, { choices: [{ prompt_logprobs: [...ids.map(() => null), ...told] }] });
  }
  type Asked = { prompt: Prompt & number[]; messages?: Prompt; tokens: number[]; logit_bias?: object };
  const answer = (url: string, body: Asked): object => {
    if (url === "/tokenize") return { tokens: text.encodePrompt(body.messages ?? body.prompt) };
    if (url === "/detokenize") return { prompt: text.decode(body.tokens) };
    if (url !== "/v1/completions") return {};
    expect(body).toMatchObject({ model: "export", temperature: 0, repetition_penalty: 1 });
    const [biased] = Object.keys(body.logit_bias ?? {});
    if (biased === undefined) return known.get(`${body.prompt}`)!;
    const ends = ["256", "258"].includes(biased);
    return { choices: [{ finish_reason: ends ? "stop" : "length", token_ids: [Number(biased)] }] };
  };
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => {
      body += part;
    });
    request.on("end", () => response.end(JSON.stringify(answer(request.url!, JSON.parse(body || "{}")))));
  }).listen(0, "127.0.0.1");
  standIns.push(server);
  await once(server, "listening");
  const place = join(folder, `vllm-${count++}`);
  const script = `const { createServer, request } = require("node:http");
require("node:fs").writeFileSync(${JSON.stringify(`${place}.argv`)}, JSON.stringify(process.argv.slice(2)));
const answers = ${JSON.stringify(answers)};
const { port } = ${JSON.stringify(server.address())};
createServer((asked, response) => {
  const own = answers[asked.url];
  if (own === "wait") return;
  if (own === "exit") { process.stderr.write("OSError: no memory\\n"); process.exit(3); }
  if (own !== undefined) return response.end(own);
  asked.pipe(request({ port, path: asked.url, method: asked.method }, (found) => found.pipe(response)));
}).listen(Number(process.argv[process.argv.indexOf("--port") + 1]), "127.0.0.1");`;
  await writeFile(place, `#!${process.execPath}\n${script}`, { mode: 0o755 });
  return { program: place, argv: async (): Promise<string[]> => JSON.parse(await readFile(`${place}.argv`, "utf8")) };
}

const standIns: Server[] = [];
afterAll(() => {
  for (const server of standIns) server.close();
});

describe("vLLM's server", () => {
  it("says why it did not come up", async () => {
    await expect(startVllm({ program: join(folder, "none"), model: "x" })).rejects.toThrow(/ENOENT/);
    await expect(startVllm({ program: process.execPath, model: "x" })).rejects.toThrow(
      /does not come up with x: it ended with code/,
    );
  });

  it("is asked for tokens, log-probabilities, greedy replies and ends", async () => {
    const { program, argv } = await standIn();
    const runtime = await startVllm({ program, model: "served", context: 300 });
    const found = await prove(runtime);
    expect(found).toMatchObject({ runtime: "vLLM", samePrompts: 2, faults: [] });
    expect(found.tokens).toBeGreaterThan(4);
    expect(found.replies.every(({ before, after }) => before === after)).toBe(true);
    const started = (await argv()).join(" ");
    expect(started).toMatch(/serve served --host 127\.0\.0\.1 --port \d+ --dtype float32 --max-model-len 300/);
    expect(started).not.toContain("lora");
  });

  it("is served an adapter under room for its ranks", async () => {
    const { program, argv } = await standIn();
    const adapter = join(folder, `adapter-${count++}`);
    await saveAdapter(adapter, {
      ...randomAdapter(checkpoint.config, 1),
      baseModel: "base",
      config: checkpoint.config,
    });
    expect(await prove(await startVllm({ program, model: source, adapter }))).toMatchObject({ faults: [] });
    expect((await argv()).join(" ")).toContain(`--enable-lora --max-lora-rank 8 --lora-modules export=${adapter}`);
  });

  it("fails where it tells no log-probabilities, answers what nobody expects, or goes", async () => {
    const of = async (answers: Record<string, string>) => {
      const runtime = await startVllm({ program: (await standIn(answers)).program, model: "x" });
      return runtime
        .replyLogprobs("a", { text: "b", tokens: [{ id: 98, text: "b", logprob: -1 }] })
        .finally(runtime.close);
    };
    const silent = { "/v1/completions": JSON.stringify({ choices: [{ prompt_logprobs: [null, null] }] }) };
    await expect(of(silent)).rejects.toThrow(/vLLM tells no log-probability of token 1/);
    await expect(of({ "/v1/completions": "{}" })).rejects.toThrow(/answers \/v1\/completions as none.*"\{\}"/);
    await expect(of({ "/v1/completions": "<html>" })).rejects.toThrow(ExportRuntimeError);
    await expect(of({ "/v1/completions": "exit" })).rejects.toThrow(
      /is gone: it ended with code 3: OSError: no memory/,
    );
  });

  it("is waited for no longer than it is wanted", async () => {
    const { program } = await standIn({ "/health": "wait" });
    const why = new Error("not wanted any more");
    const signal = AbortSignal.timeout(1500);
    await expect(startVllm({ program, model: "x", signal })).rejects.toThrow(/timeout/i);
    await expect(startVllm({ program, model: "x", signal: AbortSignal.abort(why) })).rejects.toThrow(why.message);
    await expect(startVllm({ program, model: "x", startSeconds: 1 })).rejects.toThrow(/did not come up within 1 s/);
  });

  it("is not asked for an adapter of more ranks than it takes", async () => {
    const adapter = join(folder, "wide");
    const factors = randomAdapter(checkpoint.config, 1);
    await saveAdapter(adapter, { ...factors, baseModel: "base", config: checkpoint.config });
    await edit(join(adapter, "adapter_config.json"), (json) => {
      json.r = 1024;
    });
    await expect(startVllm({ program: "vllm", model: source, adapter })).rejects.toThrow(/rank 512 at most.*has 1024/);
  });
});

/*
 * vLLM itself, where this is set:
 *
 *   TENET_VLLM  its program `vllm`
 */
const vllm = process.env.TENET_VLLM;

/** Heads of a size that its attention takes. */
const wide = { hidden_size: 128, head_dim: 32 };

describe.skipIf(!vllm)("vLLM", () => {
  const into = async () => {
    const opened = await openCheckpoint(await writeTinyModel(join(folder, `wide-${count++}`), { config: wide }));
    return merged(1, opened).finally(opened.close);
  };

  it.each(familyShapes)(
    "%s: loads an adapter on its base as the engine does, and what is merged",
    async (name, config) => {
      const { plain, own, from, adapter, into } = await adapted({ ...config, ...wide });
      for (const files of [{ model: from, adapter }, { model: into }]) {
        const found = await prove(await startVllm({ program: vllm!, ...files, context: 256 }), own);
        console.log(name, JSON.stringify(found));
        expect(found).toMatchObject({ samePrompts: 2, faults: [] });
        expect(found.tokens).toBeGreaterThan(4);
        expect(found.largest).toBeLessThan(1e-3);
      }
      await plain.close();
    },
    600_000,
  );

  it.each(Object.entries(planted))(
    "finds %s",
    async (_, { plant, found }) => {
      const [sound, path] = [await into(), await into()];
      await plant(path);
      const own = await openLocalModel(sound, { device: "cpu", cacheDir: folder });
      const runtime = await startVllm({ program: vllm!, model: path, context: 256 });
      expect((await prove(runtime, own)).faults.join()).toMatch(found);
      await own.close();
    },
    600_000,
  );

  it("refuses a file that was cut short", async () => {
    const model = await into();
    const path = join(model, "model.safetensors");
    await truncate(path, (await readFile(path)).length - 64);
    await expect(startVllm({ program: vllm!, model, context: 256 })).rejects.toThrow(/does not come up/);
  }, 600_000);
});
