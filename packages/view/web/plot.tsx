import { useId, useMemo, useState } from "react";
import { Scroll } from "./parts.tsx";

export interface Series {
  name: string;
  points: readonly (readonly [x: number, y: number | null])[];
}

const [width, height] = [600, 200];
/** Columns that points are gathered in, each drawn from its least to its greatest: a spike is never thinned away. */
const columns = 300;

/**
 * Lines over steps: a picture with a sentence that says it, values under the keys ← → or the pointer, and the same as a table and
 * as CSV. The smooth line is taken of all points before any is left out, so that it does not change with what is drawn.
 */
export function Plot({
  title,
  x,
  series,
  smooth = 0,
  log = false,
}: {
  title: string;
  x: string;
  series: readonly Series[];
  smooth?: number;
  log?: boolean;
}) {
  const [at, setAt] = useState<number>();
  const [table, setTable] = useState(false);
  const id = useId();
  const drawn = useMemo(
    () =>
      series.map(({ name, points }, i) => {
        // Told apart by more than their colour.
        const dashed = i % 2 === 1;
        const known = points.flatMap(([step, y]) => (y === null || (log && y <= 0) ? [] : [[step, y] as const]));
        return { name, dashed, known, smoothed: smooth > 0 ? averaged(known, smooth) : undefined };
      }),
    [series, smooth, log],
  );
  const all = drawn.flatMap(({ known }) => known);
  if (all.length === 0)
    return (
      <figure className="plot">
        <figcaption>{title}</figcaption>
        <p className="muted">nothing yet</p>
      </figure>
    );
  const xs = all.map(([step]) => step);
  const ys = all.map(([, y]) => (log ? Math.log10(y) : y));
  const [left, right] = [least(xs), greatest(xs)];
  const [bottom, top] = padded(least(ys), greatest(ys));
  const px = (step: number) => (right === left ? width / 2 : ((step - left) / (right - left)) * width);
  const py = (y: number) => height - (((log ? Math.log10(y) : y) - bottom) / (top - bottom)) * height;
  const steps = [...new Set(xs)].sort((a, b) => a - b);
  const shown = at === undefined ? undefined : steps[Math.min(at, steps.length - 1)];
  const move = (by: number) => setAt(Math.min(steps.length - 1, Math.max(0, (at ?? steps.length - 1) + by)));
  const sentence = drawn
    .filter(({ known }) => known.length > 0)
    .map(
      ({ name, known }) =>
        `${name}: from ${short(known[0]![1])} at ${x} ${short(known[0]![0])} to ${short(known.at(-1)![1])} at ${short(known.at(-1)![0])}`,
    )
    .join("; ");
  return (
    <figure className="plot">
      <figcaption id={id}>{title}</figcaption>
      {drawn.length > 1 && (
        <ul className="legend">
          {drawn.map(({ name, dashed }, i) => (
            <li key={name} className={`s${(i + 1) % 6}`}>
              <svg viewBox="0 0 26 8" aria-hidden="true">
                <path className={dashed ? "line dashed" : "line"} d="M0 4L26 4" />
              </svg>
              {name}
            </li>
          ))}
        </ul>
      )}
      <div className="plot-area">
        <span className="axis-y top">{short(log ? 10 ** top : top)}</span>
        <span className="axis-y bottom">{short(log ? 10 ** bottom : bottom)}</span>
        <div
          role="slider"
          tabIndex={0}
          aria-labelledby={id}
          aria-valuemin={left}
          aria-valuemax={right}
          aria-valuenow={shown ?? right}
          aria-valuetext={valuesAt(drawn, shown ?? right, x)}
          onKeyDown={(event) => {
            const by = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10 }[event.key];
            if (by === undefined) return;
            event.preventDefault();
            event.stopPropagation();
            move(by);
          }}
          onPointerMove={(event) => {
            const box = event.currentTarget.getBoundingClientRect();
            const wanted = left + ((event.clientX - box.left) / box.width) * (right - left);
            setAt(nearestIndex(steps, wanted));
          }}
          onPointerLeave={() => setAt(undefined)}
        >
          <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={sentence}>
            {drawn.map(({ name, known, smoothed, dashed }, i) => (
              <g key={name} className={`s${(i + 1) % 6}`}>
                <path
                  className={smoothed ? "raw" : dashed ? "line dashed" : "line"}
                  d={pathOf(known, px, py, [left, right])}
                />
                {smoothed && (
                  <path className={dashed ? "line dashed" : "line"} d={pathOf(smoothed, px, py, [left, right])} />
                )}
              </g>
            ))}
            {shown !== undefined && <line className="cross" x1={px(shown)} x2={px(shown)} y1="0" y2={height} />}
          </svg>
        </div>
        <span className="axis-x">
          <span>{short(left)}</span>
          <span>{x}</span>
          <span>{short(right)}</span>
        </span>
      </div>
      <p className="values" aria-live="off">
        {shown === undefined ? sentence : valuesAt(drawn, shown, x)}
      </p>
      <p>
        <button type="button" className="quiet" aria-expanded={table} onClick={() => setTable(!table)}>
          Table<span className="visually-hidden"> of {title}</span>
        </button>{" "}
        <button type="button" className="quiet" onClick={() => void navigator.clipboard.writeText(csvOf(series, x))}>
          Copy as CSV<span className="visually-hidden"> {title}</span>
        </button>
      </p>
      {table && (
        <Scroll label={`${title}, as a table`}>
          <table>
            <thead>
              <tr>
                <th scope="col">{x}</th>
                {series.map(({ name }) => (
                  <th key={name} scope="col">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {steps.map((step) => (
                <tr key={step}>
                  <th scope="row">{short(step)}</th>
                  {series.map(({ name, points }) => (
                    <td key={name}>{cell(points, step)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
    </figure>
  );
}

/** Exponential moving average, corrected for its beginning at nothing: of all points. */
export function averaged(points: readonly (readonly [number, number])[], weight: number): [number, number][] {
  let sum = 0;
  let norm = 0;
  return points.map(([x, y]) => {
    sum = weight * sum + (1 - weight) * y;
    norm = weight * norm + (1 - weight);
    return [x, sum / norm];
  });
}

/** A line through the points; where they are many, through the least and the greatest of each column. */
export function pathOf(
  points: readonly (readonly [number, number])[],
  px: (x: number) => number,
  py: (y: number) => number,
  [left, right]: readonly [number, number],
): string {
  const kept = points.length <= 2 * columns ? points : thinned(points, left, right);
  return kept.map(([x, y], i) => `${i === 0 ? "M" : "L"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`).join("");
}

function thinned(points: readonly (readonly [number, number])[], left: number, right: number) {
  const kept: (readonly [number, number])[] = [];
  let column = Number.NaN;
  let [low, high]: (readonly [number, number])[] = [];
  const flush = () => {
    if (low && high) kept.push(...(low[0] <= high[0] ? [low, high] : [high, low]));
  };
  for (const point of points) {
    const own = Math.floor(((point[0] - left) / (right - left || 1)) * columns);
    if (own !== column) {
      flush();
      column = own;
      low = point;
      high = point;
    }
    if (!low || point[1] < low[1]) low = point;
    if (!high || point[1] > high[1]) high = point;
  }
  flush();
  return kept;
}

const least = (values: readonly number[]) => values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
const greatest = (values: readonly number[]) => values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);

function padded(low: number, high: number): [number, number] {
  const room = high === low ? Math.abs(high) * 0.1 || 1 : (high - low) * 0.06;
  return [low - room, high + room];
}

function short(x: number): string {
  return String(Number(x.toPrecision(4))).replace("-", "−");
}

function cell(points: Series["points"], step: number): string {
  const found = points.find(([x]) => x === step);
  return found ? (found[1] === null ? "not a number" : short(found[1])) : "";
}

function valuesAt(
  drawn: readonly { name: string; known: readonly (readonly [number, number])[] }[],
  step: number,
  x: string,
): string {
  const said = drawn.flatMap(({ name, known }) => {
    const found = known.find(([own]) => own === step);
    return found ? [`${name} ${short(found[1])}`] : [];
  });
  return `${x} ${short(step)}: ${said.join(", ") || "no value"}`;
}

function nearestIndex(steps: readonly number[], wanted: number): number {
  let best = 0;
  for (const [i, step] of steps.entries()) if (Math.abs(step - wanted) < Math.abs(steps[best]! - wanted)) best = i;
  return best;
}

function csvOf(series: readonly Series[], x: string): string {
  const steps = [...new Set(series.flatMap(({ points }) => points.map(([step]) => step)))].sort((a, b) => a - b);
  const lines = steps.map((step) =>
    [step, ...series.map(({ points }) => points.find(([own]) => own === step)?.[1] ?? "")].join(","),
  );
  return [[x, ...series.map(({ name }) => JSON.stringify(name))].join(","), ...lines].join("\n");
}
