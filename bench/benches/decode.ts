import { peer, tenet } from "../contestants/index.ts";
import type { Bench } from "../harness.ts";
import { decodeOneTask, decodeTask } from "../tasks.ts";

const ours = tenet("decode.ts");
const peers = [peer("transformers", "decode_transformers.py"), peer("llama.cpp", "decode_llama.py", { only: "cpu" })];

export const decode: Bench = {
  name: "decode",
  summary: "64 prompts of 20 to 60 tokens × 64 new tokens, greedy, SmolLM2-135M-Instruct",
  unit: "tokens/s",
  measure: "rate",
  devices: true,
  weights: true,
  prepare: decodeTask,
  ours,
  peers,
};

export const decodeNucleus: Bench = {
  name: "decode-nucleus",
  summary: "the same 64 × 64 tokens drawn at temperature 0.7 from a nucleus of 0.9, SmolLM2-135M-Instruct",
  unit: "tokens/s",
  measure: "rate",
  devices: true,
  weights: true,
  prepare: decodeTask,
  ours: tenet("decode.ts", "tenet", ["--temperature", "0.7", "--top-p", "0.9"]),
  // What drawing costs: below 1, by how much.
  peers: [tenet("decode.ts", "greedy")],
};

export const decodeOne: Bench = {
  name: "decode-1",
  summary: "one prompt, 128 new tokens, greedy, SmolLM2-135M-Instruct",
  unit: "tokens/s",
  measure: "rate",
  devices: true,
  weights: true,
  prepare: decodeOneTask,
  ours,
  // A small model repeats itself when greedy, and then drafts are right: this peer shows how much of the rest is due to them.
  peers: [...peers, tenet("decode.ts", "no-drafts", ["--no-drafts"])],
};
