// Float32 2048³ products by our runtime, eight a round.
import { buildProduct } from "../ceiling.ts";
import { serveContestant } from "../contestant.ts";

const PRODUCTS = 8;

await serveContestant({
  build: async ({ threads }) => {
    const product = await buildProduct(threads);
    return {
      flops: PRODUCTS * product.flops,
      round: async () => {
        for (let i = 0; i < PRODUCTS; i++) await product.run();
        return undefined;
      },
    };
  },
});
