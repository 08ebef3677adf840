import { GraphBuilder, valueInfo } from "./onnx/builder.ts";
import { encodeModel, type GraphProto } from "./onnx/proto.ts";
import { ort } from "./runtime.ts";

/*
 * The runtime's products of unsigned rows and signed weights. Processors without VNNI add two products of bytes in 16 bits, which overflow;
 * the runtime can be told to make signed weights in the graph unsigned, whose products are added in 32 bits. It does so wherever its
 * kernels for the two differ, and they differ on every processor with AVX2: also where the signed one is exact and, with AMX, seven to eleven
 * times as fast. So the kernel itself is asked, once in a process.
 */

/** The runtime's product of unsigned bytes and, where they are so, signed ones. */
export const byteProduct = "MatMulIntegerToFloat";

/** Whether a graph, or one within it, multiplies bytes. */
export function multipliesBytes({ node }: GraphProto): boolean {
  return node.some(
    ({ op_type, attribute }) => op_type === byteProduct || attribute.some(({ g }) => g && multipliesBytes(g)),
  );
}

let asked: Promise<boolean> | undefined;

/** Whether signed weights as they are give the exact sums on this processor. */
export function signedBytesAreExact(): Promise<boolean> {
  asked ??= ask();
  return asked;
}

/** The largest sums there are, 255 · 127 over and over, of one row and of several: each has a kernel of its own. Float32 holds them to the last bit. */
async function ask(): Promise<boolean> {
  const [inner, columns] = [147, 21];
  const g = new GraphBuilder("cpu", () => false);
  const x = { name: "x", dtype: "uint8", shape: ["rows", inner] } as const;
  const weights = g.constant("int8", [inner, columns], new Int8Array(inner * columns).fill(127));
  const scales = g.constant("float32", [columns], new Float32Array(columns).fill(1));
  const operands = [g.declareInput(x), weights, g.scalar("float32", 1), scales, g.scalar("uint8", 0)];
  const y = valueInfo(g.call(`com.microsoft.${byteProduct}`, operands), { dtype: "float32", shape: ["rows", columns] });
  const session = await ort.InferenceSession.create(encodeModel(g.finish("bytes", [y], [])), {
    executionProviders: ["cpu"],
    logSeverityLevel: 3,
    intraOpNumThreads: 1,
  });
  try {
    for (const rows of [1, 40]) {
      const feeds = { x: new ort.Tensor("uint8", new Uint8Array(rows * inner).fill(255), [rows, inner]) };
      const sums = (await session.run(feeds))[y.name]!.data as Float32Array;
      if (sums.length !== rows * columns || sums.some((sum) => sum !== inner * 255 * 127)) return false;
    }
    return true;
  } finally {
    await session.release();
  }
}
