import { foreignText, inWords, type Message, type PairRow, readTable } from "@tenet/data";
import { longestName, type Store } from "@tenet/runs";
import { answerOf, type Choice, choices, drawnSide } from "./answers.ts";

/*
 * A queue for those who label elsewhere: a table with a row for each pair, as one person is to see it, and an empty column for what they
 * choose; and the same table read back.
 */

/** A pair of a queue as a person sees it, and what they said of it where they did. */
export interface SheetRow {
  readonly queue: string;
  readonly row: string;
  readonly who: string;
  readonly question: string;
  readonly prompt: string;
  readonly left: string;
  readonly right: string;
  /** One of `choices`; empty until somebody chose. */
  readonly choice: string;
  readonly seconds: string;
  readonly note: string;
}

const columns = ["queue", "row", "who", "question", "prompt", "left", "right", "choice", "seconds", "note"] as const;

/** The pairs of a queue that a person has not answered, with their sides. */
export function sheetOf(
  store: Store,
  { queue, who, question }: { readonly queue: string; readonly who: string; readonly question: string },
): SheetRow[] {
  const answered = new Set(store.answers(queue).flatMap((answer) => (answer.who === who ? [answer.row] : [])));
  return store.queueItems(queue).flatMap(({ row }) => {
    const pair = answered.has(row) ? undefined : store.row<PairRow>(row);
    if (!pair) return [];
    const left = drawnSide(queue, row, who);
    const shown = { prompt: promptText(pair.prompt), left: pair[left], right: pair[left === "a" ? "b" : "a"] };
    return [{ queue, row, who, question, ...shown, choice: "", seconds: "", note: "" }];
  });
}

/** As a file: CSV (RFC 4180) where the name says so, else JSON Lines. */
export function sheetText(rows: readonly SheetRow[], { csv }: { readonly csv: boolean }): string {
  if (!csv) return rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  const lines = [[...columns], ...rows.map((row) => columns.map((column) => row[column]))];
  return lines.map((line) => `${line.map(csvCell).join(",")}\r\n`).join("");
}

/** A model's words must not become a spreadsheet's formula: a cell that begins like one gets an apostrophe, which reading takes off. */
function csvCell(text: string): string {
  const safe = /^[=+\-@\t\r']/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const uncelled = (text: string) => (/^'[=+\-@\t\r']/.test(text) ? text.slice(1) : text);

/** What became of the rows of a file. */
export interface ImportedAnswers {
  /** Answers that were taken. */
  readonly taken: number;
  /** Rows without a choice. */
  readonly open: number;
  /** Rows that say what is in the store already. */
  readonly known: number;
  /** Rows that say nothing that could be used, each with why. */
  readonly aside: readonly { readonly source: string; readonly reason: string }[];
}

/**
 * Takes what somebody wrote into a file of `sheetText`. Which reply stood left is told by the text that stands there, so that nothing is
 * turned round where a name was changed. A file that is read twice changes nothing the second time.
 *
 * Errors: DatasetError for a file that is missing or is no table at all.
 */
export async function importSheet(
  store: Store,
  path: string,
  { queue }: { readonly queue: string },
): Promise<ImportedAnswers> {
  const items = new Set(store.queueItems(queue).map(({ row }) => row));
  const said = new Map(
    store.answers(queue).map(({ row, who, value }) => [JSON.stringify([row, who]), value.choice as Choice]),
  );
  const counts = { taken: 0, open: 0, known: 0 };
  const aside: { source: string; reason: string }[] = [];
  const seen = new Set<string>();
  for await (const record of recordsOf(path)) {
    const reject = (reason: string) => void aside.push({ source: record.source, reason });
    if ("reason" in record) {
      reject(record.reason);
      continue;
    }
    const { row, who, choice: chosen } = record.cells;
    const note = record.cells.note === "" ? undefined : record.cells.note;
    if (chosen.trim() === "") {
      counts.open++;
      continue;
    }
    const choice = choiceOf(chosen);
    const pair = items.has(row) ? store.row<PairRow>(row) : undefined;
    const left = pair && leftOf(pair, record.cells);
    const key = JSON.stringify([row, who.trim()]);
    const seconds = record.cells.seconds.trim() === "" ? undefined : Number(record.cells.seconds);
    const of = record.cells.queue.trim();
    if (of !== "" && of !== queue) reject(`queue: expected ${queue}, got ${JSON.stringify(of)}: name it with --queue`);
    else if (pair === undefined) reject(`row: expected a pair of queue ${queue}, got ${JSON.stringify(row)}`);
    else if (who.trim() === "") reject("who: expected the name of the person, got nothing");
    else if (who.trim().length > longestName)
      reject(`who: expected a name of at most ${longestName} characters, got ${who.trim().length}`);
    else if (choice === undefined)
      reject(`choice: expected one of ${choices.join(", ")}, got ${JSON.stringify(chosen)}`);
    else if (left === undefined) reject("left, right: expected the two replies of the pair as they were written");
    else if (seconds !== undefined && !(seconds >= 0 && seconds <= 86_400))
      reject(`seconds: expected a number from 0 to 86400, or nothing, got ${JSON.stringify(record.cells.seconds)}`);
    else if (seen.has(key)) reject(`${who} answers the same pair twice in the file: the first answer counts`);
    else {
      seen.add(key);
      if (said.get(key) === choice) {
        counts.known++;
        continue;
      }
      const milliseconds = seconds === undefined ? undefined : seconds * 1000;
      store.addAnswer({ queue, row, who: who.trim(), ...answerOf({ choice, left, milliseconds, note }) });
      counts.taken++;
    }
  }
  return { ...counts, aside };
}

type Cells = Record<(typeof columns)[number], string>;
type Rec = { readonly source: string } & ({ readonly cells: Cells } | { readonly reason: string });

async function* recordsOf(path: string): AsyncGenerator<Rec> {
  for await (const read of readTable(path)) {
    if ("aside" in read) {
      yield { source: read.aside.source, reason: read.aside.reason };
      continue;
    }
    const { source, value } = read.record;
    const cells = Object.fromEntries(
      columns.map((column) => [column, uncelled(textOf((value as Record<string, unknown>)[column]))]),
    ) as Cells;
    yield { source, cells };
  }
}

const textOf = (value: unknown) => (value === undefined || value === null ? "" : foreignText(value));

/** "Left much", "left_much": as people write it. */
function choiceOf(text: string): Choice | undefined {
  const plain = text
    .trim()
    .toLowerCase()
    .replaceAll(/[\s_-]+/g, " ");
  return choices.find((choice) => choice === plain);
}

/** Which reply stands left, by the words that do; spreadsheets change ends of lines. */
function leftOf({ a, b }: PairRow, { left, right }: Cells): "a" | "b" | undefined {
  const same = (one: string, other: string) => plain(one) === plain(other);
  if (same(left, a) && same(right, b)) return "a";
  return same(left, b) && same(right, a) ? "b" : undefined;
}

const plain = (text: string) => text.replaceAll(/\s+/g, " ").trim();

function promptText(prompt: readonly Message[]): string {
  const turns = inWords(prompt);
  const [only] = turns;
  if (turns.length === 1 && only) return only.content;
  return turns.map(({ role, content }) => `[${role}] ${content}`).join("\n");
}
