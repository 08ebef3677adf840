// Proximal policy optimisation through `trainPpo`: a round is an iteration, its checkpoint included. --weights says how the frozen base
// is held, to speak and to learn.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openPreferenceModel, type PromptRow, preferenceReward, trainPpo } from "@tenet/align";
import { adapterShapes, initialiseAdapter, type LocalModel, openLocalModel, saveAdapter } from "@tenet/lm";
import { ParameterSet } from "@tenet/tensor";
import { device, serveContestant } from "../contestant.ts";
import type { PpoTask } from "../tasks.ts";
import { trainingWeights } from "../training-weights.ts";

/** More than are ever asked for; a run is ended, not finished. */
const iterations = 1000;

await serveContestant({
  build: async ({ threads, task }) => {
    const { model: path, prompts, newTokens, epochs, minibatches } = task as PpoTask;
    const model = await openLocalModel(path, { threads, device, ...trainingWeights() });
    speakAtLength(model);
    const folder = mkdtempSync(join(tmpdir(), "tenet-bench-"));
    process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
    const judge = await writePreferenceModel(model, join(folder, "judge"));
    const scorer = await openPreferenceModel(model, judge, { threads, device });
    const rows = prompts.map(({ messages }, i): PromptRow => {
      return { id: `prompt ${i}`, origin: { parents: [] }, prompt: messages };
    });
    const run = trainPpo({
      ...{ model, prompts: rows, reward: preferenceReward(scorer), valueFrom: judge, seed: 1, folder, threads },
      device,
      settings: { iterations, promptsPerIteration: prompts.length, maxTokens: newTokens, epochs, minibatches },
    });
    const promptTokens = prompts.reduce((sum, { tokens }) => sum + tokens.length, 0);
    return {
      round: async () => {
        const { value, done } = await run.next();
        if (done) throw new Error(`the ${iterations} iterations are over`);
        const { metrics } = value;
        const work = Math.round(metrics["val/response_length"]! * prompts.length);
        const notes = { updates: metrics["policy/updates"]! };
        return { work, prompt_tokens: promptTokens, loss: metrics["loss/policy_avg"]!, notes };
      },
    };
  },
});

/** Replies end at the limit of tokens and not before: every contestant writes as much. */
function speakAtLength(model: LocalModel): void {
  const { withAdapter } = model;
  model.withAdapter = async (adapter) => {
    const speaker = await withAdapter.call(model, adapter);
    const { generate } = speaker;
    speaker.generate = (requests, call) => {
      const whole = requests.map(({ sampling, ...request }) => {
        return { ...request, sampling: { ...sampling, minTokens: sampling?.maxTokens ?? 0 } };
      });
      return generate.call(speaker, whole, call);
    };
    return speaker;
  };
}

/** A preference model as it is before its training: what it says is worth nothing, and takes as long. */
async function writePreferenceModel(model: LocalModel, folder: string): Promise<string> {
  const lora = { rank: 16, alpha: 32 };
  const parameters = new ParameterSet(adapterShapes(model.config, lora, { head: true }));
  initialiseAdapter(parameters, { seed: 1 });
  await saveAdapter(folder, { lora, parameters, baseModel: model.id, config: model.config });
  return folder;
}
