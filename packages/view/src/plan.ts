import type { RunEvent } from "@tenet/runs";
import { z } from "zod";
import type { ViewContext } from "./context.ts";

const planSchema = z.array(z.object({ stage: z.string(), title: z.string(), inputs: z.array(z.string()).default([]) }));
export type Planned = z.output<typeof planSchema>[number];

export const planFrom = ({ data }: RunEvent): Planned[] | undefined => planSchema.safeParse(data).data;

/** Every stage that a run set out to execute, in its order; undefined for runs of before, which did not say. */
export function planOf({ plans }: Pick<ViewContext, "plans">, run: string): Planned[] | undefined {
  return plans.of(run);
}
