import { useSyncExternalStore } from "react";
import { refresh } from "./data.ts";

/*
 * One stream for all tabs of a browser: it allows six connections to a server, and the seventh tab would wait in silence. The
 * tab that holds the lock has the stream and tells the others; where it closes, another gets the lock.
 */

export type LiveState = "connecting" | "live" | "lost";

const leastMilliseconds = 700;
const changed = new EventTarget();
let state: LiveState = "connecting";
let last = 0;
let waiting: number | undefined;

function tell(now: LiveState): void {
  state = now;
  changed.dispatchEvent(new Event("changed"));
}

/** Asks again for what is looked at: at once, but not more often than can be read; hidden tabs wait until they are seen. */
function somethingChanged(): void {
  if (waiting !== undefined || document.hidden) return;
  waiting = window.setTimeout(
    () => {
      waiting = undefined;
      last = performance.now();
      refresh();
    },
    Math.max(0, last + leastMilliseconds - performance.now()),
  );
}

export function startLive(): void {
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) somethingChanged();
  });
  const channel = new BroadcastChannel("tenet-live");
  channel.addEventListener("message", ({ data }: MessageEvent<LiveState | "change">) => {
    if (data === "change") somethingChanged();
    else tell(data);
  });
  const announce = (what: LiveState | "change") => {
    channel.postMessage(what);
    if (what === "change") somethingChanged();
    else tell(what);
  };
  const listen = () =>
    new Promise<never>(() => {
      const source = new EventSource("/api/stream");
      source.addEventListener("open", () => announce("live"));
      source.addEventListener("error", () => announce("lost"));
      source.addEventListener("change", () => {
        announce("live");
        announce("change");
      });
    });
  if (navigator.locks) void navigator.locks.request("tenet-live", listen);
  else void listen();
}

export function useLiveState(): LiveState {
  return useSyncExternalStore(
    (listener) => {
      changed.addEventListener("changed", listener);
      return () => changed.removeEventListener("changed", listener);
    },
    () => state,
  );
}
