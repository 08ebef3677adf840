import { formatInterval, formatLabelCounts, formatSeconds, formatValue } from "../format.ts";
import type { CardEstimate, LabelHealth, PeopleCard, Scorecard } from "../scorecard.ts";
import { type Html, html } from "./html.ts";
import { barAxis, chart, estimatePlot, intervalBar, reliabilityDiagram, scaleOf } from "./plot.ts";

/*
 * What training learnt from: labels, the preference model, the reward as it was optimised, and who was asked beside it.
 */

export function trustSection(card: Scorecard): Html | undefined {
  const { overoptimisation: trust, independence } = card;
  if (!trust) {
    if (!independence) return undefined;
    const word = independence.kind === "none" ? "No independent judge" : "Not compared";
    const why =
      independence.kind === "none"
        ? independence.why
        : `${independence.why} A comparison needs scores by both and the distance (evaluate.proxy, evaluate.divergence) of at least two checkpoints.`;
    return html`<p><span class="chip">${word}</span></p><p class="intro">${why} Whether a rising reward made better replies is not known.</p>`;
  }
  const [word, look] = {
    together: independence?.partial ? ["Nothing speaks against the proxy", ""] : ["Proxy and judge agree", "good"],
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
  return html`<p class="intro">A policy that is trained against a score learns to raise that score. Whether the replies got better is for a judge to say that training never saw.${independence && html` ${independence.why}`}</p>
<p><span class="chip ${look}">${word}</span></p>
<div class="charts">${plot("proxy", trust.proxyName)}${plot("judge", trust.judgeName)}</div>
<details class="note"><summary>The rule of the alarm</summary><p class="intro">${trust.rule}</p></details>`;
}

export function curvesSection(card: Scorecard): Html | undefined {
  if (card.charts.length === 0) return undefined;
  return html`<p class="intro">As the stages reported it. Where there are many values, the strong line is their moving average; among dots, later ones are stronger. The values are under each chart.</p>
<div class="charts">${card.charts.map(chart)}</div>`;
}

export function labelsSection(card: Scorecard): Html | undefined {
  const { labelHealth, labelsBy, people, preferenceModel, gates } = card;
  if (labelHealth.length === 0 && !labelsBy && !people && !preferenceModel && gates.length === 0) return undefined;
  return html`${labelsBy && html`<p class="intro">Pairs that were learnt from: ${formatLabelCounts(labelsBy)}.${labelHealth.length === 0 && (labelsBy.ai ?? 0) > 0 && " What the model's labels are worth was not audited."}</p>`}${
    labelHealth.length > 0 &&
    html`<p class="intro">What the labeller is worth, on pairs whose answer is known. A labeller that does not clear chance is refused.</p>${labelHealth.map((health) => labellerHealth(health))}`
  }${people && peopleHealth(people)}${preferenceModel && preferenceModelHealth(preferenceModel)}${
    gates.length > 0 &&
    html`<h3>Gates</h3><ul class="sentences">${gates.map(({ name, passed, overridden, why }) => html`<li>${name}: <b>${passed ? "passed" : overridden ? "did not pass; overridden by the recipe" : "refused"}</b> (${why})</li>`)}</ul>`
  }`;
}

interface BarOptions {
  readonly ideal?: string | undefined;
  readonly reference?: number;
}

/** A share as a bar; a figure that is none as a number. */
function bar(label: string, estimate: CardEstimate, { ideal, reference }: BarOptions = {}): Html {
  const scale = scaleOf([0, 1]);
  const [value, interval] = [formatValue(estimate.value, "share"), formatInterval(estimate.interval, "share")];
  const inRange = estimate.value >= 0 && estimate.value <= 1;
  const title = `${label}: ${value}, 95% interval ${interval}, n = ${estimate.n}${ideal === undefined ? "" : `, ideally ${ideal}`}`;
  return html`<div class="row"><span class="label">${label}</span>${
    inRange
      ? intervalBar(estimate, { scale, series: 2, title, ...(reference === undefined ? {} : { reference }) })
      : html`<span></span>`
  }<span class="value"><b>${inRange ? value : formatValue(estimate.value, "number")}</b><small>${inRange ? interval : formatInterval(estimate.interval, "number")}</small></span></div>`;
}

const barTicks = () => barAxis(scaleOf([0, 1]), (tick) => formatValue(tick, "share"));

/** How far people agree with each other: what can be hoped for of a label at all. */
function peopleHealth({ pairs, judgements, single, alpha, raw, each }: PeopleCard): Html {
  const persons = each.map(({ person, answers, seconds, agreement }) => {
    const took = seconds === undefined ? "" : `, ${formatSeconds(seconds)} each`;
    const label = `Person ${person} with the others (${answers} answers${took})`;
    return agreement ? bar(label, agreement) : html`<div class="row"><span class="label">${label}</span></div>`;
  });
  return html`<div class="health"><div><h3>People</h3><p class="intro">${judgements} judgements of ${pairs} pairs, blind, sides drawn for each person; ${single} of the pairs were judged by one person only and are in no measure of agreement.</p>
<div class="bars">${raw && bar(`All said the same (${raw.n} pairs)`, raw, { ideal: "100%" })}${persons}${barTicks()}</div>
${alpha && html`<dl class="facts calibration"><dt>Krippendorff's α</dt><dd><b>${formatValue(alpha.value, "number")}</b> <small>${formatInterval(alpha.interval, "number")}; 1 where all agree, 0 as by chance</small></dd></dl>`}</div></div>`;
}

function preferenceModelHealth({
  accuracy,
  pairs,
  lengthCorrelation,
  flip,
}: NonNullable<Scorecard["preferenceModel"]>): Html {
  const [low] = accuracy.interval;
  const [word, look] =
    accuracy.n === 0
      ? ["Not tested", ""]
      : low !== null && low > 0.5
        ? ["Better than chance", "good"]
        : ["Not shown to be better than chance", "warn"];
  return html`<div class="health"><div><h3>Preference model</h3><p><span class="chip ${look}">${word}</span></p><p class="intro">Trained on ${pairs} pairs, tested on ${accuracy.n} that it never saw. How often it prefers the reply that the label prefers:</p>
${
  accuracy.n > 0 &&
  html`<div class="bars">${bar(`Held-out pairs (${accuracy.n})`, accuracy, { ideal: "100%", reference: 0.5 })}${
    flip && flip.n > 0 && bar(`Turns with its principles (${flip.n})`, flip, { ideal: "100%" })
  }${barTicks()}</div>`
}${
  lengthCorrelation !== undefined &&
  html`<dl class="facts calibration"><dt>Score against length</dt><dd><b>${formatValue(lengthCorrelation, "number")}</b> <small>correlation; far from 0 it pays for length</small></dd></dl>`
}</div></div>`;
}

function labellerHealth(health: LabelHealth): Html {
  const { labeller, accuracy, gate, figures, calibration, reliability, principles } = health;
  const [word, look] = gate.passed
    ? ["Passed the audit", "good"]
    : gate.overridden
      ? ["Failed the audit; overridden by the recipe", "warn"]
      : ["Refused", "bad"];
  return html`<div class="health"><div><h3>${labeller}</h3><p><span class="chip ${look}">${word}</span></p><p class="intro">${gate.why}</p>
<div class="bars">${accuracy.n > 0 && bar("Accuracy", accuracy, { ideal: "100%", reference: 0.5 })}${figures.map(({ label, estimate, ideal }) => bar(label, estimate, { ideal }))}${principles.map(({ principle, agreement }) => bar(`Agreement: ${principle}`, agreement, { reference: 0.5 }))}${barTicks()}</div>
${
  calibration &&
  html`<dl class="facts calibration"><dt>Expected calibration error</dt><dd><b>${formatValue(calibration.ece, "number")}</b> <small>ideally 0</small></dd><dt>Brier score</dt><dd><b>${formatValue(calibration.brier.value, "number")}</b> <small>${formatInterval(calibration.brier.interval, "number")}; ideally 0; always saying ½ gets 0.25</small></dd></dl>`
}</div>
${reliability.length > 0 && reliabilityDiagram(reliability)}</div>`;
}
