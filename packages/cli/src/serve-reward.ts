import { CommandUsageError } from "./errors.ts";
import { type Io, tell } from "./io.ts";
import { downloadProgress } from "./progress.ts";
import { type ListenOptions, localOptions, type ServeCommandOptions, serveUntilStopped } from "./serve.ts";
import { findRun, withStore } from "./store.ts";

export interface ServeRewardOptions
  extends ListenOptions,
    Pick<ServeCommandOptions, "store" | "device" | "threads" | "memoryBudget" | "offline"> {
  /** `name=number` each. */
  weight?: readonly string[];
}

/** `tenet serve reward`: what a run's responses are worth, for trainings elsewhere, until it is interrupted. */
export async function serveRewardCommand(io: Io, name: string, options: ServeRewardOptions): Promise<void> {
  const { openRunReward } = await import("@tenet/align");
  const { serveReward } = await import("@tenet/train");
  const terms = Object.fromEntries((options.weight ?? []).map(weightOf));
  const progress = downloadProgress(io);
  await serveUntilStopped(io, options, async (signal) => {
    const opened = await withStore(io, options, (store) =>
      openRunReward(store, findRun(store, name).id, {
        ...{ ...localOptions(options), terms, signal, environment: io.env, onProgress: progress.show },
      }),
    ).finally(() => progress.end());
    for (const warning of opened.warnings) tell(io, `warning: ${warning}\n`);
    const { reward, text, about, close } = opened;
    const { run, weights } = about as { run: string; weights: Readonly<Record<string, number>> };
    const weighed = Object.entries(weights).map(([term, weight]) => `${weight} × ${term}`);
    return {
      listen: (callers) => serveReward({ reward, text, about, bodyBytes: 32 << 20, ...callers }),
      told: (url) => ({ json: { url, ...about }, text: `${url}/get_reward serves ${run}: ${weighed.join(" + ")}` }),
      close,
    };
  });
}

/** Errors: CommandUsageError where it is no name and a number. */
function weightOf(text: string): [string, number] {
  const [name, number, more] = text.split("=");
  const weight = Number(number);
  if (!name || !number || more !== undefined || !(weight >= 0))
    throw new CommandUsageError(
      `--weight: expected a name and a number of at least 0, such as constitution=0.5, got ${text}`,
    );
  return [name, weight];
}
