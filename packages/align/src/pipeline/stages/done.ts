import { type StageInfo, type StageWriter, StoreFullError, storeError } from "@tenet/runs";
import type { StoredRows } from "../values.ts";
import type { Described, Row, StageContext } from "./stage.ts";

/** Works on a stage where its result is not in the store, and tells what happens to it. */
export async function onStage(
  context: StageContext,
  { name, title, kind }: Omit<Described, "seed">,
  identity: string,
  work: (stage: StageWriter) => Promise<void>,
): Promise<StageInfo> {
  for (const path of await context.run.removeChanged(identity))
    context.emit({
      type: "message",
      level: "warning",
      message: `${path} was changed since it was made; the stage that made it is done again`,
    });
  const stage = context.run.stage({ name, kind, identity });
  const tell = (status: "started" | "continued" | "reused" | "done" | "failed", info: StageInfo) =>
    context.emit({
      type: "stage",
      stage: name,
      title,
      status,
      rows: info.rows,
      aside: info.aside + asideOf((info.output as { report?: unknown } | null | undefined)?.report).length,
      seconds: info.seconds,
    });
  if (stage.done) {
    tell("reused", stage.info);
    return stage.info;
  }
  const { items, attempts } = stage.info;
  tell(items > 0 || attempts > 1 ? "continued" : "started", stage.info);
  try {
    await work(stage);
  } catch (error) {
    const full = storeError(error, context.store.folder);
    // Training writes into the store's folder by itself. What else goes wrong keeps its own error.
    const fault = full instanceof StoreFullError ? full : error;
    try {
      if (!stage.done && !context.signal?.aborted) stage.fail(fault instanceof Error ? fault.message : String(fault));
      tell("failed", stage.info);
    } catch {
      // A full disk takes no note of it either; what stopped the stage is what is told.
    }
    throw fault;
  }
  tell("done", stage.info);
  return stage.info;
}

/** Rows that a training did not use, as its report has them. */
export function asideOf(report: unknown): readonly { readonly reason: string }[] {
  const { aside } = (report ?? {}) as { aside?: unknown };
  return Array.isArray(aside) ? aside : [];
}

export function storedRows<Out extends Row>({ store }: StageContext, info: StageInfo): StoredRows<Out> {
  const { hash, rows, aside } = info.dataset!;
  return {
    kind: "rows",
    hash,
    count: rows,
    aside,
    reasons: () => store.setAsideReasons(info.identity),
    rows: () => store.rows<Out>(info.identity),
  };
}
