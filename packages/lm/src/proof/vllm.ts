import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { Prompt } from "../language-model/index.ts";
import { ExportRuntimeError } from "./program.ts";
import type { ExportRuntime } from "./proof.ts";
import { startServer } from "./server.ts";

export interface VllmOptions {
  /** vLLM's program `vllm`, by name or path. */
  readonly program: string;
  /** A Hugging Face folder. */
  readonly model: string;
  /** A folder in PEFT's format, on top of the model. */
  readonly adapter?: string;
  readonly context?: number;
  /** It compiles and plans its memory before it answers. */
  readonly startSeconds?: number;
}

const tokensSchema = z.object({ tokens: z.array(z.int()) });
const textSchema = z.object({ prompt: z.string() });
const completionSchema = z.object({
  choices: z.tuple([
    z.object({
      text: z.string(),
      finish_reason: z.string().nullable(),
      token_ids: z.array(z.int()).nullish(),
      /** Of each token of the prompt, by its id; the first has none. */
      prompt_logprobs: z.array(z.record(z.string(), z.object({ logprob: z.number() })).nullable()).nullish(),
    }),
  ]),
});

/** Ranks that it sets memory aside for. Source: `MaxLoRARanks` in vllm/config/lora.py. */
const ranks = [8, 16, 32, 64, 128, 256, 320, 512];
const served = "export";

/**
 * Starts vLLM's server on a Hugging Face folder in float32, on a port of this machine, to hold an export against.
 * Errors: ExportRuntimeError where the program cannot be started or does not come up with the files, EndpointError for what it refuses.
 */
export async function startVllm(options: VllmOptions): Promise<ExportRuntime> {
  const { program, model, adapter, context = 2048, startSeconds = 600 } = options;
  const lora = adapter === undefined ? [] : await loraArguments(adapter);
  const { ask, stop } = await startServer({
    ...{ program, name: "vLLM", model: adapter ?? model, startSeconds },
    args: (port) => [
      ...["serve", model, "--host", "127.0.0.1", "--port", `${port}`, "--dtype", "float32"],
      // Compiling takes longer than a proof, and changes no number on purpose.
      ...["--max-model-len", `${context}`, "--max-num-seqs", "1", "--enforce-eager"],
      ...["--served-model-name", adapter === undefined ? served : "base", ...lora],
    ],
    environment: {
      ...{ HF_HUB_OFFLINE: "1", VLLM_NO_USAGE_STATS: "1", DO_NOT_TRACK: "1" },
      // Where its last words are looked for.
      VLLM_LOGGING_STREAM: "ext://sys.stderr",
    },
  });
  const promptTokens = async (prompt: Prompt): Promise<number[]> => {
    const asked =
      typeof prompt === "string"
        ? { prompt, add_special_tokens: true }
        : { messages: prompt, add_generation_prompt: prompt.at(-1)!.role !== "assistant" };
    return (await ask("/tokenize", { model: served, ...asked }, tokensSchema)).tokens;
  };
  const complete = async (prompt: readonly number[], more: object) => {
    const body = { model: served, prompt, temperature: 0, ...more };
    return (await ask("/v1/completions", body, completionSchema)).choices[0];
  };
  return {
    name: "vLLM",
    promptTokens,
    async replyLogprobs(prompt, { tokens }) {
      const ids = await promptTokens(prompt);
      const known = tokens.findIndex(({ id }) => id === undefined);
      const reply = tokens.slice(0, known < 0 ? undefined : known).map(({ id }) => id!);
      if (reply.length === 0) return [];
      const { prompt_logprobs: told } = await complete([...ids, ...reply], { max_tokens: 1, prompt_logprobs: 0 });
      return reply.map((id, i) => told?.[ids.length + i]?.[id]?.logprob);
    },
    async reply(prompt, maxTokens) {
      const said = await complete(await promptTokens(prompt), { max_tokens: maxTokens, return_token_ids: true });
      if (!said.token_ids) return said.text;
      // Its own text leaves out special tokens, and at the end what is no whole character.
      const tokens = said.finish_reason === "stop" ? said.token_ids.slice(0, -1) : said.token_ids;
      return (await ask("/detokenize", { model: served, tokens }, textSchema)).prompt;
    },
    async endsAt(token) {
      const ids = await promptTokens("Hello");
      // The token is made the likeliest: a reply that ends there has no other.
      const { finish_reason } = await complete(ids, { max_tokens: 2, logit_bias: { [token]: 100 } });
      return finish_reason === "stop";
    },
    close: stop,
  };
}

async function loraArguments(adapter: string): Promise<string[]> {
  const file = join(adapter, "adapter_config.json");
  const { r } = z.object({ r: z.int().min(1) }).parse(JSON.parse(await readFile(file, "utf8")));
  const room = ranks.find((rank) => rank >= r);
  if (room === undefined)
    throw new ExportRuntimeError(`vLLM takes adapters of rank ${ranks.at(-1)} at most; ${adapter} has ${r}`);
  return ["--enable-lora", "--max-lora-rank", `${room}`, "--lora-modules", `${served}=${adapter}`];
}
