import { stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import type { AgreementMatrix, CandidateTally, Collective, Constitution, PreferenceRow } from "@tenet/align";
import { CommandUsageError, EXIT } from "./errors.ts";
import { table } from "./format.ts";
import { type Io, printJson, say, tell } from "./io.ts";
import { expectNew, writeWhole } from "./report.ts";
import { constitutionOf, findRun, type StoreOptions, withStore } from "./store.ts";

interface Written {
  json?: boolean;
  /** File to write to; absent: standard output. */
  out?: string;
}

export interface FromVotesOptions extends Written {
  threshold?: number;
  cluster?: boolean;
  name?: string;
  tallies?: string;
}

/** `tenet constitution from-votes`: a Polis export becomes a constitution. */
export async function fromVotes(io: Io, folder: string, options: FromVotesOptions): Promise<void> {
  const { threshold, cluster, name, tallies, out } = options;
  if (threshold !== undefined && !(threshold >= 0 && threshold < 1))
    throw new CommandUsageError(`--threshold: expected a share from 0 to below 1, got ${threshold}`);
  if (out !== undefined) expectNew(out, "principles");
  if (tallies !== undefined) expectNew(tallies, "tallies");
  if (out !== undefined && tallies !== undefined && resolve(out) === resolve(tallies))
    throw new CommandUsageError(`--out and --tallies are both ${out}; expected a file for each`);
  const { collectiveConstitution, constitutionText, readPolis } = await import("@tenet/align");
  const conversation = basename(resolve(folder));
  const read = await readPolis(folder);
  const drawn = collectiveConstitution(read, {
    name: name ?? conversation,
    version: "1",
    conversation,
    cluster,
    ...(threshold === undefined ? {} : { threshold }),
  });
  const text = constitutionText(drawn.document, {
    heading: [
      `Drawn from the votes of ${drawn.counts.voters - drawn.counts.leftOut} people of the Polis conversation ${conversation}.`,
    ],
  });
  if (tallies !== undefined) await writeWhole(tallies, talliesCsv(drawn.tallies));
  if (out !== undefined) await writeWhole(out, text);
  const { counts, merged } = drawn;
  const aside = read.asides.length;
  if (options.json) {
    const facts = { ...counts, setAside: aside, merged, tallies: drawn.tallies };
    return printJson(io, { ...facts, ...(out === undefined ? { constitution: text } : { out }) });
  }
  if (out === undefined) say(io, text);
  tell(io, `${votesText(drawn, aside)}\n`);
}

export interface FromSpecOptions extends Written {
  name?: string;
}

/** `tenet constitution from-spec`: a specification becomes a constitution. */
export async function fromSpec(io: Io, file: string, { name, out, json }: FromSpecOptions): Promise<void> {
  if (out !== undefined) expectNew(out, "principles");
  const { constitutionText, readSpecificationConstitution } = await import("@tenet/align");
  const { document, counts } = await readSpecificationConstitution(file);
  const named = name === undefined ? document : { ...document, name };
  const text = constitutionText(named, { heading: [`Made of ${basename(file)}, SHA-256 ${document.version}…`] });
  if (out !== undefined) await writeWhole(out, text);
  const levels: Record<string, number> = {};
  for (const { authority } of named.principles) if (authority) levels[authority] = (levels[authority] ?? 0) + 1;
  if (json) return printJson(io, { levels, ...counts, ...(out === undefined ? { constitution: text } : { out }) });
  if (out === undefined) say(io, text);
  const listed = Object.entries(levels).map(([level, count]) => `${level} ${count}`);
  const lines: [string, string][] = [
    ["sections", `${counts.sections}, ${counts.context} of them context, without a level`],
    ["principles", `${named.principles.length}: ${listed.join(", ")}`],
    ["examples", `${counts.examples} with ${counts.markedReplies} replies marked good or bad`],
    ["known answers", `${counts.known} examples with a good reply and a bad one`],
    ...Object.entries(counts.asides).map(([reason, count]): [string, string] => ["set aside", `${count}: ${reason}`]),
  ];
  tell(io, `${table(lines)}\n`);
}

export interface LintCommandOptions extends StoreOptions {
  prompts?: string;
  run?: string;
  matrix?: boolean;
  gate?: boolean;
  allowModules?: boolean;
}

/** `tenet constitution lint`. Resolves to the exit code. */
export async function lint(io: Io, file: string, options: LintCommandOptions): Promise<number> {
  const { json, prompts, run, matrix, gate, allowModules } = options;
  if (run === undefined && (matrix || options.store !== undefined))
    throw new CommandUsageError(`${matrix ? "--matrix" : "--store"} belongs to --run`);
  const { collect, lintConstitution, loadConstitution, openDataset, pulledApart } = await import("@tenet/align");
  const constitution = await loadConstitution(file, { allowModules });
  const read = prompts === undefined ? undefined : await collect(await openDataset(prompts, { as: "prompts" }));
  const readings = run === undefined ? undefined : await readingsOf(io, run, constitution, options);
  const findings = [
    ...lintConstitution(constitution, read ? { prompts: read.rows } : {}),
    ...(readings ? pulledApart(readings) : []),
  ];
  const code = gate && findings.length > 0 ? EXIT.refused : EXIT.done;
  if (json) {
    printJson(io, { findings, ...(read && { prompts: read.counts.rows }), ...(readings && { readings }) });
    return code;
  }
  const rows = findings.map(({ kind, principles, checks = [], why }) => {
    return [kind, [...principles, ...checks.map((name) => `"${name}"`)].join(", "), why];
  });
  const many = `${constitution.principles.length} principles${read ? `, ${read.counts.rows} prompts` : ""}`;
  const parts = [
    rows.length > 0 ? table(rows) : `nothing to say of ${many}`,
    ...(readings ? [readingsText(readings)] : []),
    ...(readings && matrix && readings.matrix.length > 0 ? [matrixText(readings)] : []),
  ];
  say(io, `${parts.join("\n\n")}\n`);
  return code;
}

interface Readings extends AgreementMatrix {
  readonly run: string;
  /** From how many pairs on something is said of two principles. */
  readonly enough: number;
}

/** What the labeller of a run read of the same pairs under several principles. Errors: UsageError for a run without labels of one. */
async function readingsOf(io: Io, id: string, constitution: Constitution, options: StoreOptions): Promise<Readings> {
  const { agreementMatrix, enoughReadings } = await import("@tenet/align");
  return withStore(io, options, (store) => {
    const run = findRun(store, id);
    const stages = store.stages(run.id).filter(({ kind }) => kind === "label");
    if (stages.length === 0)
      throw new CommandUsageError(
        `run ${run.id} has no labels by a labeller; expected a run with feedback.label.method choice, cot or judge`,
      );
    function* labels() {
      for (const { identity } of stages) yield* store.rows<PreferenceRow>(identity);
    }
    const asked = constitutionOf(store, run);
    const found = agreementMatrix(labels(), { constitution, ...(asked && { asked }) });
    return { run: run.id, enough: enoughReadings, ...found };
  });
}

function readingsText({ run, pairs, matrix, enough, leftOut }: Readings): string {
  const few = matrix.filter(({ same }) => same.n < enough);
  const most = Math.max(...few.map(({ same }) => same.n));
  return [
    `${run}: ${pairs} pairs labelled under two of these principles or more${pairs > 0 ? "" : "; feedback.label.principles says of how many each pair is asked"}`,
    ...(few.length > 0
      ? [
          `nothing is said of ${few.length} of ${matrix.length} combinations of two: it takes ${enough} pairs on which both prefer a reply, and they have ${most} at most`,
        ]
      : []),
    ...(leftOut.length > 0
      ? [`left out, as the constitution lacks them or asks otherwise: ${leftOut.join(", ")}`]
      : []),
  ].join("\n");
}

function matrixText({ matrix }: Readings): string {
  const rows = matrix.map(({ principles, same: { value, interval, n }, halves, unread }) => {
    const [share, low, high] = [value, ...interval].map((part) => part.toFixed(2));
    return [
      principles.join(", "),
      n === 0 ? "unknown" : `${share} [${low}, ${high}]`,
      `${n}`,
      `${halves}`,
      `${unread}`,
    ];
  });
  return table([["principles", "prefer the same", "of", "at one half", "not read"], ...rows]);
}

export interface CheckOptions {
  json?: boolean;
  prompt?: string;
  category?: string;
  allowModules?: boolean;
  gate?: boolean;
}

/** `tenet check`: a reply, or a file of them, against a constitution's checks. Resolves to the exit code. */
export async function check(io: Io, file: string, reply: string | undefined, options: CheckOptions): Promise<number> {
  const { collect, loadConstitution, openDataset, runChecks, violations } = await import("@tenet/align");
  const constitution = await loadConstitution(file, { allowModules: options.allowModules });
  const { prompt: asked, category } = options;
  const dataset = reply !== undefined && (await isDataset(reply));
  if (dataset && (asked ?? category) !== undefined)
    throw new CommandUsageError(
      `--${asked === undefined ? "category" : "prompt"} is for one reply; a file has its own prompts and categories`,
    );
  const read = dataset ? await collect(await openDataset(reply, { as: "examples" })) : undefined;
  const text = reply ?? (await standardInput(io));
  const looked = read
    ? read.rows.map(({ prompt, completion, category }) => ({ prompt, response: completion, category }))
    : [
        {
          prompt: asked === undefined ? [] : [{ role: "user", content: asked }],
          response: text,
          ...(category && { category }),
        },
      ];
  const found = looked.map((example) => {
    const results = runChecks(constitution, example);
    return { ...example, results, ...violations(results) };
  });
  const broken = found.filter(({ violated }) => violated.length > 0);
  const code = options.gate && broken.length > 0 ? EXIT.refused : EXIT.done;
  if (options.json) {
    const replies = found.map(({ response, applying, violated, worst }) => ({ response, applying, violated, worst }));
    printJson(io, { replies, broken: broken.length, ...(read && { setAside: read.counts.aside }) });
    return code;
  }
  if (read === undefined) {
    const [only] = found;
    const lines = only!.violated.map(({ principle, check: name, severity, why }) => [
      principle,
      name,
      `${severity}`,
      why,
    ]);
    const clean = only!.applying === 0 ? "no check applies" : `it breaks none of ${only!.applying} checks that apply`;
    say(io, lines.length > 0 ? `${table([["principle", "check", "severity", ""], ...lines])}\n` : `${clean}\n`);
    return code;
  }
  const principles = constitution.principles.filter(({ checks }) => checks.length > 0);
  const lines = principles.map(({ id }) => {
    const applying = found.filter(({ results }) =>
      results.some(({ principle, applies }) => principle === id && applies),
    );
    const count = found.filter((one) => one.principles.includes(id)).length;
    return [id, `${count} of ${applying.length}`];
  });
  const aside = read.counts.aside > 0 ? `${read.counts.aside} records could not be used\n` : "";
  say(
    io,
    `${table([["principle", "broken"], ...lines])}\n${broken.length} of ${found.length} replies break something\n${aside}`,
  );
  return code;
}

/** Whether a reply is the name of a file of them. Errors: UsageError for a folder, and for what looks like a file and is none. */
async function isDataset(reply: string): Promise<boolean> {
  const found = await stat(reply).catch(() => undefined);
  if (found?.isFile()) return true;
  const expected = "expected a reply, or a file of replies with their prompts";
  if (found?.isDirectory()) throw new CommandUsageError(`${expected}, got the folder ${reply}`);
  // A name that was mistyped would be judged as the reply, and break nothing.
  if (/^(\.{0,2}[/\\]\S+|\S+\.(jsonl?|ndjson|csv|parquet|txt|gz|ya?ml|md))$/i.test(reply))
    throw new CommandUsageError(`${expected}, got ${JSON.stringify(reply)}: there is no such file`);
  return false;
}

async function standardInput({ stdin }: Io): Promise<string> {
  if (stdin.isTTY) throw new CommandUsageError("expected a reply, a file of them, or a reply on standard input");
  let text = "";
  for await (const chunk of stdin) text += chunk;
  return text.trimEnd();
}

function votesText({ counts, merged, tallies, constitution }: Collective, aside: number): string {
  const groups = Object.keys(tallies[0]?.agreement ?? {});
  const lines: [string, string][] = [
    ["statements", `${counts.statements}, ${counts.rejected} of them turned down by a moderator`],
    ["voters", `${counts.voters}, in groups ${groups.join(", ")}`],
    ...(counts.leftOut > 0
      ? [
          [
            "left out",
            `${counts.leftOut} voters without a group${counts.clustered > 0 ? "" : "; --cluster puts them into one"}`,
          ] as [string, string],
        ]
      : []),
    ...(counts.clustered > 0 ? [["clustered", `${counts.clustered} voters`] as [string, string]] : []),
    ...merged.map(([first, ...rest]): [string, string] => ["merged", `${rest.join(", ")} into ${first}`]),
    ...(aside > 0 ? [["set aside", `${aside} records that could not be read`] as [string, string]] : []),
    ["principles", `${constitution.principles.length}`],
  ];
  return table(lines);
}

/** How every candidate fared, by group. */
function talliesCsv(tallies: readonly CandidateTally[]): string {
  const groups = Object.keys(tallies[0]?.agreement ?? {});
  const heading = ["statement", ...groups.flatMap((group) => [`agreement ${group}`, `votes ${group}`])];
  const rows = tallies.map(({ id, agreement, votes, consensus, weight, enters }) => [
    id,
    ...groups.flatMap((group) => [agreement[group], votes[group]]),
    consensus,
    weight,
    enters,
  ]);
  return `${[[...heading, "consensus", "weight", "enters"], ...rows].map((row) => row.join(",")).join("\n")}\n`;
}
