import type { Scorecard } from "../scorecard.ts";
import { type Html, html } from "./html.ts";
import { chainSection, sampleSection } from "./passages.ts";

export function chainsSection(card: Scorecard): Html | undefined {
  if (card.chains.length === 0) return undefined;
  return html`<p class="intro">Chains drawn at random, not chosen: <ins>words that came</ins> and <del>words that went</del> in each revision; both texts where little was kept. All others: <code>tenet show latest chains</code>.</p>${card.chains.map((chain, i) => chainSection(chain, i === 0))}`;
}

export function samplesSection(card: Scorecard): Html | undefined {
  if (card.samples.length === 0) return undefined;
  return html`<p class="intro">Held-out prompts drawn at random, not chosen, with each checkpoint's first reply. What a check objected to is <mark>marked</mark>.</p>${card.samples.map((sample) => sampleSection(sample, card.checkpoints))}
${card.replies && allReplies(card, card.replies)}`;
}

function allReplies({ checkpoints }: Scorecard, list: NonNullable<Scorecard["replies"]>): Html {
  const count = list.reduce((sum, { replies }) => sum + replies.length, 0);
  return html`<details class="note all"><summary>All ${count} replies, by their rows</summary>
<p class="intro">Whole, with what they were made from: <code>tenet show latest --row ID</code>.</p>
<div class="scroll"><table class="stack"><thead><tr><th scope="col">Prompt</th>${checkpoints.map(({ label }) => html`<th scope="col">${label}</th>`)}</tr></thead><tbody>${list.map(
    ({ prompt, category, benign, replies }) =>
      html`<tr><th scope="row">${prompt}${(benign || category !== undefined) && html`<small>${benign ? "harmless look-alike" : category}</small>`}</th>${checkpoints.map(
        ({ id, label }) =>
          html`<td data-label="${label}">${replies
            .filter(({ checkpoint }) => checkpoint === id)
            .map(
              ({ row, begins, breaks }) =>
                html`<div class="one"><span class="hash">${row}</span> ${
                  breaks === undefined
                    ? html`<span>no check applies</span>`
                    : breaks.length === 0
                      ? html`<span>no check objects</span>`
                      : html`<span class="bad">breaks ${breaks.join(", ")}</span>`
                }<small dir="auto">${begins}</small></div>`,
            )}</td>`,
      )}</tr>\n`,
  )}</tbody></table></div></details>`;
}
