import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type ScriptedOptions, scriptedModel } from "../../src/language-model/scripted.ts";
import type { Completion, Message, Prompt, Usage } from "../../src/language-model/types.ts";

/** How the server presents itself; `broken-echo` shifts the echo's log-probabilities by a token, as one real server does. */
export type Flavour = "vllm" | "llama.cpp" | "openai" | "broken-echo";

export interface FakeServer {
  /** Ends in /v1. */
  url: string;
  /** The server's own count of all that it answered with status 200, and per request id (`user` field or prompt). */
  counted: Usage & { replies: number };
  /** Bodies of the calls, in order of arrival. */
  bodies: Record<string, unknown>[];
  /** Request headers of the calls. */
  headers: IncomingMessage["headers"][];
  close(): Promise<void>;
}

/**
 * An OpenAI-compatible server on the loopback interface, answered by the scripted model: conversations, completions, echo,
 * log-probabilities, streams.
 */
export async function fakeServer(
  script: ScriptedOptions,
  { flavour = "vllm", nextTokens = [] }: { flavour?: Flavour; nextTokens?: string[] } = {},
): Promise<FakeServer> {
  const model = scriptedModel(script);
  const counted = { promptTokens: 0, completionTokens: 0, replies: 0 };
  const bodies: Record<string, unknown>[] = [];
  const headers: IncomingMessage["headers"][] = [];
  const owners = { vllm: "vllm", "llama.cpp": "llamacpp", openai: "somebody", "broken-echo": "vllm" };

  const logprobsOf = async (prompt: Prompt, completion: Completion) => {
    const tokens = completion.tokens ?? [];
    const next: { text: string; logprob: number }[] = [];
    for await (const { scores } of model.score([{ prompt, continuations: nextTokens }]))
      scores.forEach((score, i) => {
        next.push({ text: nextTokens[i]!, logprob: score.logprob });
      });
    return tokens.map((token, i) => ({
      token: token.text,
      logprob: token.logprob,
      top: [...(i === 0 ? next : []), { text: token.text, logprob: token.logprob }]
        .sort((a, b) => b.logprob - a.logprob)
        .map(({ text, logprob }) => ({ token: text, logprob })),
    }));
  };

  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const path = request.url ?? "";
    headers.push(request.headers);
    if (path.endsWith("/models"))
      return send(response, 200, { object: "list", data: [{ id: "fake", owned_by: owners[flavour] }] });
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    bodies.push(body);
    const chat = path.endsWith("/chat/completions");
    if (!chat && !path.endsWith("/completions")) return send(response, 404, { error: { message: `no ${path}` } });
    if (body.echo && flavour !== "vllm" && flavour !== "broken-echo")
      return send(response, 400, { error: { message: "echo is not supported" } });
    const prompt: Prompt = chat ? body.messages.map(messageOf) : body.prompt;

    const completions: Completion[] = [];
    const aborter = new AbortController();
    response.on("close", () => aborter.abort(new Error("the client has gone")));
    const sampling = {
      temperature: body.temperature ?? 1,
      maxTokens: body.max_tokens ?? body.max_completion_tokens ?? 16,
      seed: body.seed ?? 0,
      n: body.n ?? 1,
      stop: body.stop ?? [],
      logprobs: 1,
    };
    const stream = body.stream === true;
    const frames = (index: number, text: string, finish: string | null) => ({
      choices: [
        chat
          ? { index, delta: { content: text }, finish_reason: finish }
          : { index, text, finish_reason: finish, logprobs: null },
      ],
    });
    if (stream) response.writeHead(200, { "content-type": "text/event-stream" });
    const event = (json: unknown) =>
      response.write(`data: ${typeof json === "string" ? json : JSON.stringify(json)}\n\n`);
    for await (const { completion } of model.generate([{ prompt, sampling, key: "fixed" }], {
      signal: aborter.signal,
      stream,
      onEvent: (one) => stream && one.type === "text" && event(frames(one.index, one.text, null)),
    }))
      completions.push(completion);

    const usage = {
      prompt_tokens: completions[0]!.usage.promptTokens,
      completion_tokens: completions.reduce((sum, { usage: used }) => sum + used.completionTokens, 0),
    };
    counted.promptTokens += usage.prompt_tokens;
    counted.completionTokens += usage.completion_tokens;
    counted.replies++;
    if (stream) {
      for (const one of completions) event(frames(one.index, "", one.finishReason));
      event({ choices: [], usage });
      event("[DONE]");
      return response.end();
    }
    const choices = await Promise.all(
      completions.map(async (completion) => {
        const tokens = await logprobsOf(prompt, completion);
        const common = { index: completion.index, finish_reason: completion.finishReason };
        if (chat) {
          const content = tokens.map(({ top, ...token }) => ({ ...token, top_logprobs: top }));
          const message = { role: "assistant", content: completion.text };
          return { ...common, message, logprobs: body.logprobs ? { content } : null };
        }
        if (!body.echo)
          return {
            ...common,
            text: completion.text,
            logprobs: body.logprobs === undefined ? null : textLogprobs(tokens),
          };
        const echoed = await echo(prompt as string);
        const all = [...echoed, ...tokens];
        return { ...common, text: prompt + completion.text, logprobs: textLogprobs(all) };
      }),
    );
    send(response, 200, { object: "reply", model: "fake", choices, usage });
  };

  /** The prompt's tokens with the log-probabilities that the scripted model gives them. */
  const echo = async (prompt: string) => {
    const tokens: { token: string; logprob: number | null; top: { token: string; logprob: number }[] }[] = [];
    for await (const { scores } of model.score([{ prompt: " ", continuations: [prompt] }]))
      for (const token of scores[0]!.tokens) tokens.push({ token, logprob: null, top: [] });
    let before = "";
    for (const token of tokens) {
      if (before)
        for await (const { scores } of model.score([{ prompt: before, continuations: [token.token] }]))
          token.logprob = scores[0]!.logprob;
      before += token.token;
    }
    if (flavour === "broken-echo")
      return tokens.map((token, i) => ({ ...token, logprob: tokens[i + 1]?.logprob ?? -7 }));
    return tokens;
  };

  const server = createServer((request, response) => {
    answer(request, response).catch((error: Error) => {
      if (response.headersSent) return response.destroy();
      send(response, /context/.test(error.message) ? 400 : 500, { error: { message: error.message } });
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    counted,
    bodies,
    headers,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

function textLogprobs(tokens: { token: string; logprob: number | null; top: { token: string; logprob: number }[] }[]) {
  let offset = 0;
  return {
    tokens: tokens.map(({ token }) => token),
    token_logprobs: tokens.map(({ logprob }) => logprob),
    top_logprobs: tokens.map(({ top }) => Object.fromEntries(top.map(({ token, logprob }) => [token, logprob]))),
    text_offset: tokens.map(({ token }) => {
      const at = offset;
      offset += [...token].length;
      return at;
    }),
  };
}

function send(response: ServerResponse, status: number, json: unknown) {
  const body = JSON.stringify(json);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.end(body);
}

type Part = { type: "text"; text: string } | { type: "image_url"; image_url: { url: string } };

/** A message whose content may be in parts. */
function messageOf({ role, content }: { role: Message["role"]; content: string | Part[] }): Message {
  if (typeof content === "string") return { role, content };
  const images = content.flatMap((part) => (part.type === "image_url" ? [part.image_url.url] : []));
  const texts = content.flatMap((part) => (part.type === "text" ? [part.text] : []));
  return { role, content: texts.join(""), ...(images.length > 0 && { images }) };
}
