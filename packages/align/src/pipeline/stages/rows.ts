import { hashOf, type Item, type StageWriter } from "@tenet/runs";
import { nothing } from "../expectation.ts";
import type { StoredRows } from "../values.ts";
import { onStage, storedRows } from "./done.ts";
import { type Described, described, type Expect, type Row, type Stage, type StageContext } from "./stage.ts";

export interface RowsStageOptions<Out extends Row> extends Described {
  readonly inputs?: readonly Stage[];
  /** Stages to be executed before, whose values `settings` may look at: the rows depend on no more of them than it says. */
  readonly behind?: readonly Stage[];
  /** What the rows depend on besides the inputs and the seed: file hashes, ratios, limits. */
  settings(context: StageContext): Promise<unknown> | unknown;
  /** By default what the first input has. */
  readonly expect?: Expect;
  /** Each row, or an input that could not be used with its reason. */
  make(context: StageContext): AsyncIterable<Made<Out>> | Iterable<Made<Out>>;
}

type Made<Out> = { readonly row: Out } | { readonly aside: { readonly input: string; readonly reason: string } };

/** Rows stored at a time, where making them costs little. */
const rowsPerWrite = 1000;

/** Rows from a file, or from whole datasets: read, mixed, split. */
export function rowsStage<Out extends Row>(options: RowsStageOptions<Out>): Stage<StoredRows<Out>> {
  const { name, kind, version, seed, inputs = [], behind = [] } = options;
  const [first] = inputs;
  return {
    ...described(options, [...inputs, ...behind]),
    expect: options.expect ?? ((sized) => (first ? sized(first) : nothing)),
    async execute(context) {
      const hashes = inputs.map((stage) => context.value(stage).hash);
      const identity = hashOf([kind, version, hashes, seed, await options.settings(context)]);
      const work = async (stage: StageWriter) => {
        let ordinal = 0;
        let waiting: Item[] = [];
        const write = () => {
          stage.append(waiting);
          waiting = [];
        };
        for await (const made of options.make(context)) {
          context.signal?.throwIfAborted();
          const key = hashOf([identity, ordinal]);
          if ("row" in made) waiting.push({ key, input: made.row.id, ordinal, rows: [made.row] });
          else waiting.push({ key, input: made.aside.input, ordinal, rows: [], aside: made.aside.reason });
          ordinal++;
          if (waiting.length >= rowsPerWrite) write();
        }
        write();
        context.emit({ type: "progress", stage: name, done: ordinal, total: ordinal, unit: "rows" });
        stage.finish({ inputs: ordinal });
      };
      return storedRows<Out>(context, await onStage(context, options, identity, work));
    },
  };
}
