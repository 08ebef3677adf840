import type { CardEstimate, Metric } from "./scorecard.ts";

/*
 * Figures as people read them, the same in the terminal, the page and the verdict. Minus signs are U+2212, which lines up
 * with digits.
 */

type Unit = Metric["unit"];

const digits: Record<Unit, number> = { share: 0, number: 2, nats: 3, words: 0, points: 0 };

/** A value in its unit: shares in per cent, e.g. "12%". */
export function formatValue(value: number, unit: Unit): string {
  if (unit === "share") return `${fixed(value * 100, percentDigits(value))}%`;
  // Distances begin near nothing, where three decimals would hide them.
  return fixed(value, unit === "nats" && Math.abs(value) < 0.1 ? 4 : digits[unit]);
}

/** "4–21%" or "4% to …" where one side is open. */
export function formatInterval([low, high]: CardEstimate["interval"], unit: Unit): string {
  if (low === null && high === null) return "unknown";
  const show = (value: number | null) => (value === null ? "∞" : formatValue(value, unit));
  const negative = (low ?? -1) < 0 || (high ?? 1) < 0;
  const [from, to] = [low === null ? "−∞" : show(low), show(high)];
  if (negative) return `${from} to ${to}`;
  return unit === "share" ? `${from.replace("%", "")}–${to}` : `${from}–${to}`;
}

/** A value with its interval: "12% (4–21%)". */
export function formatEstimate({ value, interval }: Pick<CardEstimate, "value" | "interval">, unit: Unit): string {
  return `${formatValue(value, unit)} (${formatInterval(interval, unit)})`;
}

/** A change with its sign: points for shares ("−33 points"), per cent for ratios ("+2.1%"), else a plain number. */
export function formatChange(value: number, metric: Pick<Metric, "unit" | "change">): string {
  if (metric.change === "ratio") return `${signed(value * 100, 1)}%`;
  if (metric.unit !== "share") return signed(value, metric.unit === "words" ? 1 : digits[metric.unit]);
  const places = percentDigits(value);
  const shown = signed(value * 100, places);
  return `${shown} ${shown.endsWith("1") && Math.abs(value * 100) < 1.5 && places === 0 ? "point" : "points"}`;
}

/** The bounds of a change, e.g. "−41 to −24". */
export function formatChangeInterval(
  [low, high]: CardEstimate["interval"],
  metric: Pick<Metric, "unit" | "change">,
): string {
  const show = (value: number | null, open: string) =>
    value === null ? open : formatChange(value, metric).replace(/ points?$/, "");
  return `${show(low, "−∞")} to ${show(high, "+∞")}`;
}

/** A whole number with its thousands apart: 182,831. */
export function formatCount(value: number): string {
  return Math.round(value)
    .toString()
    .replaceAll(/\B(?=(\d{3})+$)/g, ",");
}

/** Seconds as "48 s", "3 min 20 s", "2 h 5 min". */
export function formatSeconds(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return seconds < 10 ? `${fixed(seconds, 1)} s` : `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min${whole % 60 ? ` ${whole % 60} s` : ""}`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h${minutes % 60 ? ` ${minutes % 60} min` : ""}`;
}

/** Dollars with as many digits as mean something: "$3.20", "$0.0041". */
export function formatUsd(usd: number): string {
  if (usd === 0) return "$0";
  return `$${usd >= 0.1 ? usd.toFixed(2) : Number(usd.toPrecision(2)).toFixed(Math.min(8, 1 - Math.floor(Math.log10(usd))))}`;
}

const labellers: Readonly<Record<string, string>> = {
  check: "the constitution's checks",
  ai: "a model",
  human: "people",
  ranking: "public rankings",
};

/** "31 by the constitution's checks, 45 by a model". */
export function formatLabelCounts(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([kind, count]) => `${count} by ${labellers[kind] ?? kind}`)
    .join(", ");
}

/** Small shares keep one more digit: 0.4% is not 0%. */
function percentDigits(share: number): number {
  return share !== 0 && Math.abs(share) < 0.0995 ? 1 : 0;
}

function fixed(value: number, places: number): string {
  const text = Math.abs(value).toFixed(places);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

function signed(value: number, places: number): string {
  const text = fixed(value, places);
  return text.startsWith("−") || Number(text) === 0 ? text : `+${text}`;
}

/**
 * Text that cannot command what shows it: control characters (but tabs and new lines), lone surrogates and the marks that
 * turn the direction of what follows become U+FFFD.
 */
export function harmless(text: string): string {
  return (
    text
      .replaceAll(/\r\n?/g, "\n")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      .replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufffe\uffff]/g, "\ufffd")
      .replaceAll(/\p{Surrogate}/gu, "\ufffd")
  );
}
