import { z } from "zod";
import { looksLikeKey, namesSecretHeader, secretIn } from "./secrets.ts";

/**
 * How servers differ beyond the common protocol: the names of sampling options, and whether a conversation that ends in the
 * assistant's turn is continued. `openai` sends nothing that a hosted service would refuse. `auto` asks the server's list
 * of models once.
 */
export const dialects = ["openai", "vllm", "llama.cpp", "llama-cpp-python"] as const;
export type Dialect = (typeof dialects)[number];

/** A problem whose value is a secret, or may be: it is not to be shown with it. */
function secret(message: string): z.core.$ZodCustomParams {
  return { error: message, params: { secret: true } };
}

const address = z
  .url({ protocol: /^https?$/ })
  .refine(
    (url) => !URL.canParse(url) || (!new URL(url).password && !new URL(url).username),
    secret(
      "a name, password or key in an address ends up in logs: use apiKeyVariable, the name of an environment variable that holds it",
    ),
  )
  .refine(
    (url) => !URL.canParse(url) || secretIn(Object.fromEntries(new URL(url).searchParams)) === undefined,
    secret(
      "a key in an address ends up in logs: use apiKeyVariable, the name of an environment variable that holds it",
    ),
  );

/** What a recipe says about an endpoint. The defaults are written here and nowhere else. */
export const endpointSettingsSchema = z.strictObject({
  baseUrl: z
    .union([
      address,
      z
        .array(address)
        .min(1)
        .refine((addresses) => new Set(addresses).size === addresses.length, "the same address stands here twice"),
    ])
    .describe(
      "Up to and with the version, such as `http://localhost:8000/v1`; a list of servers of the same model, which share the work.",
    ),
  model: z
    .string()
    .min(1)
    .optional()
    .describe("By default the only model that the server lists; needed where there are several servers."),
  apiKeyVariable: z
    .string()
    .refine(
      (name) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !looksLikeKey(name),
      secret("expected the name of an environment variable, such as MY_API_KEY, and not the key itself"),
    )
    .optional()
    .describe("Name of the environment variable that holds the key. The key itself is never written down."),
  apiKeyHeader: z
    .string()
    .regex(/^[A-Za-z][A-Za-z0-9-]*$/)
    .optional()
    .describe(
      "Header that carries the key, such as `api-key` or `x-api-key`. Absent: `Authorization: Bearer`, as is usual.",
    ),
  dialect: z
    .enum(["auto", ...dialects])
    .default("auto")
    .describe("How the server differs beyond the common protocol; `auto` asks its list of models once."),
  maxTokensField: z
    .enum(["max_tokens", "max_completion_tokens"])
    .default("max_tokens")
    .describe(
      "Newer hosted services want `max_completion_tokens` in conversations; a server that refuses the one is sent the other.",
    ),
  fields: z
    .record(z.string(), z.string().min(1).nullable())
    .optional()
    .describe(
      "Other names for fields of a body, such as `seed: random_seed`; null leaves a field out. What a server names as unknown or unsupported is left out by itself.",
    ),
  samplesPerCall: z
    .enum(["one", "all"])
    .default("one")
    .describe(
      "`one`: every sample is its own call, so that it depends on no other; `all`: one call with n, whose prompt a hosted service charges once.",
    ),
  concurrency: z.int().min(1).default(8).describe("Calls under way at once, of each server."),
  requestsPerMinute: z.int().min(1).optional().describe("Calls begun in a minute, at most, of each server."),
  tokensPerMinute: z.int().min(1).optional().describe("Tokens of a minute's calls, at most, of each server."),
  timeoutSeconds: z.number().gt(0).max(86_400).default(120).describe("From sending to the last byte of the reply."),
  retries: z
    .strictObject({
      perRequest: z.int().min(0).default(6).describe("Further attempts at one call."),
      total: z
        .int()
        .min(0)
        .default(1000)
        .describe("Over the model's life: a server that fails all the time is found out."),
      baseSeconds: z
        .number()
        .min(0)
        .default(0.5)
        .describe("The first wait; each further one doubles, and a random part of up to half is taken off."),
      maxSeconds: z
        .number()
        .min(0)
        .max(86_400)
        .default(60)
        .describe("The longest wait; a server that asks for more with Retry-After ends the request."),
    })
    .prefault({})
    .describe("What happens when a call fails in a way that may pass."),
  price: z
    .strictObject({
      prompt: z.number().min(0).describe("Of tokens read."),
      completion: z.number().min(0).describe("Of tokens written."),
    })
    .optional()
    .describe("Dollars per million tokens."),
  budget: z
    .strictObject({
      usd: z.number().gt(0).optional().describe("Dollars; needs a `price` above 0, by which they are counted."),
      tokens: z.int().min(1).optional().describe("Tokens, read and written."),
    })
    .optional()
    .describe(
      "Of a run, over all its starts. When spent, no further call is made; those under way are finished. Raised, the run goes on.",
    ),
  headers: z
    .record(z.string(), z.string())
    .refine(
      (headers) => !Object.entries(headers).some(([name, value]) => namesSecretHeader(name) || looksLikeKey(value)),
      secret(
        "a key in a header would be kept with the run: put it into an environment variable, name that with apiKeyVariable, and the header with apiKeyHeader",
      ),
    )
    .default({})
    .describe("Sent with every call; a secret is refused here."),
  body: z
    .record(z.string(), z.unknown())
    .refine(
      (body) => secretIn(body) === undefined,
      secret(
        "a secret in a body would be kept with the run: put it into an environment variable and name that with apiKeyVariable",
      ),
    )
    .default({})
    .describe("Added to every body; null leaves a field out that would be sent."),
});

/** Whether dollars are limited that are never counted, for want of a price: such a budget would stop nothing. */
export function isUncounted({ budget, price }: Pick<EndpointSettings, "budget" | "price">): boolean {
  return budget?.usd !== undefined && (price === undefined || price.prompt + price.completion === 0);
}

/** Where an endpoint's model is served. */
export function addressesOf({ baseUrl }: Pick<EndpointInput, "baseUrl">): readonly string[] {
  return typeof baseUrl === "string" ? [baseUrl] : baseUrl;
}

export type EndpointSettings = z.output<typeof endpointSettingsSchema>;
export type EndpointInput = z.input<typeof endpointSettingsSchema>;
