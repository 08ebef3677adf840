import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeTalkingModel } from "@tenet/fixtures";

/** A constitution of three principles, two of them with checks that about half of random text breaks. */
export const constitutionText = `name: letters
version: "1"
principles:
  - id: plain
    text: Say it in plain words.
  - id: no-q
    text: Do not use the letter q.
    checks:
      - mustNot: "[q7]"
        severity: 0.5
  - id: short
    text: Be brief.
    checks:
      - characters: { max: 14 }
        severity: 0.5
`;

const sampling = "{ maxTokens: 16 }";

/** Small, and with every stage that fine-tuning has. */
export const supervisedRecipe = `model: ./model
constitution: constitution.yaml
prompts: { train: prompts.jsonl, heldOut: { path: held-out.jsonl, limit: 3 } }
seed: 5
supervised:
  response: ${sampling}
  revisions: 2
  critique: { critique: ${sampling}, revision: ${sampling}, whenCut: trim }
  helpful: { path: helpful.jsonl, ratio: 0.5 }
  lora: { rank: 2, alpha: 4 }
  batchSize: 4
  epochs: 2
  learningRate: 0.005
  maxLength: 512
  microBatchTokens: 512
  checkpointEvery: 1
evaluate: { sampling: ${sampling}, neutral: neutral.yaml }
`;

/** The same and behind it the audit, labels, the preference model and PPO. */
export const reinforcedRecipe = `${supervisedRecipe}feedback:
  pairs: { sampling: ${sampling} }
  label: { swap: true, constitutionFirst: { by: checks, downWeight: 0.5 } }
  audit: { path: known.jsonl }
preferenceModel:
  # A random model learns nothing of twelve pairs.
  gate: { override: true }
  lora: { rank: 2, alpha: 4 }
  batchSize: 4
  maxLength: 512
  microBatchTokens: 512
  checkpointEvery: 1
policy:
  algorithm: ppo
  reward: { preference: 1, constitution: 0.5 }
  iterations: 4
  learningRate: 0.005
  promptsPerIteration: 4
  epochs: 2
  minibatches: 2
  maxTokens: 8
  microBatchTokens: 512
  lora: { rank: 2, alpha: 4 }
`;

/** One of each two breaks a check, so that labels which look at the checks first are right. */
const knownPairs = Array.from({ length: 8 }, (_, i) => {
  return { prompt: `Known question ${i}: say a word.`, chosen: "Rest.", rejected: "q".repeat(20) };
});

export interface Files {
  readonly prompts?: number;
  readonly recipe?: string;
  readonly constitution?: string;
  /** Pairs with a known answer for the audit. */
  readonly known?: readonly object[];
}

/** Writes a recipe and everything it names into a folder, and gives the recipe's path back. */
export async function writeRecipe(
  folder: string,
  { prompts = 12, recipe = supervisedRecipe, constitution = constitutionText, known = knownPairs }: Files = {},
): Promise<string> {
  await mkdir(folder, { recursive: true });
  const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  const numbered = (count: number, what: string) =>
    Array.from({ length: count }, (_, i) => ({ prompt: `${what} ${i}: say a word.` }));
  await Promise.all([
    writeTalkingModel(join(folder, "model"), { endBias: 0.5 }),
    writeFile(join(folder, "constitution.yaml"), constitution),
    writeFile(join(folder, "prompts.jsonl"), lines(numbered(prompts, "Question"))),
    writeFile(join(folder, "held-out.jsonl"), lines(numbered(6, "Held-out question"))),
    writeFile(
      join(folder, "helpful.jsonl"),
      lines(numbered(6, "Please").map(({ prompt }, i) => ({ prompt, completion: `Here are ${i} words for you.` }))),
    ),
    writeFile(join(folder, "known.jsonl"), lines(known)),
    writeFile(join(folder, "neutral.yaml"), "- The sun is far away.\n- Water runs downhill.\n"),
    writeFile(join(folder, "recipe.yaml"), recipe),
  ]);
  return join(folder, "recipe.yaml");
}
