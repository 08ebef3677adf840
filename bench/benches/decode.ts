import { peer, tenet } from "../contestants/index.ts";
import type { Bench } from "../harness.ts";
import { decodeOneTask, decodeTask } from "../tasks.ts";

const contestants = {
  ours: tenet("decode.ts"),
  peers: [peer("transformers", "decode_transformers.py"), peer("llama.cpp", "decode_llama.py")],
};

export const decode: Bench = {
  name: "decode",
  summary: "64 prompts of 20 to 60 tokens × 64 new tokens, greedy, SmolLM2-135M-Instruct",
  unit: "tokens/s",
  measure: "rate",
  prepare: decodeTask,
  ...contestants,
};

export const decodeOne: Bench = {
  name: "decode-1",
  summary: "one prompt, 128 new tokens, greedy, SmolLM2-135M-Instruct",
  unit: "tokens/s",
  measure: "rate",
  prepare: decodeOneTask,
  ...contestants,
};
