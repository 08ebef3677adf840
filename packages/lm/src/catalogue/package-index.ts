import { DownloadError } from "./errors.ts";

/** The index that pip uses where nobody says otherwise. */
const usualIndex = "https://pypi.org/simple";

/** The address of the Python package index: as pip's environment variable has it, else the public one. */
export function packageIndex(environment: Record<string, string | undefined> = process.env): string {
  return environment.PIP_INDEX_URL || usualIndex;
}

export interface IndexOptions {
  readonly fetch?: typeof globalThis.fetch;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Where an index keeps a file of a package; no Python is needed. Reads both forms in which indexes answer, JSON and HTML.
 * Source: PEP 503 and 691 (simple repository API). Errors: DownloadError where the index, the package or the file is not there.
 */
export async function fileAddress(
  index: string,
  name: string,
  file: string,
  { fetch = globalThis.fetch, signal }: IndexOptions = {},
): Promise<string> {
  const page = `${index.replace(/\/+$/, "")}/${name}/`;
  // The address may hold a key.
  const shown = page.replace(/\/\/[^/@]*@/, "//");
  const { headers, address } = withoutKey(page);
  const accept = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";
  const response = await fetch(address, { headers: { ...headers, accept }, signal: signal ?? null }).catch(
    (error: Error & { cause?: Error }) => {
      signal?.throwIfAborted();
      throw new DownloadError(`${shown}: ${error.cause?.message ?? error.message}`);
    },
  );
  if (!response.ok) throw new DownloadError(`${shown}: status ${response.status} ${response.statusText}`.trim());
  const text = await response.text();
  const found = response.headers.get("content-type")?.includes("json") ? inJson(text, file) : inHtml(text, file);
  if (found === undefined) throw new DownloadError(`${shown}: the index has no ${file}`);
  return new URL(found, response.url || address).href;
}

/** An address without the user and password in it, which Node's fetch refuses, and the header that says them instead. */
export function withoutKey(address: string): { address: string; headers: Record<string, string> } {
  const url = new URL(address);
  if (!url.username && !url.password) return { address, headers: {} };
  const key = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  url.username = url.password = "";
  return { address: url.href, headers: { authorization: `Basic ${Buffer.from(key).toString("base64")}` } };
}

function inJson(text: string, file: string): string | undefined {
  let page: { files?: { filename?: unknown; url?: unknown }[] };
  try {
    page = JSON.parse(text);
  } catch {
    throw new DownloadError("the index answered with JSON that cannot be read");
  }
  const url = page.files?.find(({ filename }) => filename === file)?.url;
  return typeof url === "string" ? url : undefined;
}

function inHtml(text: string, file: string): string | undefined {
  for (const [, , href] of text.matchAll(/<a\s[^>]*?href\s*=\s*(["'])(.*?)\1/gi)) {
    const address = href!.replaceAll("&amp;", "&").split("#")[0]!;
    if (decodeURIComponent(address.split("?")[0]!.split("/").at(-1)!) === file) return address;
  }
  return undefined;
}
