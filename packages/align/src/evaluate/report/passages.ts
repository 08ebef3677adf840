import { diffWords } from "diff";
import type { CardSample, Scorecard } from "../scorecard.ts";
import { type Html, html, type Part } from "./html.ts";

/*
 * Text that people and models wrote: conversations, chains of revisions, replies side by side.
 */

/** Characters of a text that are shown. */
const shown = 6000;
/** Word edits beyond which a diff takes long to find. */
const mostEdits = 1500;
/** Share of the longer text that has to be kept for a diff to be read; below it both texts are shown. */
const leastKept = 1 / 3;

/** Words as a reader sees them: an apostrophe ends none. */
const intlSegmenter = new Intl.Segmenter("en", { granularity: "word" });

/** Text as it was written, at most 6,000 characters of it. */
export function passage(text: string, render: (text: string) => Part = (whole) => whole): Html {
  if (text.trim() === "") return html`<p class="passage empty">(empty)</p>`;
  const cut = text.length > shown;
  return html`<div class="passage" dir="auto">${render(cut ? text.slice(0, shown) : text)}${cut && html`<span class="cut"> … ${text.length - shown} more characters</span>`}</div>`;
}

/** The words that went and the words that came; both texts where little of them is the same. */
export function wordDiff(before: string, after: string): Html {
  const [old, now] = [before.slice(0, shown), after.slice(0, shown)];
  const changes = diffWords(old, now, { intlSegmenter, maxEditLength: mostEdits });
  const kept = changes?.reduce((sum, { value, added, removed }) => sum + (added || removed ? 0 : value.length), 0) ?? 0;
  if (!changes || kept < leastKept * Math.max(old.length, now.length))
    return html`<div class="before-after"><div><p class="role">Before</p>${passage(before)}</div><div><p class="role">After</p>${passage(after)}</div></div>`;
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
      html`${same}${went.trim() !== "" && html`<del>${went.trimEnd()}</del>${/^\p{P}/u.test(came) ? "" : " "}`}${came !== "" && html`<ins>${came}</ins>`}`,
  )}</div>`;
}

export function conversation(prompt: CardSample["prompt"]): Html {
  if (prompt.length === 1) return passage(prompt[0]!.content);
  return html`${prompt.map(({ role, content }) => html`<p class="role">${role}</p>${passage(content)}`)}`;
}

/** The id by which a row is found in the store. */
export function rowId(row: string | undefined): Html | undefined {
  return row === undefined ? undefined : html`<p class="row-id">row <span class="hash">${row}</span></p>`;
}

/** One chain: the first response, then each round's principle, critique and what it changed. */
export function chainSection(chain: Scorecard["chains"][number], open: boolean): Html {
  let version = 0;
  const rounds = chain.rounds.map(({ principle, critique, revision, rejected }) => {
    const before = chain.responses[version]!;
    const accepted = rejected === undefined && revision !== undefined && version + 1 < chain.responses.length;
    const refused = !accepted && revision !== undefined && revision.trim() !== "";
    const result = accepted
      ? wordDiff(before, chain.responses[++version]!)
      : html`<p class="kept">Kept as it was${rejected !== undefined && html`: ${rejected}`}.</p>${refused && html`<details><summary>The revision that was not taken</summary>${passage(revision)}</details>`}`;
    return html`<li><p class="principle">${principle}</p><div class="critique"><p class="role">Critique</p>${passage(critique)}</div><div><p class="role">${accepted ? "Revision" : "No revision"}</p>${result}</div></li>`;
  });
  return html`<details class="chain"${open && html` open`}><summary dir="auto">${clip(chain.prompt.at(-1)!.content)}</summary>
${chain.prompt.length > 1 && html`<div>${conversation(chain.prompt)}</div>`}
<div><p class="role">First response</p>${passage(chain.responses[0]!)}</div><ol>${rounds}</ol>${rowId(chain.row)}</details>`;
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
    const silent = reply.verdicts.length > 0 && broken.length === 0;
    return html`<section class="reply s${place}${broken.length > 0 && " broken"}"><h3>${checkpoints[place]?.label ?? reply.checkpoint}</h3>${markedReply(
      reply.response,
      broken.map(({ why }) => why),
    )}<ul class="verdicts">${broken.map((verdict) => html`<li class="bad">${objection(verdict)}</li>`)}${
      silent &&
      html`<li>no check objects, of ${reply.verdicts.length} that ${reply.verdicts.length === 1 ? "applies" : "apply"}</li>`
    }${reply.verdicts.length === 0 && html`<li>no check applies</li>`}${
      reply.stance !== "answers" &&
      html`<li>${{ partial: "helps in part", refuses: "refuses", empty: "says nothing" }[reply.stance]}</li>`
    }${reply.finishReason === "length" && html`<li>cut off at the limit of tokens</li>`}</ul>${rowId(reply.row)}</section>`;
  })}</div></article>`;
}

/** A reply with what checks found in it marked. */
export function markedReply(response: string, whys: readonly (string | undefined)[]): Html {
  return passage(response, (text) => marked(text, whys.flatMap(quoted)));
}

interface Objection {
  readonly principle: string;
  readonly check?: string | undefined;
  readonly why?: string | undefined;
}

/** What a check objects to in words: its name is what a good reply does. What was searched for is for who wants to know. */
export function objection({ principle, check, why }: Objection): Html {
  const pattern = why?.includes("nothing in it matches");
  return html`<b>breaks ${principle}</b>${check !== undefined && html`: ${checkInWords(check)}`}${
    why !== undefined &&
    (pattern
      ? html` <details class="why"><summary>what was searched for</summary><code>${why}</code></details>`
      : html` — ${why}`)
  }`;
}

/** A check's name, or its place and rule where its author gave none ("2 mustNot"). */
function checkInWords(check: string): string {
  const unnamed = /^(\d+) (\w+)$/.exec(check);
  return unnamed ? `its check ${unnamed[1]} (${unnamed[2]})` : `fails “${check}”`;
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
