import { createHash } from "node:crypto";
import { appendFile, readFile } from "node:fs/promises";
import { EndpointError } from "../language-model/errors.ts";
import { namesSecretHeader, redactor } from "./secrets.ts";

interface Recorded {
  hash: string;
  method: string;
  path: string;
  body: unknown;
  status: number;
  headers: Record<string, string>;
  reply: string;
}

// Nothing else of a reply's headers matters to the client, and nothing of a request's is ever written.
const keptHeaders = ["content-type", "retry-after", "retry-after-ms"];

/**
 * A fetch that also writes each call and its whole reply to a JSONL file.
 *
 * Request headers, and with them keys, are not recorded; the keys in them and `secrets` are blotted out
 * of bodies and replies too. Calls that bring no reply are not recorded.
 */
export function recordingFetch(
  file: string,
  { fetch = globalThis.fetch, secrets = [] }: { fetch?: typeof globalThis.fetch; secrets?: string[] } = {},
): typeof globalThis.fetch {
  return async (input, init) => {
    const response = await fetch(input, init);
    const reply = await response.text();
    const request = describe(input, init);
    const headers: Record<string, string> = {};
    for (const name of keptHeaders) {
      const value = response.headers.get(name);
      if (value !== null) headers[name] = value;
    }
    const record: Recorded = { ...request, status: response.status, headers, reply };
    const sent = [...new Headers(init?.headers)].filter(([name]) => namesSecretHeader(name));
    const blot = redactor([...secrets, ...sent.map(([, value]) => value.replace(/^Bearer /, ""))]);
    record.reply = blot(record.reply);
    record.body = JSON.parse(blot(JSON.stringify(record.body)));
    await appendFile(file, `${JSON.stringify(record)}\n`);
    return new Response(response.status === 204 ? null : reply, { status: response.status, headers: response.headers });
  };
}

/**
 * A fetch that answers from a recording and never touches the network.
 *
 * Calls are recognised by method, path and body, whatever the host and the order of fields. Replies to equal calls come in
 * recorded order, the last one again and again.
 * Errors: EndpointError `replay-miss` for a call that was not recorded.
 */
export function replayFetch(file: string): typeof globalThis.fetch {
  let loading: Promise<Map<string, Recorded[]>> | undefined;
  const load = async () => {
    const byHash = new Map<string, Recorded[]>();
    for (const line of (await readFile(file, "utf8")).split("\n")) {
      if (!line) continue;
      const record = JSON.parse(line) as Recorded;
      byHash.set(record.hash, [...(byHash.get(record.hash) ?? []), record]);
    }
    return byHash;
  };
  return async (input, init) => {
    init?.signal?.throwIfAborted();
    loading ??= load();
    const recordings = await loading;
    const { hash, method, path, body } = describe(input, init);
    const replies = recordings.get(hash);
    if (!replies)
      throw new EndpointError(
        `no recorded reply to ${method} ${path} in ${file}: the request differs from all ${recordings.size} recorded ones. Its body begins ${JSON.stringify(body)?.slice(0, 300)}`,
        { fault: "replay-miss" },
      );
    const record = replies.length > 1 ? replies.shift()! : replies[0]!;
    return new Response(record.status === 204 ? null : record.reply, {
      status: record.status,
      headers: record.headers,
    });
  };
}

function describe(input: string | URL | Request, init: RequestInit | undefined) {
  const url = new URL(input instanceof Request ? input.url : input);
  const method = (init?.method ?? (input instanceof Request ? input.method : "GET")).toUpperCase();
  const body: unknown = typeof init?.body === "string" && init.body ? JSON.parse(init.body) : null;
  const path = url.pathname + url.search;
  const hash = createHash("sha256")
    .update(JSON.stringify([method, path, sorted(body)]))
    .digest("hex");
  return { hash, method, path, body };
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  );
}
