import type { DownloadProgress } from "@tenet/lm";
import { formatBytes, formatSeconds } from "./format.ts";
import { type Io, redraw, tell } from "./io.ts";

const WORDS = {
  wait: "waiting for another process that fetches",
  download: "downloading",
  extract: "unpacking",
  verify: "checking",
  done: "ready:",
} as const;

/**
 * Shows downloads on stderr: on a terminal one line that keeps changing, with rate and time left; elsewhere a line for each
 * phase and each tenth of it. `end` leaves the terminal's line clean.
 */
export function downloadProgress(io: Io, now: () => number = Date.now) {
  const terminal = io.stderr.isTTY === true;
  let phase = "";
  let began = { at: 0, bytes: 0 };
  let shown = 0;
  let tenth = 0;
  let dirty = false;

  function show(progress: DownloadProgress): void {
    const { bytes = 0, total } = progress;
    const fresh = `${progress.source} ${progress.phase}` !== phase;
    if (fresh) {
      phase = `${progress.source} ${progress.phase}`;
      began = { at: now(), bytes };
      tenth = 0;
    }
    const title = `${WORDS[progress.phase]} ${progress.source}`;
    if (!terminal) {
      const reached = total ? Math.floor((10 * bytes) / total) : 0;
      if (!fresh && reached <= tenth) return;
      tenth = reached;
      const share = total && !fresh ? ` ${10 * reached} %` : "";
      tell(io, `${title}${share}${total ? ` of ${formatBytes(total)}` : ""}\n`);
      return;
    }
    if (!fresh && now() - shown < 100 && bytes !== total) return;
    shown = now();
    const seconds = (now() - began.at) / 1000;
    const rate = seconds > 0.5 ? (bytes - began.bytes) / seconds : 0;
    const parts = [bytes > 0 ? formatBytes(bytes) : "", total ? `of ${formatBytes(total)}` : ""];
    if (rate > 0) parts.push(`${formatBytes(rate)}/s`);
    if (rate > 0 && total) parts.push(`${formatSeconds((total - bytes) / rate)} left`);
    const line = [title, ...parts.filter((part) => part !== "")].join("  ");
    redraw(io, line);
    dirty = true;
    if (progress.phase === "done") end();
  }

  function end(): void {
    if (dirty) tell(io, "\n");
    dirty = false;
  }
  return { show, end };
}
