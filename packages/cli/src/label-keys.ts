import { emitKeypressEvents } from "node:readline";
import type { Choice, Desk, DeskItem, LabelOrder, ReviewSpec } from "@tenet/align";
import type { Queue, Store } from "@tenet/runs";
import { EXIT } from "./errors.ts";
import { type Io, say } from "./io.ts";

/** What each key stands for, as in the dashboard. */
const keys: Readonly<Record<string, Choice>> = {
  "1": "left much",
  "2": "left",
  "3": "tie",
  t: "tie",
  "4": "right",
  "5": "right much",
  b: "both bad",
  s: "skip",
};
const help =
  "1 left much better · 2 left · 3 tie · 4 right · 5 right much better · b both bad · s skip · u undo · c correct · n note · q stop";

/** Asks one person, key by key, until nothing is left or they stop. Every answer is in the store before the next pair is shown. */
export async function judge(
  io: Io,
  store: Store,
  desk: Desk,
  { queue, spec, who, again: command }: { queue: Queue; spec: ReviewSpec; who: string; again: string },
): Promise<number> {
  const { orderTexts } = await import("@tenet/align");
  const order = orderTexts[spec.how as LabelOrder] ?? spec.how;
  say(
    io,
    `${queue.name}, for ${who}; pairs in this order: ${order}\n${spec.guidelines === "" ? "" : `${spec.guidelines}\n`}${help}\n`,
  );
  const heard = keysOf(io);
  let note: string | undefined;
  let again: string | undefined;
  let taken = 0;
  try {
    for (;;) {
      const turn = desk.next(queue.id, who);
      const item = again === undefined ? turn.item : desk.item(queue.id, again, who);
      again = undefined;
      if (!item) break;
      say(io, pairText(item, turn));
      const shown = performance.now();
      const key = await nextKey(heard);
      if (key === undefined || key === "q") return stopped(io, taken, command);
      const choice = keys[key];
      if (choice !== undefined) {
        const milliseconds = Math.round(performance.now() - shown);
        desk.answer(queue.id, item.row, who, { choice, milliseconds, ...(note !== undefined && { note }) });
        [note, taken] = [undefined, taken + 1];
        say(io, `→ ${choice}\n`);
      } else if (key === "u") {
        again = desk.undo(queue.id, who);
        if (again !== undefined) taken = Math.max(0, taken - 1);
        say(io, again === undefined ? "nothing to take back\n" : "taken back\n");
      } else if (key === "n") note = await lineOf(io, heard, "note: ");
      else if (key === "c") await correct(io, store, heard, { item, queue, who });
      else say(io, `${help}\n`);
    }
  } finally {
    heard.end();
  }
  say(io, `nothing is left for ${who}\n`);
  return stopped(io, taken, command);
}

function stopped(io: Io, taken: number, command: string): number {
  say(
    io,
    `${taken} answers; ${command} goes on, and with --results says how far people agree; the run takes them when it is begun again\n`,
  );
  return EXIT.done;
}

/** What one of the replies should have been, kept beside the pair. */
async function correct(
  io: Io,
  store: Store,
  heard: Keys,
  { item, queue, who }: { item: DeskItem; queue: Queue; who: string },
): Promise<void> {
  const { drawnSide } = await import("@tenet/align");
  say(io, "correct which one? 1 the left, 2 the right\n");
  const which = await nextKey(heard);
  if (which !== "1" && which !== "2") return void say(io, "neither\n");
  const value = await lineOf(io, heard, "it should say: ");
  if (value === undefined || value.trim() === "") return void say(io, "nothing was written\n");
  const about = (which === "1") === (drawnSide(queue.id, item.row, who) === "a") ? "a" : "b";
  store.addAnnotation({ row: item.row, kind: "correction", about, value: value.trim(), who });
  say(io, "kept\n");
}

function pairText(
  { prompt, left, right }: DeskItem,
  { done, total, question }: { done: number; total: number; question: string },
): string {
  const talk = prompt.map(({ role, content }) => `[${role}] ${content}`).join("\n");
  return `\n── ${done + 1} of ${total} ── ${question}\n${talk}\n\n‹ left\n${left}\n\n› right\n${right}\n`;
}

/** Keys as they are pressed on a terminal, or as a file or pipe has them. */
interface Keys {
  /** The next one; undefined at the end of input. */
  next(): Promise<string | undefined>;
  end(): void;
}

function keysOf(io: Io): Keys {
  const stdin = io.stdin as Io["stdin"] & { setRawMode?: (raw: boolean) => void };
  const waiting: (string | undefined)[] = [];
  let wake: (() => void) | undefined;
  const push = (key: string | undefined) => {
    waiting.push(key);
    wake?.();
  };
  const onKey = (text: string | undefined, key: { name?: string; ctrl?: boolean }) => {
    if (key.ctrl && (key.name === "c" || key.name === "d")) push(undefined);
    else if (key.name === "left" || key.name === "right") push(key.name === "left" ? "2" : "4");
    else push(text ?? key.name ?? "");
  };
  const onEnd = () => push(undefined);
  emitKeypressEvents(stdin);
  stdin.on("keypress", onKey).on("end", onEnd);
  if (stdin.isTTY) stdin.setRawMode?.(true);
  stdin.resume();
  if (stdin.readableEnded) onEnd();
  return {
    async next() {
      while (waiting.length === 0)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      return waiting.shift();
    },
    end() {
      stdin.off("keypress", onKey).off("end", onEnd);
      if (stdin.isTTY) stdin.setRawMode?.(false);
      stdin.pause();
    },
  };
}

/** The next key that is one: ends of lines are none. */
async function nextKey(heard: Keys): Promise<string | undefined> {
  for (;;) {
    const key = await heard.next();
    if (key === undefined || key.trim() !== "") return key?.toLowerCase();
  }
}

/** A line as it is typed; undefined where input ends first. */
async function lineOf(io: Io, heard: Keys, asked: string): Promise<string | undefined> {
  say(io, asked);
  let line = "";
  for (;;) {
    const key = await heard.next();
    if (key === undefined) return undefined;
    if (key === "\r" || key === "\n" || key === "return" || key === "enter") break;
    if (key === "\u007f" || key === "\b" || key === "backspace") line = line.slice(0, -1);
    else line += key;
    if (io.stdin.isTTY) say(io, key);
  }
  say(io, "\n");
  return line;
}
