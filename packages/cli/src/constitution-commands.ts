import type { Command } from "commander";
import { number } from "./arguments.ts";
import type { MakeCommand } from "./commands.ts";
import type { CheckOptions, FromSpecOptions, FromVotesOptions, LintCommandOptions } from "./constitution.ts";
import type { Io } from "./io.ts";

/** The commands about constitutions alone. Each loads what it needs when it is called. */
export function addConstitutionCommands(
  io: Io,
  program: Command,
  command: MakeCommand,
  { setCode }: { setCode: (code: number) => void },
): void {
  const constitution = program
    .command("constitution")
    .description("constitutions: made of what others wrote, and looked over");
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
  command(constitution, "lint", "what a constitution's author probably did not mean; asks no model")
    .argument("<file>", "a constitution")
    .option(
      "--prompts <file>",
      "prompts that it is for: principles that apply to none, prompts that nothing applies to",
    )
    .option("--gate", "end with 3 where something is found")
    .action(async (file: string, options: LintCommandOptions) => {
      const { lint } = await import("./constitution.ts");
      setCode(await lint(io, file, options));
    });
  command(program, "check", "what a constitution's checks say of a reply, or of a file of them; asks no model")
    .argument("<constitution>", "its file")
    .argument("[reply]", "a reply, or a file of prompts with completions; read from standard input without it")
    .option("--prompt <text>", "what the reply answers")
    .option("--category <name>", "of the prompt")
    .option("--allow-modules", "import the modules that checks name: they are programs")
    .option("--gate", "end with 3 where a reply breaks something")
    .action(async (file: string, reply: string | undefined, options: CheckOptions) => {
      const { check } = await import("./constitution.ts");
      setCode(await check(io, file, reply, options));
    });
}
