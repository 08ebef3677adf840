import type { Command } from "commander";
import { number } from "./arguments.ts";
import type { MakeCommand } from "./commands.ts";
import type { FromSpecOptions, FromVotesOptions } from "./constitution.ts";
import type { Io } from "./io.ts";

/** The commands that make constitutions. Each loads what it needs when it is called. */
export function addConstitutionCommands(io: Io, program: Command, command: MakeCommand): void {
  const constitution = program.command("constitution").description("constitutions made of what others wrote");
  command(
    constitution,
    "from-votes",
    "draw a constitution from what many people agree on: the folder of a Polis export",
  )
    .argument("<folder>", "with comments.csv and participants-votes.csv")
    .option("--threshold <share>", "of agreement that each group has to reach (default: 0.5)", number)
    .option("--cluster", "put voters whom Polis gave no group into one; without it their votes are left out")
    .option("--name <name>", "of the constitution (default: the folder's name)")
    .option("--out <file>", "write it here instead of printing it")
    .option("--tallies <file>", "write how every statement fared, as CSV")
    .action(async (folder: string, options: FromVotesOptions) => {
      const { fromVotes } = await import("./constitution.ts");
      await fromVotes(io, folder, options);
    });
  command(
    constitution,
    "from-spec",
    "make a constitution of a specification: sections with ids and levels of authority",
  )
    .argument("<file>", "Markdown with headings such as ## Be kind {#be_kind authority=user}")
    .option("--name <name>", "of the constitution (default: the document's title)")
    .option("--out <file>", "write it here instead of printing it")
    .action(async (file: string, options: FromSpecOptions) => {
      const { fromSpec } = await import("./constitution.ts");
      await fromSpec(io, file, options);
    });
}
