import { createInterface } from "node:readline";
import { text as readAll } from "node:stream/consumers";
import type { Completion, LanguageModel, Message } from "@tenet/lm";
import { type ChatOptions, type OpenModel, openSpeakers, type Speakers } from "./chat-models.ts";
import { CommandUsageError, EXIT, Interrupted } from "./errors.ts";
import { printable } from "./format.ts";
import type { Io } from "./io.ts";

/**
 * A conversation with a model, or with several checkpoints of a run at once: one reply of each to `words` or to what stdin
 * brings, or turns on a terminal until the person ends. Resolves to the exit code.
 */
export async function chat(
  io: Io,
  reference: string | undefined,
  words: string[],
  options: ChatOptions,
  openModel?: OpenModel,
): Promise<number> {
  // A model's name or path hardly has spaces: a first argument with some is what the person wants to say.
  const spoken = reference !== undefined && (options.run !== undefined || /\s/.test(reference));
  const said = (spoken ? [reference, ...words] : words).join(" ");
  const prompt = said !== "" ? said : io.stdin.isTTY ? undefined : await readAll(io.stdin);
  if (prompt?.trim() === "")
    throw new CommandUsageError("there is nothing to say: stdin is empty and no prompt is given");
  if (prompt === undefined && options.json)
    throw new CommandUsageError("--json needs a prompt, as an argument or on stdin");

  const open = await openSpeakers(io, spoken ? undefined : reference, options, openModel);
  try {
    const system: Message[] = options.system === undefined ? [] : [{ role: "system", content: options.system }];
    if (prompt === undefined) return await converse(io, open, system, options);
    return await replyOnce(io, open, [...system, { role: "user", content: prompt }], options);
  } finally {
    await open.close();
  }
}

async function replyOnce(io: Io, open: Speakers, messages: Message[], options: ChatOptions): Promise<number> {
  const { speakers, run } = open;
  const controller = new AbortController();
  const stop = io.onInterrupt(() =>
    controller.signal.aborted ? io.exit(EXIT.interrupted) : controller.abort(new Interrupted()),
  );
  const replies: object[] = [];
  let cancelled = false;
  try {
    for (const [i, speaker] of speakers.entries()) {
      if (cancelled) break;
      const began = performance.now();
      if (!options.json) announce(io, open, i);
      const reply = await generate(io, speaker.model, messages, options, controller.signal, options.json !== true);
      cancelled = reply.cancelled;
      const { text, finishReason, usage, tokens } = reply.completion;
      if (!options.json && !text.endsWith("\n")) io.stdout.write("\n");
      const seconds = Math.round(performance.now() - began) / 1000;
      const { id, label } = speaker.checkpoint ?? {};
      const which = id === undefined ? {} : { checkpoint: id, label };
      replies.push({
        ...which,
        model: speaker.model.id,
        text,
        finishReason,
        usage,
        seconds,
        ...(tokens && { tokens }),
      });
    }
    if (options.json) {
      const facts = options.compare === undefined ? { ...(run && { run }), ...replies[0] } : { run, replies };
      io.stdout.write(`${JSON.stringify(facts)}\n`);
    }
    return cancelled ? EXIT.interrupted : EXIT.done;
  } finally {
    stop();
  }
}

/** Says who speaks next, where there are several. */
function announce(io: Io, { speakers }: Speakers, i: number): void {
  const { checkpoint } = speakers[i]!;
  if (speakers.length > 1 && checkpoint)
    io.stdout.write(`${i > 0 ? "\n" : ""}${checkpoint.id} (${checkpoint.label}):\n`);
}

/**
 * Turns on a terminal; each speaker goes on from its own replies. Ctrl-C cancels what is being said; with nothing under way,
 * a second one ends the conversation.
 */
async function converse(io: Io, open: Speakers, system: Message[], options: ChatOptions): Promise<number> {
  const lines = createInterface({
    input: io.stdin,
    output: io.stderr,
    prompt: "> ",
    terminal: io.stderr.isTTY === true,
  });
  const fresh = () => open.speakers.map(() => [...system]);
  let talks = fresh();
  let reply: AbortController | undefined;
  let warned = false;
  let code: number = EXIT.done;
  let ended = false;
  lines.once("close", () => {
    ended = true;
  });
  // Input can end while a reply is on its way; Node from 24 on refuses to ask then.
  const prompt = () => {
    if (!ended) lines.prompt();
  };
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
      prompt();
    }
  };
  // readline takes Ctrl-C for itself on a terminal; elsewhere it is the process's.
  lines.on("SIGINT", interrupt);
  const stop = io.onInterrupt(interrupt);
  const names = open.speakers.map(({ model }) => model.id).join(", ");
  io.stderr.write(`${names}. /clear starts anew, /exit ends.\n`);
  prompt();
  try {
    for await (const line of lines) {
      warned = false;
      const said = line.trim();
      if (said === "/exit") break;
      if (said === "/clear") talks = fresh();
      else if (said !== "") {
        reply = new AbortController();
        for (const [i, { model }] of open.speakers.entries()) {
          if (reply.signal.aborted) break;
          const turn: Message[] = [...talks[i]!, { role: "user", content: said }];
          announce(io, open, i);
          try {
            const { completion, cancelled } = await generate(io, model, turn, options, reply.signal, true);
            io.stdout.write(cancelled ? " …\n" : "\n");
            // What was cancelled before its first word was not said.
            if (completion.text !== "") talks[i] = [...turn, { role: "assistant", content: completion.text }];
          } catch (error) {
            // An endpoint that fails once may answer the next time; the conversation so far is kept.
            io.stderr.write(`\ntenet: ${(error as Error).message}\n`);
            if (options.debug) io.stderr.write(`${(error as Error).stack}\n`);
          }
        }
        reply = undefined;
      }
      prompt();
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
