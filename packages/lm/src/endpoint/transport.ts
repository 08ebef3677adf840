import { EndpointError } from "../language-model/errors.ts";
import { Refused, TooLong } from "./refusal.ts";

/** Of an error's body so much is read, and no more. */
const errorBytes = 64 * 1024;
const redirects = new Set([301, 302, 303, 307, 308]);
const mostRedirects = 5;

/**
 * A fetch that reads at most `bytes` of a reply, decompressed, and follows no redirect to another host: prompts and keys go where the
 * recipe says and nowhere else.
 *
 * Errors: Refused for every status that is none of success, with its body; TooLong; EndpointError for a redirect.
 */
export function guarded(fetch: typeof globalThis.fetch, bytes: number): typeof globalThis.fetch {
  return async (input, init) => {
    let url = new URL(input instanceof Request ? input.url : input);
    for (let hops = 0; ; hops++) {
      const response = await fetch(url.href, { ...init, redirect: "manual" });
      const location = redirects.has(response.status) ? response.headers.get("location") : null;
      if (location === null) {
        if (!response.ok) throw new Refused(response.status, await errorBody(response), response.headers);
        return bounded(response, bytes);
      }
      await response.body?.cancel();
      url = redirected(url, location, { status: response.status, method: init?.method ?? "GET", hops });
    }
  };
}

function redirected(
  from: URL,
  location: string,
  { status, method, hops }: { status: number; method: string; hops: number },
): URL {
  const refuse = (why: string) => new EndpointError(`${from.origin} redirects ${why}`, { fault: "http", status });
  if (!URL.canParse(location, from.href)) throw refuse("to an address that cannot be read");
  const to = new URL(location, from);
  const upgrade = from.protocol === "http:" && to.protocol === "https:" && to.hostname === from.hostname;
  if (to.origin !== from.origin && !upgrade)
    throw refuse(
      `to another host, ${to.origin}, where nothing is sent: prompts and keys are for the address in the recipe. If that is the right one, write it there`,
    );
  // Every client turns a POST into a GET here, which no server answers with a completion.
  if (method.toUpperCase() !== "GET" && status !== 307 && status !== 308)
    throw refuse(`to ${to.origin}${to.pathname}: write the address that it leads to`);
  if (hops >= mostRedirects) throw refuse("in a circle");
  return to;
}

async function errorBody(response: Response): Promise<unknown> {
  const text = await beginning(response, errorBytes);
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The first bytes of a body; the rest is not waited for. */
async function beginning(response: Response, bytes: number): Promise<string> {
  if (!response.body) return "";
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let text = "";
  let read = 0;
  while (read < bytes) {
    // A body that breaks off has said what it has said.
    const { value, done } = await reader.read().catch(() => ({ value: undefined, done: true }));
    if (done || value === undefined) return text + decoder.decode();
    text += decoder.decode(value.subarray(0, bytes - read), { stream: true });
    read += value.length;
  }
  await reader.cancel().catch(() => {});
  return text;
}

function bounded(response: Response, bytes: number): Response {
  if (!response.body) return response;
  let read = 0;
  const counted = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      read += chunk.length;
      if (read > bytes) controller.error(new TooLong(tooLong(bytes)));
      else controller.enqueue(chunk);
    },
  });
  const { status, statusText, headers } = response;
  return new Response(response.body.pipeThrough(counted), { status, statusText, headers });
}

function tooLong(bytes: number): string {
  return `the reply is longer than ${Math.ceil(bytes / 2 ** 20)} MiB, more than what was asked for can come to`;
}

/** Bytes that a list of models may have; hosted services list hundreds, with descriptions. */
export const listBytes = 16 * 2 ** 20;

/**
 * The most bytes that an honest reply to a body can have: its tokens as JSON, with the likeliest ones beside each and an event for
 * each where it is streamed, and generously so; thoughts that a server does not count as tokens are in the constant.
 */
export function replyBytes(
  body: Readonly<Record<string, unknown>>,
  { promptTokens, maxTokens }: { promptTokens: number; maxTokens: number },
): number {
  const number = (value: unknown) => (typeof value === "number" ? value : 0);
  const top = body.logprobs === true ? number(body.top_logprobs) + 1 : number(body.logprobs);
  const perToken = 64 + 512 * top + (body.stream === true ? 1024 : 0);
  // An echo brings every token of the prompt back.
  const tokens = maxTokens * Math.max(1, number(body.n)) + (body.echo === true ? promptTokens * 4 : 0);
  return 4 * 2 ** 20 + tokens * perToken;
}
