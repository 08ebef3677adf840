import type { Store } from "@tenet/runs";

/**
 * What a run's stages asked anew, by stage, inputs and the rows that came of them; what the store had already is in neither. Of a stage
 * whose process was killed it is not known, and so of none of before this was written down.
 */
export async function askedIn(
  store: Store,
  run: string,
): Promise<Map<string, { readonly inputs: number; readonly rows: number }>> {
  const told = new Map<string, { inputs: number; rows: number; times: number }>();
  for await (const { kind, stage, data } of store.events(run)) {
    if (kind !== "asked" || stage === undefined) continue;
    const { inputs, rows } = data as { inputs: number; rows: number };
    const sum = told.get(stage) ?? { inputs: 0, rows: 0, times: 0 };
    told.set(stage, { inputs: sum.inputs + inputs, rows: sum.rows + rows, times: sum.times + 1 });
  }
  return new Map(
    store.stages(run).flatMap(({ name, attempts, items }) => {
      const found = attempts === 0 && items > 0 ? { inputs: 0, rows: 0, times: 0 } : told.get(name);
      return found && found.times >= attempts ? [[name, found] as const] : [];
    }),
  );
}
