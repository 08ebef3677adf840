import type { Command } from "commander";
import { whole } from "./arguments.ts";
import type { MakeCommand } from "./commands.ts";
import type { EngineOptions, EngineUpOptions } from "./engine.ts";
import type { SelfTestOptions } from "./engine-self-test.ts";
import type { Io } from "./io.ts";

/** The commands of engines on a cluster. Each loads what it needs when it is called. */
export function addEngineCommands(
  io: Io,
  program: Command,
  command: MakeCommand,
  { setCode }: { setCode: (code: number) => void },
): void {
  const engine = program.command("engine").description("training engines on a Ray cluster");
  const onCluster = (name: string, description: string) =>
    command(engine, name, description).option(
      "--ray <url>",
      "the cluster's dashboard (default: http://localhost:8265)",
    );
  onCluster("check", "whether a cluster answers and takes our token; --self-test: and computes what this machine does")
    .argument("[recipe]", "a recipe's file with an engine: what it says is used")
    .option("--self-test", "train a small random model by every algorithm there and here, and compare")
    .option("--trainings <names>", "only some of them: sft,ppo")
    .option("--local", "of one process of this machine instead of a cluster")
    .option("--workers <n>", "of the self-test (default: 1)", whole)
    .option("--gpus <n>", "of each worker; 0 tests processors (default: 1, of --local 0)", whole)
    .option("--shard", "cut the base over the workers")
    .option("--port <n>", "where the engine listens on the head (default: 8270)", whole)
    .option("--python <path>", "the workers' Python (default: python)")
    .action(async (recipe: string | undefined, options: SelfTestOptions) => {
      const { checkEngine } = await import("./engine-self-test.ts");
      setCode(await checkEngine(io, recipe, options));
    });
  command(engine, "up", "a Ray cluster of this machine, to try engines on")
    .option("--workers <n>", "nodes of one processor each (default: 2)", whole)
    .option("--port <n>", "of its dashboard (default: 8265)", whole)
    .action(async (options: EngineUpOptions) => {
      const { engineUp } = await import("./engine.ts");
      await engineUp(io, options);
    });
  onCluster("status", "the engines that were started on it").action(async (options: EngineOptions) => {
    const { engineStatus } = await import("./engine.ts");
    await engineStatus(io, options);
  });
  onCluster("logs", "what an engine has said")
    .argument("<run>", "the run that it is for, or its own id")
    .action(async (run: string, options: EngineOptions) => {
      const { engineLogs } = await import("./engine.ts");
      await engineLogs(io, run, options);
    });
  onCluster("stop", "end an engine; its run goes on from the last checkpoint")
    .argument("<run>", "the run that it is for, or its own id")
    .action(async (run: string, options: EngineOptions) => {
      const { stopEngine } = await import("./engine.ts");
      await stopEngine(io, run, options);
    });
}
