// Float32 products by our runtime, eight runs a round: of 2048³ unless --size says otherwise.
import { buildProduct } from "../ceiling.ts";
import { argument, device, serveContestant } from "../contestant.ts";

const PRODUCTS = 8;
const size = argument("--size");

await serveContestant({
  build: async ({ threads }) => {
    const product = await buildProduct({ threads, device, ...(size === undefined ? {} : { size: Number(size) }) });
    return {
      flops: PRODUCTS * product.flops,
      round: async () => {
        for (let i = 0; i < PRODUCTS; i++) await product.run();
        return size === undefined ? undefined : { notes: { size: Number(size) } };
      },
    };
  },
});
