import { type ScriptedOptions, scriptedTokens } from "../../src/language-model/scripted.ts";

/** Six long replies to anything: the voice of scripted subjects. */
export const talkative: ScriptedOptions = {
  fallback: (prompt) => {
    const topic = scriptedTokens(prompt).slice(0, 4).join("").trim() || "nothing";
    return ["One", "Another", "A third", "Yet another", "The fifth", "A last"].map(
      (which) =>
        `${which} thing to say of "${topic}": it is wide, it is deep; nobody knows — not even the old — where it began, nor how many waves 🌊 there are in it, and so the story goes on and on until the evening.`,
    );
  },
  logprob: (_, continuation) => (/^ ?[A-Z]$/.test(continuation) ? -4 : undefined),
  latencyMs: 1,
};
