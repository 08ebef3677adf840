import type { Figure, Metric } from "../src/api.ts";

/* Figures as people read them, in the words and digits of the report and the terminal. Minus is U+2212. */

type Unit = Metric["unit"];
const digits: Record<Unit, number> = { share: 0, number: 2, nats: 3, words: 0, points: 0 };

export function value(x: number, unit: Unit = "share"): string {
  if (unit !== "share") return fixed(x, unit === "nats" && Math.abs(x) < 0.1 ? 4 : digits[unit]);
  return `${fixed(x * 100, percentDigits(x))}%`;
}

export function interval([low, high]: Figure["interval"], unit: Unit = "share"): string {
  if (low === null && high === null) return "interval unknown";
  const show = (x: number | null, open: string) => (x === null ? open : value(x, unit));
  return `${show(low, "−∞")} to ${show(high, "∞")}`;
}

/** A change with its sign: points for shares, per cent for ratios. */
export function change(x: number, { unit, change: how }: Pick<Metric, "unit" | "change">): string {
  if (how === "ratio") return `${signed(x * 100, 1)}%`;
  if (unit !== "share") return signed(x, unit === "words" ? 1 : digits[unit]);
  return `${signed(x * 100, percentDigits(x))} points`;
}

export function changeInterval([low, high]: Figure["interval"], metric: Pick<Metric, "unit" | "change">): string {
  const show = (x: number | null, open: string) => (x === null ? open : change(x, metric).replace(" points", ""));
  return `${show(low, "−∞")} to ${show(high, "∞")}`;
}

/** Whether an interval leaves zero out. */
export function isShown({ interval: [low, high] }: Figure): boolean {
  return (low !== null && low > 0) || (high !== null && high < 0);
}

export function seconds(x: number): string {
  const whole = Math.round(x);
  if (whole < 60) return x < 10 ? `${fixed(x, 1)} s` : `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min${whole % 60 ? ` ${whole % 60} s` : ""}`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h${minutes % 60 ? ` ${minutes % 60} min` : ""}`;
}

export const count = (x: number) => Math.round(x).toLocaleString("en-US");
export const dollars = (x: number) => (x === 0 ? "$0" : `$${x >= 0.1 ? x.toFixed(2) : x.toPrecision(2)}`);

/** The clock on this machine's wall, to the minute. */
export function when(time: string): string {
  const at = new Date(time);
  const two = (x: number) => String(x).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

function percentDigits(share: number): number {
  return share !== 0 && Math.abs(share) < 0.0995 ? 1 : 0;
}

function fixed(x: number, places: number): string {
  const text = Math.abs(x).toFixed(places);
  return x < 0 && Number(text) !== 0 ? `−${text}` : text;
}

function signed(x: number, places: number): string {
  const text = fixed(x, places);
  return text.startsWith("−") || Number(text) === 0 ? text : `+${text}`;
}
