import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Outcome } from "@tenet/data";
import { plainJson } from "@tenet/data";
import { addressesOf, endpointSettingsSchema, type LanguageModel, parseReference } from "@tenet/lm";
import {
  hashOf,
  type Item,
  type RunWriter,
  type StageInfo,
  type StageWriter,
  type Store,
  StoreFullError,
  storeError,
  type Usage,
} from "@tenet/runs";
import type { Memo, StageCall } from "../ask.ts";
import type { RunEvent } from "./events.ts";
import { type Expectation, nothing, type Size } from "./expectation.ts";
import { type Meter, metered } from "./meter.ts";
import type { ModelPool } from "./models.ts";
import type { RoleReference } from "./recipe.ts";
import {
  type EndpointSource,
  type LocalSource,
  localName,
  type ModelValue,
  type Report,
  type StoredRows,
  type Value,
} from "./values.ts";

/*
 * A run is a graph of stages joined by typed values. The makers below are all the kinds there are; what an arrangement does
 * (a sequence, a loop, several rewards) is which stages it makes and how it joins them.
 */

/** What stages are run with. */
export interface StageContext {
  readonly store: Store;
  readonly run: RunWriter;
  readonly models: ModelPool;
  readonly signal?: AbortSignal | undefined;
  readonly emit: (event: RunEvent) => void;
  /** The value of one of the stage's inputs. */
  value<V extends Value>(stage: Stage<V>): V;
}

export interface Stage<V extends Value = Value> {
  readonly name: string;
  /** What it does, in a few words, for people. */
  readonly title: string;
  readonly inputs: readonly Stage[];
  /** What is done: see `Described`. Absent of what does nothing by itself, such as a model that is given. */
  readonly kind?: string;
  /** Of what comes to a model: who plays it, its base where it is trained. */
  readonly player?: RoleReference | undefined;
  /** The models that it asks, by role. */
  readonly asks?: Readonly<Record<string, Stage<ModelValue>>>;
  /** Of a model behind a server: known before it is executed. */
  readonly endpoint?: EndpointSource | undefined;
  /** What it will come to and take, at most, by the sizes of its inputs; absent of what does nothing by itself. */
  expect?(sized: SizeOf): Promise<Expectation> | Expectation;
  /** What can be told to go wrong before anything is done. */
  check?(context: Omit<StageContext, "value">): Promise<void>;
  execute(context: StageContext): Promise<V>;
}

/** The size of what another stage comes to. */
export type SizeOf = (stage: Stage) => Size;

interface Described {
  /** Unique in its run. */
  readonly name: string;
  readonly title: string;
  /** What is done: stages of one kind share results, whatever they are called. */
  readonly kind: string;
  /** Raised when the code's meaning changes, so that results of the old code are not taken for the new one's. */
  readonly version: number;
  /** Of every draw in it. */
  readonly seed: number;
}

/** What a stage will come to and take. */
type Expect = NonNullable<Stage["expect"]>;

type Inputs = Readonly<Record<string, Stage>>;
type ValuesOf<I extends Inputs> = { readonly [K in keyof I]: NonNullable<I[K]> extends Stage<infer V> ? V : never };

/** Rows with an id, as every stage makes them. */
export interface Row {
  readonly id: string;
  readonly origin: { readonly parents: readonly string[] };
}

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

/** A step of training. */
export interface TrainingEvent {
  readonly step: number;
  readonly of?: number;
  readonly metrics: Readonly<Record<string, number>>;
  /** What models were asked for, by role: `policy` for the one in training. */
  readonly usage?: Readonly<Record<string, Usage>>;
}

/** What training leaves: an adapter in PEFT's format, or a whole checkpoint. */
export interface TrainingResult {
  readonly kind: "adapter" | "model";
  readonly path: string;
  readonly report: unknown;
}

/** What a training is given besides its data. */
export interface TrainingContext extends StageContext {
  readonly base: LocalSource;
  /** Where it keeps checkpoints and its result. */
  readonly folder: string;
  /** The models that it asks, by role. What passes through them is written down with the answers. */
  readonly speakers: Readonly<Record<string, LanguageModel>>;
  /** Keeps what they answer. */
  readonly memo: Memo;
}

export interface TrainingStageOptions<I extends Inputs> extends Described {
  readonly inputs: I;
  /** Models that are asked while it trains, by role. */
  readonly models?: Readonly<Record<string, Stage<ModelValue>>>;
  /** What training starts from. */
  readonly base: Stage<ModelValue>;
  /** Stages to be executed before, whose values are not used: gates. */
  readonly behind?: readonly Stage[];
  /** Names of inputs that need not have rows: what is only tested on. */
  readonly mayBeEmpty?: readonly (keyof I)[];
  readonly settings: unknown;
  /** What it will take. */
  readonly expect: Expect;
  /** Trains, keeping checkpoints and the result in `folder`, which is the same one when a killed run continues. */
  train(inputs: ValuesOf<I>, context: TrainingContext): AsyncGenerator<TrainingEvent, TrainingResult>;
}

/** Datasets and models to a model, by the hash of its files. */
export function trainingStage<I extends Inputs>(options: TrainingStageOptions<I>): Stage<ModelValue> {
  const { name, kind, version, seed, inputs, models: roles = {}, base, behind = [], mayBeEmpty = [] } = options;
  return {
    ...described(options, [base, ...Object.values(inputs), ...Object.values(roles), ...behind]),
    player: base.player,
    expect: options.expect,
    asks: roles,
    async execute(context) {
      for (const [input, stage] of Object.entries(inputs))
        if (!mayBeEmpty.includes(input)) mustHaveRows(stage, context);
      const values = mapValues(inputs, (stage) => context.value(stage)) as ValuesOf<I>;
      const { source, hash: baseHash } = context.value(base);
      if (source.type !== "local") throw new TypeError(`${name}: a model behind an endpoint cannot be trained`);
      const hashes = mapValues(values as Record<string, Value>, ({ hash }) => hash);
      const asked = mapValues(roles, (stage) => context.value(stage));
      // Who is not asked does not count: a training that asks nobody has the identity it always had.
      const askedHashes = Object.keys(asked).length > 0 ? [mapValues(asked, ({ hash }) => hash)] : [];
      const identity = hashOf([kind, version, seed, baseHash, hashes, options.settings, ...askedHashes]);
      const work = async (stage: StageWriter) => {
        const { speakers, memo, done } = await askedThrough(asked, stage, context);
        const given = { ...context, base: source, folder: stage.scratch(), speakers, memo };
        const training = options.train(values, given);
        let next: IteratorResult<TrainingEvent, TrainingResult>;
        try {
          next = await training.next();
          for (; !next.done; next = await training.next()) {
            const { step, of, metrics, usage = {} } = next.value;
            stage.metrics(step, metrics);
            for (const [role, spent] of Object.entries(usage)) stage.usage(role, spent);
            context.emit({ type: "metrics", stage: name, step, ...(of === undefined ? {} : { of }), metrics });
          }
        } finally {
          for (const [line, count] of done())
            context.emit({ type: "message", stage: name, level: "warning", message: `${line} (${count} ×)` });
        }
        const { kind: made, path, report } = next.value;
        const [first] = asideOf(report);
        if (first !== undefined)
          context.emit({
            ...{ type: "message", stage: name, level: "info" },
            message: `${asideOf(report).length} set aside; the first: ${first.reason}`,
          });
        if (made === "adapter") await withoutPath(path, source);
        const { hash } = await stage.addArtifact(path);
        // A figure that is not defined, such as the correlation of what does not vary, is NaN; JSON's word for it is null.
        stage.finish({ output: { kind: made, artifact: hash, report: plainJson(report) }, artifacts: [hash] });
      };
      const { output } = await onStage(context, options, identity, work);
      const { kind: made, artifact, report } = output as Pick<TrainingResult, "kind" | "report"> & { artifact: string };
      const path = await context.store.intactArtifact(artifact);
      return {
        kind: "model",
        hash: hashOf([baseHash, made, artifact]),
        source: made === "adapter" ? { ...source, adapter: path } : { type: "local", reference: path },
        report,
      };
    },
  };
}

/** The models that a training asks, metered, and what keeps their answers as items of its stage. */
async function askedThrough(
  asked: Readonly<Record<string, ModelValue>>,
  stage: StageWriter,
  { models }: Pick<StageContext, "models">,
) {
  const meters: Record<string, Meter> = {};
  for (const [role, value] of Object.entries(asked)) {
    const model = await models.speaker(value);
    meters[role] = metered(model, value.source.type === "local" ? localName(value.source, value.hash) : model.id);
  }
  const spend = () => mapValues(meters, (meter) => meter.spent());
  const written = () => {
    for (const meter of Object.values(meters)) meter.written();
  };
  const memo: Memo = {
    recall: (questions) => stage.recall(questions),
    // What was asked and what came of it are written together: a killed process loses neither without the other.
    keep(answers) {
      stage.append(answers, { usage: spend() });
      written();
    },
  };
  return {
    speakers: mapValues(meters, ({ model }) => model),
    memo,
    /** Writes down what no answer was kept of; gives what was noticed. */
    done() {
      if (!stage.done) for (const [role, spent] of Object.entries(spend())) stage.usage(role, spent);
      written();
      return Object.entries(meters).flatMap(([role, meter]) =>
        [...meter.noticed()].map(([line, count]): [string, number] => [`${role}: ${line}`, count]),
      );
    },
  };
}

/** An adapter's hash is not to depend on where its base lies on this machine: a path is taken out of its config. */
async function withoutPath(folder: string, { reference }: LocalSource): Promise<void> {
  if (parseReference(reference).kind !== "path") return;
  const file = join(folder, "adapter_config.json");
  const config = JSON.parse(await readFile(file, "utf8")) as object;
  await writeFile(file, `${JSON.stringify({ ...config, base_model_name_or_path: null }, null, 2)}\n`);
}

/** There is nothing to train on: every input of a stage before it was set aside. */
export class NothingLeftError extends Error {
  override name = "NothingLeftError";
}

/** Errors: NothingLeftError that names the first stage on the way to this one whose inputs all came to nothing, and why. */
function mustHaveRows(stage: Stage, context: StageContext): void {
  const value = context.value(stage);
  if (value.kind !== "rows" || value.count > 0) return;
  for (const input of stage.inputs) mustHaveRows(input, context);
  const why = value.reasons().map(({ reason, count }) => `${count} × ${reason}`);
  const more = why.length > 3 ? `; and ${why.length - 3} more reasons` : "";
  throw new NothingLeftError(
    `nothing is left to train on: stage "${stage.name}" (${stage.title}) gave no row. Set aside: ${why.slice(0, 3).join("; ") || "nothing"}${more}. What was made before it is kept. Read it (tenet show latest ${stage.inputs[0]?.name ?? stage.name} --rows 20), then give more prompts, or ask less of what is learnt (supervised.examples.keep: all, supervised.critique.accept)`,
  );
}

export interface ReportStageOptions<I extends Inputs, Result> extends Described {
  readonly inputs: I;
  /** What it depends on besides the inputs and the seed. */
  readonly settings: unknown;
  make(inputs: ValuesOf<I>, context: StageContext & { readonly stage: StageWriter }): Promise<Result>;
  /** Whether the run may go on behind it; throws GateError where it may not. Asked on every run, also of a stored report. */
  gate?(result: Result, context: StageContext): void;
}

/** Anything to a document. */
export function reportStage<I extends Inputs, Result>(options: ReportStageOptions<I, Result>): Stage<Report<Result>> {
  const { kind, version, seed, inputs } = options;
  return {
    ...described(options, Object.values(inputs)),
    expect: () => nothing,
    async execute(context) {
      const values = mapValues(inputs, (stage) => context.value(stage)) as ValuesOf<I>;
      const hashes = mapValues(values as Record<string, Value>, ({ hash }) => hash);
      const identity = hashOf([kind, version, seed, hashes, options.settings]);
      const work = async (stage: StageWriter) => {
        stage.finish({ output: await options.make(values, { ...context, stage }) });
      };
      const info = await onStage(context, options, identity, work);
      const report: Report<Result> = { kind: "report", hash: hashOf(info.output), value: info.output as Result };
      try {
        options.gate?.(report.value, context);
      } catch (error) {
        if (error instanceof GateError) error.found = report;
        throw error;
      }
      return report;
    },
  };
}

/** A model that is given, not made. */
export function modelStage(
  name: string,
  title: string,
  open: (context: StageContext) => Promise<ModelValue>,
  known: Pick<Stage, "endpoint" | "check" | "player"> = {},
): Stage<ModelValue> {
  return { name, title, inputs: [], execute: open, ...known };
}

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

/** A gate refused to go on: exit code 3. */
export class GateError extends Error {
  override name = "GateError";
  /** The stage that refused. */
  stage?: Stage;
  /** What it found, and the values of the stages before it. */
  reached?: ReadonlyMap<Stage, Value>;
  found?: Value;
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

/** Works on a stage where its result is not in the store, and tells what happens to it. */
async function onStage(
  context: StageContext,
  { name, title, kind }: Omit<Described, "seed">,
  identity: string,
  work: (stage: StageWriter) => Promise<void>,
): Promise<StageInfo> {
  for (const path of await context.run.removeChanged(identity))
    context.emit({
      type: "message",
      level: "warning",
      message: `${path} was changed since it was made; the stage that made it is done again`,
    });
  const stage = context.run.stage({ name, kind, identity });
  const tell = (status: "started" | "continued" | "reused" | "done" | "failed", info: StageInfo) =>
    context.emit({
      type: "stage",
      stage: name,
      title,
      status,
      rows: info.rows,
      aside: info.aside + asideOf((info.output as { report?: unknown } | null | undefined)?.report).length,
      seconds: info.seconds,
    });
  if (stage.done) {
    tell("reused", stage.info);
    return stage.info;
  }
  const { items, attempts } = stage.info;
  tell(items > 0 || attempts > 1 ? "continued" : "started", stage.info);
  try {
    await work(stage);
  } catch (error) {
    const full = storeError(error, context.store.folder);
    // Training writes into the store's folder by itself. What else goes wrong keeps its own error.
    const fault = full instanceof StoreFullError ? full : error;
    try {
      if (!stage.done && !context.signal?.aborted) stage.fail(fault instanceof Error ? fault.message : String(fault));
      tell("failed", stage.info);
    } catch {
      // A full disk takes no note of it either; what stopped the stage is what is told.
    }
    throw fault;
  }
  tell("done", stage.info);
  return stage.info;
}

/** Rows that a training did not use, as its report has them. */
function asideOf(report: unknown): readonly { readonly reason: string }[] {
  const { aside } = (report ?? {}) as { aside?: unknown };
  return Array.isArray(aside) ? aside : [];
}

function storedRows<Out extends Row>({ store }: StageContext, info: StageInfo): StoredRows<Out> {
  const { hash, rows, aside } = info.dataset!;
  return {
    kind: "rows",
    hash,
    count: rows,
    aside,
    reasons: () => store.setAsideReasons(info.identity),
    rows: () => store.rows<Out>(info.identity),
  };
}

function described({ name, title, kind }: Described, inputs: readonly Stage[]) {
  return { name, title, kind, inputs };
}

function mapValues<In, Out>(record: Readonly<Record<string, In>>, of: (value: In) => Out): Record<string, Out> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, of(value)]));
}
