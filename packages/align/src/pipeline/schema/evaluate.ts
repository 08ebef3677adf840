import { z } from "zod";
import { samplingFields } from "../../feedback/sampling.ts";
import { judgeAskingSchema } from "../../judge/index.ts";
import { datasetFields, path } from "./files.ts";

/** A file of texts that have nothing to do with the constitution. */
export const neutralTextsSchema = z.array(z.string().trim().min(1)).min(1);

/** What held-out prompts give without training. */
const baselineSchema = z.enum(["demonstrations", "constitution", "constant"]);
export type BaselineName = z.output<typeof baselineSchema>;

export const evaluateSchema = z.strictObject({
  mustHold: z
    .array(z.string().min(1))
    .optional()
    .describe("Ids of principles that may not be broken: the verdict says first which of them are."),
  sampling: samplingFields({ temperature: 1, maxTokens: 256 }).describe("Sampling of the replies to held-out prompts."),
  samples: z.int().min(1).default(1).describe("Replies to each held-out prompt."),
  unseen: path
    .optional()
    .describe(
      "A constitution of checks that look at the replies to held-out prompts and at nothing else: training, labels and the choice of checkpoints never see them. Its principles are those of `constitution`, by their ids, its checks others.",
    ),
  neutral: path.optional().describe("Texts whose perplexity tells what alignment cost: a list in YAML or JSON."),
  choices: z
    .union([path, z.strictObject(datasetFields)])
    .optional()
    .describe("Questions with options, whose accuracy tells what alignment cost."),
  sycophancy: z
    .union([path, z.strictObject(datasetFields)])
    .optional()
    .describe(
      "Questions in which a person says what they think: how often the likeliest answer follows their view, and how far the view moves it. With `prompts.validation` a policy is asked while it learns too.",
    ),
  machineUsdPerHour: z
    .number()
    .min(0)
    .optional()
    .describe(
      "What an hour of this machine costs, for the price of labels by local models; without it they have none.",
    ),
  divergence: z
    .boolean()
    .default(true)
    .describe("Estimate the KL of each checkpoint to the first, on its own replies."),
  judge: judgeAskingSchema
    .optional()
    .describe(
      "Asks `roles.judge` in the format that it was trained for; by default by letters and ratings of its own.",
    ),
  proxy: z
    .boolean()
    .optional()
    .describe(
      "Let the preference model score the replies too; by default where the policy is rewarded by it. `true` trains one for this alone where nothing else needs it.",
    ),
  baselines: z
    .union([z.literal(false), z.array(baselineSchema).min(1)])
    .optional()
    .describe(
      "What the same prompts give without training: the model with `supervised.demonstrations` as turns before the prompt, with the constitution as its system prompt, and one constant reply. By default all that the recipe has what it takes for, at the cost of two more replies to each prompt; `false` for none.",
    ),
});
