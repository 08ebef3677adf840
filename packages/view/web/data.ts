import { useEffect, useState, useSyncExternalStore } from "react";
import type { ApiError } from "../src/api.ts";

/*
 * What the server said, by address: kept while it is looked at, asked again when something changed.
 */

interface Entry {
  data?: unknown;
  error?: Error;
  asked: boolean;
  asking: boolean;
  stale: boolean;
  live: boolean;
  readonly listeners: Set<() => void>;
  snapshot: { data?: unknown; error?: Error; busy: boolean };
}

const entries = new Map<string, Entry>();
const meta = (name: string) => document.querySelector(`meta[name="${name}"]`)?.getAttribute("content") ?? "";
export const token = meta("tenet-token");
export const readOnly = meta("tenet-read-only") === "true";

export class ServerError extends Error {
  readonly problems: readonly { file?: string; line?: number; message?: string }[];
  constructor(name: string, message: string, problems: unknown) {
    super(message);
    this.name = name;
    this.problems = Array.isArray(problems) ? problems : [];
  }
}

async function ask(url: string, init?: RequestInit): Promise<unknown> {
  const response = await fetch(url, init);
  const text = await response.text();
  const body = text === "" ? undefined : JSON.parse(text);
  if (response.ok) return body;
  const { error } = (body ?? { error: { name: "Error", message: response.statusText } }) as ApiError;
  throw new ServerError(error.name, error.message, error.problems);
}

function entryOf(url: string): Entry {
  const known = entries.get(url);
  if (known) return known;
  const made: Entry = {
    asked: false,
    asking: false,
    stale: false,
    live: true,
    listeners: new Set(),
    snapshot: { busy: true },
  };
  entries.set(url, made);
  return made;
}

async function load(url: string, entry: Entry): Promise<void> {
  if (entry.asking) {
    entry.stale = true;
    return;
  }
  entry.asking = true;
  entry.asked = true;
  try {
    do {
      entry.stale = false;
      try {
        entry.data = await ask(url);
        delete entry.error;
      } catch (error) {
        entry.error = error instanceof Error ? error : new Error(String(error));
      }
    } while (entry.stale);
  } finally {
    entry.asking = false;
    entry.snapshot = {
      ...(entry.data !== undefined && { data: entry.data }),
      ...(entry.error && { error: entry.error }),
      busy: false,
    };
    for (const listener of entry.listeners) listener();
  }
}

/** What an address gives; asked again when the store changes, unless `live` is false. */
export function useGet<T>(url: string | undefined, { live = true } = {}): { data?: T; error?: Error; busy: boolean } {
  const entry = entryOf(url ?? "");
  const found = useSyncExternalStore(
    (listener) => {
      entry.listeners.add(listener);
      return () => entry.listeners.delete(listener);
    },
    () => entry.snapshot,
  );
  useEffect(() => {
    if (url === undefined) return;
    entry.live = live;
    if (!entry.asked || entry.stale) void load(url, entry);
  }, [url, entry, live]);
  return found as { data?: T; error?: Error; busy: boolean };
}

/** Asks again for all that is looked at, and forgets the rest. */
export function refresh({ all = false } = {}): void {
  for (const [url, entry] of entries) {
    if (entry.listeners.size === 0) entries.delete(url);
    else if (url !== "" && (all || entry.live)) void load(url, entry);
  }
}

/** Sends something; what is looked at is asked for again. */
export async function post<T>(url: string, body: unknown, { quiet = false } = {}): Promise<T> {
  const answer = await ask(url, {
    method: "POST",
    headers: { "content-type": "application/json", "x-tenet-token": token },
    body: JSON.stringify(body),
  });
  if (!quiet) refresh({ all: true });
  return answer as T;
}

/**
 * What an address answers to a body that somebody is still writing: asked when that rests for so many milliseconds, and only the last
 * answer is heard. `of` is the body, as JSON, that `data` answers, while that is the one that stands there; without a body nothing is asked.
 */
export function useAnswer<T>(
  url: string,
  body: object | undefined,
  milliseconds: number,
): { data?: T; error?: Error; of?: string } {
  const [heard, setHeard] = useState<{ data?: T; error?: Error; of?: string }>({});
  const asked = body && JSON.stringify(body);
  useEffect(() => {
    if (asked === undefined) return;
    let current = true;
    // What was heard stays in sight, and is the answer to nothing any more.
    setHeard(({ of: _, ...before }) => before);
    const timer = setTimeout(() => {
      post<T>(url, JSON.parse(asked), { quiet: true }).then(
        (data) => current && setHeard({ data, of: asked }),
        (error: Error) => current && setHeard((before) => ({ ...before, error })),
      );
    }, milliseconds);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [url, asked, milliseconds]);
  return heard;
}

/* Who sits here: a name typed once and kept in this browser. It is written beside what they say, and proves nothing. */

const whoChanged = new EventTarget();
export const whoIs = () => localStorage.getItem("tenet-who") ?? "";

export function setWho(name: string): void {
  localStorage.setItem("tenet-who", name.trim());
  whoChanged.dispatchEvent(new Event("changed"));
}

export function useWho(): string {
  return useSyncExternalStore((listener) => {
    whoChanged.addEventListener("changed", listener);
    return () => whoChanged.removeEventListener("changed", listener);
  }, whoIs);
}
