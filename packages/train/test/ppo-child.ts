// Trains a policy by PPO in the folder given, one line of output an iteration: what tests kill and start again.
import { join } from "node:path";
import type { PromptRow } from "@tenet/data";
import { openLocalModel } from "@tenet/lm";
import { trainPpo } from "../src/ppo.ts";
import { rewardOf } from "../src/reward/index.ts";

const [base, folder] = process.argv.slice(2) as [string, string];
const prompts = Array.from({ length: 5 }, (_, i): PromptRow => {
  return { id: `prompt-${i}`, origin: { parents: [] }, prompt: [{ role: "user", content: `Say ${i}` }] };
});
const model = await openLocalModel(base, { device: "cpu", threads: 1, cacheDir: join(base, "cache") });
const run = trainPpo({
  model,
  prompts,
  reward: rewardOf("letter", (requests) => requests.map(({ response }) => Number(response.includes("M")))),
  // What every reply costs is bounded too: what the multiplier remembers outlives the process.
  cost: rewardOf("letter", (requests) => requests.map(({ response }) => Number(response.includes("M")))),
  settings: {
    constraint: { bound: 0.3, multiplier: { window: 12 } },
    ...{ iterations: 5, promptsPerIteration: 8, maxTokens: 5, epochs: 2, minibatches: 2, learningRate: 5e-3 },
    ...{ lora: { rank: 2, alpha: 4 }, kl: { target: 0.1, horizon: 50 } },
  },
  seed: 3,
  folder,
  device: "cpu",
  threads: 1,
});
for (let next = await run.next(); ; next = await run.next()) {
  process.stdout.write(`${JSON.stringify(next.value)}\n`);
  if (next.done) break;
}
await model.close();
