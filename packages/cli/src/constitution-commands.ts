import { type Command, Option } from "commander";
import { deviceOption, number, size, whole } from "./arguments.ts";
import type { OpenModel } from "./chat-models.ts";
import type { MakeCommand } from "./commands.ts";
import type { CheckOptions, FromSpecOptions, FromVotesOptions, LintCommandOptions } from "./constitution.ts";
import type { Io } from "./io.ts";
import type { PromptsOptions } from "./prompts.ts";

/** The commands about constitutions alone. Each loads what it needs when it is called. */
export function addConstitutionCommands(
  io: Io,
  program: Command,
  command: MakeCommand,
  { setCode, openModel }: { setCode: (code: number) => void; openModel?: OpenModel | undefined },
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
    .option(
      "--run <id>",
      "principles that pull apart, by the readings of this run's labeller: its id, the beginning of it, or: latest",
    )
    .option("--store <folder>", "the run store (default: TENET_STORE, else runs)")
    .option("--matrix", "how far every two principles agree by these readings")
    .option("--allow-modules", "import the modules that checks name: they are programs")
    .option("--gate", "end with 3 where something is found")
    .action(async (file: string, options: LintCommandOptions) => {
      const { lint } = await import("./constitution.ts");
      setCode(await lint(io, file, options));
    });
  command(program, "prompts", "write prompts for a constitution's principles, to train on and to hold out, by a model")
    .argument("<constitution>", "its file")
    .option(
      "--model <name>",
      "who writes: catalogue name, folder, file, hf:owner/name; with --endpoint the model's name there",
    )
    .option("--endpoint <url>", "an OpenAI-compatible server, e.g. http://localhost:8000/v1")
    .option("--api-key-variable <name>", "environment variable that holds the endpoint's key")
    .option("--out <folder>", "for train.jsonl and held-out.jsonl (default: prompts)")
    .option("--each <count>", "messages in which a principle is at stake (default: 24)", whole)
    .option("--benign <count>", "look-alikes in which it is not (default: 8)", whole)
    .option("--variants <count>", "harder variants of each message (default: 1)", whole)
    .option("--held-out <share>", "of what is written (default: 0.25)", number)
    .option(
      "--beside <file>",
      "prompts that there are already: none may be like one; may be given several times",
      (text, all: string[] = []) => [...all, text],
    )
    .option("--seed <number>", "the same seed and model write the same", whole)
    .option("--allow-modules", "import the modules that checks name: they are programs")
    .addOption(deviceOption())
    .addOption(
      new Option("--weights <format>", "how a local model's matrices are held").choices(["float32", "int8", "int4"]),
    )
    .option("--threads <count>", "processor threads of a local model", whole)
    .option("--memory-budget <size>", "for keys and values of a local model, e.g. 2GB", size)
    .action(async (file: string, options: PromptsOptions) => {
      const { prompts } = await import("./prompts.ts");
      await prompts(io, file, options, openModel);
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
