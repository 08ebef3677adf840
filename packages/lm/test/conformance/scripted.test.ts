import { scriptedModel } from "../../src/language-model/scripted.ts";
import { talkative } from "./scripts.ts";
import { conformance } from "./suite.ts";

conformance({
  name: "the scripted model",
  open: async () => scriptedModel(talkative),
  capabilities: {
    chat: true,
    raw: true,
    prefill: true,
    topLogprobs: 1,
    score: { raw: "continuations", chat: "continuations" },
    seed: true,
    topK: true,
    minP: true,
    minTokens: false,
    repetitionPenalty: true,
    streaming: true,
  },
  patienceMs: 200,
});
