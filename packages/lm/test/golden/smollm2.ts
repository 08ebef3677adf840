import { readFile } from "node:fs/promises";

/** What transformers makes of SmolLM2-135M-Instruct, as smollm2.py writes it; numbers are base64 of float32. */
export interface SmolLm2Golden {
  model: { file: string; sha256: string };
  /** `strided` holds the logits of ids 0, stride, 2 · stride … */
  stride: number;
  prompts: {
    text: string;
    /** Whether the text is a user's message under the chat template, or the prompt itself. */
    chat: boolean;
    ids: number[];
    /** Chosen greedily, past the end of a turn. */
    greedy: number[];
    /** Least distance of the best two logits along the way: what rounding must stay below. */
    margin: number;
    /** The largest logits behind the prompt. */
    top: { ids: number[]; logits: string };
    logSumExp: number;
    strided: string;
  }[];
}

export async function readSmolLm2(): Promise<SmolLm2Golden> {
  return JSON.parse(await readFile(new URL("smollm2.golden.json", import.meta.url), "utf8"));
}
