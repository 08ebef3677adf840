import type { CorrectionForm, ImportedAnswers, LabelOrder, PeopleAgreement, ReviewSpec } from "@tenet/align";
import { longestName, type Queue, type RunInfo, type Store } from "@tenet/runs";
import { CommandUsageError, EXIT } from "./errors.ts";
import { formatSeconds, shellWord, table } from "./format.ts";
import { commandName, type Io, printJson, say, tell } from "./io.ts";
import { judge } from "./label-keys.ts";
import { expectNew, writeWhole } from "./report.ts";
import { constitutionOf, findRun, type StoreOptions, storeText, withStore } from "./store.ts";

export interface LabelOptions extends StoreOptions {
  who?: string;
  queue?: string;
  order?: LabelOrder;
  size?: number;
  each?: number;
  question?: string;
  export?: string;
  import?: string;
  results?: boolean;
  corrections?: string;
  as?: CorrectionForm;
}

/** `tenet label`: people judge a run's pairs here, or elsewhere by a file; what they said and wrote so far. Resolves to the exit code. */
export async function label(io: Io, id: string, options: LabelOptions): Promise<number> {
  const wanted = (["results", "corrections", "import", "export"] as const).filter((one) => options[one] !== undefined);
  if (wanted.length > 1)
    throw new CommandUsageError(`expected one of ${wanted.map((one) => `--${one}`).join(" and ")}, got both`);
  if (options.as !== undefined && options.corrections === undefined)
    throw new CommandUsageError("--as says what --corrections writes, which is not there");
  return withStore(io, { ...options, write: true }, async (store) => {
    const run = findRun(store, id);
    if (options.results) return showResults(io, store, run, options);
    if (options.corrections !== undefined) return writeCorrections(io, store, run, options.corrections, options);
    const who = personOf(io, options);
    const queue = await queueFor(store, run, who, options);
    const { importSheet, reviewSpecSchema, sheetOf, sheetText, Desk: DeskOf } = await import("@tenet/align");
    const spec = reviewSpecSchema.parse(queue.spec);
    if (options.import !== undefined) {
      const read = await importSheet(store, options.import, { queue: queue.id });
      tellImport(io, store, { read, queue, spec }, options);
      return EXIT.done;
    }
    if (options.export !== undefined) {
      const rows = sheetOf(store, { queue: queue.id, who, question: spec.question });
      expectNew(options.export, "answers");
      await writeWhole(options.export, sheetText(rows, { csv: /\.csv$/i.test(options.export) }));
      if (options.json) printJson(io, { queue: queue.id, who, written: options.export, pairs: rows.length });
      else
        say(
          io,
          `${rows.length} pairs for ${who} in ${options.export}; write ${choicesText} into the column choice, then ${commandName(io)} label ${run.id} --import ${shellWord(options.export)} --queue ${queue.id}${storeText(options)}\n`,
        );
      return EXIT.done;
    }
    if (options.json)
      throw new CommandUsageError("--json needs --results, --import, --export or --corrections: people answer by keys");
    const again = `${commandName(io)} label ${run.id}${storeText(options)}`;
    return judge(io, store, new DeskOf(store), { queue, spec, who, again });
  });
}

const choicesText = '"left much", "left", "tie", "right", "right much", "both bad" or "skip"';

/** Errors: UsageError where nobody says who judges. */
function personOf(io: Io, { who }: LabelOptions): string {
  const name = (who ?? io.env.USER ?? io.env.USERNAME ?? "").trim();
  if (name === "") throw new CommandUsageError("who judges is not known; say it with --who <name>");
  if (name.length > longestName)
    throw new CommandUsageError(`--who: expected a name of at most ${longestName} characters, got ${name.length}`);
  return name;
}

/**
 * The queue that is meant: one that is named; the one that the run waits for; else one of this order that was begun before, or a new one.
 * Errors: UsageError for a run without labelled pairs, and for a queue of another run.
 */
async function queueFor(store: Store, run: RunInfo, who: string, options: LabelOptions): Promise<Queue> {
  const {
    Desk: DeskOf,
    labelStages,
    labelOrders,
    makeQueue,
    orderable,
    ordered,
    reviewSpecSchema,
  } = await import("@tenet/align");
  const desk = new DeskOf(store);
  const specOf = ({ spec }: Queue) => reviewSpecSchema.parse(spec);
  if (options.queue !== undefined) {
    const named = desk.queue(options.queue);
    if (specOf(named).run !== run.id)
      throw new CommandUsageError(`queue ${named.id} is of run ${specOf(named).run}, not of ${run.id}`);
    return named;
  }
  const { order } = options;
  if (order !== undefined && !labelOrders.includes(order))
    throw new CommandUsageError(`--order: expected one of ${labelOrders.join(", ")}, got ${order}`);
  const { size, each = 1 } = options;
  if (size !== undefined && size < 1) throw new CommandUsageError(`--size: expected 1 or more, got ${size}`);
  if (each < 1 || each > 5) throw new CommandUsageError(`--each: expected 1 to 5, got ${each}`);
  const own = store.queues().filter(({ spec }) => reviewSpecSchema.safeParse(spec).data?.run === run.id);
  const waited = own.find(({ id }) => id.startsWith("people-"));
  if (waited && order === undefined) return waited;
  const how = order ?? "uncertain";
  const stage = labelStages(store, run.id).at(-1);
  if (!stage)
    throw new CommandUsageError(
      `run ${run.id} has no labelled pairs yet; a recipe with policy makes some, and one with feedback.label.method: people waits for yours`,
    );
  const begun = own.find((queue) => {
    const spec = specOf(queue);
    return spec.stage === stage.name && spec.how === how && spec.overlap === each && size === undefined;
  });
  if (begun) return begun;
  const found = orderable(store, stage, how === "checks" ? constitutionOf(store, run) : undefined);
  const pairs = ordered(found, how, { name: `${run.id} ${stage.name}`, size: size ?? 30 });
  const made = makeQueue(store, {
    ...{ run, stage: stage.name, pairs, how, who, overlap: each },
    name: `${how} ${stage.name} of ${run.name}`,
    ...(options.question !== undefined && { question: options.question }),
    constitution: constitutionOf(store, run),
  });
  return desk.queue(made.id);
}

function tellImport(
  io: Io,
  store: Store,
  {
    read,
    queue,
    spec,
  }: {
    read: ImportedAnswers;
    queue: Queue;
    spec: ReviewSpec;
  },
  options: LabelOptions,
): void {
  const answered = new Set(store.answers(queue.id).map(({ row }) => row)).size;
  if (options.json)
    return void printJson(io, { queue: queue.id, ...read, answered, items: queue.items, each: spec.overlap });
  const lines: [string, string][] = [
    ["taken", `${read.taken}`],
    ["known already", `${read.known}`],
    ["without a choice", `${read.open}`],
    ["set aside", `${read.aside.length}`],
    ["pairs with an answer", `${answered} of ${queue.items}`],
  ];
  say(io, `${table(lines)}\n`);
  for (const { source, reason } of read.aside.slice(0, 10)) tell(io, `${source}: ${reason}\n`);
  if (read.aside.length > 10) tell(io, `and ${read.aside.length - 10} more\n`);
}

/** What people wrote in place of the run's replies, for a recipe to learn from. */
async function writeCorrections(
  io: Io,
  store: Store,
  run: RunInfo,
  file: string,
  options: LabelOptions,
): Promise<number> {
  const { as = "examples", json } = options;
  const { correctionsOf } = await import("@tenet/align");
  const rows = correctionsOf(store, run.id, { as });
  if (rows.length === 0)
    throw new CommandUsageError(
      `nobody corrected a reply of ${run.id} yet; ${commandName(io)} label ${run.id}${storeText(options)} has a key for it (c), and so has the dashboard`,
    );
  expectNew(file, "corrections");
  await writeWhole(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const reader = { examples: "supervised.written", preferences: "preferenceModel.human" }[as];
  if (json) printJson(io, { run: run.id, as, written: file, corrections: rows.length });
  else
    say(
      io,
      `${rows.length} ${rows.length === 1 ? "correction" : "corrections"} in ${file}; a recipe learns them by ${reader}: { path: ${file} }\n`,
    );
  return EXIT.done;
}

/** How far people agree, over all queues of the run or one of them. */
async function showResults(io: Io, store: Store, run: RunInfo, options: LabelOptions): Promise<number> {
  const { agreementOf, reviewSpecSchema, wordsOf } = await import("@tenet/align");
  const queues = store
    .queues()
    .filter(({ id, spec }) => reviewSpecSchema.safeParse(spec).data?.run === run.id && (options.queue ?? id) === id);
  if (queues.length === 0)
    throw new CommandUsageError(
      `nobody was asked about the pairs of ${run.id} yet; ${commandName(io)} label ${run.id} asks`,
    );
  const found = queues.map(({ id, name, items }) => ({
    queue: id,
    name,
    items,
    ...agreementOf(wordsOf(store.answers(id))),
  }));
  if (options.json) printJson(io, { run: run.id, queues: found });
  else for (const one of found) say(io, `${one.name} (${one.queue})\n${resultsText(one)}\n`);
  return EXIT.done;
}

function resultsText({
  people,
  alpha,
  raw,
  kappa,
  single,
  labels,
  items,
}: PeopleAgreement & { items: number }): string {
  const figure = (one: { value: number; interval: readonly [number, number]; n: number } | undefined) =>
    one === undefined
      ? "unknown"
      : `${one.value.toFixed(3)}${Number.isFinite(one.interval[0]) ? ` [${one.interval[0].toFixed(3)}, ${one.interval[1].toFixed(3)}]` : ""} of ${one.n}`;
  const lines: [string, string][] = [
    ["pairs", `${items}; ${labels} preferences, ${single} pairs judged by one person`],
    ["krippendorff's alpha", figure(alpha)],
    ["all said the same", figure(raw)],
    ...kappa.map(({ a, b, n, kappa: value }): [string, string] => [
      `${a} and ${b}`,
      `kappa ${value === undefined ? "unknown" : value.toFixed(3)} of ${n}`,
    ]),
    ...people.map(({ who, answers, seconds, agreement, leftShare }): [string, string] => [
      who,
      `${answers} answers${seconds === undefined ? "" : `, ${formatSeconds(seconds)} each`}; agrees with others ${figure(agreement)}; chose the left ${figure(leftShare)}`,
    ]),
  ];
  return table(lines);
}
