import { inWords, type Message } from "@tenet/data";
import type { StoredRow } from "@tenet/runs";
import { diffWords } from "diff";
import { printable } from "./format.ts";

/** A critique–revision chain as it is stored. */
interface Chain extends StoredRow {
  readonly prompt: readonly Message[];
  readonly responses: readonly string[];
  readonly rounds: readonly {
    readonly principle: string;
    readonly critique: string;
    readonly revision?: string;
    readonly rejected?: string;
  }[];
}

export function isChain(row: StoredRow): row is Chain {
  const { responses, rounds, prompt } = row as Partial<Chain>;
  return Array.isArray(responses) && Array.isArray(rounds) && Array.isArray(prompt);
}

/** A chain for people: the first response, and per round its principle, its critique, and what the revision took out and put in. */
export function chainText({ id, prompt, responses, rounds }: Chain): string {
  const lines = [id];
  const add = (label: string, text: string) => lines.push(`  ${label}: ${printable(text).replaceAll("\n", "\n    ")}`);
  for (const { role, content } of inWords(prompt)) add(`[${role}]`, content);
  let [current = "", ...accepted] = responses;
  add("first response", current);
  for (const [i, { principle, critique, revision, rejected }] of rounds.entries()) {
    lines.push(`  round ${i + 1}, ${principle}`);
    add("  critique", critique);
    if (revision !== undefined)
      add(rejected === undefined ? "  revision" : "  revision, not taken", changes(current, revision));
    if (rejected !== undefined) {
      add("  rejected", rejected);
      continue;
    }
    const [next, ...later] = accepted;
    if (next !== undefined) [current, accepted] = [next, later];
  }
  return lines.join("\n");
}

const segmenter = new Intl.Segmenter("en", { granularity: "word" });
/** Below this share of what was there a text is another one, and its changes are no help. */
const kept = 1 / 3;

/** What a text became, the words that went as [-…-] and those that came as {+…+}; the text itself where little is left of the other. */
function changes(before: string, after: string): string {
  const parts = diffWords(before, after, { intlSegmenter: segmenter });
  const same = parts.reduce((sum, { added, removed, value }) => sum + (added || removed ? 0 : value.length), 0);
  if (same < kept * before.length) return after;
  return parts.map(({ added, removed, value }) => (removed ? `[-${value}-]` : added ? `{+${value}+}` : value)).join("");
}
