import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import type { Io } from "../src/index.ts";
import { writeTinyModel } from "./model.ts";

/** A command's surroundings: what it writes is collected, Ctrl-C is a call. */
export function surroundings({
  stdin,
  terminal = false,
  env = {},
}: {
  stdin?: string;
  terminal?: boolean;
  env?: Record<string, string>;
} = {}) {
  const written = { stdout: "", stderr: "" };
  const collect = (name: "stdout" | "stderr") =>
    Object.assign(new PassThrough(), { isTTY: false }).on("data", (chunk) => {
      written[name] += chunk;
    });
  const input = Object.assign(new PassThrough(), { isTTY: terminal });
  if (stdin !== undefined) input.end(stdin);
  const listeners = new Set<(code: number) => void>();
  const exits: number[] = [];
  const io: Io = {
    stdin: input,
    stdout: collect("stdout"),
    stderr: collect("stderr"),
    env,
    onInterrupt(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    exit: (code) => exits.push(code),
  };
  const interrupt = (code = 130) => {
    for (const listener of listeners) listener(code);
  };
  return { io, written, input, interrupt, listeners, exits };
}

/** Principles with checks that about half of random text breaks. */
export const constitution = `name: letters
version: "1"
principles:
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

const sampling = "{ maxTokens: 12 }";
const training = "{ lora: { rank: 2, alpha: 4 }, batchSize: 4, maxLength: 512, microBatchTokens: 512 }";

export const supervisedRecipe = `model: ./model
constitution: constitution.yaml
prompts: { train: prompts.jsonl, heldOut: held-out.jsonl }
supervised:
  response: ${sampling}
  revisions: 1
  critique: { critique: ${sampling}, revision: ${sampling}, whenCut: trim }
  examples: { unchanged: keep }
  lora: { rank: 2, alpha: 4 }
  batchSize: 4
  maxLength: 512
  microBatchTokens: 512
evaluate: { sampling: ${sampling}, neutral: neutral.yaml }
`;

/** The same and behind it labels that are audited, the preference model and an iteration of GRPO. */
export const reinforcedRecipe = `${supervisedRecipe}feedback:
  pairs: { sampling: ${sampling} }
  audit: { path: known.jsonl, override: true }
preferenceModel: { gate: { override: true }, ${training.slice(2)}
policy:
  algorithm: grpo
  iterations: 1
  promptsPerIteration: 2
  samplesPerPrompt: 2
  epochs: 1
  minibatches: 1
  maxTokens: 8
  microBatchTokens: 512
`;

/** Writes a recipe and everything that it names into a folder, and gives the recipe's path back. */
export async function writeProject(folder: string, recipe = supervisedRecipe): Promise<string> {
  await mkdir(folder, { recursive: true });
  const lines = (count: number, row: (i: number) => object) =>
    Array.from({ length: count }, (_, i) => `${JSON.stringify(row(i))}\n`).join("");
  const files = {
    "constitution.yaml": constitution,
    "prompts.jsonl": lines(6, (i) => ({ prompt: `Question ${i}: say a word.` })),
    "held-out.jsonl": lines(3, (i) => ({ prompt: `Held-out question ${i}: say a word.` })),
    "known.jsonl": lines(6, (i) => ({ prompt: `Known ${i}?`, chosen: "A fine word.", rejected: "qqq qqq 777" })),
    "neutral.yaml": "- The sun is far away.\n- Water runs downhill.\n",
    "recipe.yaml": recipe,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  await writeTinyModel(join(folder, "model"));
  return join(folder, "recipe.yaml");
}
