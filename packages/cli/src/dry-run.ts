import type { OpenRecipe, RunEstimate, StageEstimate } from "@tenet/align";
import type { Store } from "@tenet/runs";
import { formatBytes, formatCount, formatSeconds, table } from "./format.ts";
import { type Io, printJson, say } from "./io.ts";
import { type StoreOptions, storeFolder, withStore } from "./store.ts";

/** `tenet run --dry-run`: what running a recipe will take, and with `defaults` the recipe with every default. Writes nothing. */
export async function dryRun(
  io: Io,
  open: OpenRecipe,
  options: StoreOptions & { defaults?: boolean; memoryBudget?: number },
): Promise<void> {
  const { estimateRun, resolvedRecipe, shapesHere, unsetKeys, unsetKeyText } = await import("@tenet/align");
  const unset = unsetKeys(open.recipe, io.env);
  const { memoryBudget } = options;
  const shapeOf = shapesHere({ environment: io.env });
  const estimate = await withStoreIfAny(io, options, (store) =>
    estimateRun(open, { shapeOf, memoryBudget, ...(store && { store }) }),
  );
  if (options.json) return printJson(io, { dryRun: true, recipe: open.written, ...estimate, unsetKeys: unset });
  const there = estimate.begun ? "in the store already: a run continues it" : "new";
  const notes = [...estimate.notes, ...unset.map((key) => `${unsetKeyText(key)} here: a run needs it`)];
  say(io, `run ${estimate.run} in ${storeFolder(io, options)} (${there})\n\n${estimateText({ ...estimate, notes })}\n`);
  say(
    io,
    options.defaults ? `\n${resolvedRecipe(open)}\n` : "\nEvery setting with its default: --dry-run --defaults\n",
  );
}

/** Works with the store that is there, or without one where there is none yet. */
export async function withStoreIfAny<Result>(
  io: Io,
  options: StoreOptions,
  work: (store: Store | undefined) => Promise<Result>,
): Promise<Result> {
  try {
    return await withStore(io, options, work);
  } catch (error) {
    if (error instanceof Error && error.name === "NotInStoreError") return work(undefined);
    throw error;
  }
}

function estimateText({ stages, left, notes }: RunEstimate): string {
  const count = (value: number | undefined) => (value ? formatCount(value) : "");
  const dollarsOf = ({ roles }: StageEstimate) => roles.reduce((sum, { dollars = 0 }) => sum + dollars, 0);
  const time = (seconds: number | undefined) =>
    seconds === undefined ? "?" : seconds > 0 ? formatSeconds(seconds) : "";
  const money = (dollars: number | undefined) => (dollars ? `$${dollars.toFixed(4)}` : "");
  const head = ["stage", "rows", "tokens in", "tokens out", "trained on", "memory", "time", "price"];
  const rows = stages.map((stage) => {
    const sum = (of: "promptTokens" | "completionTokens") => stage.roles.reduce((all, role) => all + role[of], 0);
    const done = stage.state === "done";
    return [
      stage.stage,
      stage.rows > 0 ? String(stage.rows) : "",
      count(sum("promptTokens")),
      count(sum("completionTokens")),
      count(stage.trainingTokens),
      stage.memory ? formatBytes(stage.memory.bytes) : "",
      done ? "done already" : time(stage.seconds),
      done ? "" : money(dollarsOf(stage)),
    ];
  });
  const known = left.seconds > 0 ? formatSeconds(left.seconds) : "";
  const whole = left.untimed.length === 0 ? known : known === "" ? "?" : `${known} and more`;
  const total = ["at most", "", ...[left.promptTokens, left.completionTokens, left.trainingTokens].map(count)];
  const memory = left.memory ? formatBytes(left.memory.bytes) : "";
  return [
    table([head, ...rows, [...total, memory, whole, money(left.dollars)]]),
    "",
    ...notes.map((note) => `- ${note}`),
  ].join("\n");
}
