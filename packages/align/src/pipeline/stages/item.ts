import { createHash } from "node:crypto";
import type { Outcome } from "@tenet/data";
import { addressesOf, endpointSettingsSchema, type LanguageModel } from "@tenet/lm";
import { hashOf, type Item, type StageWriter, StoreFullError } from "@tenet/runs";
import type { StageCall } from "../../ask.ts";
import { type Meter, metered } from "../meter.ts";
import { localName, type ModelValue, type StoredRows } from "../values.ts";
import { onStage, storedRows } from "./done.ts";
import { type Described, described, type Expect, mapValues, type Row, type Stage, type StageContext } from "./stage.ts";

export interface ItemStageOptions<In extends Row, Out extends Row> extends Described {
  readonly over: Stage<StoredRows<In>>;
  /** By role. */
  readonly models?: Readonly<Record<string, Stage<ModelValue>>>;
  /** Stages to be executed before, whose values are not used: gates. */
  readonly behind?: readonly Stage[];
  /** Everything but the row, the models and the seed that the outcome of this row depends on. */
  dependsOn(row: In): unknown;
  /** By default as many rows as there are, as long as they are, and nobody is asked. */
  readonly expect?: Expect;
  run(
    rows: readonly In[],
    models: Readonly<Record<string, LanguageModel>>,
    call: StageCall,
  ): AsyncIterable<Outcome<Out>>;
}

/** Rows given to models at a time; a stopped stage asks at most these again. Those of local models are stored together. */
const rowsAtOnce = 64;

/** Rows for each call that an endpoint takes at a time, so that it has enough to do while the last ones of a round are waited for. */
const rowsPerCall = 8;

/**
 * Rows to rows, each by itself. A row's outcome is known by a key made of the row, what it depends on, the models and the
 * seed: what the store has under that key is taken from there, so that a changed principle redoes what drew it and nothing
 * else.
 *
 * Local models are given rows in groups of fixed size that are stored whole: their results depend, in the last bit, on what
 * is computed beside them, and a run that was killed is to end as one that was not. Of endpoints each outcome is stored when
 * it comes; their groups are larger the more calls they take at a time.
 */
export function itemStage<In extends Row, Out extends Row>(options: ItemStageOptions<In, Out>): Stage<StoredRows<Out>> {
  const { name, kind, version, seed, over, models: roles = {}, behind = [] } = options;
  return {
    ...described(options, [over, ...Object.values(roles), ...behind]),
    asks: roles,
    expect: options.expect ?? ((sized) => sized(over)),
    async execute(context) {
      const values = mapValues(roles, (stage) => context.value(stage));
      const hashes = mapValues(values, ({ hash }) => hash);
      const input = context.value(over);
      const keyOf = (row: In) => {
        const { origin: _, ...content } = row;
        return hashOf([kind, version, seed, hashes, content, options.dependsOn(row)]);
      };
      const keys = createHash("sha256").update(hashOf([kind, version]));
      for (const row of input.rows()) keys.update(keyOf(row));
      const endpoints = Object.values(values).flatMap(({ source }) => (source.type === "endpoint" ? [source] : []));
      const local = endpoints.length === 0;
      const calls = endpoints.map(
        ({ settings }) => endpointSettingsSchema.parse(settings).concurrency * addressesOf(settings).length,
      );
      const size = Math.max(rowsAtOnce, ...calls.map((concurrency) => rowsPerCall * concurrency));

      const work = async (stage: StageWriter) => {
        let done = 0;
        const asked = { inputs: 0, rows: 0 };
        const noticed = new Map<string, number>();
        const notice = (line: string, count = 1) => void noticed.set(line, (noticed.get(line) ?? 0) + count);
        const progress = () => context.emit({ type: "progress", stage: name, done, total: input.count, unit: "rows" });
        const group = async (members: readonly Place<In>[]) => {
          context.signal?.throwIfAborted();
          const places = new Map(members.map((place) => [place.row.id, place]));
          const meters: Record<string, Meter> = {};
          for (const [role, value] of Object.entries(values)) {
            const model = await context.models.speaker(value);
            meters[role] = metered(
              model,
              value.source.type === "local" ? localName(value.source, value.hash) : model.id,
            );
          }
          const models = mapValues(meters, ({ model }) => model);
          const rows = members.map(({ row }) => row);
          const outcomes: Item[] = [];
          // What was asked and what came of it are written together: a killed process loses neither without the other.
          const store = (items: readonly Item[]) => {
            asked.inputs += items.length;
            asked.rows += items.reduce((sum, { rows }) => sum + rows.length, 0);
            stage.append(items, { usage: mapValues(meters, (meter) => meter.spent()) });
            for (const meter of Object.values(meters)) meter.written();
          };
          try {
            for await (const outcome of options.run(rows, models, { signal: context.signal, notice })) {
              const { key, ordinal } = places.get(outcome.input)!;
              const item: Item = { ...outcome, key, ordinal };
              if (local) outcomes.push(item);
              else store([item]);
              done++;
              progress();
            }
            if (local) store(outcomes);
          } finally {
            for (const [role, meter] of Object.entries(meters)) {
              stage.usage(role, meter.spent());
              for (const [line, count] of meter.noticed()) notice(`${role}: ${line}`, count);
            }
          }
        };
        try {
          for (const page of pages(input.rows(), keyOf)) {
            const left = stage.missing(page);
            done += page.length - left.length;
            if (left.length < page.length) progress();
            for (let start = 0; start < left.length; start += size) await group(left.slice(start, start + size));
          }
        } finally {
          noteAsked(context, name, asked);
          for (const [line, count] of noticed)
            context.emit({ type: "message", stage: name, level: "warning", message: `${line} (${count} ×)` });
        }
        stage.finish({ inputs: input.count });
      };
      const identity = keys.digest("hex");
      return storedRows<Out>(context, await onStage(context, options, identity, work));
    },
  };
}

/** Writes down what was asked anew: what the store had already cost this run nothing. */
function noteAsked(
  { run }: StageContext,
  stage: string,
  data: { readonly inputs: number; readonly rows: number },
): void {
  try {
    run.event({ kind: "asked", stage, data });
  } catch (error) {
    // A full disk takes no note of it either; what stopped the stage is what is told.
    if (!(error instanceof StoreFullError)) throw error;
  }
}

interface Place<In> {
  readonly row: In;
  readonly ordinal: number;
  readonly key: string;
}

/** Rows held at a time; a multiple of `rowsAtOnce`, so that groups are the same wherever a killed run stopped. */
const rowsPerPage = 16 * rowsAtOnce;

function* pages<In>(rows: Iterable<In>, keyOf: (row: In) => string): Generator<Place<In>[]> {
  let page: Place<In>[] = [];
  let ordinal = 0;
  for (const row of rows) {
    page.push({ row, ordinal: ordinal++, key: keyOf(row) });
    if (page.length < rowsPerPage) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}
