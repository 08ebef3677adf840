import { type Command, Option } from "commander";
import type { AblateOptions } from "./ablate.ts";
import type { AdviseOptions } from "./advise.ts";
import { deviceOption, port, size, whole, within } from "./arguments.ts";
import type { DiffOptions } from "./diff.ts";
import type { ExportCommandOptions } from "./export.ts";
import type { InitOptions } from "./init.ts";
import type { Io } from "./io.ts";
import type { LabelOptions } from "./label.ts";
import { presets } from "./presets.ts";
import type { RunCommandOptions } from "./run-recipe.ts";
import type { ShowOptions } from "./runs.ts";
import type { ServeCommandOptions } from "./serve.ts";
import type { ServeRewardOptions } from "./serve-reward.ts";
import type { StoreOptions } from "./store.ts";
import type { ValidateOptions } from "./validate.ts";
import type { VerifyOptions } from "./verify.ts";
import type { ViewCommandOptions } from "./view.ts";

/** Makes a command with the options that all share. */
export type MakeCommand = (parent: Command, name: string, description: string) => Command;

/** The commands of recipes and of the runs that they make. Each loads what it needs when it is called. */
export function addRunCommands(
  io: Io,
  program: Command,
  command: MakeCommand,
  { version, setCode }: { version: string; setCode: (code: number) => void },
): void {
  const onStore = (name: string, description: string) =>
    command(program, name, description).option("--store <folder>", "the run store (default: TENET_STORE, else runs)");
  const onRecipe = (made: Command) =>
    made
      .argument("<recipe>", "a recipe's file")
      .option(
        "--limit <count>",
        "rows at most of each file that is learnt from, validated on or held out, and prompts of an iteration",
        whole,
      )
      .option("--seed <number>", "instead of the recipe's", whole)
      .option("--allow-modules", "import the modules that the constitution's checks name: they are programs");
  const onModels = (made: Command) =>
    made
      .addOption(deviceOption())
      .option("--threads <count>", "processor threads of local models", whole)
      .option("--quiet", "show no progress: warnings, errors and the result only")
      .option(
        "--memory-budget <size>",
        "that one piece of work of a local model may take beside its weights, e.g. 2GB",
        size,
      )
      .option("--offline", "use models that are there and fetch none");

  command(program, "init", "write a small project to make your own: constitution, prompts, recipe")
    .argument("[folder]", "a new or empty one (default: the preset's name)")
    .addOption(new Option("--preset <name>", `what to begin with (default: ${presets[0]})`).choices(presets))
    .action(async (folder: string | undefined, options: InitOptions) => {
      const { init } = await import("./init.ts");
      await init(io, folder, options);
    });
  onStore("advise", "which arrangement and switches fit, why, and what they take")
    .argument("[recipe]", "a recipe's file, to be arranged")
    .option("--goal <answer>", "preferences (the constitution is a safeguard), balanced or strict")
    .option("--complexity <answer>", "that is tolerated: low, medium or high")
    .option("--compute <answer>", "that there is: low, medium or high")
    .option(
      "--constitution <answer>",
      "without a recipe: verifiable, mixed or interpreted (all, some, no principles have checks)",
    )
    .option(
      "--labeller <answer>",
      "what an audit said of the model that would label: unknown (default; of a recipe that was run, what its audit says), chance or above",
    )
    .option("--people <answer>", "who can judge pairs: none (default), some (for an audit) or many (for all labels)")
    .option("--write <file>", "a new file beside the recipe, for the recipe that is advised")
    .option("--allow-modules", "import the modules that the constitution's checks name: they are programs")
    .action(async (file: string | undefined, options: AdviseOptions) => {
      const { adviseCommand } = await import("./advise.ts");
      await adviseCommand(io, file, options);
    });
  onRecipe(command(program, "validate", "check a recipe and everything it names, or a constitution alone"))
    .option("--endpoints", "ask every server that the recipe names once for its models, and say which do not answer")
    .action(async (file: string, options: ValidateOptions) => {
      const { validate } = await import("./validate.ts");
      setCode(await validate(io, file, options));
    });
  onModels(onRecipe(onStore("run", "run a recipe, or continue it where it stopped")))
    .option("--dry-run", "print estimates of tokens, time and price; run nothing")
    .option("--defaults", "with --dry-run: print the recipe with all its defaults too")
    .option(
      "--gate",
      "end with 3 where nothing can be recommended over the model, or a principle of evaluate.mustHold is broken",
    )
    .action(async (file: string, options: RunCommandOptions) => {
      const { runRecipe } = await import("./run-recipe.ts");
      await runRecipe(io, file, options, { version });
    });
  const list = (text: string, all: string[] = []) => [...all, ...text.split(",").map((one) => one.trim())];
  onModels(onRecipe(onStore("ablate", "a recipe, and once more without each of some parts: what each of them did")))
    .option(
      "--without <settings>",
      "settings by their paths, e.g. policy.imitate,feedback.weigh; path=value puts a value there",
      list,
    )
    .option("--principles <ids>", "principles to leave out, one at a time; all for each of them", list)
    .action(async (file: string, options: AblateOptions) => {
      const { ablate } = await import("./ablate.ts");
      await ablate(io, file, options, { version });
    });
  onModels(
    onRecipe(onStore("audit", "judge a recipe's labeller on pairs whose answer is known, and nothing else")),
  ).action(async (file: string, options: RunCommandOptions) => {
    const { runRecipe } = await import("./run-recipe.ts");
    await runRecipe(io, file, options, { version, only: ["audit"] });
  });
  onModels(onRecipe(onStore("eval", "the scorecard of a recipe's model, and of adapters on it; trains nothing")))
    .option(
      "--adapter <name=folder>",
      "an adapter in PEFT's format, under the name it has in the scorecard; may be given several times",
      (text, all: string[] = []) => [...all, text],
    )
    .action(async (file: string, options: RunCommandOptions & { adapter?: string[] }) => {
      const { adaptersOf } = await import("./adapters.ts");
      const { runRecipe } = await import("./run-recipe.ts");
      await runRecipe(io, file, options, { version, evaluate: adaptersOf(options.adapter ?? []) });
    });
  onStore("diff", "what differs between two runs, or between two constitutions")
    .argument("<a>", "a run's id, the beginning of it, or: latest; or a constitution's file")
    .argument("<b>", "another")
    .option("--allow-modules", "of constitutions: import the modules that their checks name: they are programs")
    .action(async (a: string, b: string, options: DiffOptions) => {
      const { diff } = await import("./diff.ts");
      await diff(io, a, b, options);
    });
  onStore("label", "judge a run's pairs of replies, blind, by single keys; or by a file, elsewhere")
    .argument("<run>", "its id, the beginning of it, or: latest")
    .option("--who <name>", "who judges (default: the name on this machine)")
    .option("--queue <id>", "a queue that was made before, such as one of the dashboard's")
    .option("--order <name>", "which pairs first: random, uncertain, position, checks, made (default: uncertain)")
    .option("--size <count>", "pairs of a new queue (default: 30)", whole)
    .option("--each <count>", "people that each pair is asked of (default: 1)", whole)
    .option("--question <text>", "what is asked of each pair (default: Which reply is better?)")
    .option("--export <file>", "write the pairs left to you, for another program: .csv, else JSON Lines")
    .option("--import <file>", "take the answers of such a file")
    .option("--results", "how far people agree, and what each said")
    .option("--corrections <file>", "write what people would rather have read, for a recipe to learn from: JSON Lines")
    .addOption(
      new Option("--as <form>", "what --corrections writes (default: examples)").choices(["examples", "preferences"]),
    )
    .action(async (run: string, options: LabelOptions) => {
      const { label } = await import("./label.ts");
      setCode(await label(io, run, options));
    });
  onStore("ls", "the runs of a store").action(async (options: StoreOptions) => {
    const { listRuns } = await import("./runs.ts");
    await listRuns(io, options);
  });
  onStore("show", "a run, one of its stages, or where a row comes from")
    .argument("<run>", "its id, the beginning of it, or: latest")
    .argument("[stage]", "name of one of its stages")
    .option("--rows <count>", "rows of the stage to print (default: 3)", within(0))
    .option("--skip <count>", "rows to leave out first", within(0))
    .option(
      "--where <condition>",
      "rows with a field that is so, wherever it stands in them: principle=no-dose; or that holds a text: response~doctor; may be given several times",
      (text, all: string[] = []) => [...all, text],
    )
    .option("--sample <count>", "rows drawn at random instead, the same with the same --seed", within(1))
    .option("--seed <number>", "of --sample (default: 0)", within(0))
    .option("--row <id>", "a row and every row it was made from, with principle, models and seed")
    .option("--aside", "inputs of the stage that could not be used, and why")
    .action(async (run: string, stage: string | undefined, options: ShowOptions) => {
      const { showRun } = await import("./runs.ts");
      await showRun(io, run, stage, options);
    });
  onStore("watch", "follow a run that another process writes, until it ends")
    .argument("<run>", "its id, the beginning of it, or: latest")
    .action(async (run: string, options: StoreOptions) => {
      const { watch } = await import("./watch.ts");
      setCode(await watch(io, run, options));
    });
  onStore("view", "look at the runs of a store in a browser on this machine, and say what is better")
    .argument("[run]", "the run to open: its id, the beginning of it, or: latest")
    .option("--port <number>", "the first port to try (default: 4747)", port)
    .option("--read-only", "show everything, write nothing and start nothing")
    .option("--project <folder>", "where recipes lie that may be started, beside those of the store's runs")
    .option("--open", "open the browser too")
    .action(async (run: string | undefined, options: ViewCommandOptions) => {
      const { view } = await import("./view.ts");
      await view(io, run, options, { version });
    });
  onStore("report", "print a run's scorecard and write its page again")
    .argument("<run>", "its id, the beginning of it, or: latest")
    .action(async (run: string, options: StoreOptions) => {
      const { report } = await import("./report.ts");
      await report(io, run, options);
    });
  onStore("export", "write what a run made for others to load: adapter, weights, datasets, model card")
    .argument("<run>", "its id, the beginning of it, or: latest")
    .argument("<folder>", "a new or empty one")
    .option(
      "--what <parts>",
      "of adapter, merged, gguf, gguf-adapter, onnx, datasets, evidence, card (default: adapter,datasets,card)",
    )
    .option(
      "--checkpoint <name>",
      "sl, rl, with rounds sl-1, rl-1 …; tenet show lists them (default: the one that the scorecard recommends, else the last)",
    )
    .addOption(
      new Option("--dtype <type>", "of the weights (default: BF16 for merged, F16 for gguf, F32 for onnx)").choices([
        "F32",
        "F16",
        "BF16",
        "Q8_0",
        "Q4_0",
        "Q4_K",
      ]),
    )
    .option("--unverified", "write weights that failed their proof all the same")
    .addOption(
      new Option(
        "--proof-prompts <n>",
        "held-out prompts that are replayed (default: 8; 96 of quantised weights)",
      ).argParser(whole),
    )
    .option("--offline", "use a base model that is there and fetch none")
    .action(async (run: string, folder: string, options: ExportCommandOptions) => {
      const { exportCommand } = await import("./export.ts");
      await exportCommand(io, run, folder, options);
    });
  const onListener = (made: Command) =>
    made
      .option("--host <address>", "default 127.0.0.1; any that others reach needs a token")
      .option("--port <number>", "default 8080; 0: any free one", port)
      .option("--token-variable <name>", "environment variable that holds the token callers have to send");
  const serve = onStore("serve", "a model, or a run's checkpoints, as an OpenAI-compatible server").argument(
    "[model]",
    "catalogue name, folder, file or hf:owner/name",
  );
  onModels(onListener(serve))
    .option("--run <id>", "serve what a run made: its id, the beginning of it, or: latest")
    .option(
      "--adapter <name=folder>",
      "an adapter in PEFT's format, as a model of that name; may be given several times",
      (text, all: string[] = []) => [...all, text],
    )
    .option("--context <count>", "tokens of prompt and reply together, at most (default: the model's)", within(1))
    .addOption(
      new Option("--weights <format>", "how the model's matrices are held").choices(["float32", "int8", "int4"]),
    )
    .action(
      async (model: string | undefined, options: Omit<ServeCommandOptions, "adapter"> & { adapter?: string[] }) => {
        const { adaptersOf } = await import("./adapters.ts");
        const { serveCommand } = await import("./serve.ts");
        const { adapter, ...rest } = options;
        await serveCommand(io, model, { ...rest, ...(adapter && { adapter: adaptersOf(adapter) }) });
      },
    );
  onModels(
    onListener(
      command(
        serve,
        "reward",
        "what a run's responses are worth, for trainings elsewhere: as OpenRLHF and verl call it",
      )
        .argument("<run>", "its id, the beginning of it, or: latest")
        .option("--store <folder>", "the run store (default: TENET_STORE, else runs)")
        .option(
          "--weight <name=number>",
          "instead of the run's: preference or constitution (its checks); may be given several times",
          (text, all: string[] = []) => [...all, text],
        ),
    ),
  ).action(async (run: string, options: ServeRewardOptions) => {
    const { serveRewardCommand } = await import("./serve-reward.ts");
    await serveRewardCommand(io, run, options);
  });
  onStore("rm", "forget a run")
    .argument("<run>", "its id, or the beginning of it")
    .action(async (run: string, options: StoreOptions) => {
      const { removeRun } = await import("./runs.ts");
      await removeRun(io, run, options);
    });
  onStore("verify", "whether everything in a store, or in an evidence pack, is as it was written")
    .argument("[folder]", "an evidence pack that was exported (default: the store)")
    .option("--manifest <sha256>", "of the pack's manifest, as it was told when the pack was written")
    .action(async (folder: string | undefined, options: VerifyOptions) => {
      const { verify } = await import("./verify.ts");
      setCode(await verify(io, folder, options));
    });
  onStore("gc", "free what no run of the store needs")
    .option("--dry-run", "say what would be freed")
    .action(async (options: StoreOptions & { dryRun?: boolean }) => {
      const { collectGarbage } = await import("./runs.ts");
      await collectGarbage(io, options);
    });
}
