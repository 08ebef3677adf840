import { compile, input, matmul } from "../../src/index.ts";

/* Milliseconds of the processor that a session's threads take behind a run, while nothing is asked of them. */

const program = await compile(
  () => {
    const x = input("x", "float32", [256, 256]);
    return { y: matmul(x, x) };
  },
  { threads: 2 },
);
const x = new Float32Array(256 * 256).fill(0.01);
const runs = 10;
let behind = 0;
for (let run = 0; run < runs; run++) {
  await program.run({ x });
  const before = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, 100));
  const { user, system } = process.cpuUsage(before);
  behind += (user + system) / 1000 / runs;
}
await program.dispose();
console.log(JSON.stringify({ behind }));
