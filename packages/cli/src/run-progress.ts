import type { RunEvent } from "@tenet/align";
import { formatSeconds } from "./format.ts";
import { type Io, redraw, tell } from "./io.ts";

type StageEvent = Extract<RunEvent, { type: "stage" }>;
type ProgressEvent = Extract<RunEvent, { type: "progress" }>;
type MetricsEvent = Extract<RunEvent, { type: "metrics" }>;

/** Of everything that training reports, what a line has room for: the name there, and the name here. */
const told: readonly (readonly [metric: string, label: string])[] = [
  ["loss", "loss"],
  ["eval_loss", "held out"],
  ["accuracy", "accuracy"],
  ["objective/scores", "reward"],
  ["objective/kl", "kl"],
  ["val/response_length", "length"],
  ["validation/violations", "violations"],
];

/** Off a terminal nobody waits longer for a line of a stage that goes on. */
const longestSilence = 30_000;

/**
 * Shows a run on stderr: on a terminal one line that keeps changing, with rate and time left, and a line for each stage
 * that is done; elsewhere a line with the time when a stage starts, at each tenth, at least every 30 s, and when it ends. `quiet`
 * shows nothing but warnings.
 */
export function runProgress(io: Io, { now = Date.now, quiet = false }: { now?: () => number; quiet?: boolean } = {}) {
  const terminal = io.stderr.isTTY === true;
  let title = "";
  let began = { at: 0, done: 0 };
  let tenth = 0;
  let shown = 0;
  let dirty = false;
  let written = now();

  function line(text: string): void {
    if (quiet) return;
    clean();
    written = now();
    tell(io, `${terminal ? "" : `${clock(written)} `}${text}\n`);
  }

  function clean(): void {
    if (dirty) redraw(io, "");
    dirty = false;
  }

  /** How far a stage has come: on a terminal at most ten times a second, elsewhere every tenth, where a stage takes seconds. */
  function far(done: number, total: number | undefined, rest: string): void {
    if (began.at === 0) began = { at: now(), done };
    const reached = total ? Math.floor((10 * done) / total) : Math.floor(done / 10);
    const ended = total !== undefined && done >= total;
    const quick = now() - began.at < 2000;
    const silent = now() - written >= longestSilence;
    if (quiet || (terminal ? now() - shown < 100 && !ended : (reached <= tenth || quick) && !silent)) return;
    [shown, tenth] = [now(), reached];
    const seconds = (now() - began.at) / 1000;
    const rate = seconds > 0.5 ? (done - began.done) / seconds : 0;
    const left = rate > 0 && total && !ended ? `${formatSeconds((total - done) / rate)} left` : "";
    const text = [`${title}  ${done}${total ? ` of ${total}` : ""}${rest}`, rateOf(rate), left];
    const shownText = text.filter((part) => part !== "").join("  ");
    if (!terminal) return void line(`  ${shownText}`);
    redraw(io, shownText);
    dirty = true;
  }

  function stage(event: StageEvent): void {
    const { status, rows = 0, aside = 0, seconds = 0 } = event;
    if (status === "started" || status === "continued") {
      title = event.title;
      began = { at: 0, done: 0 };
      tenth = 0;
      const there = status === "continued" && rows > 0 ? `, continued behind ${rows} rows` : "";
      if (!terminal) line(`${event.title}${there}`);
      return;
    }
    const facts = [
      rows > 0 ? `${rows} rows` : "",
      aside > 0 ? `${aside} set aside` : "",
      status === "reused" ? "in the store already" : formatSeconds(seconds),
    ];
    const mark = status === "failed" ? "✗" : "✓";
    line(`${mark} ${event.title}  ${facts.filter((fact) => fact !== "").join(", ")}`);
  }

  function metrics({ step, of, metrics: figures }: MetricsEvent): void {
    const parts = told.flatMap(([name, label]) => {
      const value = figures[name];
      return value === undefined ? [] : [`${label} ${Number(value.toPrecision(4))}`];
    });
    far(step, of, parts.length > 0 ? `  ${parts.join(", ")}` : "");
  }

  function show(event: RunEvent): void {
    if (event.type === "stage") stage(event);
    else if (event.type === "progress") rowsDone(event);
    else if (event.type === "metrics") metrics(event);
    else if (event.type === "message" && event.level === "warning" && quiet) tell(io, `warning: ${event.message}\n`);
    else if (event.type === "message") line(`${event.level === "warning" ? "warning: " : ""}${event.message}`);
  }

  function rowsDone({ done, total, unit }: ProgressEvent): void {
    far(done, total, ` ${unit}`);
  }

  return { show, line, end: clean };
}

/** The time of day, to the second, where the process is. */
function clock(time: number): string {
  return new Date(time).toTimeString().slice(0, 8);
}

function rateOf(rate: number): string {
  if (rate <= 0) return "";
  return rate >= 1 ? `${rate.toFixed(rate < 10 ? 1 : 0)}/s` : `${(60 * rate).toFixed(rate < 0.1 ? 1 : 0)}/min`;
}
