import type { Command } from "commander";
import { whole } from "./arguments.ts";
import type { MakeCommand } from "./commands.ts";
import type { EngineOptions, EngineUpOptions } from "./engine.ts";
import type { Io } from "./io.ts";

/** The commands of engines on a cluster. Each loads what it needs when it is called. */
export function addEngineCommands(io: Io, program: Command, command: MakeCommand): void {
  const engine = program.command("engine").description("training engines on a Ray cluster");
  const onCluster = (name: string, description: string) =>
    command(engine, name, description).option(
      "--ray <url>",
      "the cluster's dashboard (default: http://localhost:8265)",
    );
  onCluster("check", "whether a cluster answers and takes our token").action(async (options: EngineOptions) => {
    const { checkEngine } = await import("./engine.ts");
    await checkEngine(io, options);
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
