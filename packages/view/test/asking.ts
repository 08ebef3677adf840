import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStore } from "@tenet/runs";
import { afterAll } from "vitest";
import { type ViewAppOptions, viewApp } from "../src/index.ts";
import { type StoreOptions, type WrittenStore, writeStore } from "./store.ts";

export const token = "the-token-of-this-start";
export const host = "127.0.0.1:4747";

/** A folder that is removed when the file's tests are through. */
export function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "tenet-view-"));
  afterAll(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

/** A server's app over a store, without a socket. */
export class Asking {
  readonly written: WrittenStore;
  readonly folder: string;
  readonly #app: ReturnType<typeof viewApp>;

  constructor(options: StoreOptions & { readOnly?: boolean } & Pick<ViewAppOptions, "openToSpeak" | "launch"> = {}) {
    this.folder = folder();
    this.written = writeStore(this.folder, options);
    const store = options.readOnly ? openStore(this.folder, { readOnly: true }) : this.written.store;
    const { openToSpeak, launch } = options;
    this.#app = viewApp({ openToSpeak, launch, store, version: "0.0.0", hosts: () => [host, "localhost:4747"], token });
  }

  request(path: string, init: RequestInit & { headers?: Record<string, string> } = {}): Promise<Response> {
    return Promise.resolve(this.#app.app.request(path, { ...init, headers: { host, ...init.headers } }));
  }

  /** Every route as it is registered. */
  get routes(): readonly { method: string; path: string }[] {
    return this.#app.app.routes.filter(({ method }) => method === "GET" || method === "POST");
  }

  async get<T>(path: string): Promise<T> {
    const response = await this.request(path);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  }

  send(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
    const text = JSON.stringify(body);
    return this.request(path, {
      method: "POST",
      body: text,
      headers: {
        "content-type": "application/json",
        "content-length": String(Buffer.byteLength(text)),
        "x-tenet-token": token,
        ...headers,
      },
    });
  }

  async post<T>(path: string, body: unknown): Promise<T> {
    const response = await this.send(path, body);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  }

  close(): void {
    this.#app.live.close();
    this.written.store.close();
  }
}
