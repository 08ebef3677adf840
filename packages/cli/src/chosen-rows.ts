import { inWords, type Message } from "@tenet/data";
import type { StoredRow } from "@tenet/runs";
import { CommandUsageError } from "./errors.ts";

/*
 * Which rows of a stage are printed: those that fit, behind some, or some drawn at random.
 */

export interface RowChoice {
  readonly rows: number;
  readonly skip?: number;
  readonly where?: readonly string[];
  /** So many drawn at random instead, by numbers from 0 to 1 of which each place in the stage has its own. */
  readonly sample?: { readonly count: number; readonly uniform: (place: number) => number };
}

/** Reads no further than it must. Errors: UsageError for a condition that is none. */
export function chosenRows(all: Iterable<StoredRow>, { rows, skip = 0, where = [], sample }: RowChoice): StoredRow[] {
  const conditions = where.map(conditionOf);
  const fits = (row: StoredRow) => conditions.every((holds) => holds(row));
  if (sample) return drawn(all, fits, sample);
  const found: StoredRow[] = [];
  let left = skip;
  if (rows <= 0) return found;
  for (const row of all) {
    if (!fits(row) || left-- > 0) continue;
    found.push(row);
    if (found.length >= rows) break;
  }
  return found;
}

/** Each subset of `count` of those that fit is as likely, in one pass (reservoir sampling); in the order of the stage. */
function drawn(
  all: Iterable<StoredRow>,
  fits: (row: StoredRow) => boolean,
  { count, uniform }: NonNullable<RowChoice["sample"]>,
): StoredRow[] {
  const kept: { place: number; row: StoredRow }[] = [];
  let place = 0;
  for (const row of all) {
    if (!fits(row)) continue;
    if (kept.length < count) kept.push({ place, row });
    else {
      const at = Math.floor(uniform(place) * (place + 1));
      if (at < count) kept[at] = { place, row };
    }
    place++;
  }
  return kept.sort((one, other) => one.place - other.place).map(({ row }) => row);
}

/** Turns of a conversation, as prompts are stored. */
export function isConversation(value: unknown): value is Message[] {
  return Array.isArray(value) && value.length > 0 && value.every((turn) => typeof turn?.content === "string");
}

/**
 * A field by its name, however deep: equal to a value (name=value), or a text that holds another in any case (name~text). A conversation is what is
 * said in it, turn by turn.
 */
function conditionOf(text: string): (row: unknown) => boolean {
  const [, name, how, value] = /^([A-Za-z][\w-]*)([=~])(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined)
    throw new CommandUsageError(`--where ${text}: expected name=value or name~text, such as principle=no-dose`);
  const wanted = value.toLowerCase();
  const says = (found: unknown): boolean => {
    if (isConversation(found)) return inWords(found).some(({ content }) => says(content));
    if (Array.isArray(found)) return found.some(says);
    if (typeof found === "object" && found !== null) return false;
    return how === "=" ? String(found) === value : String(found).toLowerCase().includes(wanted);
  };
  const holds = (part: unknown): boolean => {
    if (Array.isArray(part)) return part.some(holds);
    if (typeof part !== "object" || part === null) return false;
    return Object.entries(part).some(([key, inner]) => (key === name && says(inner)) || holds(inner));
  };
  return holds;
}
