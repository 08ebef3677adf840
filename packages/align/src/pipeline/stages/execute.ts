import type { Value } from "../values.ts";
import { GateError } from "./report.ts";
import type { Stage, StageContext } from "./stage.ts";

/** Counts towards the budgets of endpoints what earlier processes of the run have spent there. */
export function chargeEarlier(
  targets: readonly Stage[],
  { store, run, models }: Pick<StageContext, "store" | "run" | "models">,
): void {
  const usage = store.usage(run.id);
  for (const { name, asks = {} } of inOrder(targets))
    for (const [role, { endpoint }] of Object.entries(asks))
      for (const spent of endpoint ? usage.filter((one) => one.stage === name && one.role === role) : [])
        models.charge(endpoint!, spent);
}

/**
 * Checks the stages that the targets need, then executes them, each once and after its inputs, in the order in which the targets name
 * them; not those whose value is known. Returns the values by stage.
 *
 * Errors: those of the stages; TypeError when two stages have one name.
 */
export async function execute(
  targets: readonly Stage[],
  context: Omit<StageContext, "value">,
  known: ReadonlyMap<Stage, Value> = new Map(),
): Promise<ReadonlyMap<Stage, Value>> {
  const values = new Map(known);
  const value = <V extends Value>(stage: Stage<V>): V => {
    const found = values.get(stage);
    if (!found) throw new TypeError(`stage "${stage.name}" is no input of the stage that asks for it`);
    return found as V;
  };
  const order = inOrder(targets).filter((stage) => !values.has(stage));
  for (const stage of order) await stage.check?.(context);
  for (const stage of order) {
    context.signal?.throwIfAborted();
    try {
      values.set(stage, await stage.execute({ ...context, value }));
    } catch (error) {
      if (error instanceof GateError) {
        error.stage = stage;
        error.reached = error.found ? new Map([...values, [stage, error.found]]) : values;
      }
      throw error;
    }
  }
  return values;
}

/** The stages that the targets need, each behind its inputs. */
export function inOrder(targets: readonly Stage[]): Stage[] {
  const order = new Set<Stage>();
  const names = new Map<string, Stage>();
  const visit = (stage: Stage) => {
    if (order.has(stage)) return;
    for (const input of stage.inputs) visit(input);
    const other = names.get(stage.name);
    if (other && other !== stage) throw new TypeError(`two stages are called "${stage.name}"`);
    names.set(stage.name, stage);
    order.add(stage);
  };
  for (const target of targets) visit(target);
  return [...order];
}
