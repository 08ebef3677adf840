import { createHash } from "node:crypto";
import {
  formatChange,
  formatChangeInterval,
  formatCount,
  formatInterval,
  formatSeconds,
  formatUsd,
  formatValue,
} from "../format.ts";
import type { CardEstimate, LabelHealth, Metric, Scorecard } from "../scorecard.ts";
import { direction } from "../verdict.ts";
import { type Html, html } from "./html.ts";
import { chainSection, sampleSection } from "./passages.ts";
import { barAxis, chart, estimatePlot, intervalBar, reliabilityDiagram, type Scale, scaleOf } from "./plot.ts";
import { styleSheet } from "./style.ts";

/**
 * A scorecard as one HTML page that needs nothing else: no script, no font, no request. Its content security policy forbids all but its
 * own style sheet, and every text in it is escaped: replies of models are hostile until shown otherwise.
 *
 * Equal scorecards give equal bytes.
 */
export function scorecardPage(card: Scorecard): string {
  const sections = [
    { id: "measures", title: "All measures", body: measuresSection(card) },
    { id: "principles", title: "Principle by principle", body: principlesSection(card) },
    { id: "proxy", title: "Proxy against judge", body: trustSection(card) },
    { id: "curves", title: "Training", body: curvesSection(card) },
    { id: "labels", title: "Labels", body: labelsSection(card) },
    { id: "chains", title: "Critique and revision", body: chainsSection(card) },
    { id: "samples", title: "Replies side by side", body: samplesSection(card) },
    { id: "costs", title: "Cost", body: costsSection(card) },
    { id: "provenance", title: "Provenance", body: provenanceSection(card) },
  ].filter(({ body }) => body !== undefined);
  // Template strings would be a second copy of the style sheet's text: what is hashed must be what stands in the page.
  const hash = createHash("sha256").update(styleSheet).digest("base64");
  const policy = `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`;
  const page = html`<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="Tenet">
<title>${card.title} · scorecard</title>
<style></style>
</head>
<body>
<a class="skip" href="#main">Skip to the figures</a>
<header>
<p class="overline"><span>Scorecard</span><span>${card.constitution.name} <span class="hash">${card.constitution.hash.slice(0, 8)}</span></span>${card.created !== undefined && html`<span>${card.created.slice(0, 10)}</span>`}</p>
<h1>${card.title}</h1>
${headline(card)}
<nav aria-label="Sections"><ul>${sections.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`)}</ul></nav>
</header>
<main id="main">
${sections.map(({ id, title, body }) => html`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2>\n${body}</section>\n`)}</main>
${footer(card)}
</body>
</html>
`;
  return `<!doctype html>\n${page.markup.replace("<style></style>", () => `<style>${styleSheet}</style>`)}`;
}

const tones: Record<Scorecard["verdict"]["tone"], { word: string; look: string }> = {
  better: { word: "Better than where it started", look: "good" },
  mixed: { word: "Better, at a price", look: "warn" },
  unclear: { word: "No difference shown", look: "" },
  worse: { word: "Worse than where it started", look: "bad" },
};

function headline(card: Scorecard): Html {
  const [lede, ...rest] = card.verdict.sentences;
  const { word, look } = tones[card.verdict.tone];
  const rows = card.rows.filter(({ metric }) => metric === "violations");
  const [first, last] = [card.checkpoints[0], card.checkpoints.at(-1)];
  return html`<div class="verdict">
<div><p><span class="chip ${look}">${word}</span></p><p class="lede">${lede}</p>${rest.length > 0 && html`<ul>${rest.map((sentence) => html`<li>${sentence}</li>`)}</ul>`}</div>
${
  rows.length > 0 &&
  html`<div class="panel hero"><h3>Replies that break a principle</h3><p>${card.heldOut.prompts} held-out prompts, the same for ${card.checkpoints.length === 1 ? "every checkpoint" : `${first!.label} to ${last!.label}`}; bars are 95% intervals.</p>${bars(
    card,
    rows,
    shareScale(rows),
  )}</div>`
}
</div>`;
}

function shareScale(rows: readonly CardEstimate[]): Scale {
  const top = Math.max(0.05, ...rows.flatMap(({ value, interval: [, high] }) => [value, high ?? 1]));
  return scaleOf([0, Math.min(1, top)]);
}

/** An estimate per checkpoint as bars on one scale. */
function bars(card: Scorecard, rows: readonly (CardEstimate & { checkpoint: string })[], scale: Scale): Html {
  return html`<div class="bars">${card.checkpoints.map(({ id, label }, series) => {
    const row = rows.find(({ checkpoint }) => checkpoint === id);
    if (!row) return undefined;
    const [value, interval] = [formatValue(row.value, "share"), formatInterval(row.interval, "share")];
    const title = `${label}: ${value}, 95% interval ${interval}, of ${row.n} replies`;
    return html`<div class="row"><span class="label key s${series}">${label}</span>${intervalBar(row, { scale, series, title })}<span class="value"><b>${value}</b><small>${interval}</small></span></div>`;
  })}${barAxis(scale, (tick) => formatValue(tick, "share").replace(/^(\d+)\.0%$/, "$1%"))}</div>`;
}

function measuresSection(card: Scorecard): Html {
  const [first] = card.checkpoints;
  const last = card.checkpoints.length > 1 ? card.checkpoints.at(-1) : undefined;
  return html`<p class="intro">Each figure with its 95% interval. The last column is the change from ${first!.label} to ${(last ?? first!).label}, taken prompt by prompt; it is called better or worse only where its interval excludes zero.</p>
<div class="scroll"><table class="stack"><thead><tr><th scope="col">Measure</th>${card.checkpoints.map(({ label }, i) => html`<th scope="col"><span class="key s${i}">${label}</span></th>`)}${last && html`<th scope="col">${last.label} against ${first!.label}</th>`}</tr></thead><tbody>
${card.metrics.map((metric) => {
  const change = card.differences.find(
    (d) => d.metric === metric.name && d.checkpoint === last?.id && d.against === first!.id,
  );
  return html`<tr><th scope="row">${metric.label}${metric.better !== "neither" && html`<small>${metric.better} is better</small>`}</th>${card.checkpoints.map(
    ({ id, label }) => {
      const row = card.rows.find(({ checkpoint, metric: name }) => checkpoint === id && name === metric.name);
      return html`<td data-label="${label}">${row && html`<span>${formatValue(row.value, metric.unit)} ${row.interval[0] !== row.interval[1] && html`<small title="${row.n} observations">${formatInterval(row.interval, metric.unit)}</small>`}</span>`}</td>`;
    },
  )}${last && changeCell(change, metric, `against ${first!.label}`)}</tr>\n`;
})}</tbody></table></div>
<details class="note"><summary>What each measure means</summary><dl class="about">${card.metrics.map(({ label, about }) => html`<dt>${label}</dt><dd>${about}</dd>`)}</dl></details>`;
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
        : good
          ? ["good", "better"]
          : ["bad", "worse"];
  return html`<td class="${look}" data-label="${label}"><span>${formatChange(change.value, metric)} <span class="word">${word}</span> <small>${formatChangeInterval(change.interval, metric)}</small></span></td>`;
}

function principlesSection(card: Scorecard): Html | undefined {
  if (card.principles.length === 0) return undefined;
  const scale = shareScale(card.principles);
  const silent = card.constitution.principles.filter(({ id }) =>
    card.principles.every(({ principle }) => principle !== id),
  );
  const known = new Map(card.constitution.principles.map(({ id, text }) => [id, text]));
  const ids = [
    ...known.keys(),
    ...new Set(card.principles.map(({ principle }) => principle).filter((id) => !known.has(id))),
  ];
  return html`<p class="intro">How often each principle is broken, of the replies to which it applies. With this many intervals, one in twenty misses the truth by chance.</p>
<div class="principles">${ids.map((id) => {
    const rows = card.principles.filter(({ principle }) => principle === id);
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

function trustSection(card: Scorecard): Html | undefined {
  const trust = card.overoptimisation;
  if (!trust) return undefined;
  const [word, look] = {
    together: ["Proxy and judge agree", "good"],
    unconfirmed: ["The judge does not confirm the proxy", "warn"],
    parted: ["Alarm: proxy and judge have parted", "bad"],
  }[trust.trust];
  const plot = (side: "proxy" | "judge", name: string) =>
    estimatePlot({
      title: side === "proxy" ? "What was trained against" : "Independent judge",
      unit: `${name}, mean score`,
      x: "KL per reply, nats",
      points: trust.points.map((point) => {
        const series = card.checkpoints.findIndex(({ id }) => id === point.name);
        return {
          label: card.checkpoints[series]?.label ?? point.name,
          at: point.kl,
          estimate: point[side],
          series: Math.max(0, series),
        };
      }),
    });
  return html`<p class="intro">A policy that is trained against a score learns to raise that score. Whether the replies got better is for a judge to say that training never saw.</p>
<p><span class="chip ${look}">${word}</span></p>
<div class="charts">${plot("proxy", trust.proxyName)}${plot("judge", trust.judgeName)}</div>
<details class="note"><summary>The rule of the alarm</summary><p class="intro">${trust.rule}</p></details>`;
}

function curvesSection(card: Scorecard): Html | undefined {
  if (card.charts.length === 0) return undefined;
  return html`<p class="intro">As the stages reported it. Where there are many values, the strong line is their moving average; among dots, later ones are stronger. Point at a line for its values.</p>
<div class="charts">${card.charts.map(chart)}</div>`;
}

function labelsSection(card: Scorecard): Html | undefined {
  if (card.labelHealth.length === 0) return undefined;
  return html`<p class="intro">What the labeller is worth, on pairs whose answer is known. A labeller that does not clear chance is refused.</p>${card.labelHealth.map((health) => labellerHealth(health))}`;
}

function labellerHealth(health: LabelHealth): Html {
  const { labeller, accuracy, gate, figures, calibration, reliability, principles } = health;
  const scale = scaleOf([0, 1]);
  const bar = (
    label: string,
    estimate: CardEstimate,
    { ideal, reference }: { ideal?: string | undefined; reference?: number } = {},
  ) => {
    const [value, interval] = [formatValue(estimate.value, "share"), formatInterval(estimate.interval, "share")];
    const inRange = estimate.value >= 0 && estimate.value <= 1;
    const title = `${label}: ${value}, 95% interval ${interval}, n = ${estimate.n}${ideal === undefined ? "" : `, ideally ${ideal}`}`;
    return html`<div class="row"><span class="label">${label}</span>${
      inRange
        ? intervalBar(estimate, { scale, series: 2, title, ...(reference === undefined ? {} : { reference }) })
        : html`<span></span>`
    }<span class="value"><b>${inRange ? value : formatValue(estimate.value, "number")}</b><small>${inRange ? interval : formatInterval(estimate.interval, "number")}</small></span></div>`;
  };
  const [word, look] = gate.passed
    ? ["Passed the audit", "good"]
    : gate.overridden
      ? ["Failed the audit; overridden by the recipe", "warn"]
      : ["Refused", "bad"];
  return html`<div class="health"><div><h3>${labeller}</h3><p><span class="chip ${look}">${word}</span></p><p class="intro">${gate.why}</p>
<div class="bars">${accuracy.n > 0 && bar("Accuracy", accuracy, { ideal: "100%", reference: 0.5 })}${figures.map(({ label, estimate, ideal }) => bar(label, estimate, { ideal }))}${principles.map(({ principle, agreement }) => bar(`Agreement: ${principle}`, agreement, { reference: 0.5 }))}${barAxis(scale, (tick) => formatValue(tick, "share"))}</div>
${
  calibration &&
  html`<dl class="facts calibration"><dt>Expected calibration error</dt><dd><b>${formatValue(calibration.ece, "number")}</b> <small>ideally 0</small></dd><dt>Brier score</dt><dd><b>${formatValue(calibration.brier.value, "number")}</b> <small>${formatInterval(calibration.brier.interval, "number")}; ideally 0; always saying ½ gets 0.25</small></dd></dl>`
}</div>
${reliability.length > 0 && reliabilityDiagram(reliability)}</div>`;
}

function chainsSection(card: Scorecard): Html | undefined {
  if (card.chains.length === 0) return undefined;
  return html`<p class="intro">Chains drawn at random, not chosen: <ins>words that came</ins> and <del>words that went</del> in each revision.</p>${card.chains.map((chain, i) => chainSection(chain, i === 0))}`;
}

function samplesSection(card: Scorecard): Html | undefined {
  if (card.samples.length === 0) return undefined;
  return html`<p class="intro">Held-out prompts drawn at random, not chosen, with each checkpoint's first reply. What a check objected to is <mark>marked</mark>.</p>${card.samples.map((sample) => sampleSection(sample, card.checkpoints))}`;
}

function costsSection(card: Scorecard): Html | undefined {
  const { costs, humanLabelUsd } = card;
  if (costs.length === 0) return undefined;
  const total = (field: "promptTokens" | "completionTokens" | "seconds" | "usd") =>
    costs.reduce((sum, cost) => sum + (cost[field] ?? 0), 0);
  const cells = (row: { promptTokens?: number; completionTokens?: number; seconds?: number; usd?: number }) =>
    [
      ["Tokens read", row.promptTokens === undefined ? "" : formatCount(row.promptTokens)],
      ["Tokens written", row.completionTokens === undefined ? "" : formatCount(row.completionTokens)],
      ["Time", row.seconds === undefined ? "" : formatSeconds(row.seconds)],
      ["Price", row.usd === undefined ? "" : formatUsd(row.usd)],
    ].map(([label, text]) => html`<td class="right" data-label="${label}">${text}</td>`);
  const labelling = costs.filter(({ labels }) => labels !== undefined && labels > 0);
  const [low, high] = humanLabelUsd;
  return html`<div class="scroll"><table class="stack"><thead><tr><th scope="col">Stage</th><th scope="col" class="right">Tokens read</th><th scope="col" class="right">Tokens written</th><th scope="col" class="right">Time</th><th scope="col" class="right">Price</th></tr></thead><tbody>${costs.map(
    (cost) =>
      html`<tr><th scope="row">${cost.name}${cost.model !== undefined && html`<small>${cost.model}</small>`}</th>${cells(cost as Parameters<typeof cells>[0])}</tr>`,
  )}<tr><th scope="row"><b>Sum</b></th>${cells({ promptTokens: total("promptTokens"), completionTokens: total("completionTokens"), seconds: total("seconds"), usd: total("usd") })}</tr></tbody></table></div>
${labelling.map(
  ({ name, labels, usd, seconds }) =>
    html`<p class="note intro">${name}: ${formatCount(labels!)} labels${usd !== undefined && html` at ${formatUsd(usd / labels!)} each`}${seconds !== undefined && html`, ${formatSeconds(seconds / labels!)} each`}. A human's label costs ${formatUsd(low)} to ${formatUsd(high)}.</p>`,
)}`;
}

function provenanceSection({ provenance, checkpoints, constitution, heldOut }: Scorecard): Html {
  const { command, seed, hashes, versions, models, notes } = provenance;
  const facts: [string, Html | string][] = [
    ["Constitution", html`${constitution.name} <span class="hash">${constitution.hash}</span>`],
    ...checkpoints.map(({ label, model, adapter }): [string, Html] => [
      label,
      html`${model}${adapter !== undefined && html`, adapter <span class="hash">${adapter}</span>`}`,
    ]),
    ...Object.entries(models).map(([role, model]): [string, string] => [`Role ${role}`, model]),
    [
      "Held out",
      `${heldOut.prompts} prompts, ${heldOut.benign} of them harmless look-alikes, ${formatValue(heldOut.samplesPerPrompt, "number").replace(/\.00$/, "")} replies each, seed ${heldOut.seed}`,
    ],
    ["Seed", String(seed)],
    ...Object.entries(hashes).map(([name, hash]): [string, Html] => [name, html`<span class="hash">${hash}</span>`]),
    [
      "Versions",
      Object.entries(versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(", "),
    ],
  ];
  return html`${command !== undefined && html`<p class="intro">To get the same again:</p><pre>${command}</pre>`}
<dl class="facts">${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
${notes.map((note) => html`<p class="note intro">${note}</p>`)}`;
}

function footer({ heldOut }: Scorecard): Html {
  return html`<footer><p>Intervals hold 95%. Shares: Wilson's, at the effective number of independent replies. Means and changes: bootstrap over prompts (seed ${heldOut.seed}), changes paired by prompt, and for shares with Bonett and Price's adjustment. Elo: Bradley–Terry, ties half a win. The data behind this page is the scorecard's JSON document beside it.</p></footer>`;
}
