import {
  ApiError,
  answerCalls,
  type CallersOptions,
  type Message,
  type RunningServer,
  readReply,
  type TextCodec,
} from "@tenet/lm";
import { z } from "zod";
import type { Reward, RewardRequest, Scored } from "./reward.ts";
import { TemplatedTextError, templated } from "./templated.ts";
import { together, unanswered } from "./together.ts";

export interface ServeRewardOptions extends CallersOptions {
  readonly reward: Reward;
  /** Of the model that judges: how rendered text is read, and what tokens are counted by. */
  readonly text: TextCodec;
  /** What is served, for people. */
  readonly about: Readonly<Record<string, unknown>>;
}

/** Responses of a call, at most. */
const mostResponses = 4096;

const texts = z.array(z.string()).min(1).max(mostResponses);
const perResponse = z.array(z.unknown()).nullish();

/** As OpenRLHF calls: conversations rendered with their replies, the same without them, and a column of the user's data that is not read here. */
const openRlhfSchema = z.looseObject({ query: texts, prompts: texts.nullish(), labels: perResponse });

const conversation = z.union([
  z.string(),
  z.array(z.looseObject({ role: z.enum(["system", "user", "assistant"]), content: z.string() })).min(1),
]);
const extra = z.looseObject({
  prompt: conversation,
  category: z.string().nullish(),
  /** False: cut off at the limit of tokens. verl takes the tokens that say so out of the text. */
  finished: z.boolean().nullish(),
});
/** As verl calls a reward function, by the names of its arguments. */
const oneSchema = z.looseObject({ solution_str: z.string(), extra_info: extra });
const manySchema = z.looseObject({ solution_strs: texts, extra_infos: z.array(extra).min(1) });

/**
 * Serves a reward to trainings elsewhere:
 *
 *     POST /get_reward      OpenRLHF's: { query, prompts, labels } → { rewards, scores, extra_logs }, a number for each response in each list
 *     POST /compute_score   verl's: { solution_str, extra_info: { prompt, … }, … } → { score, … }; or lists, solution_strs and extra_infos → [ … ]
 *     GET  /health          what is served
 *
 * Concurrent calls are judged together. A response that a judge has no answer for fails its call (503): there is no number for it.
 * Errors: UsageError for an address that others reach without a token; what `listen` throws.
 */
export function serveReward({ reward, text, about, ...callers }: ServeRewardOptions): Promise<RunningServer> {
  const judged = together(reward);
  const reading = templated(text);

  const requestOf = (
    prompt: string | readonly Message[],
    written: string,
    { i, category, finished }: { i: number; category?: string | null | undefined; finished: boolean },
  ): RewardRequest => {
    const messages = typeof prompt === "string" ? reading.prompt(prompt) : prompt;
    // As in trainings here: what is judged is the reply, never the reasoning before it.
    const { text: response } = readReply(written);
    const tokens = text.encode(response).length;
    return {
      ...{ id: `response ${i + 1}`, prompt: messages, response, finished, length: tokens },
      ...(category && { category }),
    };
  };

  /** Numbers of all, or none. */
  const scoresOf = async (requests: () => readonly RewardRequest[], signal: AbortSignal): Promise<Scored[]> => {
    let found: Awaited<ReturnType<Reward["score"]>>;
    try {
      found = await judged.score(requests(), { signal });
    } catch (error) {
      const { name, message } = error as Error;
      // What was sent cannot be judged, now or later.
      if (error instanceof TemplatedTextError || name === "PreferenceModelError") throw new ApiError(422, message);
      throw error;
    }
    const missing = unanswered(found);
    if (missing.length > 0) throw new ApiError(503, `not judged: ${missing.slice(0, 3).join("; ")}`);
    return found as Scored[];
  };

  return answerCalls(async ({ path, signal, requireMethod, json, send }) => {
    if (path === "/health") {
      requireMethod("GET");
      return send(200, { status: "ok", ...about });
    }
    if (path === "/get_reward") {
      const { query, prompts } = parsed(openRlhfSchema, await json());
      if (!prompts)
        throw new ApiError(
          400,
          "prompts: expected the prompt of each query beside it, by which the reply is told from what it answers; there is none",
          { param: "prompts" },
        );
      requireAlike({ query, prompts });
      const found = await scoresOf(
        () =>
          query.map((whole, i) => {
            const prompt = prompts[i]!;
            if (!whole.startsWith(prompt))
              throw new ApiError(400, `query[${i}]: expected it to begin with prompts[${i}]; it does not`, {
                param: "query",
              });
            const reply = reading.reply(whole.slice(prompt.length));
            return requestOf(prompt, reply.text, { i, finished: reply.finished });
          }),
        signal,
      );
      const rewards = found.map((one) => one.reward);
      return send(200, { rewards, scores: rewards, extra_logs: logs(found) });
    }
    if (path === "/compute_score") {
      const body = await json();
      const many = typeof body === "object" && body !== null && "solution_strs" in body;
      if (many) {
        const { solution_strs: replies, extra_infos: infos } = parsed(manySchema, body);
        requireAlike({ solution_strs: replies, extra_infos: infos });
        const found = await scoresOf(() => replies.map((reply, i) => solved(reply, infos[i]!, i)), signal);
        return send(200, found.map(scoreOf));
      }
      const { solution_str: reply, extra_info: info } = parsed(oneSchema, body);
      const [found] = await scoresOf(() => [solved(reply, info, 0)], signal);
      return send(200, scoreOf(found!));
    }
    throw new ApiError(404, `there is no ${path} here; there are /get_reward, /compute_score and /health`, {
      code: "not_found",
    });
  }, callers);

  function solved(reply: string, { prompt, category, finished }: z.output<typeof extra>, i: number): RewardRequest {
    return requestOf(prompt, reply, { i, category, finished: finished ?? true });
  }
}

const scoreOf = ({ reward, parts }: Scored) => ({ ...parts, score: reward });

/** What rewards are made of, by name: those parts that all have. */
function logs(found: readonly Scored[]): Record<string, number[]> {
  const names = Object.keys(found[0]!.parts).filter((name) => found.every(({ parts }) => name in parts));
  return Object.fromEntries(names.map((name) => [name, found.map(({ parts }) => parts[name]!)]));
}

function parsed<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const param = issue!.path.join(".");
  throw new ApiError(400, `${param || "the body"}: ${issue!.message}`, { param });
}

function requireAlike(lists: Readonly<Record<string, readonly unknown[]>>): void {
  const counts = Object.entries(lists).map(([name, { length }]) => `${length} ${name}`);
  if (new Set(Object.values(lists).map(({ length }) => length)).size > 1)
    throw new ApiError(400, `expected as many of each, got ${counts.join(" and ")}`);
}
