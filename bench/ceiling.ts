import { compile, input, matmul, slice } from "@tenet/tensor";

/** Rows, columns and inner dimension of the product that serves as the ceiling. */
const SIZE = 2048;

/** A 2048³ product of random float32 matrices, ready to run. */
export interface Product {
  run: () => Promise<void>;
  /** Floating-point operations in one product. */
  flops: number;
  dispose: () => Promise<void>;
}

export async function buildProduct(threads: number): Promise<Product> {
  const program = await compile(
    () => {
      const a = input("a", "float32", [SIZE, SIZE]);
      const b = input("b", "float32", [SIZE, SIZE]);
      // One row of the product is fetched: copying 16 MB is not multiplying.
      return { corner: slice(matmul(a, b), 0, 0, 1) };
    },
    { threads },
  );
  const random = () => Float32Array.from({ length: SIZE ** 2 }, Math.random);
  const feeds = { a: random(), b: random() };
  return {
    run: async () => {
      await program.run(feeds);
    },
    flops: program.flops(),
    dispose: () => program.dispose(),
  };
}

/** GFLOP/s of a float32 2048³ product in our runtime, the best of twelve. */
export async function measureCeiling(threads: number): Promise<number> {
  const product = await buildProduct(threads);
  let best = Number.POSITIVE_INFINITY;
  for (let repeat = 0; repeat < 12; repeat++) {
    const start = performance.now();
    await product.run();
    best = Math.min(best, performance.now() - start);
  }
  await product.dispose();
  return product.flops / best / 1e6;
}
