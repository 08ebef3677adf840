import type { Store } from "@tenet/runs";
import { z } from "zod";
import { goesWithout, judgedPreferences } from "./parts/gates.ts";

const gateSchema = z.object({
  name: z.string(),
  gate: z.object({ passed: z.boolean(), open: z.boolean(), reasons: z.array(z.string()) }),
});
const recipeSchema = z.object({ preferenceModel: z.object({ gate: z.object({ refused: z.string() }) }) });

/** What a run's gates said of its preference models: of rounds one each, in their order. A gate that ended its run is not among them. */
export function preferenceGates(store: Store, run: string): z.output<typeof gateSchema>[] {
  return store.stages(run).flatMap(({ kind, output }) => {
    const said = kind === "gate" && output !== undefined ? gateSchema.safeParse(output).data : undefined;
    return said?.name === judgedPreferences ? [said] : [];
  });
}

/** Whether the policy of a run learnt without the preference model that its last gate refused. */
export function wentWithout(store: Store, run: string): boolean {
  const { data } = recipeSchema.safeParse(store.run(run).recipe);
  const last = preferenceGates(store, run).at(-1);
  return data !== undefined && last !== undefined && goesWithout(data, last);
}
