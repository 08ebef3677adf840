/**
 * Examples for fine-tuning: prompts and replies of mixed length, the same in every run and for every contestant.
 *
 * With TENET_TEST_DATA naming a folder that holds hh-rlhf/harmless-base.first1500.jsonl.gz (the first 1,500 rows of the test split
 * of hh-rlhf's harmless-base) they are that file's chosen replies, one in
 * eleven. Without it, texts are put together from a list of words, with lengths between the quantiles of those replies.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { openDataset, rowsOf } from "@tenet/align";
import { openLocalModel } from "@tenet/lm";
import { modelFile } from "./tasks.ts";

export interface SftExample {
  prompt: { role: "system" | "user" | "assistant"; content: string }[];
  completion: string;
  /** Prompt and completion as tokens, and how many of them are the prompt's. */
  tokens: number[];
  promptTokens: number;
}

export interface SftTask {
  /** Path of the GGUF file. */
  model: string;
  examples: SftExample[];
  batchSize: number;
  epochs: number;
}

const examples = 48;
/** Enough for every round that is asked for; a run is ended, not finished. */
const epochs = 60;
/** Tokens of prompts and of replies in the file, at 0, 10 … 100 %. Longer ones are left out on both sides. */
const longest = 512;
const promptWords = [4, 8, 12, 20, 34, 52, 76, 100, 130, 170, 250];
const replyWords = [2, 6, 10, 14, 20, 28, 38, 50, 70, 100, 180];

export async function sftTask(): Promise<SftTask> {
  const path = await modelFile();
  const model = await openLocalModel(path, { device: "cpu" });
  try {
    const end = [...model.text.endIds].find((id) => model.text.tokenText(id) === "<|im_end|>")!;
    const found: SftExample[] = [];
    for await (const { prompt, completion } of texts()) {
      const before = model.text.encodePrompt(prompt);
      const tokens = [...before, ...model.text.encode(completion), end];
      if (tokens.length <= longest) found.push({ prompt, completion, tokens, promptTokens: before.length });
      if (found.length === examples) break;
    }
    return { model: path, examples: found, batchSize: 16, epochs };
  } finally {
    await model.close();
  }
}

async function* texts(): AsyncGenerator<Pick<SftExample, "prompt" | "completion">> {
  const file = join(process.env.TENET_TEST_DATA ?? "", "hh-rlhf", "harmless-base.first1500.jsonl.gz");
  if (process.env.TENET_TEST_DATA && existsSync(file)) {
    let index = 0;
    for await (const { prompt, a, b, p } of rowsOf(await openDataset(file, { as: "preferences" })))
      if (index++ % 11 === 0) yield { prompt, completion: p > 0.5 ? a : b };
    return;
  }
  const words =
    "the a clock river says often blue seven quietly near doctor please about without letter garden early because".split(
      " ",
    );
  let state = 1;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const text = (deciles: readonly number[]) => {
    const place = uniform() * (deciles.length - 1);
    const [low, high] = [deciles[Math.floor(place)]!, deciles[Math.ceil(place)]!];
    const length = Math.round(low + (high - low) * (place % 1));
    return Array.from({ length }, () => words[Math.floor(uniform() * words.length)]!).join(" ");
  };
  for (;;) yield { prompt: [{ role: "user", content: text(promptWords) }], completion: text(replyWords) };
}
