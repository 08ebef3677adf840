import { z } from "zod";
import { critiqueFormats } from "../judge/index.ts";
import { layouts } from "./demonstrations.ts";
import { samplingFields } from "./sampling.ts";

/** How chains are made. The defaults are the paper's and are written here only. */
export const critiqueSettingsSchema = z.strictObject({
  rounds: z.int().min(0).default(4).describe("Rounds of critique and revision, each under a principle drawn for it."),
  critiques: z
    .enum(["model", "checks", "none"])
    .default("model")
    .describe(
      "`model`: the critic writes them; `checks`: they name the next drawn principle that the checks find violated, and the chain ends when there is none; `none`: revisions are asked for directly.",
    ),
  format: z
    .enum(Object.keys(critiqueFormats) as [keyof typeof critiqueFormats, ...(keyof typeof critiqueFormats)[]])
    .optional()
    .describe(
      "How a trained critic is asked, where `critiques` is `model`: `shepherd` or `critique-llm`, each in its own format and about quality in general, without the principle's request. Absent: any model, by that request.",
    ),
  layout: z
    .enum(layouts)
    .default("turns")
    .describe(
      "How a revision is asked for. `turns`: as a further turn of the dialogue (the paper); `quoted`: in the person's last turn, with the response; `excerpt`: with its first sentence only; `afresh`: without it.",
    ),
  system: z.string().min(1).optional().describe("System prompt of critic and reviser."),
  critique: samplingFields({ temperature: 1, maxTokens: 256 }).describe("Sampling of critiques."),
  revision: samplingFields({ temperature: 1, maxTokens: 256 }).describe("Sampling of revisions."),
  candidates: z
    .int()
    .min(1)
    .default(1)
    .describe(
      "Revisions drawn in a round; the usable one that the checks value most is taken, of equals the likeliest per token.",
    ),
  accept: z
    .enum(["always", "no-worse-by-checks"])
    .default("always")
    .describe(
      "`no-worse-by-checks`: a revision that the checks value less than the response before it is turned down.",
    ),
  endWhen: z
    .enum(["never", "critique-finds-nothing", "checks-pass"])
    .default("never")
    .describe("What ends a chain before its rounds are over."),
  whenCut: z
    .enum(["reject", "trim"])
    .default("reject")
    .describe(
      "What becomes of a revision that the length limit cut: turned down unless it ends with a sentence, or trimmed to its whole sentences.",
    ),
});
export type CritiqueSettings = z.output<typeof critiqueSettingsSchema>;

/** Whether the checks have a say in what comes of a chain: in critiques, in which revision is taken, or where it ends. */
export function heedsChecks({ critiques, accept, candidates, endWhen }: Omit<CritiqueSettings, "rounds">): boolean {
  return critiques === "checks" || accept === "no-worse-by-checks" || candidates > 1 || endWhen === "checks-pass";
}
