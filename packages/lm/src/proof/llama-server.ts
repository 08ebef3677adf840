import { z } from "zod";
import type { Prompt } from "../language-model/index.ts";
import type { ExportRuntime } from "./proof.ts";
import { type StartedServer, startServer } from "./server.ts";

export interface LlamaServerOptions {
  /** The program: llama.cpp's `llama-server`, by name or path. */
  readonly program: string;
  readonly model: string;
  /** A GGUF adapter on top of the model. */
  readonly lora?: string;
  readonly context?: number;
  readonly startSeconds?: number;
  readonly signal?: AbortSignal | undefined;
}

const promptSchema = z.object({ prompt: z.string() });
const tokensSchema = z.object({ tokens: z.array(z.int()) });
const stepSchema = z.object({
  id: z.int(),
  top_logprobs: z.array(z.object({ id: z.int(), logprob: z.number() })),
});
type Step = z.output<typeof stepSchema>;
const completionSchema = z.object({
  content: z.string(),
  stop_type: z.string(),
  tokens_predicted: z.int(),
  completion_probabilities: z.array(stepSchema).optional(),
});

/** Likeliest tokens that are asked for: a reply is greedy, so its tokens are among the first. */
const likeliest = 20;

/**
 * Starts llama.cpp's server on a GGUF file, on a port of this machine, to hold an export against.
 * Errors: ExportRuntimeError where the program cannot be started or does not come up with the file, EndpointError for what it refuses.
 */
export async function startLlamaServer(options: LlamaServerOptions): Promise<ExportRuntime> {
  const { program, model, lora, context = 4096, startSeconds = 120, signal } = options;
  const args = (port: number) => [
    ...["--model", model, "--host", "127.0.0.1", "--port", `${port}`, "--ctx-size", `${context}`, "--parallel", "1"],
    ...(lora ? ["--lora", lora] : []),
  ];
  return runtimeOf(await startServer({ program, name: "llama.cpp", args, model, startSeconds, signal }));
}

function runtimeOf({ ask, stop }: StartedServer): ExportRuntime {
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
      const next = async (count: number) => {
        const body = { prompt: [...ids, ...reply.slice(0, found.length)], n_probs: likeliest, ...greedy };
        return ask("/completion", { ...body, n_predict: count }, completionSchema);
      };
      const told = (step: Step | undefined) => step?.top_logprobs.find(({ id }) => id === reply[found.length])?.logprob;
      while (found.length < reply.length) {
        const { completion_probabilities: steps = [], tokens_predicted } = await next(reply.length - found.length);
        const before = found.length;
        // It goes on behind its own tokens, as far as they are those of the reply; and of one that is part of a character it tells nothing.
        if (steps.length === tokens_predicted)
          for (const step of steps) {
            if (step.id !== reply[found.length]) break;
            found.push(told(step));
          }
        if (found.length === before) found.push(told((await next(1)).completion_probabilities?.[0]));
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
    close: stop,
  };
}
