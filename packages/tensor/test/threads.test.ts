import { availableParallelism } from "node:os";
import { expect, it } from "vitest";
import { compile, input, ThreadsError } from "../src/index.ts";

it("refuses numbers of threads that the machine cannot sensibly run, before any is started", async () => {
  const most = 4 * availableParallelism();
  const program = (threads: number) => compile(() => ({ y: input("x", "float32", [1]).mul(2) }), { threads });
  for (const threads of [0, -1, 1.5, Number.NaN, most + 1, 100_000]) {
    await expect(program(threads)).rejects.toThrow(ThreadsError);
    await expect(program(threads)).rejects.toThrow(`expected 1 to ${most} threads`);
  }
  for (const threads of [1, most]) await (await program(threads)).dispose();
});
