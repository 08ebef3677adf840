import { createRequire } from "node:module";
import type { InferenceSession, Tensor } from "onnxruntime-common";

/** Rows, columns and inner dimension of the product that serves as the ceiling. */
export const CEILING_SIZE = 2048;

/** Floating-point operations in one such product. */
export const CEILING_FLOPS = 2 * CEILING_SIZE ** 3;

// TODO: replace this file's ONNX by @tenet/tensor's `compile` once that package has it.
const { InferenceSession: Session, Tensor: OrtTensor } = createRequire(
  new URL("../packages/tensor/package.json", import.meta.url),
)("onnxruntime-node") as typeof import("onnxruntime-common");

/** GFLOP/s of a float32 2048³ product in ONNX Runtime, the best of ten. */
export async function measureCeiling(threads: number): Promise<number> {
  const product = await buildProduct(threads);
  let best = Number.POSITIVE_INFINITY;
  for (let repeat = 0; repeat < 12; repeat++) {
    const start = performance.now();
    await product.run();
    best = Math.min(best, performance.now() - start);
  }
  await product.release();
  return CEILING_FLOPS / best / 1e6;
}

/** A 2048³ product of random matrices, ready to run. One number of it is fetched: copying 16 MB is not multiplying. */
export async function buildProduct(
  threads: number,
): Promise<{ run: () => Promise<void>; release: () => Promise<void> }> {
  const session: InferenceSession = await Session.create(productModel(CEILING_SIZE), {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
  });
  const random = (): Tensor =>
    new OrtTensor("float32", Float32Array.from({ length: CEILING_SIZE ** 2 }, Math.random), [
      CEILING_SIZE,
      CEILING_SIZE,
    ]);
  const feeds = { a: random(), b: random() };
  return {
    run: async () => {
      await session.run(feeds);
    },
    release: () => session.release(),
  };
}

/** An ONNX file, written by hand: a [n, n] times b [n, n], of which the first number is the output. */
function productModel(n: number): Uint8Array {
  const matrix = (name: string, rows: number) =>
    message(text(1, name), bytes(2, bytes(1, message(integer(1, 1), bytes(2, dimension(rows), dimension(rows))))));
  const constant = (name: string, value: number) =>
    message(integer(1, 2), integer(2, 7), integer(7, value), integer(7, value), text(8, name)); // int64 [2]
  const graph = message(
    bytes(1, text(1, "a"), text(1, "b"), text(2, "product"), text(4, "MatMul")),
    bytes(1, text(1, "product"), text(1, "zeros"), text(1, "ones"), text(2, "corner"), text(4, "Slice")),
    text(2, "product"),
    bytes(5, constant("zeros", 0)),
    bytes(5, constant("ones", 1)),
    bytes(11, matrix("a", n)),
    bytes(11, matrix("b", n)),
    bytes(12, matrix("corner", 1)),
  );
  return message(integer(1, 8), bytes(7, graph), bytes(8, text(1, ""), integer(2, 17))); // ir version 8, opset 17
}

const dimension = (size: number) => bytes(1, integer(1, size));
const message = (...fields: Uint8Array[]) => Uint8Array.from(Buffer.concat(fields));
const text = (field: number, value: string) => bytes(field, Buffer.from(value));
const integer = (field: number, value: number) => Uint8Array.from([field << 3, ...varint(value)]);
function bytes(field: number, ...parts: Uint8Array[]): Uint8Array {
  const content = message(...parts);
  return message(Uint8Array.from([(field << 3) | 2, ...varint(content.length)]), content);
}
function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >> 7)];
}
