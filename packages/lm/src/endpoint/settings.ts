import { z } from "zod";

/**
 * How servers differ beyond the common protocol: the names of sampling options, and whether a conversation that ends in the
 * assistant's turn is continued. `openai` sends nothing that a hosted service would refuse. `auto` asks the server's list
 * of models once.
 */
export const dialects = ["openai", "vllm", "llama.cpp", "llama-cpp-python"] as const;
export type Dialect = (typeof dialects)[number];

/** What a recipe says about an endpoint. The defaults are written here and nowhere else. */
export const endpointSettingsSchema = z.strictObject({
  /** Up to and with the version, e.g. http://localhost:8000/v1 */
  baseUrl: z
    .url({ protocol: /^https?$/ })
    .refine(
      (url) => !URL.canParse(url) || !new URL(url).password,
      "a password in an address ends up in logs: use apiKeyVariable",
    ),
  /** Absent: the only model that the server lists. */
  model: z.string().min(1).optional(),
  /** Name of the environment variable that holds the key. The key itself is never written down. */
  apiKeyVariable: z.string().min(1).optional(),
  dialect: z.enum(["auto", ...dialects]).default("auto"),
  /** Newer hosted services want `max_completion_tokens` in conversations. */
  maxTokensField: z.enum(["max_tokens", "max_completion_tokens"]).default("max_tokens"),
  /**
   * `one`: every sample is its own call, so that it depends on no other. `all`: one call with n, whose prompt a hosted
   * service charges once.
   */
  samplesPerCall: z.enum(["one", "all"]).default("one"),
  /** Calls under way at once. */
  concurrency: z.int().min(1).default(8),
  requestsPerMinute: z.int().min(1).optional(),
  tokensPerMinute: z.int().min(1).optional(),
  /** From sending to the last byte of the reply. */
  timeoutSeconds: z.number().gt(0).max(86_400).default(120),
  retries: z
    .strictObject({
      perRequest: z.int().min(0).default(6),
      /** Over the model's life: a server that fails all the time is found out. */
      total: z.int().min(0).default(1000),
      /** The first wait; each further one doubles, and a random part of up to half is taken off. */
      baseSeconds: z.number().min(0).default(0.5),
      /** The longest wait; a server that asks for more with Retry-After ends the request. */
      maxSeconds: z.number().min(0).max(86_400).default(60),
    })
    .prefault({}),
  /** Dollars per million tokens. */
  price: z.strictObject({ prompt: z.number().min(0), completion: z.number().min(0) }).optional(),
  /** When spent, no further call is made; those under way are finished. */
  budget: z.strictObject({ usd: z.number().gt(0).optional(), tokens: z.int().min(1).optional() }).optional(),
  /** Sent with every call; never put a secret here. */
  headers: z.record(z.string(), z.string()).default({}),
  /** Added to every body. */
  body: z.record(z.string(), z.unknown()).default({}),
});

export type EndpointSettings = z.output<typeof endpointSettingsSchema>;
export type EndpointInput = z.input<typeof endpointSettingsSchema>;
