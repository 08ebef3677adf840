import { z } from "zod";
import { readAdapterConfig } from "../adapter/config.ts";
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
  /** Tokens of a prompt and its reply, at most; no more than the model's own. */
  readonly context?: number;
  /** It loads much and plans its memory before it answers. */
  readonly startSeconds?: number;
  readonly signal?: AbortSignal | undefined;
}

const tokensSchema = z.object({ tokens: z.array(z.int()) });
const textSchema = z.object({ prompt: z.string() });
const completionSchema = z.object({
  choices: z.tuple([z.object({ finish_reason: z.string().nullable(), token_ids: z.array(z.int()) })]),
});
/** Of each token of the prompt, by its id; the first has none. */
const scoredSchema = z.object({
  choices: z.tuple([
    z.object({ prompt_logprobs: z.array(z.record(z.string(), z.object({ logprob: z.number() })).nullable()) }),
  ]),
});

/** Ranks that it sets memory aside for. Source: `MaxLoRARanks` in vllm/config/lora.py. */
const ranks = [8, 16, 32, 64, 128, 256, 320, 512];
const served = "export";
/** Adapters of more ranks are none that it serves. */
export const mostVllmRanks = ranks.at(-1)!;

const continued = { add_generation_prompt: false, continue_final_message: true };
/** What is not said here it takes from the model's generation_config.json, a penalty too. */
const greedy = { temperature: 0, repetition_penalty: 1, presence_penalty: 0, frequency_penalty: 0 };

/**
 * Starts vLLM's server on a Hugging Face folder in float32, on a port of this machine, to hold an export against.
 * Errors: ExportRuntimeError where the program cannot be started or does not come up with the files, EndpointError for what it refuses.
 */
export async function startVllm(options: VllmOptions): Promise<ExportRuntime> {
  const { program, model, adapter, context = 2048, startSeconds = 600, signal } = options;
  const lora = adapter === undefined ? [] : await loraArguments(adapter);
  const { ask, stop } = await startServer({
    // It ends programs of its own first.
    ...{ program, name: "vLLM", model: adapter ?? model, startSeconds, stopSeconds: 30, signal },
    args: (port) => [
      ...["serve", model, "--host", "127.0.0.1", "--port", `${port}`, "--dtype", "float32"],
      // Compiling takes longer than a proof, and changes no number on purpose.
      ...["--max-model-len", `${context}`, "--max-num-seqs", "1", "--enforce-eager"],
      ...["--served-model-name", adapter === undefined ? served : "base", ...lora],
    ],
    environment: {
      ...{ HF_HUB_OFFLINE: "1", VLLM_NO_USAGE_STATS: "1", DO_NOT_TRACK: "1" },
      // It would ask us for the key.
      VLLM_API_KEY: "",
      // Where its last words are looked for.
      VLLM_LOGGING_STREAM: "ext://sys.stderr",
    },
  });
  const promptTokens = async (prompt: Prompt): Promise<number[]> => {
    const asked =
      typeof prompt === "string"
        ? { prompt, add_special_tokens: true }
        : { messages: prompt, ...(prompt.at(-1)!.role === "assistant" ? continued : { add_generation_prompt: true }) };
    return (await ask("/tokenize", { model: served, ...asked }, tokensSchema)).tokens;
  };
  const complete = async <T>(prompt: readonly number[], more: object, schema: z.ZodType<{ choices: [T] }>) => {
    const body = { model: served, prompt, ...greedy, return_token_ids: true, ...more };
    return (await ask("/v1/completions", body, schema)).choices[0];
  };
  return {
    name: "vLLM",
    promptTokens,
    async replyLogprobs(prompt, { tokens }) {
      const ids = await promptTokens(prompt);
      const known = tokens.findIndex(({ id }) => id === undefined);
      const reply = tokens.slice(0, known < 0 ? undefined : known).map(({ id }) => id!);
      if (reply.length === 0) return [];
      const asked = { max_tokens: 1, prompt_logprobs: 0 };
      const { prompt_logprobs: told } = await complete([...ids, ...reply], asked, scoredSchema);
      return reply.map((id, i) => {
        const found = told[ids.length + i]?.[id];
        if (!found) throw new ExportRuntimeError(`vLLM tells no log-probability of token ${i + 1} of a reply`);
        return found.logprob;
      });
    },
    async reply(prompt, maxTokens) {
      const said = await complete(await promptTokens(prompt), { max_tokens: maxTokens }, completionSchema);
      // Its own text leaves out special tokens, and at the end what is no whole character.
      const tokens = said.finish_reason === "stop" ? said.token_ids.slice(0, -1) : said.token_ids;
      return tokens.length === 0 ? "" : (await ask("/detokenize", { model: served, tokens }, textSchema)).prompt;
    },
    async endsAt(token) {
      const ids = await promptTokens("Hello");
      // The token is made the likeliest: a reply that ends there has no other.
      const asked = { max_tokens: 2, logit_bias: { [token]: 100 } };
      const { finish_reason } = await complete(ids, asked, completionSchema);
      return finish_reason === "stop";
    },
    close: stop,
  };
}

async function loraArguments(adapter: string): Promise<string[]> {
  const { rank } = (await readAdapterConfig(adapter)).lora;
  const room = ranks.find((one) => one >= rank);
  if (room === undefined)
    throw new ExportRuntimeError(`vLLM takes adapters of rank ${mostVllmRanks} at most; ${adapter} has ${rank}`);
  return ["--enable-lora", "--max-lora-rank", `${room}`, "--lora-modules", `${served}=${adapter}`];
}

/** Whether vLLM serves an adapter of so many ranks. */
export async function vllmServes(adapter: string): Promise<boolean> {
  return (await readAdapterConfig(adapter)).lora.rank <= mostVllmRanks;
}
