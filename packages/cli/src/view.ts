import { spawn } from "node:child_process";
import { CommandUsageError } from "./errors.ts";
import { commandName, type Io, printJson, say, tell } from "./io.ts";
import { isFolder } from "./report.ts";
import { findRun, type StoreOptions, storeFolder } from "./store.ts";

export interface ViewCommandOptions extends StoreOptions {
  port?: number;
  readOnly?: boolean;
  open?: boolean;
  project?: string;
}

/** `tenet view`: serves a store to browsers on this machine until Ctrl-C. */
export async function view(
  io: Io,
  id: string | undefined,
  options: ViewCommandOptions,
  { version }: { version: string },
): Promise<void> {
  const { port, project, readOnly = false } = options;
  if (project !== undefined && !isFolder(project))
    throw new CommandUsageError(`--project ${project}: expected a folder that is there`);
  const [{ openStore }, { startView }] = await Promise.all([import("@tenet/runs"), import("@tenet/view")]);
  const store = openStore(storeFolder(io, options), { readOnly });
  try {
    const run = id === undefined ? undefined : findRun(store, id).id;
    const served = await startView({
      store,
      version,
      launch: {
        // What this very process was called with, from sources as from an installed package.
        command: [process.execPath, ...process.execArgv, process.argv[1]!],
        ...(project !== undefined && { project }),
      },
      tell: (message) => tell(io, `${message}\n`),
      ...(port !== undefined && { port }),
    });
    const url = `${served.url}/runs${run === undefined ? "" : `/${run}`}`;
    if (options.json) printJson(io, { url, store: store.folder, readOnly });
    else say(io, `${store.folder}\n${url}\n`);
    const own = new URL(served.url).port;
    if (io.env.SSH_CONNECTION && !options.json)
      tell(
        io,
        `from the machine that you sit at: ssh -L ${own}:127.0.0.1:${own} <this machine>, then the same address there\n`,
      );
    if (store.runs().length === 0 && !options.json)
      tell(io, `no runs there yet: ${commandName(io)} init, then ${commandName(io)} run recipe.yaml\n`);
    if (options.open) openBrowser(url);
    await new Promise<void>((resolve) => {
      const stop = io.onInterrupt(() => {
        stop();
        resolve();
      });
    });
    await served.close();
  } finally {
    store.close();
  }
}

/** In the program that the system opens addresses with. Where it has none, the address stands in the terminal. */
function openBrowser(url: string): void {
  const [command, ...args] =
    process.platform === "darwin"
      ? ["open", url]
      : process.platform === "win32"
        ? ["rundll32", "url.dll,FileProtocolHandler", url]
        : ["xdg-open", url];
  spawn(command!, args, { stdio: "ignore", detached: true })
    .on("error", () => {})
    .unref();
}
