import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import type { Prompt } from "../language-model/index.ts";
import { ExportRuntimeError, startProgram } from "./program.ts";
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
  const args = [script, model, ...(adapter === undefined ? [] : [adapter])];
  const program = startProgram(python, args, ["pipe", "pipe"]);
  const [stdin, stdout] = [program.child.stdin!, program.child.stdout!];
  // A program that ended takes no more questions; why is told when its answer is missed.
  stdin.on("error", () => {});
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  const answer = async <T>(schema: z.ZodType<T>): Promise<T> => {
    const { value, done } = await lines.next();
    if (done) {
      // Its last words come with its end, which is told a little later than that of its output.
      if (program.ended() === undefined) await once(program.child, "close");
      throw new ExportRuntimeError(`${python} cannot run transformers on ${model}: ${program.ended()}`);
    }
    const found = JSON.parse(value) as { error?: string };
    if (found.error !== undefined)
      throw new ExportRuntimeError(`transformers in ${python} does not take ${model}: ${found.error}`);
    return schema.parse(found);
  };
  const ask = async <T>(question: object, schema: z.ZodType<T>): Promise<T> => {
    stdin.write(`${JSON.stringify(question)}\n`);
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
    close: () => program.stop(() => stdin.end()),
  };
}
