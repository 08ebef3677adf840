import { endpointSettingsSchema } from "@tenet/lm";
import { z } from "zod";

/** Where the policy speaks while it learns, and whatever else is asked of the recipe's own model. */
const generationSchema = z.strictObject({
  endpoints: endpointSettingsSchema.shape.baseUrl.describe(
    "Addresses of vLLM servers of this model, up to and with the version: `vllm serve … --enable-lora --max-lora-rank R` with `VLLM_ALLOW_RUNTIME_LORA_UPDATING=1`.",
  ),
  adapters: z
    .string()
    .min(1)
    .describe("Folder that this machine writes adapters to and the servers read them from, such as a shared disk."),
  serversSee: z.string().min(1).optional().describe("That folder as the servers see it; by default the same path."),
  model: z
    .string()
    .min(1)
    .optional()
    .describe("What the servers call the model without an adapter; by default the only one that they list."),
  apiKeyVariable: endpointSettingsSchema.shape.apiKeyVariable,
  concurrency: endpointSettingsSchema.shape.concurrency,
});

/** A cluster that the recipe's model is trained on. */
export const engineSchema = z.strictObject({
  ray: z
    .url({ protocol: /^https?$/ })
    .describe(
      "Address of the cluster's dashboard, which takes jobs: `http://localhost:8265`. Its token comes from RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or `~/.ray/auth_token`.",
    ),
  workers: z.int().min(1).default(1).describe("Processes that train together."),
  gpus: z.int().min(0).default(1).describe("GPUs of each worker; 0 trains on processors."),
  shard: z
    .boolean()
    .default(false)
    .describe("Cut the frozen base over the workers (FSDP2) instead of holding it whole on each."),
  dtype: z
    .enum(["float32", "bfloat16"])
    .default("float32")
    .describe(
      "Of the frozen base. `float32` learns what this machine would, to rounding; `bfloat16` takes half the memory, and is another model to every stage.",
    ),
  model: z
    .string()
    .min(1)
    .optional()
    .describe("Folder of the model as the workers see it; by default where it lies here. The files must be the same."),
  threads: z.int().min(1).default(1).describe("Of each worker, where it trains on processors."),
  port: z.int().min(1).max(65_535).default(8270).describe("Where the engine listens on the cluster's head."),
  host: z
    .string()
    .min(1)
    .default("127.0.0.1")
    .describe("Interface of the head that it listens on: its own unless others are to reach it without a tunnel."),
  reach: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe(
      "Where the engine is reached from here, by default the host of `ray` at `port`: the near end of a tunnel.",
    ),
  python: z.string().min(1).default("python").describe("The workers' Python."),
  environment: z
    .record(z.string(), z.unknown())
    .optional()
    .describe(
      "More of Ray's runtime environment, such as `{ image_uri: … }`. It stands in the run's record: no secrets.",
    ),
  startMinutes: z.number().positive().default(10).describe("Until all workers have to be there."),
  idleMinutes: z.number().positive().default(15).describe("Without a call for so long the job ends by itself."),
  maxFailures: z.int().min(0).default(5).describe("Times that the workers are started again in a job."),
  generation: generationSchema
    .optional()
    .describe("Servers that the model speaks by; without them it speaks where Tenet runs, from the same weights."),
});
export type EngineSettings = z.output<typeof engineSchema>;

/** An engine as it makes the run's id: where it is, and how many share the work, make no other run. */
export function engineIdentity({ dtype }: EngineSettings): object {
  return { dtype };
}
