/*
 * SmolLM2-135M-Instruct against transformers with the same dequantised weights. Runs where this is set:
 *
 *   TENET_TEST_MODEL  the path of SmolLM2-135M-Instruct.Q4_1.gguf
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { argMax, compile, flattenRows, gather, input, logSumExp, matmul } from "@tenet/tensor";
import { describe, expect, it } from "vitest";
import { bytesOf, graphWeights, largestDifference } from "../../test/golden/families.ts";
import { readSmolLm2 } from "../../test/golden/smollm2.ts";
import { openCheckpoint } from "../checkpoint/index.ts";
import { decoder, headName } from "./index.ts";

const path = process.env.TENET_TEST_MODEL;
const [rows, time] = [4, 128];

describe("SmolLM2-135M-Instruct", () => {
  it("gives transformers' logits behind 20 prompts, and its choice at each of 64 greedy tokens", async ({ skip }) => {
    if (!path) return skip("TENET_TEST_MODEL is not set");
    const { model, prompts, stride } = await readSmolLm2();
    expect(
      createHash("sha256")
        .update(await readFile(path))
        .digest("hex"),
    ).toBe(model.sha256);
    const steps = prompts[0]!.greedy.length;
    const checkpoint = await openCheckpoint(path);
    const { config } = checkpoint;
    const weight = await graphWeights(checkpoint);
    const program = await compile(() => {
      const hidden = decoder(input("tokens", "int32", [rows, time]), { config, weight });
      const chosen = gather(hidden, input("chosen", "int32", [rows, steps]));
      const logits = matmul(flattenRows(chosen), weight(headName(config)), { transB: true });
      const last = gather(logits, input("first", "int32", [rows]));
      return { best: argMax(logits, 1), last, total: logSumExp(last, 1) };
    });
    let worst = 0;
    for (let at = 0; at < prompts.length; at += rows) {
      const batch = prompts.slice(at, at + rows);
      const tokens = new Int32Array(rows * time);
      const chosen = new Int32Array(rows * steps);
      batch.forEach(({ ids, greedy }, row) => {
        tokens.set([...ids, ...greedy.slice(0, -1)], row * time);
        chosen.set(
          greedy.map((_, step) => row * time + ids.length - 1 + step),
          row * steps,
        );
      });
      const first = Int32Array.from({ length: rows }, (_, row) => row * steps);
      const out = await program.run({ tokens, chosen, first });
      batch.forEach(({ text, greedy, top, strided, logSumExp: total }, row) => {
        expect([...out.best.data.subarray(row * steps, (row + 1) * steps)], text).toEqual(greedy);
        const logits = out.last.data.subarray(row * config.vocab_size, (row + 1) * config.vocab_size) as Float32Array;
        const difference = Math.max(
          largestDifference(
            top.ids.map((id) => logits[id]!),
            new Float32Array(bytesOf(top.logits)),
          ),
          largestDifference(
            logits.filter((_, id) => id % stride === 0),
            new Float32Array(bytesOf(strided)),
          ),
          Math.abs(out.total.data[row]! - total),
        );
        worst = Math.max(worst, difference);
        expect(difference, text).toBeLessThanOrEqual(1e-3);
      });
    }
    console.log(`largest difference of a logit: ${worst.toExponential(1)}`);
    await program.dispose();
    await checkpoint.close();
  }, 300_000);
});
