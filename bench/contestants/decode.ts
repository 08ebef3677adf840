// Replies of a fixed length, greedy or with --temperature and --top-p drawn. --one-by-one gives the engine a prompt at a
// time, --no-drafts forbids it to guess, --weights says how it holds matrices.
import { openLocalModel, type WeightFormat } from "@tenet/lm";
import { argument, device, serveContestant } from "../contestant.ts";
import type { GenerationTask } from "../tasks.ts";

const oneByOne = process.argv.includes("--one-by-one");

await serveContestant({
  build: async ({ threads, task }) => {
    const { model: path, prompts, newTokens } = task as GenerationTask;
    const weights = (argument("--weights") ?? "float32") as WeightFormat;
    const drafts = !process.argv.includes("--no-drafts");
    const model = await openLocalModel(path, { threads, device, drafts, weights });
    // Ends of text do not count: every contestant writes as much.
    const length = { maxTokens: newTokens, minTokens: newTokens };
    const [temperature, topP] = [Number(argument("--temperature") ?? 0), Number(argument("--top-p") ?? 1)];
    const sampling = { temperature, topP, ...length };
    const requests = prompts.map((prompt) => ({ prompt, sampling }));
    const batches = oneByOne ? requests.map((request) => [request]) : [requests];
    return {
      round: async () => {
        let [work, promptTokens] = [0, 0];
        const before = model.statistics();
        for (const batch of batches)
          for await (const { completion } of model.generate(batch)) {
            work += completion.usage.completionTokens;
            promptTokens += completion.usage.promptTokens;
          }
        const { steps, drafted, accepted } = model.statistics();
        const notes = {
          steps: steps - before.steps,
          drafted: drafted - before.drafted,
          accepted: accepted - before.accepted,
        };
        return { work, prompt_tokens: promptTokens, notes };
      },
    };
  },
});
