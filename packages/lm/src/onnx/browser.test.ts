/*
 * An export in a Chromium, by transformers.js. Runs where these are set:
 *
 *   TENET_TRANSFORMERS_JS  a node_modules folder with @huggingface/transformers and onnxruntime-web
 *   TENET_CHROMIUM         the browser; by default Debian's
 *   TENET_TEST_MODEL       also this model, by catalogue name or path
 */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeTinyModel } from "../../test/tiny-model.ts";
import { resolveModel } from "../catalogue/index.ts";
import { openCheckpoint } from "../checkpoint/index.ts";
import { exportGguf } from "../gguf/index.ts";
import type { Prompt } from "../language-model/index.ts";
import { openLocalModel } from "../local/index.ts";
import { type ExportRuntime, proveExport } from "../proof/index.ts";
import { exportOnnx, type OnnxWriteType, onnxNames } from "./index.ts";

const {
  TENET_TRANSFORMERS_JS: modules,
  TENET_CHROMIUM: program = "/usr/bin/chromium",
  TENET_TEST_MODEL: real,
} = process.env;

const page = `<!doctype html><script type="importmap">${JSON.stringify({
  imports: {
    "@huggingface/transformers": "/modules/@huggingface/transformers/dist/transformers.web.js",
    "onnxruntime-web/webgpu": "/modules/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs",
    "onnxruntime-common": "/modules/onnxruntime-common/dist/esm/index.js",
  },
})}</script><script type="module">
import { AutoModelForCausalLM, AutoTokenizer, env, Tensor } from "@huggingface/transformers";
env.allowRemoteModels = false;
env.allowLocalModels = true;
env.localModelPath = "/models/";
env.backends.onnx.wasm.wasmPaths = "/modules/onnxruntime-web/dist/";
env.backends.onnx.wasm.numThreads = 1;
let tokenizer, model;
const ids = (prompt) =>
  typeof prompt === "string"
    ? tokenizer.encode(prompt)
    : tokenizer.apply_chat_template(prompt, { add_generation_prompt: true, return_tensor: false, return_dict: false });
const fed = (tokens) => ({
  input_ids: new Tensor("int64", BigInt64Array.from(tokens, BigInt), [1, tokens.length]),
  attention_mask: new Tensor("int64", new BigInt64Array(tokens.length).fill(1n), [1, tokens.length]),
});
window.runtime = {
  async open(name, dtype) {
    tokenizer = await AutoTokenizer.from_pretrained(name);
    model = await AutoModelForCausalLM.from_pretrained(name, { device: "wasm", ...(dtype && { dtype }) });
  },
  prompt: ids,
  async logprobs(prompt, reply) {
    const before = ids(prompt);
    const { logits } = await model(fed([...before, ...reply]));
    const width = logits.dims.at(-1);
    return reply.map((id, i) => {
      const row = logits.data.subarray((before.length - 1 + i) * width, (before.length + i) * width);
      const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
      let sum = 0;
      for (const value of row) sum += Math.exp(value - most);
      return row[id] - most - Math.log(sum);
    });
  },
  async reply(prompt, most) {
    const before = ids(prompt);
    const out = await model.generate({ ...fed(before), max_new_tokens: most, do_sample: false });
    return tokenizer.decode(out.tolist()[0].slice(before.length), { skip_special_tokens: true });
  },
  ends: () => [model.generation_config.eos_token_id].flat(),
};
window.ready = true;
</script>`;

const types: Record<string, string> = {
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

interface PageRuntime {
  open(name: string, dtype: string | undefined): Promise<void>;
  prompt(prompt: Prompt): number[];
  logprobs(prompt: Prompt, reply: number[]): Promise<number[]>;
  reply(prompt: Prompt, most: number): Promise<string>;
  ends(): number[];
}

let folder: string;
let server: Server;
let browser: Browser;
let origin: string;

describe.skipIf(!modules || !existsSync(program))("transformers.js in a browser", () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tenet-browser-"));
    server = createServer(async (request, response) => {
      const path = decodeURIComponent(new URL(request.url!, "http://x").pathname);
      if (path === "/") return response.setHeader("content-type", "text/html").end(page);
      const [, root, ...rest] = path.split("/");
      const base = root === "modules" ? modules! : folder;
      const bytes = await readFile(join(base, ...rest)).catch(() => undefined);
      if (!bytes) return response.writeHead(404).end();
      response.setHeader("content-type", types[extname(path)] ?? "application/octet-stream").end(bytes);
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  }, 120_000);
  afterAll(async () => {
    await browser?.close();
    server?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** A folder of the server as the page opens it; of its own settings, where no type is named. */
  async function opened(name: string, dtype?: string): Promise<ExportRuntime> {
    const tab: Page = await browser.newPage();
    tab.on("pageerror", (error) => console.error(error));
    await tab.goto(origin);
    await tab.waitForFunction("window.ready", undefined, { timeout: 120_000 });
    const call = <K extends keyof PageRuntime>(method: K, ...args: Parameters<PageRuntime[K]>) =>
      tab.evaluate(
        ([method, args]) =>
          (globalThis as never as { runtime: Record<string, (...a: unknown[]) => unknown> }).runtime[method]!(...args),
        [method, args] as [string, unknown[]],
      ) as Promise<Awaited<ReturnType<PageRuntime[K]>>>;
    await call("open", name, dtype);
    const ends = await call("ends");
    return {
      name: "transformers.js",
      promptTokens: (prompt) => call("prompt", prompt),
      replyLogprobs: (prompt, { tokens }) =>
        call(
          "logprobs",
          prompt,
          tokens.map(({ id }) => id!),
        ),
      reply: (prompt, maxTokens) => call("reply", prompt, maxTokens),
      endsAt: async (token) => ends.includes(token),
      close: () => tab.close(),
    };
  }

  async function prove(from: string, type: OnnxWriteType, prompts: Prompt[], maxTokens: number) {
    const name = `model-${type}-${from.length}`;
    const checkpoint = await openCheckpoint(from);
    await exportOnnx(checkpoint, join(folder, name), { type });
    // The numbers of a GGUF file of the type, where they are not the model's own.
    const gguf = join(folder, `${name}.gguf`);
    if (type !== "F32") await exportGguf(checkpoint, gguf, { type });
    await checkpoint.close();
    const model = await openLocalModel(type === "F32" ? from : gguf, { device: "cpu", cacheDir: folder });
    const runtime = await opened(name);
    const proof = await proveExport({ model, prompts, runtime, type, maxTokens });
    await runtime.close();
    await model.close();
    console.log(type, onnxNames[type].file, JSON.stringify({ ...proof, replies: proof.replies.length }));
    return proof;
  }

  const said: Prompt[] = [
    [{ role: "user", content: "Hello there" }],
    [
      { role: "system", content: "Be brief." },
      { role: "user", content: "12 × 34?\n\nNaïve 🌊" },
      { role: "assistant", content: "It is 408." },
      { role: "user", content: "don't\tSTOP now" },
    ],
  ];

  it.each([
    ["F32", {}],
    ["F32", { model_type: "mistral", sliding_window: 16 }],
    ["F16", { model_type: "qwen2", tie_word_embeddings: true }],
    ["Q8_0", { model_type: "qwen3", head_dim: 16, hidden_size: 64, intermediate_size: 96 }],
    ["Q4_0", { model_type: "mistral", sliding_window: null, hidden_size: 64, intermediate_size: 96 }],
  ] as const)(
    "%s %o: the same prompts, log-probabilities, replies and ends",
    async (type, config) => {
      const from = await writeTinyModel(join(folder, `tiny-${"model_type" in config ? config.model_type : "llama"}`), {
        config,
      });
      const proof = await prove(from, type, said, 12);
      expect(proof).toMatchObject({ samePrompts: 2, faults: [] });
      expect(proof.largest).toBeLessThan(1e-3);
    },
    300_000,
  );

  it.skipIf(!real)(
    "the model named: the same to 1/1000 in float32",
    async () => {
      const proof = await prove(await resolveModel(real!), "F32", said, 16);
      expect(proof).toMatchObject({ samePrompts: 2, faults: [] });
      expect(proof.largest).toBeLessThan(1e-3);
    },
    600_000,
  );
});
