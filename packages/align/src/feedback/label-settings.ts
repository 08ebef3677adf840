import { z } from "zod";
import { judgeAskingSchema, sampledLettersSchema } from "../judge/index.ts";
import { samplingFields } from "./sampling.ts";

const probability = z.number().min(0).max(1);

/** How pairs are labelled. The defaults are the papers' and are written here only. */
export const labelSettingsSchema = z
  .strictObject({
    method: z
      .enum(["choice", "cot", "checks", "judge", "contrast", "people"])
      .default("choice")
      .describe(
        "`choice`: the letters are read at once; `cot`: the labeller reasons first; `judge`: the labeller is a judge of the literature and asked in its own format (`judge`); `contrast`: of pairs made by `pairs.contrast` the reply under the principle is preferred, and nobody is asked; `checks`: the constitution's checks alone label, and a pair that they cannot tell apart is set aside; `people`: the run waits until people have judged the pairs (`tenet label`, or the dashboard).",
      ),
    swap: z.boolean().default(true).describe("Ask with the options exchanged too, and take the mean (RLAIF)."),
    principles: z.int().min(1).default(1).describe("Principles drawn for each pair; the label is the mean over them."),
    system: z.string().min(1).optional().describe("System prompt of the labeller."),
    cot: z
      .strictObject({
        samples: z.int().min(1).default(1).describe("Reasonings per question; the label is the mean over them."),
        clamp: z
          .tuple([probability, probability])
          .refine(([low, high]) => low <= high, { error: "the lower bound is above the upper one" })
          .default([0.4, 0.6])
          .describe("Bounds of p as read behind a reasoning, which is too sure of itself (CAI)."),
        sampling: samplingFields({ temperature: 1, maxTokens: 256 }).describe("Sampling of the reasonings."),
      })
      .prefault({})
      .describe("How a labeller reasons, where the method is `cot`."),
    judge: judgeAskingSchema.optional().describe("Which judge the labeller is, where the method is `judge`."),
    letters: sampledLettersSchema
      .optional()
      .describe(
        "How answers are sampled where the labeller reports no log-probabilities of the letters; absent: `{ samples: 3, maxTokens: 1024 }`.",
      ),
    constitutionFirst: z
      .strictObject({
        by: z
          .enum(["off", "checks", "critic", "both"])
          .default("off")
          .describe("Who looks for violations before anybody is asked what is better."),
        downWeight: probability
          .default(1)
          .describe("How far p moves towards the response that violates nothing when the other does; 1: all the way."),
        severeFrom: probability.default(1).describe("Severity from which two violators drop the pair."),
      })
      .prefault({})
      .describe("Violations decide before preferences do."),
  })
  .superRefine(({ method, judge }, context) => {
    if ((method === "judge") === (judge !== undefined)) return;
    const message =
      method === "judge"
        ? "expected judge beside method: judge, such as judge: { format: prometheus-2 }"
        : `expected method: judge beside it; the method is "${method}"`;
    context.addIssue({ code: "custom", path: method === "judge" ? ["method"] : ["judge"], message });
  });
export type LabelSettings = z.output<typeof labelSettingsSchema>;
