import { basename } from "node:path";
import { rowId } from "@tenet/data";
import { parseReference } from "@tenet/lm";

/*
 * What flows along the edges between stages. Each value has a hash of its content, from which the identities of the stages
 * behind it are made: a stage that comes to the same result leaves everything after it as it is.
 */

/** Rows in a fixed order, read from the run store as often as wanted. */
export interface StoredRows<Row> {
  readonly kind: "rows";
  readonly hash: string;
  readonly count: number;
  /** Input rows that could not be used, with their reasons in the store. */
  readonly aside: number;
  /** Those reasons, the most frequent first. */
  reasons(): readonly { readonly reason: string; readonly count: number }[];
  rows(): Iterable<Row>;
}

/** A model by what it is made of: a base and, after training, an adapter in the store. Opened by the pool when needed. */
export interface ModelValue {
  readonly kind: "model";
  readonly hash: string;
  readonly source: LocalSource | EndpointSource;
  /** What its training reported, where it was trained in this run. */
  readonly report?: unknown;
}

export interface LocalSource {
  readonly type: "local";
  /** Folder, file, reference or catalogue name. */
  readonly reference: string;
  /** Folder of an adapter in PEFT's format. */
  readonly adapter?: string;
  /** What the weights of `reference` were read from, which may be one of several with weights of their own; absent of files of this machine. */
  readonly opened?: OpenedSource;
}

/** The source that a model's weights were read from: a reference, and of a file what it held. */
export interface OpenedSource {
  readonly from: string;
  readonly sha256?: string;
}

export interface EndpointSource {
  readonly type: "endpoint";
  readonly settings: import("@tenet/lm").EndpointInput;
}

/** A document: an audit, a training report, the scorecard. */
export interface Report<Value = unknown> {
  readonly kind: "report";
  readonly hash: string;
  readonly value: Value;
}

export type Value = StoredRows<unknown> | ModelValue | Report;

/** A model named by a recipe. `fingerprint` tells the files of a local model from others of the same name. */
export function modelValue(source: LocalSource | EndpointSource, fingerprint: string): ModelValue {
  return { kind: "model", hash: rowId("model", fingerprint), source };
}

/**
 * A local model as rows name it: the same on every machine, wherever its files lie. What was read from a folder, or trained,
 * has the first digits of its hash.
 */
export function localName({ reference, adapter }: LocalSource, hash: string): string {
  const digits = hash.slice(0, 8);
  if (parseReference(reference).kind !== "path") return adapter === undefined ? reference : `${reference}+${digits}`;
  return `${basename(reference)}${adapter === undefined ? "@" : "+"}${digits}`;
}

/** A model of this machine, as a policy is held to. Errors: TypeError for one behind an endpoint. */
export function localSource({ source }: ModelValue): LocalSource {
  if (source.type !== "local") throw new TypeError("a policy is held to a model of this machine");
  return source;
}

/** Where a preference model lies. */
export function preferenceSource({ source }: ModelValue): LocalSource & Required<Pick<LocalSource, "adapter">> {
  if (source.type !== "local" || source.adapter === undefined) throw new TypeError("a preference model is an adapter");
  return { ...source, adapter: source.adapter };
}
