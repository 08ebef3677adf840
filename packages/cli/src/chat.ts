import { createInterface } from "node:readline";
import { text as readAll } from "node:stream/consumers";
import type { Completion, LanguageModel, LocalOptions, Message, SamplingInput } from "@tenet/lm";
import { CommandUsageError, EXIT, Interrupted } from "./errors.ts";
import { printable } from "./format.ts";
import type { Io } from "./io.ts";
import { checkName } from "./models.ts";
import { downloadProgress } from "./progress.ts";

export interface ChatOptions {
  adapter?: string;
  system?: string;
  endpoint?: string;
  apiKeyVariable?: string;
  device?: NonNullable<LocalOptions["device"]>;
  weights?: NonNullable<LocalOptions["weights"]>;
  threads?: number;
  memoryBudget?: number;
  json?: boolean;
  debug?: boolean;
  sampling: SamplingInput;
}

/** Opens the model that a chat is held with; tests put their own in its place. */
export type OpenModel = (model: string | undefined, options: ChatOptions, io: Io) => Promise<LanguageModel>;

/**
 * A conversation with a model: one reply to `words` or to what stdin brings, or turns on a terminal until the person ends.
 * Resolves to the exit code.
 */
export async function chat(
  io: Io,
  reference: string | undefined,
  words: string[],
  options: ChatOptions,
  openModel: OpenModel = openChatModel,
): Promise<number> {
  // A model's name or path hardly has spaces: a first argument with some is what the person wants to say.
  const spoken = reference !== undefined && /\s/.test(reference);
  const said = (spoken ? [reference, ...words] : words).join(" ");
  const prompt = said !== "" ? said : io.stdin.isTTY ? undefined : await readAll(io.stdin);
  if (prompt?.trim() === "")
    throw new CommandUsageError("there is nothing to say: stdin is empty and no prompt is given");
  if (prompt === undefined && options.json)
    throw new CommandUsageError("--json needs a prompt, as an argument or on stdin");

  const model = await openModel(spoken ? undefined : reference, options, io);
  try {
    const system: Message[] = options.system === undefined ? [] : [{ role: "system", content: options.system }];
    if (prompt === undefined) return await converse(io, model, system, options);
    return await replyOnce(io, model, [...system, { role: "user", content: prompt }], options);
  } finally {
    await model.close();
  }
}

async function replyOnce(io: Io, model: LanguageModel, messages: Message[], options: ChatOptions): Promise<number> {
  const controller = new AbortController();
  const stop = io.onInterrupt(() =>
    controller.signal.aborted ? io.exit(EXIT.interrupted) : controller.abort(new Interrupted()),
  );
  try {
    const began = performance.now();
    const reply = await generate(io, model, messages, options, controller.signal, options.json !== true);
    if (options.json) {
      const { text, finishReason, usage, tokens } = reply.completion;
      const seconds = Math.round(performance.now() - began) / 1000;
      const facts = { model: model.id, text, finishReason, usage, seconds, ...(tokens && { tokens }) };
      io.stdout.write(`${JSON.stringify(facts)}\n`);
    } else if (!reply.completion.text.endsWith("\n")) io.stdout.write("\n");
    return reply.cancelled ? EXIT.interrupted : EXIT.done;
  } finally {
    stop();
  }
}

/** Turns on a terminal. Ctrl-C cancels a reply; with none under way, a second one ends the conversation. */
async function converse(io: Io, model: LanguageModel, system: Message[], options: ChatOptions): Promise<number> {
  const lines = createInterface({
    input: io.stdin,
    output: io.stderr,
    prompt: "> ",
    terminal: io.stderr.isTTY === true,
  });
  let messages = [...system];
  let reply: AbortController | undefined;
  let warned = false;
  let code: number = EXIT.done;
  const interrupt = () => {
    if (reply && !reply.signal.aborted) reply.abort(new Interrupted());
    else if (warned || reply) {
      code = EXIT.interrupted;
      lines.close();
      // The reply did not stop at once; the person has asked twice.
      if (reply) io.exit(code);
    } else {
      warned = true;
      io.stderr.write("\n(Ctrl-C again, or Ctrl-D, ends the conversation)\n");
      lines.prompt();
    }
  };
  // readline takes Ctrl-C for itself on a terminal; elsewhere it is the process's.
  lines.on("SIGINT", interrupt);
  const stop = io.onInterrupt(interrupt);
  io.stderr.write(`${model.id}. /clear starts anew, /exit ends.\n`);
  lines.prompt();
  try {
    for await (const line of lines) {
      warned = false;
      const said = line.trim();
      if (said === "/exit") break;
      if (said === "/clear") messages = [...system];
      else if (said !== "") {
        reply = new AbortController();
        const turn: Message[] = [...messages, { role: "user", content: said }];
        try {
          const { completion, cancelled } = await generate(io, model, turn, options, reply.signal, true);
          io.stdout.write(cancelled ? " …\n" : "\n");
          // What was cancelled before its first word was not said.
          if (completion.text !== "") messages = [...turn, { role: "assistant", content: completion.text }];
        } catch (error) {
          // An endpoint that fails once may answer the next time; the conversation so far is kept.
          io.stderr.write(`\ntenet: ${(error as Error).message}\n`);
          if (options.debug) io.stderr.write(`${(error as Error).stack}\n`);
        }
        reply = undefined;
      }
      lines.prompt();
    }
  } finally {
    stop();
    lines.close();
  }
  return code;
}

/** One reply, written to stdout as it grows when `show` is set; what there is of it when the signal aborts. */
async function generate(
  io: Io,
  model: LanguageModel,
  messages: Message[],
  options: ChatOptions,
  signal: AbortSignal,
  show: boolean,
): Promise<{ completion: Completion; cancelled: boolean }> {
  const shownOnTerminal = io.stdout.isTTY === true;
  const write = (text: string) => io.stdout.write(shownOnTerminal ? printable(text) : text);
  let completion: Completion = {
    text: "",
    finishReason: "cancelled",
    usage: { promptTokens: 0, completionTokens: 0 },
    index: 0,
  };
  let streamed = "";
  try {
    const request = { prompt: messages, sampling: options.sampling };
    const results = model.generate([request], {
      signal,
      stream: show,
      onEvent(event) {
        if (event.type === "text") {
          streamed += event.text;
          if (show) write(event.text);
        } else if (event.type === "restart") {
          if (show && streamed !== "") io.stdout.write("\n");
          streamed = "";
        } else if (options.debug) io.stderr.write(`tenet: trying again in ${event.waitMs} ms: ${event.reason}\n`);
      },
    });
    for await (const result of results) completion = result.completion;
  } catch (error) {
    if (!signal.aborted) throw error;
    if (completion.text === "") completion.text = streamed;
    return { completion, cancelled: true };
  }
  // A model may give a reply whole, or its end only with the result.
  if (show && completion.text.startsWith(streamed)) write(completion.text.slice(streamed.length));
  return { completion, cancelled: false };
}

async function openChatModel(reference: string | undefined, options: ChatOptions, io: Io): Promise<LanguageModel> {
  const { adapter, device, weights, threads, memoryBudget } = options;
  if (options.endpoint !== undefined) {
    for (const [name, value] of Object.entries({ adapter, device, weights, threads, "memory-budget": memoryBudget }))
      if (value !== undefined)
        throw new CommandUsageError(`--${name} is for local models; an endpoint decides by itself`);
    const { endpoint } = await import("@tenet/lm");
    const { apiKeyVariable } = options;
    const settings = {
      baseUrl: options.endpoint,
      ...(reference && { model: reference }),
      ...(apiKeyVariable && { apiKeyVariable }),
    };
    return endpoint(settings, { environment: io.env });
  }
  if (options.apiKeyVariable !== undefined) throw new CommandUsageError("--api-key-variable belongs to --endpoint");
  const { catalogue, openLocalModel } = await import("@tenet/lm");
  const name = reference ?? catalogue.default;
  await checkName(name);
  const controller = new AbortController();
  const stop = io.onInterrupt(() =>
    controller.signal.aborted ? io.exit(EXIT.interrupted) : controller.abort(new Interrupted()),
  );
  const progress = downloadProgress(io);
  try {
    return await openLocalModel(name, {
      ...(adapter !== undefined && { adapter }),
      ...(device !== undefined && { device }),
      ...(weights !== undefined && { weights }),
      ...(threads !== undefined && { threads }),
      ...(memoryBudget !== undefined && { memoryBudget }),
      signal: controller.signal,
      onProgress: progress.show,
    });
  } finally {
    progress.end();
    stop();
  }
}
