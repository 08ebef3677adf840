import { z } from "zod";

/*
 * What the engine is asked, and what it answers: this page is the only description. The Python side checks requests with the JSON Schema that
 * is made of it (`npm run docs`). A body is one safetensors file: arrays are tensors, the rest is JSON in its metadata.
 *
 *     GET  /v1/health
 *     POST /v1/put       adapter factors and a scalar head by PEFT's names without its prefix; `exp_avg/…` and `exp_avg_sq/…` to go on from a state
 *     POST /v1/get       the same back
 *     POST /v1/forward   tokens, lengths, chosen, chosenLengths [int32] → what is wanted, at the chosen places one after another [float32]
 *     POST /v1/backward  the same and `cotangent/…` for each value: adds Σ cotangent · ∂value to the gradient
 *     POST /v1/update    one step of AdamW on what was added up → gradNorm [float64]
 *     POST /v1/drop      an adapter; all of them where none is named
 */

/** Raised where an older side would misunderstand a newer one. */
export const PROTOCOL = 2;

const name = z
  .string()
  .regex(/^[a-z0-9-]{1,60}$/)
  .describe("Of an adapter: small letters, digits and dashes.");

/** What can be computed at a chosen place. */
export const values = ["logprobs", "correct", "entropy", "scores", "logits"] as const;
export type ValueName = (typeof values)[number];

const positive = z.number().positive();
const lora = z
  .strictObject({
    r: z.int().min(1),
    lora_alpha: positive,
    target_modules: z.array(z.string()),
    use_rslora: z.boolean(),
    rank_pattern: z.record(z.string(), z.int().min(1)).optional(),
    alpha_pattern: z.record(z.string(), positive).optional(),
  })
  .describe("As PEFT names it.");
const letters = z.array(z.int().min(0)).optional().describe("Tokens of whose logits `logits` consists.");
const microBatchTokens = z.int().min(1).describe("Places that a worker computes at once, padding included.");
const keep = z.boolean().optional().describe("A backward of the same follows, which need not compute it again.");

/** The JSON of each request. */
export const verbs = {
  put: z.strictObject({ name, lora, trainable: z.boolean(), step: z.int().min(0).optional() }),
  get: z.strictObject({ name, moments: z.boolean().optional() }),
  forward: z.strictObject({ name, wanted: z.array(z.enum(values)).min(1), letters, microBatchTokens, keep }),
  backward: z.strictObject({ name, letters, microBatchTokens }),
  update: z.strictObject({
    name,
    learningRate: z.number().min(0),
    betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]),
    epsilon: z.number().min(0),
    weightDecay: z.number().min(0),
    maxGradNorm: z.number().min(0).describe("0 leaves it."),
  }),
  drop: z.strictObject({ name: name.optional() }),
} as const;
export type Verb = keyof typeof verbs;
export type Request<V extends Verb> = z.input<(typeof verbs)[V]>;

/** What the job is told to be. */
export const specSchema = z.strictObject({
  protocol: z.literal(PROTOCOL),
  /** Names the job, and its mailbox in Ray. */
  name: z.string().min(1),
  /** The base as every worker sees it: a Hugging Face folder. */
  model: z.string().min(1),
  dtype: z.enum(["float32", "bfloat16"]),
  workers: z.int().min(1),
  gpus: z.int().min(0),
  /** The base is cut over the workers. */
  shard: z.boolean(),
  threads: z.int().min(1),
  /** Times that the group is started again. */
  maxFailures: z.int().min(0),
  /** Without a call for so long the job ends by itself. */
  idleMinutes: z.number().positive(),
  host: z.string().min(1),
  /** 0: any. */
  port: z.int().min(0).max(65_535),
  /** Absent: under Ray. False: this process alone. */
  ray: z.boolean().optional(),
});
export type EngineSpec = z.output<typeof specSchema>;

const workerSchema = z.object({
  rank: z.int(),
  pid: z.int(),
  device: z.string(),
  memory: z.number(),
  node: z.string().optional(),
  /** Digest of the weights' files as this worker sees them. */
  weights: z.string().nullish(),
});
const count = z.object({ have: z.number(), free: z.number() });

/** What GET /v1/health answers. Members that are not here are ignored. */
export const healthSchema = z.object({
  protocol: z.int(),
  versions: z.record(z.string(), z.string()),
  /** Counts the starts of the group; 0 before the first. */
  epoch: z.int(),
  workers: z.array(workerSchema),
  wanted: z.int(),
  model: z
    .object({
      hidden_size: z.int().nullable(),
      num_hidden_layers: z.int().nullable(),
      num_attention_heads: z.int().nullable(),
      num_key_value_heads: z.int().nullable(),
      vocab_size: z.int().nullable(),
    })
    .nullable(),
  adapters: z.record(z.string(), z.int()).optional(),
  resources: z.record(z.string(), count).optional(),
  broken: z.string().nullish(),
  upSeconds: z.number(),
});
export type EngineHealth = z.output<typeof healthSchema>;

/** The JSON Schema of requests, as the Python side checks them: `python/tenet_engine/protocol.schema.json`. */
export function protocolSchema(): unknown {
  const schemaOf = (schema: z.ZodType) => z.toJSONSchema(schema, { io: "input", target: "draft-2020-12" });
  return {
    protocol: PROTOCOL,
    verbs: Object.fromEntries(Object.entries(verbs).map(([verb, schema]) => [verb, schemaOf(schema)])),
  };
}
