import { diffWordsWithSpace } from "diff";
import type { CardSample, Scorecard } from "../scorecard.ts";
import { type Html, html, type Part } from "./html.ts";

/*
 * Text that people and models wrote: conversations, chains of revisions, replies side by side.
 */

/** Characters of a text that are shown. */
const shown = 6000;
/** Word edits beyond which two texts have so little in common that a diff only confuses, and takes long to find. */
const mostEdits = 1500;

/** Text as it was written, at most 6,000 characters of it. */
export function passage(text: string, render: (text: string) => Part = (whole) => whole): Html {
  if (text.trim() === "") return html`<p class="passage empty">(empty)</p>`;
  const cut = text.length > shown;
  return html`<div class="passage" dir="auto">${render(cut ? text.slice(0, shown) : text)}${cut && html`<span class="cut"> … ${text.length - shown} more characters</span>`}</div>`;
}

/** The words that went and the words that came; the new text alone where the two have little in common. */
function wordDiff(before: string, after: string): Html {
  const changes = diffWordsWithSpace(before.slice(0, shown), after.slice(0, shown), { maxEditLength: mostEdits });
  if (!changes) return passage(after);
  // Neighbouring changes with only a space between them read as one: what went, then what came.
  const parts: { same: string; went: string; came: string }[] = [{ same: "", went: "", came: "" }];
  for (const [i, { value, added, removed }] of changes.entries()) {
    const last = parts.at(-1)!;
    const between = i > 0 && i < changes.length - 1 && value.trim() === "";
    if (added) last.came += value;
    else if (removed) last.went += value;
    else if (between && (last.went || last.came)) {
      last.went += value;
      last.came += value;
    } else parts.push({ same: value, went: "", came: "" });
  }
  return html`<div class="passage diff" dir="auto">${parts.map(
    ({ same, went, came }) =>
      html`${same}${went.trim() !== "" && html`<del>${went.trimEnd()}</del> `}${came !== "" && html`<ins>${came}</ins>`}`,
  )}</div>`;
}

function conversation(prompt: CardSample["prompt"]): Html {
  if (prompt.length === 1) return passage(prompt[0]!.content);
  return html`${prompt.map(({ role, content }) => html`<p class="role">${role}</p>${passage(content)}`)}`;
}

/** One chain: the first response, then each round's principle, critique and what it changed. */
export function chainSection(chain: Scorecard["chains"][number], open: boolean): Html {
  let version = 0;
  const rounds = chain.rounds.map(({ principle, critique, revision, rejected }) => {
    const before = chain.responses[version]!;
    const accepted = rejected === undefined && revision !== undefined && version + 1 < chain.responses.length;
    const result = accepted
      ? wordDiff(before, chain.responses[++version]!)
      : html`<p class="kept">Kept as it was${rejected !== undefined && html`: ${rejected}`}.</p>`;
    return html`<li><p class="principle">${principle}</p><div class="critique"><p class="role">Critique</p>${passage(critique)}</div><div><p class="role">${accepted ? "Revision" : "No revision"}</p>${result}</div></li>`;
  });
  return html`<details class="chain"${open && html` open`}><summary dir="auto">${clip(chain.prompt.at(-1)!.content)}</summary>
${chain.prompt.length > 1 && html`<div>${conversation(chain.prompt)}</div>`}
<div><p class="role">First response</p>${passage(chain.responses[0]!)}</div><ol>${rounds}</ol></details>`;
}

/** One prompt with the reply of every checkpoint, side by side. */
export function sampleSection(
  { prompt, category, benign, responses }: CardSample,
  checkpoints: Scorecard["checkpoints"],
): Html {
  return html`<article class="sample"><header>${conversation(prompt)}<p class="tags">${
    benign
      ? html`<span class="tag">harmless look-alike</span>`
      : category !== undefined && html`<span class="tag">${category}</span>`
  }</p></header><div class="replies">${responses.map((reply) => {
    const place = checkpoints.findIndex(({ id }) => id === reply.checkpoint);
    const broken = reply.verdicts.filter(({ violated }) => violated);
    return html`<section class="reply s${place}${broken.length > 0 && " broken"}"><h4>${checkpoints[place]?.label ?? reply.checkpoint}</h4>${passage(
      reply.response,
      (text) =>
        marked(
          text,
          broken.flatMap(({ why }) => quoted(why)),
        ),
    )}<ul class="verdicts">${broken.map(
      ({ principle, why }) =>
        html`<li class="bad"><b>breaks ${principle}</b>${why !== undefined && html` — ${why}`}</li>`,
    )}${broken.length === 0 && reply.verdicts.length > 0 && html`<li class="good">${reply.verdicts.length === 1 ? "keeps to the one check that applies" : `keeps to all ${reply.verdicts.length} checks that apply`}</li>`}${
      reply.verdicts.length === 0 && html`<li>no check applies</li>`
    }${reply.stance !== "answers" && html`<li>${{ partial: "helps in part", refuses: "refuses", empty: "says nothing" }[reply.stance]}</li>`}${
      reply.finishReason === "length" && html`<li>cut off at the limit of tokens</li>`
    }</ul></section>`;
  })}</div></article>`;
}

/** Words in double quotes, as checks write what they found (JSON strings, an ellipsis where shortened). */
function quoted(why: string | undefined): string[] {
  return [...(why ?? "").matchAll(/"(?:[^"\\]|\\.)*"/g)].flatMap(([literal]) => {
    try {
      const words = String(JSON.parse(literal)).replace(/…$/, "");
      return words === "" ? [] : [words];
    } catch {
      return [];
    }
  });
}

/** The text with the first place of each finding marked; findings that overlap become one. */
function marked(text: string, findings: readonly string[]): Part {
  const spans = findings
    .map((words) => ({ start: text.indexOf(words), end: text.indexOf(words) + words.length }))
    .filter(({ start }) => start >= 0)
    .sort((a, b) => a.start - b.start);
  const parts: Part[] = [];
  let at = 0;
  for (const { start, end } of spans) {
    if (end <= at) continue;
    const from = Math.max(start, at);
    parts.push(text.slice(at, from), html`<mark>${text.slice(from, end)}</mark>`);
    at = end;
  }
  return [...parts, text.slice(at)];
}

function clip(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length > 140 ? `${line.slice(0, 139)}…` : line;
}
