import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import type { Prompt } from "../language-model/index.ts";
import { ExportRuntimeError } from "./llama-server.ts";
import type { ExportRuntime } from "./proof.ts";

export interface TransformersOptions {
  /** A Python that has torch and transformers, and PEFT for an adapter. */
  readonly python: string;
  /** A Hugging Face folder. */
  readonly model: string;
  /** A folder in PEFT's format, on top of the model. */
  readonly adapter?: string;
}

const script = fileURLToPath(
  new URL(
    import.meta.url.endsWith(".ts") ? "../../python/transformers_runtime.py" : "../python/transformers_runtime.py",
    import.meta.url,
  ),
);

const openedSchema = z.object({ versions: z.string(), ends: z.array(z.int()) });

/**
 * Opens a checkpoint in Python's transformers, an adapter with PEFT, to hold an export against.
 * Errors: ExportRuntimeError where the program cannot be started or does not open the files.
 */
export async function startTransformers({ python, model, adapter }: TransformersOptions): Promise<ExportRuntime> {
  const child = spawn(python, [script, model, ...(adapter === undefined ? [] : [adapter])], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-2000);
  });
  let failure: Error | undefined;
  child.on("error", (error) => {
    failure = error;
  });
  // A program that ended takes no more questions; why is told when its answer is missed.
  child.stdin.on("error", () => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async <T>(schema: z.ZodType<T>): Promise<T> => {
    const { value, done } = await lines.next();
    if (done) {
      const why = failure?.message ?? (said.trim().slice(-500) || "it ended without a word");
      throw new ExportRuntimeError(`${python} cannot run transformers on ${model}: ${why}`);
    }
    const found = JSON.parse(value) as { error?: string };
    if (found.error !== undefined)
      throw new ExportRuntimeError(`transformers in ${python} does not take ${model}: ${found.error}`);
    return schema.parse(found);
  };
  const ask = async <T>(question: object, schema: z.ZodType<T>): Promise<T> => {
    child.stdin.write(`${JSON.stringify(question)}\n`);
    return (await answer(z.object({ answer: schema }))).answer;
  };
  const { versions, ends } = await answer(openedSchema);
  return {
    name: versions,
    promptTokens: (prompt) => ask({ ask: "prompt", prompt }, z.array(z.int())),
    replyLogprobs: (prompt: Prompt, { tokens }) =>
      ask({ ask: "logprobs", prompt, tokens: tokens.map(({ id }) => id) }, z.array(z.number())),
    reply: (prompt, maxTokens) => ask({ ask: "reply", prompt, maxTokens }, z.string()),
    endsAt: async (token) => ends.includes(token),
    async close() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      child.stdin.end();
      const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
      await ended;
      clearTimeout(timer);
    },
  };
}
