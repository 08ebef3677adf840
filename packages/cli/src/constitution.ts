import { basename, resolve } from "node:path";
import type { CandidateTally, Collective } from "@tenet/align";
import { CommandUsageError } from "./errors.ts";
import { table } from "./format.ts";
import { type Io, printJson, say, tell } from "./io.ts";
import { writeWhole } from "./report.ts";

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
  const { threshold, cluster, name, tallies } = options;
  if (threshold !== undefined && !(threshold >= 0 && threshold < 1))
    throw new CommandUsageError(`--threshold: expected a share from 0 to below 1, got ${threshold}`);
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
  if (options.out !== undefined) await writeWhole(options.out, text);
  const { counts, merged } = drawn;
  const aside = read.asides.length;
  if (options.json) {
    const facts = { ...counts, setAside: aside, merged, tallies: drawn.tallies };
    return printJson(io, { ...facts, ...(options.out === undefined ? { constitution: text } : { out: options.out }) });
  }
  if (options.out === undefined) say(io, text);
  tell(io, `${votesText(drawn, aside)}\n`);
}

export interface FromSpecOptions extends Written {
  name?: string;
}

/** `tenet constitution from-spec`: a specification becomes a constitution. */
export async function fromSpec(io: Io, file: string, { name, out, json }: FromSpecOptions): Promise<void> {
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
