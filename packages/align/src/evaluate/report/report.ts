import { createHash } from "node:crypto";
import { formatCount, formatSeconds, formatUsd, formatValue } from "../format.ts";
import type { Scorecard } from "../scorecard.ts";
import { baselinesSection, measuresSection, principlesSection } from "./figures.ts";
import { firstScreen } from "./first-screen.ts";
import { type Html, html } from "./html.ts";
import { chainsSection, samplesSection } from "./replies.ts";
import { curvesSection, labelsSection, trustSection } from "./signals.ts";
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
    { id: "baselines", title: "Without training", body: baselinesSection(card) },
    { id: "principles", title: "Principle by principle", body: principlesSection(card) },
    { id: "proxy", title: "Proxy against judge", body: trustSection(card) },
    { id: "curves", title: "Training", body: curvesSection(card) },
    { id: "labels", title: "Labels", body: labelsSection(card) },
    { id: "chains", title: "Critique and revision", body: chainsSection(card) },
    { id: "samples", title: "Replies side by side", body: samplesSection(card) },
    { id: "costs", title: "Cost", body: costsSection(card) },
    { id: "provenance", title: "Provenance", body: provenanceSection(card) },
  ].flatMap(({ body, ...section }) => (body === undefined ? [] : [{ ...section, body }]));
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
${firstScreen(card)}
</header>
<nav aria-label="Sections"><ul><li><a href="#verdict">Verdict</a></li>${sections.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`)}</ul></nav>
<main id="main">
${sections.map(folding)}</main>
${footer(card)}
</body>
</html>
`;
  return `<!doctype html>\n${page.markup.replace("<style></style>", () => `<style>${styleSheet}</style>`)}`;
}

/** A section that a phone shows closed: a box to tick opens it, and so does a link to it. A wide screen shows all. */
function folding({ id, title, body }: { readonly id: string; readonly title: string; readonly body: Html }): Html {
  return html`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2>
<input class="fold" type="checkbox" id="${id}-fold"><label class="fold" for="${id}-fold"><span class="closed">Show</span><span class="opened">Fold</span><span class="of"> ${title}</span></label>
<div class="body">${body}
<p class="back"><a href="#verdict">Back to the verdict</a></p></div></section>\n`;
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
  const { labelling } = card;
  return html`<div class="scroll"><table class="stack"><thead><tr><th scope="col">Stage</th><th scope="col" class="right">Tokens read</th><th scope="col" class="right">Tokens written</th><th scope="col" class="right">Time</th><th scope="col" class="right">Price</th></tr></thead><tbody>${costs.map(
    (cost) =>
      html`<tr><th scope="row">${cost.name}${cost.model !== undefined && html`<small>${cost.model}</small>`}</th>${cells(cost as Parameters<typeof cells>[0])}</tr>`,
  )}<tr><th scope="row"><b>Sum</b></th>${cells({ promptTokens: total("promptTokens"), completionTokens: total("completionTokens"), seconds: total("seconds"), usd: total("usd") })}</tr></tbody></table></div>
${labelling && labellingNote(labelling, humanLabelUsd)}`;
}

/** What a label cost, beside a person's. */
function labellingNote(
  { labels, roles, total, breakEven }: NonNullable<Scorecard["labelling"]>,
  [low, high]: Scorecard["humanLabelUsd"],
): Html {
  const each = roles.map(
    ({ role, tokens, seconds, usd }) =>
      `${role} ${formatCount(Math.round(tokens))} tokens, ${formatSeconds(seconds)}${usd === undefined ? "" : `, ${formatUsd(usd)}`}`,
  );
  const from = (n: number | null) => (n === null ? "never" : `from ${formatCount(n)} labels on`);
  const even =
    breakEven === undefined
      ? "What the machine's cost in dollars is not known: give endpoints a price, and this machine one (evaluate.machineUsdPerHour)."
      : `At ${formatUsd(total.usd!)} each they are cheaper than people's ${from(breakEven.atLow)} where a person asks ${formatUsd(low)}, ${from(breakEven.atHigh)} where one asks ${formatUsd(high)}.`;
  return html`<p class="note intro">${formatCount(labels)} labels were learnt from; each took: ${each.join("; ")}. A person's costs ${formatUsd(low)} to ${formatUsd(high)}. ${even}</p>`;
}

function provenanceSection({ provenance, checkpoints, constitution, heldOut }: Scorecard): Html {
  const { command, seed, hashes, versions, models, notes } = provenance;
  const { samplesPerPrompt: each } = heldOut;
  const facts: [string, Html | string][] = [
    ["Constitution", html`${constitution.name} <span class="hash">${constitution.hash}</span>`],
    ...checkpoints.map(({ label, model, adapter }): [string, Html] => [
      label,
      html`${model}${adapter !== undefined && html`, adapter <span class="hash">${adapter}</span>`}`,
    ]),
    ...Object.entries(models).map(([role, model]): [string, string] => [`Role ${role}`, model]),
    [
      "Held out",
      `${heldOut.prompts} prompts, ${heldOut.benign} of them harmless look-alikes, ${each === undefined ? "" : `${formatValue(each, "number").replace(/\.00$/, "")} replies each, `}seed ${heldOut.seed}`,
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
