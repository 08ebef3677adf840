import { diffWords } from "diff";
import { type ReactNode, useMemo, useState } from "react";
import type { CheckVerdict, Message } from "../src/api.ts";

/*
 * Text that people and models wrote. It is always text, never markup; marks that would turn its direction, and control characters,
 * are shown as such and not obeyed.
 */

/** Characters that are shown before somebody asks for the rest. */
const shown = 6000;
/** Word edits beyond which a diff takes long to find. */
const mostEdits = 1500;
/** Share of the longer text that has to be kept for a diff to be read; below it both texts are shown. */
const leastKept = 1 / 3;
const segmenter = new Intl.Segmenter("en", { granularity: "word" });

export function harmless(text: string): string {
  return (
    text
      .replaceAll(/\r\n?/g, "\n")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      .replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufffe\uffff]/g, "\ufffd")
  );
}

export function Passage({ text, marks = [] }: { text: string; marks?: readonly string[] }) {
  const [whole, setWhole] = useState(false);
  if (text.trim() === "") return <p className="passage muted">(empty)</p>;
  const clean = harmless(whole ? text : text.slice(0, shown));
  return (
    <div className="passage" dir="auto">
      {marked(clean, marks)}
      {!whole && text.length > shown && (
        <button type="button" className="quiet" onClick={() => setWhole(true)}>
          … {(text.length - shown).toLocaleString("en-US")} more characters
        </button>
      )}
    </div>
  );
}

export function Conversation({ messages }: { messages: readonly Message[] }) {
  if (messages.length === 1) return <Passage text={messages[0]!.content} />;
  return messages.map(({ role, content }, i) => (
    <div key={i}>
      <p className="role">{role}</p>
      <Passage text={content} />
    </div>
  ));
}

/** The words that went and the words that came; both texts where little of them is the same. */
export function WordDiff({ before, after }: { before: string; after: string }) {
  const parts = useMemo(
    () => partsOf(harmless(before.slice(0, shown)), harmless(after.slice(0, shown))),
    [before, after],
  );
  if (!parts)
    return (
      <div className="two">
        <div>
          <p className="role">Before</p>
          <Passage text={before} />
        </div>
        <div>
          <p className="role">After</p>
          <Passage text={after} />
        </div>
      </div>
    );
  return (
    <div className="passage" dir="auto">
      {parts.map(({ value, added, removed }, i) =>
        added ? <ins key={i}>{value}</ins> : removed ? <del key={i}>{value}</del> : value,
      )}
    </div>
  );
}

function partsOf(before: string, after: string) {
  const changes = diffWords(before, after, { intlSegmenter: segmenter, maxEditLength: mostEdits });
  const kept = changes?.reduce((sum, { value, added, removed }) => sum + (added || removed ? 0 : value.length), 0) ?? 0;
  return changes && kept >= leastKept * Math.max(before.length, after.length) ? changes : undefined;
}

/** What a check found, in words of the reply, as it stands in double quotes in its reason. */
export function quoted(why: string): string[] {
  return [...why.matchAll(/"(?:[^"\\]|\\.)*"/g)].flatMap(([literal]) => {
    try {
      const words = String(JSON.parse(literal)).replace(/…$/, "");
      return words === "" ? [] : [words];
    } catch {
      return [];
    }
  });
}

function marked(text: string, findings: readonly string[]): ReactNode[] {
  const spans = findings
    .map((words) => ({ start: text.indexOf(words), end: text.indexOf(words) + words.length }))
    .filter(({ start }) => start >= 0)
    .sort((a, b) => a.start - b.start);
  const parts: ReactNode[] = [];
  let at = 0;
  for (const { start, end } of spans) {
    if (end <= at) continue;
    const from = Math.max(start, at);
    parts.push(text.slice(at, from), <mark key={from}>{text.slice(from, end)}</mark>);
    at = end;
  }
  return [...parts, text.slice(at)];
}

/** Verdicts on a reply in words, and behind each what `after` gives; the pattern that was searched for is for who asks. */
export function Verdicts({
  verdicts,
  after,
}: {
  verdicts: readonly CheckVerdict[] | undefined;
  after?: (principle: string) => ReactNode;
}) {
  if (!verdicts) return <p className="verdicts muted">not judged here: a check of the constitution is a program</p>;
  const broken = verdicts.filter(({ violated }) => violated);
  if (verdicts.length === 0) return <p className="verdicts muted">no check applies</p>;
  if (broken.length === 0)
    return (
      <p className="verdicts muted">
        no check objects, of {verdicts.length} that {verdicts.length === 1 ? "applies" : "apply"}
      </p>
    );
  return (
    <ul className="verdicts">
      {broken.map((verdict) => (
        <li key={`${verdict.principle} ${verdict.check}`}>
          <Objection verdict={verdict} />
          {after?.(verdict.principle)}
        </li>
      ))}
    </ul>
  );
}

export function Objection({
  verdict: { principle, check, why },
}: {
  verdict: { principle: string; check?: string; why?: string };
}) {
  const unnamed = check === undefined ? undefined : /^(\d+) (\w+)$/.exec(check);
  return (
    <>
      <b className="bad">breaks {principle}</b>
      {check !== undefined && (unnamed ? `: its check ${unnamed[1]} (${unnamed[2]})` : `: fails “${check}”`)}
      {why !== undefined &&
        (why.includes("nothing in it matches") ? (
          <details className="why">
            <summary>what was searched for</summary>
            <code>{harmless(why)}</code>
          </details>
        ) : (
          ` — ${harmless(why)}`
        ))}
    </>
  );
}

export const marksOf = (verdicts: readonly CheckVerdict[] | undefined) =>
  (verdicts ?? []).filter(({ violated }) => violated).flatMap(({ why }) => quoted(why));
