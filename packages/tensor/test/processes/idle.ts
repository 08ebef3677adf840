import { compile, input, matmul } from "../../src/index.ts";

/* Milliseconds of the processor that a session's threads take behind a run, while nothing is asked of them: the median, since Node has work of its own now and then. */

const program = await compile(
  () => {
    const x = input("x", "float32", [256, 256]);
    return { y: matmul(x, x) };
  },
  { threads: 2 },
);
const x = new Float32Array(256 * 256).fill(0.01);
const taken: number[] = [];
for (let run = 0; run < 11; run++) {
  await program.run({ x });
  const before = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, 100));
  const { user, system } = process.cpuUsage(before);
  taken.push((user + system) / 1000);
}
await program.dispose();
console.log(JSON.stringify({ behind: taken.sort((a, b) => a - b)[5] }));
