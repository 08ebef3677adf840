import { dirname, relative } from "node:path";
import type * as Ort from "onnxruntime-node";
import { multipliesBytes } from "./byte-products.ts";
import { describe, matmulFlops } from "./describe.ts";
import { type DeviceName, resolveDevice } from "./device.ts";
import { dimValue, formatShape, numel } from "./dims.ts";
import { FeedError } from "./errors.ts";
import { nodesBehind } from "./grad.ts";
import { arrayTypes, GraphBuilder, type Value, valueInfo } from "./onnx/builder.ts";
import { lowerNodes } from "./onnx/lower.ts";
import { encodeModel, type GraphProto } from "./onnx/proto.ts";
import { concat, reshape } from "./ops/shape.ts";
import type { InputAttrs, TypedData } from "./ops/source.ts";
import { ort } from "./runtime.ts";
import { createSession, type Session } from "./session.ts";
import { type DType, Tensor } from "./tensor.ts";
import { checkThreads } from "./threads.ts";

/** Values of a tensor: row-major data and its shape. float16 as 16-bit patterns, bool as 0 and 1. */
export interface TensorData<Data extends TypedData = TypedData> {
  readonly shape: readonly number[];
  readonly data: Data;
}

type OutputGroup = Tensor | readonly Tensor[] | Readonly<Record<string, Tensor>>;
export type Outputs = Readonly<Record<string, OutputGroup>>;

export type Results<O extends Outputs> = {
  [K in keyof O]: O[K] extends Tensor
    ? TensorData
    : O[K] extends readonly Tensor[]
      ? TensorData[]
      : { [J in keyof O[K]]: TensorData };
};

/** A value for an input: data with its shape; bare data where the shape is static; a number for a scalar. */
export type Feed = TensorData | TypedData | number;
export type Feeds = Readonly<Record<string, Feed>>;

export interface CompileOptions {
  /** "auto" takes the best that works on this machine. Default "cpu". */
  readonly device?: DeviceName | "auto";
  /** Threads on the CPU, up to four for each processor; the runtime's choice (one per physical core) when not given. */
  readonly threads?: number;
  /**
   * Whether the CPU may keep its own, rearranged copy of constant matrices. Default true. Without it weights in files
   * are used where they are mapped: no memory of their own, 4 % slower products at 512 rows, 25 % at 64.
   */
  readonly prepack?: boolean;
  /**
   * Folder in which the runtime's optimised form of a large graph is kept, for the next time that it is compiled on this processor; not kept when
   * not given, nor on other devices. Weights in files must have the name of their contents.
   */
  readonly graphCache?: string;
  /**
   * Prefix of the file the runtime writes a per-kernel time profile to (JSON, Chrome's trace format) on dispose. Default: that in TENET_PROFILE
   * and the graph's number in this process, where the environment has it.
   */
  readonly profile?: string;
}

/**
 * Compiles the graph behind some tensors to one ONNX graph and a session that runs it. `build` returns what is to be
 * computed: tensors by name, or lists and records of tensors. A list or record of one type with static shapes leaves
 * the runtime as one block, which is what makes many small gradients cheap to fetch.
 * @throws TensorError when the graph cannot be expressed, DeviceError when the device does not work here, ThreadsError
 * @example
 * const step = await compile(() => {
 *   const x = input("x", "float32", ["n"]);
 *   return { y: x.mul(2).sum() };
 * });
 * const { y } = await step.run({ x: { data: Float32Array.of(1, 2), shape: [2] } });
 */
export async function compile<O extends Outputs>(build: () => O, options: CompileOptions = {}): Promise<Program<O>> {
  checkThreads(options.threads);
  const outputs = build();
  const device = await resolveDevice(options.device ?? "cpu");
  const groups = Object.entries(outputs).map(([key, group]) => outputGroup(key, group));
  const { graph, ...lowered } = lowerGraph(
    groups.flatMap((group) => group.tensors),
    device,
  );
  const source = { ...lowered, model: encodeModel(graph), bytes: multipliesBytes(graph) };
  const session = await createSession(source, device, options);
  return new Program(session, lowered, groups, outputs, device);
}

/** A compiled graph. Runs of one process are serial; `run` blocks the event loop while it works. */
export class Program<O extends Outputs> {
  readonly device: DeviceName;
  /** What `run` must be given, weights excluded. */
  readonly inputs: readonly InputAttrs[];
  readonly #session: Session;
  readonly #graph: Lowered;
  readonly #groups: readonly Group[];
  readonly #outputs: O;
  readonly #weights: Record<string, Ort.Tensor> = {};

  constructor(session: Session, graph: Lowered, groups: readonly Group[], outputs: O, device: DeviceName) {
    this.#session = session;
    this.#graph = graph;
    this.#groups = groups;
    this.#outputs = outputs;
    this.device = device;
    this.inputs = graph.fed.filter((declared) => !declared.source);
    for (const { name, dtype, shape, source } of graph.fed)
      if (source && "data" in source)
        this.#weights[name] = runtimeTensor(dtype, { data: source.data, shape: shape as readonly number[] });
  }

  /**
   * Computes the outputs. Feeds are wrapped, not copied; results are fresh arrays.
   * @throws FeedError when a feed is missing, unknown, or of another type or shape than declared
   */
  async run(feeds: Feeds = {}): Promise<Results<O>> {
    return (await this.#run(this.#groups, feeds)) as Results<O>;
  }

  /** `run` for those outputs alone: what is not handed out is not copied off the device. */
  async runFor<K extends keyof O & string>(keys: readonly K[], feeds: Feeds = {}): Promise<Pick<Results<O>, K>> {
    const wanted = this.#groups.filter(({ key }) => (keys as readonly string[]).includes(key));
    return (await this.#run(wanted, feeds)) as Pick<Results<O>, K>;
  }

  async #run(groups: readonly Group[], feeds: Feeds): Promise<Record<string, unknown>> {
    const bound = bindFeeds(this.inputs, feeds);
    const names = groups.flatMap(({ tensors }) => tensors.map((t) => this.#graph.names.get(t)!));
    const fetched = await this.#session.run({ ...this.#weights, ...bound }, [...new Set(names)]);
    return Object.fromEntries(
      groups.map((group) => [group.key, group.unpack(group.tensors.map((t) => dataOf(fetched, this.#graph, t)))]),
    );
  }

  /** The graph as text: a line a node, with types, shapes and attributes. */
  dump(): string {
    return describe(this.#outputs);
  }

  /** Floating-point operations of all matrix products in one run, a multiply–add counting as two. */
  flops(symbols: Readonly<Record<string, number>> = {}): number {
    return matmulFlops(
      this.#groups.flatMap((group) => group.tensors),
      new Map(Object.entries(symbols)),
    );
  }

  /** Frees the session. */
  async dispose(): Promise<void> {
    await this.#session.release();
  }
}

interface Group {
  readonly key: string;
  /** What the graph hands out for the group. */
  readonly tensors: readonly Tensor[];
  unpack(parts: readonly TensorData[]): unknown;
}

function outputGroup(key: string, group: OutputGroup): Group {
  if (group instanceof Tensor) return { key, tensors: [group], unpack: ([only]) => only };
  const list = Array.isArray(group);
  const names = Object.keys(group);
  const members: Tensor[] = Object.values(group);
  const shape = (parts: readonly TensorData[]) =>
    list ? [...parts] : Object.fromEntries(names.map((name, i) => [name, parts[i]!]));
  const counts = members.map((t) => numel(t.shape));
  const packs =
    members.length > 1 &&
    members.every((t) => t.dtype === members[0]!.dtype) &&
    members.every((t) => t.shape.every((dim) => typeof dim === "number"));
  if (!packs) return { key, tensors: members, unpack: shape };
  const block = concat(members.map((t) => reshape(t, [-1])));
  return {
    key,
    tensors: [block],
    unpack: ([packed]) => {
      let at = 0;
      return shape(
        members.map((t, i) => {
          const data = packed!.data.subarray(at, at + (counts[i] as number));
          at += counts[i] as number;
          return { shape: t.shape as readonly number[], data };
        }),
      );
    },
  };
}

interface Lowered {
  /** Declared inputs and weights that travel with each run. */
  readonly fed: readonly InputAttrs[];
  /** Name of each output in the ONNX graph. */
  readonly names: ReadonlyMap<Tensor, Value>;
  /** Files of external data, and the folder that their names are relative to; undefined where there are none. */
  readonly files: readonly string[];
  readonly folder: string | undefined;
}

interface LoweredGraph extends Lowered {
  readonly graph: GraphProto;
}

/** The ONNX graph behind some tensors, with the kernels that a device has. */
export function lowerGraph(outputs: readonly Tensor[], device: DeviceName): LoweredGraph {
  const nodes = nodesBehind(outputs);
  const inputs = nodes.filter((node) => node.op.name === "input");
  const files = inputs.flatMap((node) => {
    const { source } = node.attrs as InputAttrs;
    return source && "path" in source ? [source.path] : [];
  });
  const folder = files.length > 0 ? commonFolder(files) : undefined;
  // On the CPU weights in memory are fed: every session of the process then shares them. A GPU would copy them each run.
  const g = new GraphBuilder(device, (weight) => device !== "cpu" || "path" in weight.source!, folder);
  const values = new Map<Tensor, Value>();
  // Symbols are read off inputs, so those come first.
  lowerNodes(g, [...inputs, ...nodes.filter((node) => node.op.name !== "input")], values);

  const produced = new Set(g.nodes.flatMap((node) => node.output));
  const names = new Map<Tensor, Value>();
  const taken = new Set<Value>();
  for (const y of outputs) {
    if (!names.has(y)) names.set(y, g.output(values.get(y)!, taken));
  }
  const known = [...values].filter(([, name]) => produced.has(name) && !taken.has(name));
  const infos = new Map(known.map(([t, name]) => [name, valueInfo(name, t)]));
  const graph = g.finish(
    "tenet",
    [...names].map(([t, name]) => valueInfo(name, t)),
    [...infos.values()],
  );
  const fed = [...g.declared.values()].filter((declared) => graph.input.some((info) => info.name === declared.name));
  return { graph, fed, names, files: [...new Set(files)], folder };
}

function commonFolder(files: readonly string[]): string {
  let folder = dirname(files[0]!);
  while (files.some((file) => relative(folder, file).startsWith(".."))) folder = dirname(folder);
  return folder;
}

function bindFeeds(inputs: readonly InputAttrs[], feeds: Feeds): Record<string, Ort.Tensor> {
  const symbols = new Map<string, number>();
  const bound: Record<string, Ort.Tensor> = {};
  for (const { name, dtype, shape } of inputs) {
    const feed = feeds[name];
    const declared = `${dtype}${formatShape(shape)}`;
    if (feed === undefined) throw new FeedError(`the input "${name}" (${declared}) was not fed`);
    const value = tensorData(feed, name, dtype, shape);
    if (!(value.data instanceof arrayTypes[dtype]))
      throw new FeedError(
        `"${name}" is ${declared} and takes a ${arrayTypes[dtype].name}, got ${value.data.constructor.name}`,
      );
    const fits =
      value.shape.length === shape.length &&
      value.shape.every((size, axis) => {
        const dim = shape[axis]!;
        if (typeof dim === "number") return size === dim;
        if (!symbols.has(dim)) symbols.set(dim, size);
        return symbols.get(dim) === size;
      });
    if (!fits) {
      const seen = [...symbols].map(([symbol, size]) => `${symbol} = ${size}`).join(", ");
      throw new FeedError(`"${name}" is ${declared}, got shape ${formatShape(value.shape)}${seen && ` where ${seen}`}`);
    }
    const count = numel(value.shape);
    if (value.data.length !== count)
      throw new FeedError(
        `"${name}" of shape ${formatShape(value.shape)} needs ${count} values, got ${value.data.length}`,
      );
    bound[name] = runtimeTensor(dtype, value);
  }
  const declared = new Set(inputs.map((spec) => spec.name));
  for (const name of Object.keys(feeds))
    if (!declared.has(name))
      throw new FeedError(`the graph has no input "${name}"; it takes ${[...declared].join(", ") || "none"}`);
  return bound;
}

function tensorData(feed: Feed, name: string, dtype: DType, shape: InputAttrs["shape"]): TensorData {
  if (typeof feed === "number") {
    if (dtype === "float16") throw new FeedError(`"${name}" is float16; feed its 16-bit pattern in a Uint16Array`);
    return { shape: [], data: arrayTypes[dtype].of(feed) };
  }
  if (!ArrayBuffer.isView(feed)) return feed;
  if (shape.some((dim) => typeof dim === "string"))
    throw new FeedError(`"${name}" has symbolic dimensions ${formatShape(shape)}; feed { data, shape }`);
  return { shape: shape.map((dim) => dimValue(dim, new Map())), data: feed };
}

/** Values as the runtime takes them, not copied. */
function runtimeTensor(dtype: DType, { data, shape }: TensorData): Ort.Tensor {
  const tensor = new ort.Tensor(dtype, data as Float32Array, shape as number[]);
  // Where there is a Float16Array (Node 24 on) the constructor makes one of the patterns, which the runtime cannot read.
  if (dtype === "float16") Object.defineProperty(tensor, "data", { value: data });
  return tensor;
}

function dataOf(fetched: Ort.InferenceSession.ReturnType, graph: Lowered, t: Tensor): TensorData {
  const { data, dims } = fetched[graph.names.get(t)!]!;
  // A Uint16Array or, where there is one, a Float16Array, which is handed out as its patterns.
  if (t.dtype === "float16" && !(data instanceof Uint16Array)) {
    const { buffer, byteOffset, length } = data as unknown as Uint16Array<ArrayBuffer>;
    return { shape: dims, data: new Uint16Array(buffer, byteOffset, length) };
  }
  return { shape: dims, data: data as TypedData };
}
