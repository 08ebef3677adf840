import type { ServerResponse } from "node:http";
import {
  type CallOptions,
  type GenerateResult,
  type LanguageModel,
  type Tokens,
  UsageError,
} from "../language-model/index.ts";
import { echoing } from "./echo.ts";
import { answerCalls, type Call, type CallersOptions, type RunningServer } from "./http.ts";
import { ApiError } from "./refusals.ts";
import { answer, type Choice, chunk, type Envelope, envelope, usageChunk, type Verb } from "./replies.ts";
import { type Asked, chatRequest, textRequest } from "./requests.ts";
import { takesTokens, textOnly } from "./tokens.ts";

export interface ServeOptions extends CallersOptions {
  /** What is served, by the names that callers use; the first is meant where a caller names none and there is no other. */
  readonly models: ReadonlyMap<string, LanguageModel>;
}

/** Bytes that may wait for a slow reader of a stream before it is given up. */
const mostUnread = 1 << 20;

/**
 * Serves language models over HTTP as OpenAI's API: `/v1/models`, `/v1/chat/completions`, `/v1/completions`, whole or as streams,
 * with log-probabilities and, for raw text, the echo by which texts are scored; raw text may be the ids of its tokens. Further sampling has
 * vLLM's names.
 *
 * A caller that goes away ends its own work. Fields that would change a reply and are not built are refused, not ignored.
 * Errors: UsageError for an address that others reach without a token, and for options out of range; what `listen` throws.
 *
 * @example
 * const server = await serve({ models: new Map([["smol", model.live()]]), port: 8080 });
 * await server.close();
 */
export async function serve({ models, ...callers }: ServeOptions): Promise<RunningServer> {
  if (models.size === 0) throw new UsageError("there is no model to serve");
  const handle = async ({ path, response, signal, requireMethod, json, send }: Call) => {
    if (path === "/health" || path === "/v1/health") return send(200, { status: "ok" });
    if (path === "/v1/models" || path.startsWith("/v1/models/")) {
      requireMethod("GET");
      return send(200, listed(models, decoded(path.slice("/v1/models/".length))));
    }
    const verb: Verb | undefined =
      path === "/v1/chat/completions" ? "chat" : path === "/v1/completions" ? "text" : undefined;
    if (verb === undefined) throw new ApiError(404, `there is no ${path} here`, { code: "not_found" });
    const body = await json();
    const asked = verb === "chat" ? chatRequest(body) : textRequest(body);
    const [name, model] = chosen(models, asked.model);
    if (response.destroyed) return;
    const marks = envelope(verb, name, takesTokens(model) ? model.text : undefined);
    if (asked.stream) await stream(response, model, asked, marks, signal);
    else send(200, await whole(model, asked, marks, signal));
  };
  const server = await answerCalls(handle, callers);
  return { ...server, url: `${server.url}/v1` };
}

function listed(models: ReadonlyMap<string, LanguageModel>, name: string): object {
  const entry = (id: string) => ({ id, object: "model", created: 0, owned_by: "tenet" });
  if (name === "") return { object: "list", data: [...models.keys()].map(entry) };
  return entry(chosen(models, name)[0]);
}

function chosen(models: ReadonlyMap<string, LanguageModel>, name: string | undefined): [string, LanguageModel] {
  const found = name === undefined ? undefined : models.get(name);
  if (found) return [name!, found];
  const [first] = models;
  if (name === undefined && models.size === 1) return first!;
  const names = [...models.keys()].join(", ");
  if (name === undefined) throw new ApiError(400, `name a model: ${names}`, { param: "model" });
  throw new ApiError(404, `there is no model ${JSON.stringify(name.slice(0, 200))}; there are ${names}`, {
    code: "model_not_found",
    param: "model",
  });
}

/** Throws ApiError where token ids are meant for a model that takes none. */
function replies(
  model: LanguageModel,
  { prompts, sampling, seeded }: Asked,
  options: CallOptions,
): AsyncIterable<GenerateResult> {
  // A caller that names no seed wants another reply to each of its prompts, to equal ones too.
  const asked = <P>(prompts: readonly P[]) =>
    prompts.map((prompt, place) => ({ prompt, sampling, ...(!seeded && { key: `${place}` }) }));
  if (takesTokens(model)) return model.generate(asked(prompts), options);
  return model.generate(asked(prompts.map(textOnly)), options);
}

/** Choices are numbered through: those of the first prompt, then those of the next. */
function indexOf({ sampling }: Asked, request: number, index: number): number {
  return request * (sampling.n ?? 1) + index;
}

async function whole(model: LanguageModel, asked: Asked, marks: Envelope, signal: AbortSignal): Promise<object> {
  const echoOf = asked.echo ? echoing(model, asked.sampling.logprobs, asked.prompts) : undefined;
  const results: GenerateResult[] = [];
  for await (const result of replies(model, asked, { signal })) results.push(result);
  // Behind the replies: prompts that the model does not take are refused by then.
  const echoes =
    echoOf && (await Promise.all(asked.prompts.map((prompt) => echoOf(prompt as string | Tokens, signal))));
  const counted = count();
  const choices = results.map(({ request, completion }): Choice => {
    const echo = echoes?.[request];
    const ended = echo !== undefined && completion.finishReason === "stop" && asked.sampling.stop === undefined;
    // Counted is what is told: who scores an echo takes off as many tokens as were generated.
    const completionTokens = completion.usage.completionTokens + Number(ended);
    counted.add(request, { ...completion.usage, completionTokens });
    return { index: indexOf(asked, request, completion.index), completion, ...(echo && { echo, ended }) };
  });
  return answer(marks, choices, counted.usage());
}

async function stream(
  response: ServerResponse,
  model: LanguageModel,
  asked: Asked,
  marks: Envelope,
  signal: AbortSignal,
): Promise<void> {
  if (asked.echo) throw new ApiError(400, "an echo is not streamed: leave out echo or stream", { param: "echo" });
  const begun = new Set<number>();
  const event = (data: object | string) => {
    if (response.destroyed) return;
    if (!response.headersSent)
      response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
    response.write(`data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`);
    // A reader that takes nothing is given up before its words fill the memory.
    if (response.writableLength > mostUnread) response.destroy();
  };
  const say = (index: number, text: string) => {
    event(chunk(marks, index, { text, first: !begun.has(index) }));
    begun.add(index);
  };
  const counted = count();
  const results = replies(model, asked, {
    signal,
    stream: true,
    onEvent: (one) => one.type === "text" && say(indexOf(asked, one.request, one.index), one.text),
  });
  for await (const { request, completion } of results) {
    const index = indexOf(asked, request, completion.index);
    counted.add(request, completion.usage);
    if (!begun.has(index)) say(index, "");
    event(chunk(marks, index, { ended: completion }));
  }
  if (asked.includeUsage) event(usageChunk(marks, counted.usage()));
  event("[DONE]");
  response.end();
}

/** A prompt counts once, however many replies it has. */
function count() {
  const prompts = new Map<number, number>();
  let completionTokens = 0;
  return {
    add(request: number, usage: { promptTokens: number; completionTokens: number }) {
      prompts.set(request, usage.promptTokens);
      completionTokens += usage.completionTokens;
    },
    usage: () => ({ promptTokens: [...prompts.values()].reduce((a, b) => a + b, 0), completionTokens }),
  };
}

/** A part of an address as the text that it stands for. Errors: ApiError where it stands for none. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new ApiError(400, `${JSON.stringify(part)} in the address is no encoded text`);
  }
}
