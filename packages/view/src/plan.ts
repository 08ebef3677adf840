import { z } from "zod";
import type { ViewContext } from "./context.ts";

const planSchema = z.array(z.object({ stage: z.string(), title: z.string(), inputs: z.array(z.string()).default([]) }));
export type Planned = z.output<typeof planSchema>[number];

/** Every stage that a run set out to execute, in its order; undefined for runs of before, which did not say. */
export function planOf({ store }: Pick<ViewContext, "store">, run: string): Planned[] | undefined {
  const event = store.lastEvent(run, "plan");
  return event && planSchema.safeParse(event.data).data;
}
