import { basename } from "node:path";
import { z } from "zod";
import { openRanges } from "../checkpoint/file.ts";
import { readGgufHeader } from "../checkpoint/gguf-header.ts";
import type { Prompt } from "../language-model/index.ts";
import { type ExportRuntime, type Tolerance, tolerances, wider, within } from "./proof.ts";
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

/** Likeliest tokens that are asked for: a reply is greedy, so its tokens are among the first. Where one is not, all are: more than any vocabulary has. */
const likeliest = 20;
const all = 2 ** 24;

/**
 * By itself it rounds keys and values to float16, in its flash attention too, which moved log-probabilities by up to 0.019. Said by
 * variables, as versions differ in how the argument is written.
 */
const inFloat32 = { LLAMA_ARG_CACHE_TYPE_K: "f32", LLAMA_ARG_CACHE_TYPE_V: "f32", LLAMA_ARG_FLASH_ATTN: "off" };

/** Its builds differ in how they multiply float32 matrices, and whether they heed what is asked of them. */
const float32 = within(0.02, 0.005);
/** What quantised matrices are multiplied with is rounded to 8 bits, with a scale to 32 numbers, or to 256. */
const eightBits = within(4, 0.3);
const eightBitsBy256 = within(12, 0.6);

/** What llama.cpp's products with matrices of a type may do beside exact ones. Source: `vec_dot_type` in ggml-cpu.c. */
function roundingBy(type: string): Tolerance {
  if (type === "F32") return float32;
  // What matrices are multiplied with is rounded like them.
  if (type === "F16" || type === "BF16") return within(4 * tolerances[type].largest, 2 * tolerances[type].mean);
  return type.endsWith("_K") || type === "IQ4_XS" ? eightBitsBy256 : eightBits;
}

/** The widest of a file's matrices. Throws CheckpointError for a file that is no GGUF. */
async function roundingOf(path: string): Promise<Tolerance> {
  const file = await openRanges(path);
  try {
    const matrices = [...(await readGgufHeader(file)).tensors.values()].filter(({ shape }) => shape.length > 1);
    return matrices.map(({ type }) => roundingBy(type)).reduce(wider, float32);
  } finally {
    await file.close();
  }
}

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
  const server = await startServer({
    program,
    name: "llama.cpp",
    args,
    model,
    environment: inFloat32,
    startSeconds,
    signal,
  });
  try {
    const name = lora === undefined ? "llama.cpp" : `llama.cpp, beside ${basename(model)}`;
    return { name, rounding: await roundingOf(model), ...runtimeOf(server) };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

function runtimeOf({ ask, stop }: StartedServer): Omit<ExportRuntime, "name" | "rounding"> {
  const promptTokens = async (prompt: Prompt): Promise<number[]> => {
    const content =
      typeof prompt === "string" ? prompt : (await ask("/apply-template", { messages: prompt }, promptSchema)).prompt;
    // As the server does it with a conversation, and with raw text.
    const { tokens } = await ask("/tokenize", { content, add_special: true, parse_special: true }, tokensSchema);
    return tokens;
  };
  const greedy = { n_predict: 1, temperature: 0, cache_prompt: true };
  return {
    promptTokens,
    async replyLogprobs(prompt, { tokens }) {
      const ids = await promptTokens(prompt);
      const found: (number | undefined)[] = [];
      const known = tokens.findIndex(({ id }) => id === undefined);
      const reply = tokens.slice(0, known < 0 ? undefined : known).map(({ id }) => id!);
      const next = async (count: number, of = likeliest) => {
        const body = { prompt: [...ids, ...reply.slice(0, found.length)], n_probs: of, ...greedy };
        return ask("/completion", { ...body, n_predict: count }, completionSchema);
      };
      const among = (step: Step | undefined) =>
        step?.top_logprobs.find(({ id }) => id === reply[found.length])?.logprob;
      const told = async (step: Step | undefined) =>
        among(step) ?? (step && among((await next(1, all)).completion_probabilities?.[0]));
      while (found.length < reply.length) {
        const { completion_probabilities: steps = [], tokens_predicted } = await next(reply.length - found.length);
        const before = found.length;
        // It goes on behind its own tokens, as far as they are those of the reply; and of one that is part of a character it tells nothing.
        if (steps.length === tokens_predicted)
          for (const step of steps) {
            if (step.id !== reply[found.length]) break;
            found.push(await told(step));
          }
        if (found.length === before) found.push(await told((await next(1)).completion_probabilities?.[0]));
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
