import type { RunEvent } from "@tenet/runs";
import { z } from "zod";

const planSchema = z.array(z.object({ stage: z.string(), title: z.string(), inputs: z.array(z.string()).default([]) }));

/** A stage that a run set out to execute. */
export type Planned = z.output<typeof planSchema>[number];

/** The stages that an event announces; undefined where it says something else. */
export const planFrom = ({ data }: RunEvent): Planned[] | undefined => planSchema.safeParse(data).data;
