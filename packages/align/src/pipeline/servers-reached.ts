import { addressesOf } from "@tenet/lm";
import type { Store } from "@tenet/runs";
import type { RunEvent } from "./events.ts";
import type { ModelPool } from "./models.ts";
import { inOrder, type Stage } from "./stages/index.ts";

/**
 * Says which servers of a run's lists do not answer, before anything is spent: those of models that stages ask which are not done. Whether they are
 * needed at all is known when they are asked, since what they said may be in the store.
 */
export async function sayDeadServers(
  targets: readonly Stage[],
  context: {
    readonly store: Store;
    readonly run: string;
    readonly models: ModelPool;
    readonly emit: (event: RunEvent) => void;
  },
): Promise<void> {
  const { store, run, models, emit } = context;
  const stages = inOrder(targets);
  for (const stage of stages) {
    const { endpoint } = stage;
    if (endpoint === undefined || addressesOf(endpoint.settings).length === 1) continue;
    if (!stages.some(({ name, inputs }) => inputs.includes(stage) && store.stage(run, name)?.status !== "done"))
      continue;
    const all = await models.reached(endpoint);
    for (const { address, dead } of all)
      if (dead !== undefined)
        emit({ type: "message", level: "warning", message: `${stage.title}: ${address} does not answer: ${dead}` });
  }
}
