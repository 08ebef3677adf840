import type * as Ort from "onnxruntime-node";
import { lowerGraph } from "../compile.ts";
import { TensorError } from "../errors.ts";
import { ort } from "../runtime.ts";
import type { Tensor } from "../tensor.ts";
import { valueInfo } from "./builder.ts";
import { encodeModel, type NodeProto } from "./proto.ts";

export interface OnnxFileOptions {
  /** Inputs declared as int32 that the file takes as int64, as most of what runs ONNX files feeds them. */
  readonly wide?: readonly string[];
}

/** The newest operators that every runtime of the last years has. */
const OPSET = 21;
const [INT32, INT64] = [6, 7];

/**
 * An ONNX file of one graph, for whatever runs such files: inputs and outputs have the names given here, and only standard operators
 * stand in it. Weights in files are referred to by name and place (external data), relative to the folder that all of them are in.
 * @throws TensorError when the graph cannot be expressed
 */
export function encodeOnnx(outputs: Readonly<Record<string, Tensor>>, { wide = [] }: OnnxFileOptions = {}): Uint8Array {
  // Lowered as for a device without kernels of its own.
  const { graph, names } = lowerGraph(Object.values(outputs), "webgpu");
  const narrowed = (name: string) => (wide.includes(name) ? `${name}.int32` : name);
  const casts = wide.map(
    (name): NodeProto => ({
      ...{ name: narrowed(name), op_type: "Cast", domain: "", input: [name], output: [narrowed(name)] },
      attribute: [{ name: "to", type: 2, i: INT32 }],
    }),
  );
  const named = Object.entries(outputs).map(
    ([name, tensor]): NodeProto => ({
      ...{ name, op_type: "Identity", domain: "", input: [names.get(tensor)!], output: [name], attribute: [] },
    }),
  );
  const input = graph.input.map((info) => {
    if (!wide.includes(info.name)) return info;
    const { shape } = info.type.tensor_type;
    return { name: info.name, type: { tensor_type: { elem_type: INT64, shape } } };
  });
  for (const name of wide)
    if (!input.some((info) => info.name === name)) throw new TensorError(`the graph has no input "${name}" to widen`);
  const nodes = graph.node.map((node) => ({ ...node, input: node.input.map(narrowed) }));
  return encodeModel(
    {
      ...graph,
      input,
      node: [...casts, ...nodes, ...named],
      output: Object.entries(outputs).map(([name, tensor]) => valueInfo(name, tensor)),
    },
    { opset: OPSET },
  );
}

/** A value as an ONNX file takes and gives it; 64-bit integers as numbers. */
export interface OnnxValue {
  readonly data: Float32Array | Int32Array | readonly number[];
  readonly shape: readonly number[];
}

/** An ONNX file as ONNX Runtime opens it, from whatever wrote it. */
export class OnnxFile {
  readonly #session: Ort.InferenceSession;

  private constructor(session: Ort.InferenceSession) {
    this.#session = session;
  }

  /** Errors: TensorError for what the runtime does not open. */
  static async open(path: string, { threads }: { readonly threads?: number } = {}): Promise<OnnxFile> {
    try {
      const options = { executionProviders: ["cpu"], logSeverityLevel: 4 as const, enableMemPattern: false };
      return new OnnxFile(
        await ort.InferenceSession.create(path, {
          ...options,
          ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
        }),
      );
    } catch (cause) {
      throw new TensorError(`ONNX Runtime does not open ${path}: ${(cause as Error).message}`, { cause });
    }
  }

  get inputs(): readonly string[] {
    return this.#session.inputNames;
  }

  get outputs(): readonly string[] {
    return this.#session.outputNames;
  }

  /** Float32Array is fed as float32, Int32Array as int32 and a list of numbers as int64. Errors: TensorError. */
  async run(
    feeds: Readonly<Record<string, OnnxValue>>,
  ): Promise<Record<string, { data: Float32Array; shape: readonly number[] }>> {
    const fed = Object.entries(feeds).map(([name, { data, shape }]) => {
      if (data instanceof Float32Array) return [name, new ort.Tensor("float32", data, shape)];
      if (data instanceof Int32Array) return [name, new ort.Tensor("int32", data, shape)];
      return [name, new ort.Tensor("int64", BigInt64Array.from(data, BigInt), shape)];
    });
    const out = await this.#session.run(Object.fromEntries(fed)).catch((cause: Error) => {
      throw new TensorError(`ONNX Runtime does not run the file: ${cause.message}`, { cause });
    });
    return Object.fromEntries(
      Object.entries(out).map(([name, { data, dims }]) => [name, { data: data as Float32Array, shape: dims }]),
    );
  }

  close(): Promise<void> {
    return this.#session.release();
  }
}
