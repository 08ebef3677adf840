// Float32 2048³ products in ONNX Runtime, eight a round.
import { buildProduct, CEILING_FLOPS } from "../ceiling.ts";
import { serveContestant } from "../contestant.ts";

const PRODUCTS = 8;

await serveContestant({
  build: async ({ threads }) => {
    const product = await buildProduct(threads);
    return {
      flops: PRODUCTS * CEILING_FLOPS,
      round: async () => {
        for (let i = 0; i < PRODUCTS; i++) await product.run();
        return undefined;
      },
    };
  },
});
