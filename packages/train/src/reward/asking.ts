import { z } from "zod";

/** Ways in which judges of the literature are asked. Whoever asks has the words of each. */
export const judgeFormatNames = [
  "prometheus-1",
  "prometheus-2",
  "prometheus-vision",
  "auto-j",
  "critique-llm",
  "rating",
  "d-rlaif",
] as const;
export type JudgeFormatName = (typeof judgeFormatNames)[number];

/** How a judge of the literature is asked for verdicts. The defaults are written here only. */
export const judgeAskingFields = {
  format: z
    .enum(judgeFormatNames)
    .describe(
      "Which judge's questions and answers: `prometheus-1`, `prometheus-2`, `prometheus-vision` (replies to an image), `auto-j`, `critique-llm`; `rating`, 1 to 10 in words, for a model trained for none of these; `d-rlaif`, the expected rating 1 to 10 by its log-probabilities.",
    ),
  samples: z.int().min(1).default(1).describe("Readable verdicts asked of each case; p and score are means over them."),
  retries: z
    .int()
    .min(0)
    .max(100)
    .default(3)
    .describe("Further tries where a verdict cannot be read; a case without any verdict is then set aside."),
  maxTokens: z.int().min(1).default(1024).describe("Tokens of a verdict and its reasons, at most."),
};
