import type { RunWriter, Store } from "@tenet/runs";
import type { RunEvent } from "../events.ts";
import type { Expectation, Size } from "../expectation.ts";
import type { ModelPool } from "../models.ts";
import type { RoleReference } from "../recipe.ts";
import type { EndpointSource, ModelValue, Value } from "../values.ts";

/*
 * A run is a graph of stages joined by typed values. The makers of this folder are all the kinds there are; what an arrangement does
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

export interface Described {
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
export type Expect = NonNullable<Stage["expect"]>;

export type Inputs = Readonly<Record<string, Stage>>;

export type ValuesOf<I extends Inputs> = {
  readonly [K in keyof I]: NonNullable<I[K]> extends Stage<infer V> ? V : never;
};

/** Rows with an id, as every stage makes them. */
export interface Row {
  readonly id: string;
  readonly origin: { readonly parents: readonly string[] };
}

export function described({ name, title, kind }: Described, inputs: readonly Stage[]) {
  return { name, title, kind, inputs };
}

export function mapValues<In, Out>(record: Readonly<Record<string, In>>, of: (value: In) => Out): Record<string, Out> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, of(value)]));
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
