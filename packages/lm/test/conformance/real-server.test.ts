/**
 * The contract and the bad network, with llama.cpp itself behind them. Opt-in:
 *
 *   TENET_TEST_LLAMA_PYTHON  a Python that has llama-cpp-python[server]; with TENET_TEST_GGUF, a server is started
 *   TENET_TEST_GGUF          a small instruction-tuned model, e.g. SmolLM2-135M-Instruct
 *   TENET_TEST_ENDPOINT      or: the address (…/v1) of such a server that runs already
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, describe, it } from "vitest";
import { endpoint } from "../../src/endpoint/endpoint.ts";
import { freePort } from "../../src/proof/server.ts";
import { faultTests } from "./faults.ts";
import { conformance } from "./suite.ts";

const { TENET_TEST_ENDPOINT: address, TENET_TEST_LLAMA_PYTHON: python, TENET_TEST_GGUF: gguf } = process.env;
const settings = { concurrency: 4, timeoutSeconds: 60 };

if (address || (python && gguf)) {
  conformance({
    name: "an endpoint on llama.cpp's server",
    open: async () => endpoint({ baseUrl: await serve(), ...settings }),
    shut: stop,
    capabilities: {
      chat: true,
      raw: true,
      prefill: false,
      topLogprobs: 20,
      // Its echo shifts log-probabilities by a token for models without a beginning-of-text token.
      score: { raw: "options", chat: "options" },
      seed: true,
      topK: true,
      minP: true,
      minTokens: false,
      repetitionPenalty: true,
      streaming: true,
    },
    options: { raw: [" the", " and"], chat: ["The", "A"] },
    tolerance: 0.05,
    patienceMs: 8000,
  });

  describe("an endpoint behind a bad network to llama.cpp's server", () => {
    let url: string;
    beforeAll(async () => {
      url = await serve();
    });
    afterAll(stop);
    faultTests(() => url, { requests: 200, settings: { ...settings, timeoutSeconds: 30 }, timeoutMs: 600_000 });
  });
} else {
  it.skip("llama.cpp's server (skipped: neither TENET_TEST_ENDPOINT nor TENET_TEST_LLAMA_PYTHON and TENET_TEST_GGUF are set)", () => {});
}

let child: ChildProcess | undefined;

async function serve(): Promise<string> {
  if (address) return address;
  const port = await freePort();
  // Without --interrupt_requests False every new request cuts the streams under way.
  const flags = { model: gguf!, host: "127.0.0.1", port, n_ctx: 2048, logits_all: "True", interrupt_requests: "False" };
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
  child = spawn(python!, ["-m", "llama_cpp.server", ...args, "--verbose", "False"], { stdio: "ignore" });
  const url = `http://127.0.0.1:${port}/v1`;
  for (let tries = 0; tries < 100; tries++) {
    if (child.exitCode !== null) throw new Error(`the server ended with code ${child.exitCode}`);
    const up = await fetch(`${url}/models`).then(
      (response) => response.ok,
      () => false,
    );
    if (up) return url;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  throw new Error("the server did not come up in 50 s");
}

async function stop(): Promise<void> {
  const running = child;
  child = undefined;
  if (!running || running.exitCode !== null) return;
  running.kill();
  await once(running, "exit");
}
