import { relative, sep } from "node:path";
import type { DeviceName } from "../device.ts";
import { type Dim, dimSymbols, dimTerms, numel, type Shape } from "../dims.ts";
import { TensorError } from "../errors.ts";
import type { InputAttrs, TypedData } from "../ops/source.ts";
import type { DType, TensorType } from "../tensor.ts";
import { toHalf } from "./float16.ts";
import type { AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto } from "./proto.ts";

/** Name of a value in an ONNX graph. */
export type Value = string;

/** A floating-point attribute; plain numbers are integers. */
export interface FloatAttribute {
  readonly float: number;
}

export function float(value: number): FloatAttribute {
  return { float: value };
}

/** A graph that a node runs, as Loop does. */
export interface GraphAttribute {
  readonly graph: GraphProto;
}

type Attributes = Readonly<Record<string, number | string | readonly number[] | FloatAttribute | GraphAttribute>>;

const elementTypes: Record<DType | "int64", number> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
};

/** Collects the nodes, constants and inputs of one ONNX graph. */
export class GraphBuilder {
  readonly device: DeviceName;
  readonly nodes: NodeProto[] = [];
  /** Where nodes are added: `nodes`, or those of the graph within it that is being written. */
  #into = this.nodes;
  readonly initializers: TensorProto[] = [];
  readonly inputs: ValueInfoProto[] = [];
  /** Declared inputs by name. */
  readonly declared = new Map<string, InputAttrs>();
  readonly int64Type = elementTypes.int64;
  /** Whether a weight becomes an initializer of the graph; the others are fed like inputs. */
  readonly #embeds: (weight: InputAttrs) => boolean;
  /** What the paths of external data are relative to. */
  readonly #folder: string | undefined;
  readonly #constants = new Map<string, Value>();
  readonly #symbols = new Map<string, { input: Value; axis: number }>();
  #count = 0;

  constructor(device: DeviceName, embeds: (weight: InputAttrs) => boolean, folder?: string) {
    this.device = device;
    this.#embeds = embeds;
    this.#folder = folder;
  }

  elementType(dtype: DType): number {
    return elementTypes[dtype];
  }

  /** Adds a node with one output. An op of another domain is written "domain.Op". */
  call(opType: string, inputs: readonly Value[], attributes: Attributes = {}): Value {
    return this.calls(opType, inputs, 1, attributes)[0]!;
  }

  /** Adds a node with several outputs. */
  calls(opType: string, inputs: readonly Value[], outputs: number, attributes: Attributes = {}): Value[] {
    const at = opType.lastIndexOf(".");
    const names = Array.from({ length: outputs }, () => this.#name());
    this.#into.push({
      name: names[0]!,
      op_type: opType.slice(at + 1),
      domain: at < 0 ? "" : opType.slice(0, at),
      input: inputs,
      output: names,
      attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
    });
    return names;
  }

  /**
   * A graph within the graph, which sees the outer one's values. What is the same each time it runs, constants and sizes, is made
   * outside of it.
   * @param write adds its nodes and gives its outputs
   */
  subgraph(name: string, inputs: readonly ValueInfoProto[], write: () => readonly ValueInfoProto[]): GraphProto {
    const node: NodeProto[] = [];
    const output = this.#within(node, write);
    return { name, node, initializer: [], input: [...inputs], output: [...output], value_info: [] };
  }

  #within<T>(nodes: NodeProto[], write: () => T): T {
    const outer = this.#into;
    this.#into = nodes;
    try {
      return write();
    } finally {
      this.#into = outer;
    }
  }

  /** A value as an output of the graph that is written: a node of it must compute it, and it stands for no other output. */
  output(value: Value, taken: Set<Value>): Value {
    const computed = this.#into.some(({ output }) => output.includes(value));
    const name = computed && !taken.has(value) ? value : this.call("Identity", [value]);
    taken.add(name);
    return name;
  }

  /** A name that no value has. */
  name(): Value {
    return this.#name();
  }

  constant(dtype: DType, shape: readonly number[], data: TypedData): Value {
    const name = this.#name();
    this.initializers.push({ name, dims: shape, data_type: elementTypes[dtype], raw_data: bytesOf(data) });
    return name;
  }

  scalar(dtype: DType, value: number): Value {
    return this.#once(`${dtype} ${Object.is(value, -0) ? "-0" : value}`, () =>
      this.constant(dtype, [], encodeScalar(dtype, value)),
    );
  }

  /** A value broadcast to a shape. */
  expand(value: Value, dtype: DType, shape: Shape): Value {
    if (!shape.includes(0)) return this.call("Expand", [value, this.dims(shape)]);
    // ONNX Runtime takes an Expand from size 1 to size 0 for one that does nothing and leaves it out.
    const nothing = this.constant(dtype, [0], new arrayTypes[dtype](0));
    return this.call("Reshape", [nothing, this.dims(shape)], { allowzero: 1 });
  }

  /** A constant vector of integers, as shapes, axes and bounds are given. */
  int64(values: readonly number[]): Value {
    return this.#once(`int64 ${values}`, () => {
      const name = this.#name();
      const data = BigInt64Array.from(values, BigInt);
      this.initializers.push({ name, dims: [values.length], data_type: elementTypes.int64, raw_data: bytesOf(data) });
      return name;
    });
  }

  /**
   * A vector of dimensions as int64; symbolic ones are read off the inputs when the graph runs.
   * `oneUnknown` lets a single symbolic dimension be −1, as Reshape takes it.
   */
  dims(shape: Shape, options: { oneUnknown?: boolean } = {}): Value {
    if (shape.every((dim) => typeof dim === "number")) return this.int64(shape);
    const unknown = shape.filter((dim) => typeof dim !== "number").length;
    // Beside an empty axis −1 could be anything.
    if (options.oneUnknown && unknown === 1 && !shape.includes(0))
      return this.int64(shape.map((dim) => (typeof dim === "number" ? dim : -1)));
    return this.#once(`dims ${shape}`, () => {
      const parts = shape.map((dim) => this.#dim(dim));
      return parts.length === 1 ? parts[0]! : this.call("Concat", parts, { axis: 0 });
    });
  }

  /** A dimension as an int64 vector of one. */
  #dim(dim: Dim): Value {
    if (typeof dim === "number") return this.int64([dim]);
    return this.#once(`dim ${dim}`, () =>
      dimTerms(dim)
        .map(([k, names]) => {
          const factors = names.map((name) => this.#symbol(name));
          if (k !== 1 || factors.length === 0) factors.push(this.int64([k]));
          return factors.reduce((a, b) => this.call("Mul", [a, b]));
        })
        .reduce((a, b) => this.call("Add", [a, b])),
    );
  }

  #symbol(name: string): Value {
    const place = this.#symbols.get(name);
    if (!place) throw new TensorError(`the dimension "${name}" belongs to no input of the graph`);
    return this.#once(`symbol ${name}`, () =>
      this.call("Gather", [this.call("Shape", [place.input]), this.int64([place.axis])]),
    );
  }

  /** Whether a value is part of the graph, and not fed or computed. */
  isConstant(value: Value): boolean {
    return this.initializers.some(({ name }) => name === value);
  }

  /** Declares a graph input or weight, once. @throws TensorError when a name stands for two things */
  declareInput(attrs: InputAttrs): Value {
    const { name, shape, source } = attrs;
    const known = this.declared.get(name);
    if (known) {
      if (known !== attrs) throw new TensorError(`two inputs are named "${name}"; names must be unique within a graph`);
      return name;
    }
    this.declared.set(name, attrs);
    if (source && this.#embeds(attrs)) {
      this.initializers.push(this.#initializer(attrs));
      return name;
    }
    this.inputs.push(valueInfo(name, attrs));
    shape.forEach((dim, axis) => {
      if (typeof dim === "string" && dimSymbols(dim).length === 1 && !this.#symbols.has(dim))
        this.#symbols.set(dim, { input: name, axis });
    });
    return name;
  }

  #initializer({ name, dtype, shape, source }: InputAttrs): TensorProto {
    const dims = shape as readonly number[];
    const common = { name, dims, data_type: elementTypes[dtype] };
    if ("data" in source!) return { ...common, raw_data: bytesOf(source!.data) };
    const entries = {
      // The format's separator is "/" on every system.
      location: relative(this.#folder ?? "", source!.path)
        .split(sep)
        .join("/"),
      offset: `${source!.offset}`,
      length: `${bytesPerElement[dtype] * numel(dims)}`,
    };
    const external_data = Object.entries(entries).map(([key, value]) => ({ key, value }));
    return { ...common, external_data, data_location: 1 };
  }

  /** The finished graph. */
  finish(name: string, outputs: readonly ValueInfoProto[], known: readonly ValueInfoProto[]): GraphProto {
    return {
      name,
      node: this.nodes,
      initializer: this.initializers,
      input: this.inputs,
      output: [...outputs],
      value_info: [...known],
    };
  }

  #name(): Value {
    // A leading character no input may have keeps generated names apart from given ones.
    return `%${this.#count++}`;
  }

  #once(key: string, make: () => Value): Value {
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const made = this.#within(this.nodes, make);
    this.#constants.set(key, made);
    return made;
  }
}

export const arrayTypes = { float32: Float32Array, float64: Float64Array, int32: Int32Array, float16: Uint16Array, bool: Uint8Array, int8: Int8Array, uint8: Uint8Array } as const; // biome-ignore format: a table

export const bytesPerElement: Record<DType, number> = {
  float32: 4,
  float64: 8,
  int32: 4,
  float16: 2,
  bool: 1,
  int8: 1,
  uint8: 1,
};

function attribute(name: string, value: Attributes[string]): AttributeProto {
  if (typeof value === "number") return { name, type: 2, i: value };
  if (typeof value === "string") return { name, type: 3, s: Buffer.from(value) };
  if ("float" in value) return { name, type: 1, f: value.float };
  if ("graph" in value) return { name, type: 5, g: value.graph };
  return { name, type: 7, ints: value };
}

export function valueInfo(name: Value, type: TensorType): ValueInfoProto {
  const dim = type.shape.map((d) => (typeof d === "number" ? { dim_value: d } : { dim_param: d }));
  return { name, type: { tensor_type: { elem_type: elementTypes[type.dtype], shape: { dim } } } };
}

function bytesOf(data: TypedData | BigInt64Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function encodeScalar(dtype: DType, value: number): TypedData {
  return arrayTypes[dtype].of(dtype === "float16" ? toHalf(value) : dtype === "bool" ? Number(value !== 0) : value);
}
