import { formatChange, formatChangeInterval, formatInterval, formatValue, harmless } from "./format.ts";
import type { CardEstimate, Metric, Scorecard } from "./scorecard.ts";
import { direction } from "./verdict.ts";

/**
 * A scorecard for the terminal: plain text, no line longer than `width` columns unless a single word is, nothing told by colour alone.
 * Where the columns do not fit, the checkpoints' intervals are left out; where that does not help, each measure becomes a short list. Control characters in names and texts are
 * shown as U+FFFD: they could command the terminal.
 *
 * @param options.width columns, at least 20; default 80
 */
export function scorecardTable(card: Scorecard, { width = 80 }: { width?: number } = {}): string {
  const columns = Math.max(20, width);
  const parts = [
    clean(card.title),
    "",
    ...card.verdict.sentences.flatMap((sentence) => wrap(clean(sentence), columns)),
    "",
    ...grid([measureRows(card, estimateText), measureRows(card, valueText)], columns),
    "",
    ...(card.baselines
      ? [
          ...grid([baselineRows(card, estimateText), baselineRows(card, valueText)], columns),
          "",
          ...card.baselines.sentences.flatMap((sentence) => wrap(clean(sentence), columns)),
          "",
        ]
      : []),
    ...(card.principles.length > 0
      ? [...grid([principleRows(card, estimateText), principleRows(card, valueText)], columns), ""]
      : []),
    ...(card.labelHealth.length > 0
      ? [...grid([labelRows(card, estimateText), labelRows(card, valueText)], columns), ""]
      : []),
    ...wrap("Intervals hold 95%. A change is called better or worse only where its interval excludes zero.", columns),
  ];
  return `${parts.map((line) => line.trimEnd()).join("\n")}\n`;
}

type Show = (estimate: CardEstimate, unit: Metric["unit"]) => string;

function measureRows(card: Scorecard, show: Show): string[][] {
  const [first, last] = [card.checkpoints[0]!, card.checkpoints.at(-1)!];
  const compared = card.checkpoints.length > 1;
  const head = [
    "",
    ...card.checkpoints.map(({ label }) => label),
    ...(compared ? [`${last.label} against ${first.label}`] : []),
  ];
  return [
    head,
    ...card.metrics.map((metric) => {
      const change = card.differences.find(
        (d) => d.metric === metric.name && d.checkpoint === last.id && d.against === first.id,
      );
      return [
        metric.label,
        ...card.checkpoints.map(({ id }) => {
          const row = card.rows.find(({ checkpoint, metric: name }) => checkpoint === id && name === metric.name);
          return row ? show(row, metric.unit) : "";
        }),
        ...(compared ? [change ? changeText(change, metric) : ""] : []),
      ];
    }),
  ];
}

/** What the same prompts give without training; of the measures, those that tell a formula from an answer. */
function baselineRows(card: Scorecard, show: Show): string[][] {
  const { models } = card.baselines!;
  const of = (id: string, name: string) =>
    card.rows.find(({ checkpoint, metric }) => checkpoint === id && metric === name);
  const metrics = card.metrics.filter(
    ({ name }) =>
      ["violations", "over-refusal", "self-overlap", "openings", "judge"].includes(name) &&
      models.some(({ id }) => of(id, name)),
  );
  return [
    ["Without training", ...models.map(({ label }) => label)],
    ...metrics.map(({ name, label, unit }) => [
      label,
      ...models.map(({ id }) => {
        const row = of(id, name);
        return row ? show(row, unit) : "";
      }),
    ]),
  ];
}

function principleRows(card: Scorecard, show: Show): string[][] {
  const ids = [...new Set(card.principles.map(({ principle }) => principle))];
  return [
    ["Broken principles", ...card.checkpoints.map(({ label }) => label)],
    ...ids.map((id) => [
      id,
      ...card.checkpoints.map((checkpoint) => {
        const row = card.principles.find((r) => r.principle === id && r.checkpoint === checkpoint.id);
        return row ? show(row, "share") : "";
      }),
    ]),
  ];
}

function labelRows({ labelHealth }: Scorecard, show: Show): string[][] {
  return [
    ["Labels by", "Audit", "Accuracy", "Calibration error", "Brier score"],
    ...labelHealth.map(({ labeller, gate, accuracy, calibration }) => [
      labeller,
      gate.passed ? "passed" : gate.overridden ? "overridden" : "refused",
      accuracy.n > 0 ? show(accuracy, "share") : "",
      calibration ? formatValue(calibration.ece, "number") : "",
      calibration ? show(calibration.brier, "number") : "",
    ]),
  ];
}

function estimateText({ value, interval }: CardEstimate, unit: Metric["unit"]): string {
  const shown = formatValue(value, unit);
  return interval[0] === interval[1] && interval[0] !== null ? shown : `${shown} (${formatInterval(interval, unit)})`;
}

function valueText({ value }: CardEstimate, unit: Metric["unit"]): string {
  return formatValue(value, unit);
}

function changeText(change: CardEstimate, metric: Metric): string {
  const way = direction(change);
  const good = way === (metric.better === "lower" ? "fell" : "rose");
  const judged = metric.madeByLimit ? " the limit's" : good ? " better" : " worse";
  const word = metric.better === "neither" ? "" : way === "unclear" ? " not shown" : judged;
  const value = formatChange(change.value, metric).replace(/ points?$/, "");
  return `${value} (${formatChangeInterval(change.interval, metric)})${word}`;
}

/** The first of several renderings whose columns fit (first row: headings); the first as one short list per row where none does. */
function grid(renderings: string[][][], width: number): string[] {
  const cleaned = renderings.map((rows) => rows.map((row) => row.map(clean)));
  for (const rows of cleaned) {
    const [head, ...body] = rows;
    const widths = head!.map((_, column) => Math.max(...rows.map((row) => displayWidth(row[column] ?? ""))));
    if (widths.reduce((sum, own) => sum + own + 2, -2) > width) continue;
    const line = (row: string[]) => row.map((cell, column) => pad(cell, widths[column]!)).join("  ");
    return [line(head!), widths.map((own) => "─".repeat(own)).join("  "), ...body.map(line)];
  }
  const [head, ...body] = cleaned[0]!;
  const names = Math.max(...head!.map(displayWidth));
  return body.flatMap(([name, ...values]) => [
    ...wrap(name!, width),
    ...values.flatMap((value, i) => {
      if (value === "") return [];
      const label = head![i + 1]!;
      return names + 4 + displayWidth(value) <= width
        ? [`  ${pad(label, names)}  ${value}`]
        : [...wrap(label, width - 2), ...wrap(value, width - 4).map((line) => `  ${line}`)].map((line) => `  ${line}`);
    }),
  ]);
}

function clean(text: string): string {
  return harmless(text).replaceAll(/[\t\n]+/g, " ");
}

function wrap(text: string, width: number): string[] {
  const lines = [""];
  for (const word of text.split(/ +/)) {
    const line = lines.at(-1)!;
    const joined = line === "" ? word : `${line} ${word}`;
    if (line !== "" && displayWidth(joined) > width) lines.push(word);
    else lines[lines.length - 1] = joined;
  }
  return lines;
}

function pad(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - displayWidth(text)));
}

/** Columns that a terminal gives a text: two for East Asian wide characters and emoji, none for combining marks. */
function displayWidth(text: string): number {
  let width = 0;
  for (const character of text)
    width += /[\p{Mn}\p{Me}\p{Cf}]/u.test(character)
      ? 0
      : /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u.test(
            character,
          )
        ? 2
        : 1;
  return width;
}
