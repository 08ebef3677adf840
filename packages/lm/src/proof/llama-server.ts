import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { z } from "zod";
import { EndpointError, type Prompt } from "../language-model/index.ts";
import type { ExportRuntime } from "./proof.ts";

export interface LlamaServerOptions {
  /** The program: llama.cpp's `llama-server`, by name or path. */
  readonly program: string;
  readonly model: string;
  /** A GGUF adapter on top of the model. */
  readonly lora?: string;
  readonly context?: number;
  readonly startSeconds?: number;
}

/** A program did not come up with an exported file. */
export class ExportRuntimeError extends Error {
  override name = "ExportRuntimeError";
}

const promptSchema = z.object({ prompt: z.string() });
const tokensSchema = z.object({ tokens: z.array(z.int()) });
const completionSchema = z.object({
  content: z.string(),
  stop_type: z.string(),
  tokens_predicted: z.int(),
  completion_probabilities: z
    .array(z.object({ id: z.int(), top_logprobs: z.array(z.object({ id: z.int(), logprob: z.number() })) }))
    .optional(),
});

/** Likeliest tokens that are asked for: a reply is greedy, so its tokens are among the first. */
const likeliest = 20;

/**
 * Starts llama.cpp's server on a GGUF file, on a port of this machine, to hold an export against.
 * Errors: ExportRuntimeError where the program cannot be started or does not come up with the file, EndpointError for what it refuses.
 */
export async function startLlamaServer(options: LlamaServerOptions): Promise<ExportRuntime> {
  const { program, model, lora, context = 4096, startSeconds = 120 } = options;
  const port = await freePort();
  const args = ["--model", model, "--host", "127.0.0.1", "--port", `${port}`, "--ctx-size", `${context}`];
  const child = spawn(program, [...args, "--parallel", "1", ...(lora ? ["--lora", lora] : [])], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-2000);
  });
  let failure: Error | undefined;
  child.on("error", (error) => {
    failure = error;
  });
  const url = `http://127.0.0.1:${port}`;
  const deadline = Date.now() + startSeconds * 1000;
  for (;;) {
    if (failure) throw new ExportRuntimeError(`${program} cannot be started: ${failure.message}`);
    if (child.exitCode !== null)
      throw new ExportRuntimeError(
        `${program} ended with code ${child.exitCode} on ${model}: ${said.trim().slice(-500)}`,
      );
    const up = await fetch(`${url}/health`).then(
      (response) => response.ok,
      () => false,
    );
    if (up) return runtimeOf(url, child);
    if (Date.now() > deadline) {
      await stop(child);
      throw new ExportRuntimeError(`${program} did not come up within ${startSeconds} s`);
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

function runtimeOf(url: string, child: ChildProcess): ExportRuntime {
  const ask = async <T>(path: string, body: object, schema: z.ZodType<T>): Promise<T> => {
    const response = await fetch(`${url}${path}`, { method: "POST", body: JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok)
      throw new EndpointError(`llama.cpp's server refuses ${path}: ${text.slice(0, 500)}`, {
        fault: "http",
        status: response.status,
      });
    return schema.parse(JSON.parse(text));
  };
  const promptTokens = async (prompt: Prompt): Promise<number[]> => {
    const content =
      typeof prompt === "string" ? prompt : (await ask("/apply-template", { messages: prompt }, promptSchema)).prompt;
    // As the server does it with a conversation, and with raw text.
    const { tokens } = await ask("/tokenize", { content, add_special: true, parse_special: true }, tokensSchema);
    return tokens;
  };
  const greedy = { n_predict: 1, temperature: 0, cache_prompt: true };
  return {
    name: "llama.cpp",
    promptTokens,
    async replyLogprobs(prompt, { tokens }) {
      const ids = await promptTokens(prompt);
      const found: (number | undefined)[] = [];
      const known = tokens.findIndex(({ id }) => id === undefined);
      const reply = tokens.slice(0, known < 0 ? undefined : known).map(({ id }) => id!);
      while (found.length < reply.length) {
        const at = found.length;
        const body = { prompt: [...ids, ...reply.slice(0, at)], n_probs: likeliest, ...greedy };
        const asked = { ...body, n_predict: reply.length - at };
        const { completion_probabilities: steps = [] } = await ask("/completion", asked, completionSchema);
        // What it says goes on behind its own tokens: as far as they are those of the reply.
        const parts = steps.findIndex(({ id }, i) => id !== reply[at + i]);
        const behind = steps.slice(0, parts < 0 ? undefined : parts + 1);
        for (const [i, { top_logprobs }] of behind.entries())
          found.push(top_logprobs.find(({ id }) => id === reply[at + i])?.logprob);
        if (behind.length === 0) found.push(undefined);
      }
      return found;
    },
    async reply(prompt, maxTokens) {
      const body = { prompt: await promptTokens(prompt), ...greedy, n_predict: maxTokens };
      return (await ask("/completion", body, completionSchema)).content;
    },
    async endsAt(token) {
      const ids = await promptTokens("Hello");
      // The token is made the likeliest: a reply that ends there has no other.
      const body = { prompt: ids, ...greedy, n_predict: 2, logit_bias: [[token, 1000]] };
      return (await ask("/completion", body, completionSchema)).stop_type === "eos";
    },
    close: () => stop(child),
  };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill();
  const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
  await ended;
  clearTimeout(timer);
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, "close");
  return port;
}
