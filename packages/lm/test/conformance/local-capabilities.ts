import type { Capabilities } from "../../src/language-model/types.ts";

/** What the local engine can do with the tiny model of the tests, asked directly or by callers that come and go. */
export const localCapabilities: Capabilities = {
  chat: true,
  raw: true,
  prefill: true,
  topLogprobs: 259,
  score: { raw: "continuations", chat: "continuations" },
  seed: true,
  topK: true,
  minP: true,
  minTokens: true,
  repetitionPenalty: true,
  streaming: true,
};
