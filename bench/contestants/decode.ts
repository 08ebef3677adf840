// Greedy replies of a fixed length. --one-by-one gives the engine a prompt at a time, --no-drafts forbids it to guess.
import { openLocalModel } from "@tenet/lm";
import { serveContestant } from "../contestant.ts";
import type { GenerationTask } from "../tasks.ts";

const oneByOne = process.argv.includes("--one-by-one");

await serveContestant({
  build: async ({ threads, task }) => {
    const { model: path, prompts, newTokens } = task as GenerationTask;
    const model = await openLocalModel(path, { threads, device: "cpu", drafts: !process.argv.includes("--no-drafts") });
    // Ends of text do not count: every contestant writes as much.
    const sampling = { temperature: 0, maxTokens: newTokens, minTokens: newTokens };
    const requests = prompts.map((prompt) => ({ prompt, sampling }));
    const batches = oneByOne ? requests.map((request) => [request]) : [requests];
    return {
      round: async () => {
        let [work, promptTokens] = [0, 0];
        for (const batch of batches)
          for await (const { completion } of model.generate(batch)) {
            work += completion.usage.completionTokens;
            promptTokens += completion.usage.promptTokens;
          }
        return { work, prompt_tokens: promptTokens };
      },
    };
  },
});
