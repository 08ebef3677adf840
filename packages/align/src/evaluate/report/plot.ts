import { formatInterval } from "../format.ts";
import type { CardEstimate, Chart } from "../scorecard.ts";
import { type Html, html } from "./html.ts";

/*
 * Plots as inline SVG. Positions are percentages of the drawing, so that it stretches with the page while its text keeps its
 * size; lines are drawn in a stretched frame of 1000 × 1000 with strokes that do not scale.
 */

/** A linear scale over round ticks that hold every value. */
export interface Scale {
  low: number;
  high: number;
  ticks: number[];
  /** Where a value lies, 0 … 100. */
  at(value: number): number;
  /** A tick as text. */
  label(tick: number): string;
}

/**
 * A scale of about `count` round steps (1, 2, 2.5 or 5 times a power of ten) that holds all values.
 *
 * @param values not empty, finite
 */
export function scaleOf(values: readonly number[], { count = 4, zero = false } = {}): Scale {
  let low = Math.min(...values, ...(zero ? [0] : []));
  let high = Math.max(...values, ...(zero ? [0] : []));
  if (low === high) [low, high] = low === 0 ? [0, 1] : [low - Math.abs(low) / 2, high + Math.abs(high) / 2];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * 0.999)!;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  const places = Math.max(0, Math.min(20, -Math.floor(Math.log10(step) + 1e-9) + (step / power === 2.5 ? 1 : 0)));
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
  const [from, to] = [first * step, last * step];
  return {
    low: from,
    high: to,
    ticks,
    at: (value) => (100 * (value - from)) / (to - from),
    label: (tick) => tick.toFixed(places).replace("-", "−"),
  };
}

/** Two decimals of a percentage suffice for a pixel. */
const percent = (value: number) => `${Math.round(value * 100) / 100}%`;

/** One estimate as a dot on its interval. `series` picks the colour. */
export function intervalBar(
  { value, interval: [low, high] }: CardEstimate,
  { scale, series, title, reference }: { scale: Scale; series: number; title: string; reference?: number },
): Html {
  const clamp = (x: number) => Math.max(0, Math.min(100, x));
  const from = clamp(low === null ? 0 : scale.at(low));
  const to = clamp(high === null ? 100 : scale.at(high));
  return html`<svg class="bar s${series % seriesColours}" role="img" aria-label="${title}"><title>${title}</title>${scale.ticks.map(
    (tick) =>
      html`<line class="grid" x1="${percent(scale.at(tick))}" x2="${percent(scale.at(tick))}" y1="0" y2="100%"/>`,
  )}${reference !== undefined && html`<line class="reference" x1="${percent(scale.at(reference))}" x2="${percent(scale.at(reference))}" y1="0" y2="100%"/>`}<rect class="interval" x="${percent(from)}" width="${percent(Math.max(0, to - from))}" y="7" height="8" rx="4"/><circle class="dot" cx="${percent(clamp(scale.at(value)))}" cy="11" r="5"/></svg>`;
}

/** The scale under interval bars. */
export function barAxis(scale: Scale, label: (tick: number) => string): Html {
  return html`<svg class="axis" aria-hidden="true">${scale.ticks.map(
    (tick) =>
      html`<text x="${percent(scale.at(tick))}" y="12" text-anchor="${anchor(scale.at(tick))}">${label(tick)}</text>`,
  )}</svg>`;
}

/** Colours the style sheet has for checkpoints (s0 …) and for the lines of a chart (t0 …). */
const seriesColours = 6;
const chartColours = 4;

/** Points of a series beyond which a line is thinned, keeping each stretch's extremes. */
const linePoints = 400;
/** Points of a series that answer to the pointer. */
const hoverPoints = 60;
/** Points from which on a line is drawn faint beneath its moving average. */
const smoothFrom = 60;

/** A chart of lines or of points, with axes, ticks, a legend where there are several series, and the values on hover. */
export function chart({ title, stage, kind, x, y, series }: Chart): Html {
  const drawn = series.map(({ label, points }) => ({
    label,
    points: points.filter(([a, b]) => Number.isFinite(a) && Number.isFinite(b)),
  }));
  const all = drawn.flatMap(({ points }) => points);
  const head = html`<figcaption><b>${title}</b> <span class="stage">${stage}</span><span class="unit">${y}</span></figcaption>`;
  if (all.length === 0) return html`<figure class="chart">${head}<p class="empty">No values.</p></figure>`;
  const xs = scaleOf(all.map(([value]) => value));
  const ys = scaleOf(all.map(([, value]) => value));
  // Steps begin at 1, not at a round 0: a line fills its frame.
  const [left, right] = [Math.min(...all.map(([v]) => v)), Math.max(...all.map(([v]) => v))];
  const tight = kind === "line" && right > left;
  const atX = tight ? (value: number) => (100 * (value - left)) / (right - left) : xs.at;
  const ticks = tight ? xs.ticks.filter((tick) => tick >= left && tick <= right) : xs.ticks;
  const atY = (value: number) => 100 - ys.at(value);
  const point = ([a, b]: readonly [number, number], label: string, radius: number, shade = "") =>
    html`<circle class="point${shade}" cx="${percent(atX(a))}" cy="${percent(atY(b))}" r="${radius}"><title>${label}: ${x} ${short(a)}, ${short(b)}</title></circle>`;
  const summary = drawn
    .filter(({ points }) => points.length > 0)
    .map(({ label, points }) => `${label} from ${short(points[0]![1])} to ${short(points.at(-1)![1])}`)
    .join("; ");
  return html`<figure class="chart">${head}
<svg class="plot" role="img" aria-label="${title}, ${y}, by ${x}: ${summary}">${ys.ticks.map(
    (tick) =>
      html`<line class="grid" x1="0" x2="100%" y1="${percent(atY(tick))}" y2="${percent(atY(tick))}"/><text x="-8" y="${percent(atY(tick))}" dy="4" text-anchor="end">${ys.label(tick)}</text>`,
  )}${drawn.map(({ label, points }, i) => {
    const body =
      kind === "scatter"
        ? points.map((p, j) => point(p, label, 4, ` o${Math.min(4, Math.floor((5 * j) / points.length))}`))
        : html`<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" width="100%" height="100%">${
            points.length >= smoothFrom && html`<polyline class="raw" points="${path(thin(points), atX, atY)}"/>`
          }<polyline class="line" points="${path(thin(points.length >= smoothFrom ? smooth(points) : points), atX, atY)}"/></svg>${every(
            points,
            hoverPoints,
          ).map((p) => point(p, label, 7, " hover"))}`;
    return html`<g class="t${i % chartColours}">${body}</g>`;
  })}</svg>
<svg class="axis" aria-hidden="true">${ticks.map(
    (tick) => html`<text x="${percent(atX(tick))}" y="12" text-anchor="${anchor(atX(tick))}">${xs.label(tick)}</text>`,
  )}</svg>
<div class="below"><span>${x}</span>${
    drawn.length > 1 &&
    html`<ul class="legend">${drawn.map(({ label }, i) => html`<li class="t${i % chartColours}">${label}</li>`)}</ul>`
  }</div>${values(
    [x, ...drawn.map(({ label }) => label)],
    kind === "scatter" ? drawn.flatMap(({ points }) => points) : byPlace(drawn),
  )}</figure>`;
}

/** Rows of a chart's table, at most. */
const tableRows = 60;

/** The values of a chart as a table, for keyboards, fingers and readers; of many, some that are evenly spread. */
function values(head: readonly string[], rows: readonly (readonly (number | string | undefined)[])[]): Html {
  const shown = every(rows, tableRows);
  const of = shown.length < rows.length ? ` (${shown.length} of ${rows.length}, evenly spread)` : "";
  return html`<details class="values"><summary>Values${of}</summary><div class="scroll"><table><thead><tr>${head.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead><tbody>${shown.map(
    ([first, ...rest]) =>
      html`<tr><th scope="row">${cell(first)}</th>${rest.map((value) => html`<td>${cell(value)}</td>`)}</tr>`,
  )}</tbody></table></div></details>`;
}

function cell(value: number | string | undefined): string | undefined {
  return typeof value === "number" ? short(value) : value;
}

/** Values of several series at each place along x, in order. */
function byPlace(series: readonly { readonly points: readonly (readonly [number, number])[] }[]) {
  const places = [...new Set(series.flatMap(({ points }) => points.map(([x]) => x)))].sort((a, b) => a - b);
  const of = series.map(({ points }) => new Map(points));
  return places.map((x) => [x, ...of.map((points) => points.get(x))]);
}

/** Stated probability against what came true, with the diagonal that a calibrated labeller follows. */
export function reliabilityDiagram(bins: readonly { predicted: number; observed: number; n: number }[]): Html {
  const most = Math.max(...bins.map(({ n }) => n));
  return html`<figure class="chart square"><figcaption><b>Reliability</b><span class="unit">observed share, by stated probability</span></figcaption>
<svg class="plot" role="img" aria-label="Reliability: ${bins.map(({ predicted, observed }) => `${short(predicted)} came true ${short(observed)}`).join("; ")}">${[
    0, 0.25, 0.5, 0.75, 1,
  ].map(
    (tick) =>
      html`<line class="grid" x1="0" x2="100%" y1="${percent(100 - 100 * tick)}" y2="${percent(100 - 100 * tick)}"/><text x="-8" y="${percent(100 - 100 * tick)}" dy="4" text-anchor="end">${tick}</text>`,
  )}<line class="reference" x1="0" y1="100%" x2="100%" y2="0"/><g class="t0">${bins.map(
    ({ predicted, observed, n }) =>
      html`<circle class="point" cx="${percent(100 * predicted)}" cy="${percent(100 - 100 * observed)}" r="${Math.round(30 + 50 * Math.sqrt(n / most)) / 10}"><title>stated ${short(predicted)}, came true ${short(observed)}, ${n} labels</title></circle>`,
  )}</g></svg>
<svg class="axis" aria-hidden="true">${[0, 0.5, 1].map((tick) => html`<text x="${percent(100 * tick)}" y="12" text-anchor="${anchor(100 * tick)}">${tick}</text>`)}</svg>${values(
    ["stated", "came true", "labels"],
    bins.map(({ predicted, observed, n }) => [predicted, observed, n]),
  )}</figure>`;
}

/** Estimates with their intervals at places of an axis, joined by a line. */
export function estimatePlot({
  title,
  unit,
  x,
  points,
}: {
  title: string;
  unit: string;
  x: string;
  points: readonly { label: string; at: number; estimate: CardEstimate; series: number }[];
}): Html {
  const xs = scaleOf(
    points.map(({ at }) => at),
    { zero: true },
  );
  const ys = scaleOf(
    points.flatMap(({ estimate: { value, interval } }) => [value, ...interval.filter((bound) => bound !== null)]),
  );
  const atY = (value: number) => 100 - ys.at(value);
  // Dots at the very edge would be cut in half.
  const atX = (value: number) => 4 + 0.92 * xs.at(value);
  const line = points.map(({ at, estimate }): [number, number] => [at, estimate.value]);
  return html`<figure class="chart"><figcaption><b>${title}</b><span class="unit">${unit}</span></figcaption>
<svg class="plot" role="img" aria-label="${title} by ${x}: ${points.map(({ label, at, estimate }) => `${label} ${short(estimate.value)} at ${short(at)}`).join("; ")}">${ys.ticks.map(
    (tick) =>
      html`<line class="grid" x1="0" x2="100%" y1="${percent(atY(tick))}" y2="${percent(atY(tick))}"/><text x="-8" y="${percent(atY(tick))}" dy="4" text-anchor="end">${ys.label(tick)}</text>`,
  )}<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" width="100%" height="100%"><polyline class="join" points="${path(line, atX, atY)}"/></svg>${points.map(
    ({ label, at, estimate, series }) => {
      const [low, high] = estimate.interval;
      return html`<g class="s${series % seriesColours}"><line class="whisker" x1="${percent(atX(at))}" x2="${percent(atX(at))}" y1="${percent(atY(low ?? ys.low))}" y2="${percent(atY(high ?? ys.high))}"/><circle class="dot" cx="${percent(atX(at))}" cy="${percent(atY(estimate.value))}" r="5"><title>${label}: ${short(estimate.value)} at ${short(at)}</title></circle><text class="name" x="${percent(atX(at))}" y="${percent(atY(estimate.value))}" dx="${atX(at) > 70 ? -9 : 9}" dy="4" text-anchor="${atX(at) > 70 ? "end" : "start"}">${label}</text></g>`;
    },
  )}</svg>
<svg class="axis" aria-hidden="true">${xs.ticks.map((tick) => html`<text x="${percent(atX(tick))}" y="12" text-anchor="middle">${xs.label(tick)}</text>`)}</svg>
<div class="below"><span>${x}</span></div>${values(
    ["checkpoint", x, "mean", "95% interval"],
    points.map(({ label, at, estimate: { value, interval } }) => [
      label,
      at,
      value,
      formatInterval(interval, "number"),
    ]),
  )}</figure>`;
}

function anchor(at: number): "start" | "middle" | "end" {
  return at < 3 ? "start" : at > 97 ? "end" : "middle";
}

function path(
  points: readonly (readonly [number, number])[],
  x: (v: number) => number,
  y: (v: number) => number,
): string {
  return points.map(([a, b]) => `${Math.round(x(a) * 100) / 10},${Math.round(y(b) * 100) / 10}`).join(" ");
}

/** The smallest and largest of each stretch, so that no spike is lost. */
function thin(points: readonly (readonly [number, number])[]): readonly (readonly [number, number])[] {
  if (points.length <= linePoints) return points;
  const stretch = Math.ceil((2 * points.length) / linePoints);
  const kept: (readonly [number, number])[] = [];
  for (let start = 0; start < points.length; start += stretch) {
    const part = points.slice(start, start + stretch);
    const low = part.reduce((a, b) => (b[1] < a[1] ? b : a));
    const high = part.reduce((a, b) => (b[1] > a[1] ? b : a));
    kept.push(...(low[0] <= high[0] ? [low, high] : [high, low]));
  }
  return kept;
}

/** A centred moving average over a twentieth of the points. */
function smooth(points: readonly (readonly [number, number])[]): [number, number][] {
  const reach = Math.max(1, Math.round(points.length / 40));
  return points.map(([x], i) => {
    const around = points.slice(Math.max(0, i - reach), i + reach + 1);
    return [x, around.reduce((sum, [, y]) => sum + y, 0) / around.length];
  });
}

/** At most `count` items, evenly spread, first and last among them. */
function every<Item>(items: readonly Item[], count: number): Item[] {
  if (items.length <= count) return [...items];
  return Array.from({ length: count }, (_, i) => items[Math.round((i * (items.length - 1)) / (count - 1))]!);
}

/** A number short enough for a tooltip. */
function short(value: number): string {
  return Number(value.toPrecision(4)).toString().replace("-", "−");
}
