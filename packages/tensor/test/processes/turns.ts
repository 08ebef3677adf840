import { compile, input } from "../../src/index.ts";

/*
 * Two sessions of the same graph that run in turns, and the most memory the process had, in MiB: before, with one, with both.
 */

/** Results of 12 MiB each, all of which are needed until the last is there. */
const session = (count: number) =>
  compile(() => {
    const x = input("x", "float32", [3072, 1024]);
    const kept = Array.from({ length: 32 }, (_, i) => x.mul(i + count).neg());
    const total = kept.reduce((sum, one) => sum.add(one));
    return { y: kept.reduce((sum, one) => sum.add(one.mul(total).sum()), total.sum()) };
  });
const x = new Float32Array(3072 * 1024).fill(1e-3);
const most = () => process.resourceUsage().maxRSS / 1024;

const found: Record<string, number> = { empty: most() };
const [a, b] = [await session(1), await session(2)];
await a.run({ x });
await a.run({ x });
found.first = most();
await b.run({ x });
await a.run({ x });
await b.run({ x });
found.second = most();
console.log(JSON.stringify(found));
