import type { ViewContext } from "./context.ts";
import type { Planned } from "./planned.ts";

/** Every stage that a run set out to execute, in its order; undefined for runs of before, which did not say. */
export function planOf({ plans }: Pick<ViewContext, "plans">, run: string): Planned[] | undefined {
  return plans.of(run);
}
