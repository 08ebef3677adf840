import { formatChange, formatChangeInterval, formatInterval, formatValue } from "../format.ts";
import type { CardEstimate, Metric, Scorecard } from "../scorecard.ts";
import { direction } from "../verdict.ts";
import { bars, shareScale } from "./bars.ts";
import { type Html, html } from "./html.ts";
import { passage } from "./passages.ts";

/*
 * Measures of checkpoints, what the same prompts give without training, and principles one by one.
 */

export function measuresSection(card: Scorecard): Html {
  const [first] = card.checkpoints;
  const last = card.checkpoints.length > 1 ? card.checkpoints.at(-1) : undefined;
  return html`<p class="intro">Each figure with its 95% interval. The last column is the change from ${first!.label} to ${(last ?? first!).label}, taken prompt by prompt; it is called better or worse only where its interval excludes zero.</p>
<div class="scroll"><table class="stack"><thead><tr><th scope="col">Measure</th>${card.checkpoints.map(({ label }, i) => html`<th scope="col"><span class="key s${i}">${label}</span></th>`)}${last && html`<th scope="col">${last.label} against ${first!.label}</th>`}</tr></thead><tbody>
${card.metrics.map((metric) => {
  const change = card.differences.find(
    (d) => d.metric === metric.name && d.checkpoint === last?.id && d.against === first!.id,
  );
  return html`<tr><th scope="row">${metric.label}${metric.better !== "neither" && html`<small>${metric.better} is better</small>`}${metric.madeByLimit && html`<small>made by the recipe's limit of tokens</small>`}</th>${card.checkpoints.map(
    ({ id, label }) =>
      html`<td data-label="${label}">${estimate(
        card.rows.find(({ checkpoint, metric: name }) => checkpoint === id && name === metric.name),
        metric,
      )}</td>`,
  )}${last && changeCell(change, metric, `against ${first!.label}`)}</tr>\n`;
})}</tbody></table></div>
<details class="note"><summary>What each measure means</summary><dl class="about">${card.metrics.map(({ label, about }) => html`<dt>${label}</dt><dd>${about}</dd>`)}</dl></details>`;
}

function estimate(row: CardEstimate | undefined, { unit }: Metric): Html | undefined {
  if (!row) return undefined;
  const interval = row.interval[0] !== row.interval[1] && formatInterval(row.interval, unit);
  return html`<span>${formatValue(row.value, unit)} ${interval && html`<small title="${row.n} observations">${interval}</small>`}</span>`;
}

function changeCell(change: CardEstimate | undefined, metric: Metric, label: string): Html {
  if (!change) return html`<td data-label="${label}"></td>`;
  const way = direction(change);
  const good = way === (metric.better === "lower" ? "fell" : "rose");
  const [look, word] =
    metric.better === "neither"
      ? ["", ""]
      : way === "unclear"
        ? ["", "not shown"]
        : metric.madeByLimit
          ? ["", "the limit's"]
          : good
            ? ["good", "better"]
            : ["bad", "worse"];
  return html`<td class="${look}" data-label="${label}"><span>${formatChange(change.value, metric)} <span class="word">${word}</span> <small>${formatChangeInterval(change.interval, metric)}</small></span></td>`;
}

/** Measures that baselines are looked at by, where they have them. */
const baselineMeasures = [
  "violations",
  "over-refusal",
  "evasive",
  "openings",
  "self-overlap",
  "words",
  "proxy",
  "judge",
];

export function baselinesSection(card: Scorecard): Html | undefined {
  const { baselines } = card;
  if (!baselines) return undefined;
  const { models, sentences } = baselines;
  const measured = new Set(
    card.rows.filter(({ checkpoint }) => models.some(({ id }) => id === checkpoint)).map(({ metric }) => metric),
  );
  const metrics = card.metrics.filter(({ name }) => baselineMeasures.includes(name) && measured.has(name));
  const trained = card.checkpoints.slice(1);
  const label = (id: string) => models.find((model) => model.id === id)!.label;
  return html`<p class="intro">The same held-out prompts, seeds and sampling, with nothing trained: what training is worth is the difference to these.</p>
${sentences.length > 0 && html`<ul class="sentences">${sentences.map((sentence) => html`<li>${sentence}</li>`)}</ul>`}
<div class="scroll"><table class="stack"><thead><tr><th scope="col">Measure</th>${models.map((model) => html`<th scope="col">${model.label}</th>`)}</tr></thead><tbody>${metrics.map(
    (metric) =>
      html`<tr><th scope="row">${metric.label}</th>${models.map(
        ({ id }) =>
          html`<td data-label="${label(id)}">${estimate(
            card.rows.find(({ checkpoint, metric: name }) => checkpoint === id && name === metric.name),
            metric,
          )}</td>`,
      )}</tr>`,
  )}${trained.map((checkpoint) => {
    const metric = card.metrics.find(({ name }) => name === "violations");
    return (
      metric &&
      html`<tr><th scope="row">Violations of ${checkpoint.label} against it</th>${models.map(({ id }) =>
        changeCell(
          card.differences.find((d) => d.metric === "violations" && d.checkpoint === checkpoint.id && d.against === id),
          metric,
          label(id),
        ),
      )}</tr>`
    );
  })}</tbody></table></div>
<dl class="about note">${models.map(({ label: name, about, reply }) => html`<dt>${name}</dt><dd>${about}${reply !== undefined && passage(reply)}</dd>`)}</dl>`;
}

export function principlesSection(card: Scorecard): Html | undefined {
  const named = new Set(card.checkpoints.map(({ id }) => id));
  const measured = card.principles.filter(({ checkpoint }) => named.has(checkpoint));
  if (measured.length === 0) return undefined;
  const scale = shareScale(measured);
  const silent = card.constitution.principles.filter(({ id }) => measured.every(({ principle }) => principle !== id));
  const known = new Map(card.constitution.principles.map(({ id, text }) => [id, text]));
  const ids = [...known.keys(), ...new Set(measured.map(({ principle }) => principle).filter((id) => !known.has(id)))];
  return html`<p class="intro">How often each principle is broken, of the replies to which it applies. With this many intervals, one in twenty misses the truth by chance.</p>
<div class="principles">${ids.map((id) => {
    const rows = measured.filter(({ principle }) => principle === id);
    return rows.length > 0 && html`<div><h3>${id}</h3><p>${known.get(id)}</p>${bars(card, rows, scale)}</div>`;
  })}</div>
${silent.length > 0 && html`<p class="note intro">Not measured, since no check or critic judged them: ${silent.map(({ id }) => id).join(", ")}.</p>`}
${card.categories.length > 0 && html`<details class="note"><summary>By category of prompt</summary>${categoryTable(card)}</details>`}`;
}

function categoryTable(card: Scorecard): Html {
  const categories = [...new Set(card.categories.map(({ category }) => category))];
  return html`<div class="scroll"><table class="stack"><thead><tr><th scope="col">Category</th>${card.checkpoints.map(({ label }) => html`<th scope="col">${label}</th>`)}</tr></thead><tbody>${categories.map(
    (category) =>
      html`<tr><th scope="row">${category}</th>${card.checkpoints.map(({ id, label }) => {
        const row = card.categories.find((r) => r.category === category && r.checkpoint === id);
        return html`<td data-label="${label}">${row && html`<span>${formatValue(row.value, "share")} <small>${formatInterval(row.interval, "share")}, n = ${row.n}</small></span>`}</td>`;
      })}</tr>`,
  )}</tbody></table></div>`;
}
