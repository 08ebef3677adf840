import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { reinforcedRecipe, supervisedRecipe, writeRecipe } from "../pipeline/fixture.ts";

const watched = reinforcedRecipe.replace("prompts: {", "prompts: { validation: { share: 0.25 },");
const dpo = "  algorithm: dpo\n  batchSize: 4\n  maxLength: 512\n  microBatchTokens: 512\n";

/** The recipes whose runs are in the store beside this file: between them they have every kind of stage that was there then. */
export const oldRecipes: Readonly<Record<string, string>> = {
  supervised: supervisedRecipe,
  whole: `${watched
    .replace("ratio: 0.5", "ratio: 0.5, replies: model")
    .replace(
      "preferenceModel:\n",
      "preferenceModel:\n  human: { path: labelled.jsonl, ratio: 0.5 }\n  pretrain: labelled.jsonl\n",
    )}roles: { judge: ./model }\n`,
  judged: `${reinforcedRecipe.replace(/^ *audit:.*\n/m, "").replace("by: checks, downWeight: 0.5", "by: off")}roles:
  labeller:
    train:
      pairs: { from: checks, samples: 3, sampling: { maxTokens: 12 } }
      lora: { rank: 2, alpha: 4 }
      maxLength: 600
      batchSize: 8
      audit: { override: true }
`,
  dpo: `${watched.split("preferenceModel:\n")[0]}policy:\n${dpo}`,
};

/** Writes one of them, and what it names, into a folder; gives the recipe's path back. */
export async function writeOldRecipe(folder: string, name: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const labelled = Array.from({ length: 5 }, (_, i) => ({ prompt: `Known ${i}?`, chosen: "Yes.", rejected: "No." }));
  await writeFile(join(folder, "labelled.jsonl"), labelled.map((row) => `${JSON.stringify(row)}\n`).join(""));
  return writeRecipe(folder, { recipe: oldRecipes[name]!, prompts: 8 });
}
