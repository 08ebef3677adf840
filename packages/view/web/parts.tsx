import type { ReactNode } from "react";
import type { Figure, Metric, Progress, RunSummary, StageLine } from "../src/api.ts";
import * as format from "./format.ts";
import { Link, withSearch } from "./route.tsx";

/** A share or another figure: never without its interval and the observations behind it. */
export function Estimate({ figure, unit = "share" }: { figure: Figure; unit?: Metric["unit"] }) {
  return (
    <span className="estimate">
      <b>{format.value(figure.value, unit)}</b>{" "}
      <small>
        {format.interval(figure.interval, unit)}, n {format.count(figure.n)}
      </small>
    </span>
  );
}

/** A change: better or worse only where its interval leaves zero out. */
export function Change({ figure, metric }: { figure: Figure; metric: Pick<Metric, "unit" | "change" | "better"> }) {
  const shown = format.isShown(figure);
  const good = metric.better === "neither" ? undefined : (metric.better === "lower") === figure.value < 0;
  const word = !shown ? "not shown" : good === undefined ? "differs" : good ? "better" : "worse";
  return (
    <span className={`estimate ${shown && good !== undefined ? (good ? "good" : "bad") : ""}`}>
      <b>{format.change(figure.value, metric)}</b>{" "}
      <small>
        {format.changeInterval(figure.interval, metric)} · {word}
      </small>
    </span>
  );
}

/** A share as a bar with its interval, on a scale that others share. */
export function Bar({ figure, top = 1, series = 0 }: { figure: Figure; top?: number; series?: number }) {
  const x = (share: number) => 100 * Math.min(1, Math.max(0, share / top));
  const [low, high] = [figure.interval[0] ?? 0, figure.interval[1] ?? top];
  return (
    <svg className={`bar s${series % 6}`} viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">
      <rect className="track" x="0" y="0" width="100" height="12" />
      <rect className="range" x={x(low)} y="2" width={Math.max(0.4, x(high) - x(low))} height="8" />
      <rect className="point" x={Math.max(0, x(figure.value) - 0.5)} y="0" width="1" height="12" />
    </svg>
  );
}

const words: Record<StageLine["status"], string> = {
  running: "running",
  done: "done",
  failed: "failed",
  refused: "refused",
  waiting: "waits for people",
  interrupted: "interrupted",
  planned: "planned",
  "not needed": "not needed",
};

const looks: Record<StageLine["status"], string> = {
  running: "now",
  done: "good",
  failed: "bad",
  refused: "warn",
  waiting: "now",
  interrupted: "warn",
  planned: "",
  "not needed": "",
};

export function StatusChip({ status }: { status: StageLine["status"] }) {
  return <span className={`chip ${looks[status]}`}>{words[status]}</span>;
}

const tones: Record<NonNullable<RunSummary["tone"]>, [string, string]> = {
  better: ["Better than where it started", "good"],
  mixed: ["Better, at a price", "warn"],
  unclear: ["No difference shown", ""],
  worse: ["Worse than where it started", "bad"],
};

export function ToneChip({ tone }: { tone: NonNullable<RunSummary["tone"]> }) {
  const [word, look] = tones[tone];
  return <span className={`chip ${look}`}>{word}</span>;
}

export function ProgressBar({ progress, label }: { progress: Progress; label: string }) {
  const { done, total, unit, secondsLeft } = progress;
  return (
    <span className="progress">
      <progress value={done} max={Math.max(1, total)} aria-label={label} />
      <small>
        {format.count(done)} of {format.count(total)} {unit}
        {secondsLeft !== undefined && done < total && ` · about ${format.seconds(secondsLeft)} left`}
      </small>
    </span>
  );
}

/** A command to copy: everything that a page does can be done without it. */
export function Command({ children }: { children: string }) {
  return (
    <span className="command">
      <code>{children}</code>
      <button type="button" className="quiet" onClick={() => void navigator.clipboard.writeText(children)}>
        Copy<span className="visually-hidden"> {children}</span>
      </button>
    </span>
  );
}

/** Copies a text that is too long to be shown. */
export function Copy({ text, children }: { text: string; children: ReactNode }) {
  return (
    <button type="button" onClick={() => void navigator.clipboard.writeText(text)}>
      {children}
    </button>
  );
}

export function Loading({ error, busy, what }: { error?: Error | undefined; busy: boolean; what: string }) {
  if (error)
    return (
      <div className="notice bad" role="alert">
        <b>This could not be read.</b> {error.message} <small className="muted">({error.name})</small>
      </div>
    );
  return busy ? (
    <p className="muted" role="status">
      reading {what} …
    </p>
  ) : null;
}

/** A table that is wider than the screen scrolls by itself, with keys too. */
export function Scroll({ label, children }: { label: string; children: ReactNode }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached to be scrolled with keys
    <section className="scroll" tabIndex={0} aria-label={label}>
      {children}
    </section>
  );
}

export function Empty({ children }: { children: ReactNode }) {
  return <div className="notice">{children}</div>;
}

/** One of several filters, which the address holds. */
export function Filters({
  name,
  chosen,
  options,
  standard,
  label,
}: {
  name: string;
  chosen: string;
  standard: string;
  label: string;
  options: readonly { value: string; label: string; count?: number | undefined }[];
}) {
  return (
    <nav className="filters" aria-label={label}>
      {options.map(({ value, label: text, count }) => (
        <Link
          key={value}
          to={withSearch({ [name]: value === standard ? undefined : value, after: undefined, from: undefined })}
          current={value === chosen}
        >
          {text}
          {count !== undefined && <small> {format.count(count)}</small>}
        </Link>
      ))}
    </nav>
  );
}
