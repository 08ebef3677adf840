import { type CompileOptions, compile, type DeviceName, input, matmul, slice, weight } from "@tenet/tensor";

/** Products of random float32 matrices, ready to run. */
export interface Product {
  run: () => Promise<void>;
  /** Floating-point operations in one run. */
  flops: number;
  dispose: () => Promise<void>;
}

export interface ProductOptions {
  readonly threads: number;
  readonly device: DeviceName;
  /** Rows, columns and inner dimension. Default 2048, the product that serves as the ceiling. */
  readonly size?: number;
}

/** On a GPU the matrices stay there, and a run is several products, each of the last: what is measured is not the way there and back. */
const productsPerRun = 16;

export async function buildProduct({ threads, device, size = 2048 }: ProductOptions): Promise<Product> {
  const options: CompileOptions = { threads, device };
  // Values keep their size from one product to the next.
  const random = () => Float32Array.from({ length: size ** 2 }, () => (Math.random() - 0.5) * Math.sqrt(12 / size));
  const feeds: Record<string, Float32Array> =
    device === "cpu" ? { a: random(), b: random() } : { scale: Float32Array.of(1) };
  const build =
    device === "cpu"
      ? () => matmul(input("a", "float32", [size, size]), input("b", "float32", [size, size]))
      : () => {
          const b = weight("b", [size, size], { data: random() });
          let product = b.mul(input("scale", "float32", [1]));
          for (let i = 0; i < productsPerRun; i++) product = matmul(product, b);
          return product;
        };
  // One row of the product is fetched: copying it all is not multiplying.
  const program = await compile(() => ({ corner: slice(build(), 0, 0, 1) }), options);
  return {
    run: async () => {
      await program.run(feeds);
    },
    flops: program.flops(),
    dispose: () => program.dispose(),
  };
}

/** GFLOP/s of float32 products in our runtime, the best of twelve. */
export async function measureCeiling(options: ProductOptions): Promise<number> {
  const product = await buildProduct(options);
  let best = Number.POSITIVE_INFINITY;
  for (let repeat = 0; repeat < 12; repeat++) {
    const start = performance.now();
    await product.run();
    best = Math.min(best, performance.now() - start);
  }
  await product.dispose();
  return product.flops / best / 1e6;
}
