import { type IncomingHttpHeaders, request as plain } from "node:http";
import { request as secure } from "node:https";

export interface HttpReply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/**
 * One request. Not by `fetch`: Node's sends `sec-fetch-mode`, by which Ray takes it for a browser's and refuses PUT, POST and DELETE with 405.
 * Errors: the socket's.
 */
export function http(
  url: string,
  options: {
    readonly method: string;
    readonly token?: string | undefined;
    readonly body?: string | Uint8Array | undefined;
    readonly signal?: AbortSignal | undefined;
    readonly seconds?: number | undefined;
  },
): Promise<HttpReply> {
  const { method, token, body, signal, seconds } = options;
  const headers: Record<string, string> = {};
  if (token !== undefined) headers.authorization = `Bearer ${token}`;
  if (typeof body === "string") headers["content-type"] = "application/json";
  else if (body) headers["content-type"] = "application/octet-stream";
  if (body !== undefined) headers["content-length"] = String(Buffer.byteLength(body));
  const limits = [signal, seconds === undefined ? undefined : AbortSignal.timeout(1000 * seconds)].filter(
    (one) => !!one,
  );
  return new Promise((resolve, reject) => {
    const send = new URL(url).protocol === "https:" ? secure : plain;
    const sent = send(
      url,
      { method, headers, ...(limits.length > 0 && { signal: AbortSignal.any(limits) }) },
      (reply) => {
        const parts: Buffer[] = [];
        reply.on("data", (part: Buffer) => parts.push(part));
        reply.on("error", reject);
        reply.on("end", () =>
          resolve({ status: reply.statusCode!, headers: reply.headers, body: Buffer.concat(parts) }),
        );
      },
    );
    sent.on("error", (error) => reject(signal?.aborted ? signal.reason : error));
    sent.end(body);
  });
}
