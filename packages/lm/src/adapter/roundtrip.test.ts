/*
 * An adapter trained here, loaded by Python's PEFT. Runs where this is set:
 *
 *   TENET_TEST_PEFT_PYTHON  a Python that has torch, transformers and peft
 */
import { execFile } from "node:child_process";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { AdamW, compile, input, ParameterSet, reshape } from "@tenet/tensor";
import { describe, expect, it } from "vitest";
import { graphWeights, readFamily, withCheckpoint } from "../../test/golden/families.ts";
import { decoder, headName, type LoraConfig, linearCrossEntropy, loraFrom } from "../decoder/index.ts";
import { adapterShapes, initialiseAdapter, mergeAdapter, saveAdapter } from "./index.ts";

const python = process.env.TENET_TEST_PEFT_PYTHON;
const script = fileURLToPath(new URL("../../test/golden/peft_roundtrip.py", import.meta.url));
const [rows, time, steps] = [2, 16, 20];

describe.each(["llama-biases", "mistral", "qwen2", "qwen3"])("an adapter on %s trained for 20 steps here", (name) => {
  it("gives the same logits in PEFT, and merged in transformers", async ({ skip }) => {
    if (!python) return skip("TENET_TEST_PEFT_PYTHON is not set");
    const family = await readFamily(name);
    const folder = await mkdtemp(join(tmpdir(), "tenet-peft-"));
    try {
      await withCheckpoint(family, async (checkpoint, source) => {
        const { config } = checkpoint;
        const lora: LoraConfig = { rank: 4, alpha: 8 };
        const parameters = new ParameterSet(adapterShapes(config, lora));
        initialiseAdapter(parameters, { seed: 1 });
        const weight = await graphWeights(checkpoint);
        const head = weight(headName(config));
        const program = await compile(() => {
          const factors = loraFrom(config, lora, parameters.tensors);
          const hidden = decoder(input("tokens", "int32", [rows, time]), { config, weight, lora: factors });
          const targets = reshape(input("targets", "int32", [rows, time]), [rows * time]);
          const loss = linearCrossEntropy(hidden, head, targets).mean();
          return { loss, gradient: parameters.gradient(loss), logits: hidden.matmul(head, { transB: true }) };
        });
        const tokens = Int32Array.from({ length: rows * time }, (_, i) => (i * i * 31 + 7) % config.vocab_size);
        const feeds = { tokens, targets: tokens.map((_, i) => tokens[(i + 1) % tokens.length]!) };
        const optimizer = new AdamW(parameters, { learningRate: 2e-2 });
        const losses: number[] = [];
        for (let step = 0; step < steps; step++) {
          const { loss, gradient } = await program.run({ ...parameters.feeds(), ...feeds });
          optimizer.step(gradient.data as Float32Array);
          losses.push(loss.data[0]!);
        }
        expect(losses.at(-1)).toBeLessThan(losses[0]! / 2);
        const { logits } = await program.run({ ...parameters.feeds(), ...feeds });
        await program.dispose();
        const adapter = { lora, parameters, baseModel: "base" };
        await cp(source, join(folder, "base"), { recursive: true });
        await saveAdapter(join(folder, "adapter"), { ...adapter, config });
        await mergeAdapter(checkpoint, adapter, join(folder, "merged"), { dtype: "F32" });
        const rowsOf = Array.from({ length: rows }, (_, row) => [...tokens.subarray(row * time, (row + 1) * time)]);
        await writeFile(join(folder, "expected.json"), JSON.stringify({ tokens: rowsOf, logits: [...logits.data] }));
      });
      const { stdout } = await promisify(execFile)(python, [script, folder], {
        env: { ...process.env, OMP_NUM_THREADS: "1" },
      });
      const difference = JSON.parse(stdout.trim().split("\n").at(-1)!);
      console.log(name, difference);
      expect(difference.base).toBeGreaterThan(0.5);
      expect(difference.adapter).toBeLessThanOrEqual(1e-4);
      expect(difference.merged).toBeLessThanOrEqual(1e-4);
    } finally {
      await rm(folder, { recursive: true });
    }
  }, 300_000);
});
