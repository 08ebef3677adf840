import { formatInterval, formatValue } from "../format.ts";
import type { CardEstimate, Checkpoint, Scorecard } from "../scorecard.ts";
import { bars, shareScale } from "./bars.ts";
import { type Html, html } from "./html.ts";
import { conversation, markedReply, objection, rowId } from "./passages.ts";

const tones: Record<Scorecard["verdict"]["tone"], { word: string; look: string }> = {
  better: { word: "Better than where it started", look: "good" },
  mixed: { word: "Better, at a price", look: "warn" },
  unclear: { word: "No difference shown", look: "" },
  worse: { word: "Worse than where it started", look: "bad" },
};

/** The checkpoint that the page speaks of: the one that is recommended, else the last. */
export function subjectOf({ checkpoints, recommended }: Scorecard): Checkpoint {
  return checkpoints.find(({ id }) => id === recommended) ?? checkpoints.at(-1)!;
}

/** What can be said, what the figures are, and what still breaks. */
export function firstScreen(card: Scorecard): Html {
  const [lede, ...rest] = card.verdict.sentences;
  const { word, look } = tones[card.verdict.tone];
  const rows = card.rows.filter(({ metric }) => metric === "violations");
  const [first, last] = [card.checkpoints[0], card.checkpoints.at(-1)];
  return html`<div class="verdict" id="verdict">
<div><p><span class="chip ${look}">${word}</span></p><p class="lede">${lede}</p>${rest.length > 0 && html`<ul>${rest.map((sentence) => html`<li>${sentence}</li>`)}</ul>`}</div>
<div>${
    rows.length > 0 &&
    html`<div class="panel hero"><h2 class="small">Replies that break a principle</h2><p>${card.heldOut.prompts} held-out prompts, the same for ${card.checkpoints.length === 1 ? "every checkpoint" : `${first!.label} to ${last!.label}`}; bars are 95% intervals.</p>${bars(
      card,
      rows,
      shareScale(rows),
    )}${openings(card)}</div>`
  }</div></div>
${stillBreaks(card)}`;
}

/** Sameness beside the rate: a reply that is given to everybody breaks nothing. */
function openings(card: Scorecard): Html | undefined {
  const kinds = card.checkpoints.flatMap(({ id, label }) => {
    const row = card.rows.find(({ checkpoint, metric }) => checkpoint === id && metric === "openings");
    return row ? [{ label, kinds: Math.round(row.value * row.n), n: row.n }] : [];
  });
  if (kinds.length === 0) return undefined;
  return html`<p class="openings">Kinds of openings (first four words): ${kinds.map(({ label, kinds: count, n }, i) => html`${i > 0 && ", "}${label} <b>${count}</b> in ${n} replies`)}.</p>`;
}

interface Break {
  readonly principle: string;
  readonly rate: CardEstimate;
  /** Mean severity of the violations; undefined where the document does not say. */
  readonly severity: number | undefined;
  readonly example: NonNullable<Scorecard["breaks"]>[number] | undefined;
}

/** Principles that a checkpoint breaks, what does most harm first: severity × rate. */
export function breaksOf(card: Scorecard, { id }: Checkpoint): Break[] {
  return card.principles
    .filter(({ checkpoint, value }) => checkpoint === id && value > 0)
    .map(({ principle, value, interval, n }): Break => {
      const example = card.breaks?.find((one) => one.checkpoint === id && one.principle === principle);
      return { principle, rate: { value, interval, n }, severity: example?.severity, example };
    })
    .sort((a, b) => (b.severity ?? 1) * b.rate.value - (a.severity ?? 1) * a.rate.value);
}

/** Principles shown with a reply; the others have a line each. */
const shownBreaks = 3;

function stillBreaks(card: Scorecard): Html | undefined {
  const subject = subjectOf(card);
  if (card.principles.every(({ checkpoint }) => checkpoint !== subject.id)) return undefined;
  const broken = breaksOf(card, subject);
  const texts = new Map(card.constitution.principles.map(({ id, text }) => [id, text]));
  const rate = ({ rate: { value, interval, n }, severity }: Break) =>
    html`<b>${formatValue(value, "share")}</b> <small>${formatInterval(interval, "share")}, of ${n}</small>${severity !== undefined && html`<small>severity ${formatValue(severity, "number")}</small>`}`;
  return html`<section class="breaks" aria-labelledby="breaks-title"><h2 id="breaks-title">What still breaks</h2>${
    broken.length === 0
      ? html`<p class="intro">No check objects to any reply of ${subject.label}. What checks cannot tell is not in this: whether what was asked is answered, and whether it is true.</p>`
      : html`<p class="intro">By ${subject.label}, by how bad and how often; one reply each, drawn by the seed.</p><ol>${broken
          .slice(0, shownBreaks)
          .map(
            (one) =>
              html`<li class="panel"><div class="what"><h3>${one.principle}</h3><p class="rate">${rate(one)}</p></div><p class="principle-text">${texts.get(one.principle)}</p>${
                one.example &&
                html`<div class="asked">${conversation(one.example.prompt)}</div>${markedReply(one.example.response, [one.example.why])}<p class="verdicts bad">${objection(one.example)}</p>${rowId(one.example.row)}`
              }</li>`,
          )}</ol>${
          broken.length > shownBreaks &&
          html`<p class="rest">Less often or less badly: ${broken.slice(shownBreaks).map(({ principle, rate: { value } }, i) => html`${i > 0 && ", "}${principle} ${formatValue(value, "share")}`)}.</p>`
        }`
  }</section>`;
}
