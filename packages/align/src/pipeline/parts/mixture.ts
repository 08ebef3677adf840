import { mix } from "@tenet/data";
import type { PartContext } from "../context.ts";
import { together } from "../sizes.ts";
import { rowsStage, type Stage } from "../stages/index.ts";
import type { StoredRows } from "../values.ts";

/** One dataset of several, at ratios, in an order drawn from the seed. */
export function mixStage<Row extends { readonly id: string; readonly origin: { readonly parents: readonly string[] } }>(
  { recipe: { seed } }: PartContext,
  name: string,
  sources: readonly { readonly name: string; readonly rows: Stage<StoredRows<Row>>; readonly ratio?: number }[],
): Stage<StoredRows<Row>> {
  return rowsStage<Row>({
    name,
    title: `mixture of ${sources.map((source) => source.name).join(" and ")}`,
    kind: "mix",
    version: 1,
    seed,
    inputs: sources.map(({ rows }) => rows),
    settings: () => sources.map(({ name: source, ratio }) => [source, ratio ?? null]),
    expect(sized) {
      const there = sources.map(({ rows, ratio }) => ({ ...sized(rows), ratio }));
      // The source that runs out first bounds a mixture with ratios; the first is expected to.
      const most = ({ rows, ratio }: (typeof there)[number]) =>
        ratio === undefined ? rows : Math.min(rows, Math.round((there[0]!.rows * ratio) / (there[0]!.ratio ?? 1)));
      return together(there.map((one) => ({ ...one, taken: most(one) })));
    },
    *make(context) {
      const { rows } = mix(
        sources.map(({ name: source, rows: stage, ratio }) => ({
          name: source,
          rows: [...context.value(stage).rows()],
          ...(ratio === undefined ? {} : { ratio }),
        })),
        { seed },
      );
      for (const row of rows) yield { row };
    },
  });
}
