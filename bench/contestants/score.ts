// Log-probabilities of given continuations.
import { openLocalModel, type WeightFormat } from "@tenet/lm";
import { argument, serveContestant } from "../contestant.ts";
import type { ScoringTask } from "../tasks.ts";

await serveContestant({
  build: async ({ threads, task }) => {
    const { model: path, items } = task as ScoringTask;
    const weights = (argument("--weights") ?? "float32") as WeightFormat;
    const model = await openLocalModel(path, { threads, device: "cpu", weights });
    return {
      round: async () => {
        const logprobs: number[] = [];
        for await (const { scores } of model.score(items)) logprobs.push(...scores.map(({ logprob }) => logprob));
        return { work: items.length, loss: -logprobs.reduce((a, b) => a + b) / logprobs.length };
      },
    };
  },
});
