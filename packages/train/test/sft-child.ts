// Fine-tunes the tiny model in the folder given, one line of output a step: what tests kill and start again.
import { join } from "node:path";
import { type ExampleRow, rowId } from "@tenet/data";
import { openLocalModel } from "@tenet/lm";
import { trainSft } from "../src/sft.ts";

const [base, folder] = process.argv.slice(2) as [string, string];
const rows = Array.from({ length: 30 }, (_, i): ExampleRow => {
  const prompt = [{ role: "user" as const, content: `Name ${"a ".repeat(i % 5)}number` }];
  const completion = `Number ${i * 37}${"!".repeat(i % 7)}`;
  return { id: rowId("example", i), origin: { parents: [] }, prompt, completion, weight: 1 + (i % 3) };
});
const model = await openLocalModel(base, { device: "cpu", cacheDir: join(base, "cache") });
const settings = { epochs: 2, batchSize: 5, learningRate: 5e-3, validationShare: 0.1, patience: 9, evaluateEvery: 3 };
const run = trainSft({
  model,
  rows,
  settings: { ...settings, schedule: "cosine", checkpointEvery: 2, lora: { rank: 2, alpha: 4 } },
  seed: 5,
  folder,
});
for (let next = await run.next(); ; next = await run.next()) {
  process.stdout.write(`${JSON.stringify(next.value)}\n`);
  if (next.done) break;
}
await model.close();
