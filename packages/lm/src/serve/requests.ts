import { randomInt } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { leastPenalty, type Message, type Prompt, type SamplingInput, type Tokens } from "../language-model/index.ts";
import { ApiError } from "./refusals.ts";
import { promptsOf } from "./tokens.ts";

/** What a body asks for, whichever of the two verbs it came to. */
export interface Asked {
  /** Absent: the only one that is served. */
  readonly model: string | undefined;
  /** Several of raw text; each has `n` choices. */
  readonly prompts: readonly (Prompt | Tokens)[];
  readonly sampling: SamplingInput;
  /** Whether the caller named the seed. */
  readonly seeded: boolean;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** The prompt's tokens are told before the reply's, with their log-probabilities. */
  readonly echo: boolean;
}

/** Tokens of a reply where the caller names no number. */
const repliesUpTo = 2048;

/** A list that is read up to the first item that is wrong: a million wrong ones are refused for as little as one. */
const list = <T>(item: z.ZodType<T>) =>
  z.array(z.unknown()).transform((given, context): T[] => {
    const items: T[] = [];
    for (const [place, one] of given.entries()) {
      const read = item.safeParse(one);
      if (!read.success) {
        const { path, message } = read.error.issues[0]!;
        context.addIssue({ code: "custom", path: [place, ...path], message });
        return z.NEVER;
      }
      items.push(read.data);
    }
    return items;
  });

const optional = <T extends z.ZodType>(type: T) => type.nullish().transform((value) => value ?? undefined);
const stops = z.union([z.string(), z.array(z.string()).max(64)], "expected a text, or 64 texts at most");

const common = {
  model: optional(z.string()),
  temperature: optional(z.number().min(0).max(100)),
  top_p: optional(z.number().gt(0).max(1)),
  top_k: optional(z.int().min(-1)),
  min_p: optional(z.number().min(0).max(1)),
  min_tokens: optional(z.int().min(0)),
  repetition_penalty: optional(z.number().min(leastPenalty)),
  repeat_penalty: optional(z.number().min(leastPenalty)),
  max_tokens: optional(z.int().min(1)),
  stop: optional(stops),
  seed: optional(z.int()),
  n: optional(z.int().min(1).max(128)),
  stream: optional(z.boolean()),
  stream_options: optional(z.looseObject({ include_usage: optional(z.boolean()) })),
};

const part = z.looseObject({ type: z.literal("text"), text: z.string() });
const message = z.looseObject({
  role: z.enum(["system", "developer", "user", "assistant"]),
  content: z.union([z.string(), list(part)], "expected a text, or a list of parts of the type text"),
});

const chatSchema = z.looseObject({
  ...common,
  messages: list(message).refine((messages) => messages.length > 0, "expected at least one"),
  max_completion_tokens: optional(z.int().min(1)),
  logprobs: optional(z.boolean()),
  top_logprobs: optional(z.int().min(0).max(1000)),
  continue_final_message: optional(z.boolean()),
  add_generation_prompt: optional(z.boolean()),
});

const textSchema = z.looseObject({
  ...common,
  logprobs: optional(z.int().min(0).max(1000)),
  echo: optional(z.boolean()),
});

/** Fields that would change replies and that are not built, with the values under which they change nothing. */
const unbuilt: Readonly<Record<string, readonly unknown[]>> = {
  tools: [[]],
  functions: [[]],
  tool_choice: ["none", "auto"],
  logit_bias: [{}],
  presence_penalty: [0],
  frequency_penalty: [0],
  suffix: [""],
  best_of: [1],
  response_format: [{ type: "text" }],
  guided_json: [],
  guided_regex: [],
  guided_choice: [],
  grammar: [""],
};

/** Reads the body of `chat/completions`. Throws ApiError naming the field. */
export function chatRequest(body: unknown): Asked {
  const asked = parse(chatSchema, body);
  const messages = asked.messages.map(({ role, content }): Message => {
    const text = typeof content === "string" ? content : content.map((one) => one.text).join("");
    return { role: role === "developer" ? "system" : role, content: text };
  });
  const last = messages.at(-1)!.role;
  if (last === "assistant" && asked.continue_final_message !== true && asked.add_generation_prompt === true)
    throw new ApiError(
      400,
      "the conversation ends with the assistant's turn, which is continued: a further one cannot be opened",
      {
        param: "add_generation_prompt",
      },
    );
  const { logprobs, top_logprobs: top, max_completion_tokens: most } = asked;
  return {
    ...shared(asked),
    prompts: [messages],
    echo: false,
    sampling: { ...sampling(asked, most ?? asked.max_tokens), ...(logprobs && { logprobs: top ?? 0 }) },
  };
}

/** Reads the body of `completions`. Throws ApiError naming the field. */
export function textRequest(body: unknown): Asked {
  const asked = parse(textSchema, body);
  return {
    ...shared(asked),
    prompts: promptsOf(asked.prompt),
    echo: asked.echo ?? false,
    sampling: {
      ...sampling(asked, asked.max_tokens),
      ...(asked.logprobs !== undefined && { logprobs: asked.logprobs }),
    },
  };
}

type Common = z.output<z.ZodObject<typeof common>>;

function shared(asked: Common): Pick<Asked, "model" | "stream" | "includeUsage" | "seeded"> {
  return {
    model: asked.model,
    seeded: asked.seed !== undefined,
    stream: asked.stream ?? false,
    includeUsage: asked.stream_options?.include_usage ?? false,
  };
}

function sampling(asked: Common, most: number | undefined): SamplingInput {
  const { stop, top_k: topK, seed } = asked;
  const penalty = asked.repetition_penalty ?? asked.repeat_penalty;
  return {
    maxTokens: most ?? repliesUpTo,
    // A caller that names none wants another reply every time.
    seed: seed === undefined ? randomInt(2 ** 31) : Math.abs(seed),
    ...(asked.temperature !== undefined && { temperature: asked.temperature }),
    ...(asked.top_p !== undefined && { topP: asked.top_p }),
    ...(topK !== undefined && { topK: Math.max(0, topK) }),
    ...(asked.min_p !== undefined && { minP: asked.min_p }),
    ...(asked.min_tokens !== undefined && { minTokens: asked.min_tokens }),
    ...(penalty !== undefined && { repetitionPenalty: penalty }),
    ...(stop !== undefined && { stop: typeof stop === "string" ? [stop] : stop }),
    ...(asked.n !== undefined && { n: asked.n }),
  };
}

function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    const param = path.join(".");
    throw new ApiError(400, `${param === "" ? "the body" : param}: ${message}`, param === "" ? {} : { param });
  }
  for (const [field, harmless] of Object.entries(unbuilt)) {
    const value = (body as Record<string, unknown>)[field];
    if (value === undefined || value === null) continue;
    if (harmless.some((one) => one === value || isDeepStrictEqual(one, value))) continue;
    throw new ApiError(400, `${field} is not built here, and would change the reply: leave it out`, {
      code: "unsupported_parameter",
      param: field,
    });
  }
  return parsed.data;
}
