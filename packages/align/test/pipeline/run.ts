import { dirname, join } from "node:path";
import { openStore, type StageInfo } from "@tenet/runs";
import type { RunEvent } from "../../src/pipeline/events.ts";
import { openRecipe, type RecipeChanges, type RunOptions, startRun } from "../../src/pipeline/index.ts";

/** How every process of these tests runs a recipe. */
export function runOptions(recipe: string, store: string): RunOptions {
  return { store, device: "cpu", threads: 1, cacheDir: join(dirname(recipe), "cache") };
}

export interface Ran {
  readonly id: string;
  readonly events: readonly RunEvent[];
  /** What it stopped with, where it did. */
  readonly error: unknown;
}

/** Runs a recipe in this process, to its end or to where it stops. */
export async function run(
  recipe: string,
  store: string,
  {
    changes,
    onEvent,
    ...options
  }: Partial<RunOptions> & { changes?: RecipeChanges; onEvent?: (event: RunEvent) => void } = {},
): Promise<Ran> {
  const started = startRun(await openRecipe(recipe, changes), { ...runOptions(recipe, store), ...options });
  const finished = started.finished.then(
    () => undefined,
    (error: unknown) => error,
  );
  const events: RunEvent[] = [];
  for await (const event of started.events) {
    events.push(event);
    onEvent?.(event);
  }
  return { id: started.id, events, error: await finished };
}

/** Runs a recipe to its end, or throws what stopped it. */
export async function runWhole(...args: Parameters<typeof run>): Promise<Ran> {
  const ran = await run(...args);
  if (ran.error !== undefined) throw ran.error;
  return ran;
}

/** Names of the stages by what happened to them. */
export function stagesThat(status: string, events: readonly RunEvent[]): string[] {
  return events.flatMap((event) => (event.type === "stage" && event.status === status ? [event.stage] : []));
}

/** What a run has come to, stage by stage: what is to be equal wherever and however often it was stopped. */
export function results(
  store: string,
  id: string,
): Record<string, Pick<StageInfo, "status" | "identity" | "dataset" | "artifacts">> {
  return reading(store, (reader) =>
    Object.fromEntries(
      reader
        .stages(id)
        .map(({ name, status, identity, dataset, artifacts }) => [
          name,
          { status, identity, ...(dataset && { dataset }), artifacts },
        ]),
    ),
  );
}

/** Calls of models in a run, by stage. */
export function callsOf(store: string, id: string): Record<string, number> {
  const calls: Record<string, number> = {};
  for (const usage of reading(store, (reader) => reader.usage(id)))
    calls[usage.stage] = (calls[usage.stage] ?? 0) + usage.calls;
  return calls;
}

/** What is in a store, read beside whoever writes it. */
export function reading<Result>(folder: string, read: (store: ReturnType<typeof openStore>) => Result): Result {
  const store = openStore(folder, { readOnly: true });
  try {
    return read(store);
  } finally {
    store.close();
  }
}
