import { imagesOf, randomStream } from "@tenet/data";
import { z } from "zod";
import { CapabilityError, UsageError } from "../language-model/errors.ts";
import { asReplies, readReply } from "../language-model/reply.ts";
import { checkPrompt, randomnessKey, resolveSampling } from "../language-model/request.ts";
import { stopDetector } from "../language-model/stop.ts";
import type {
  CallOptions,
  Capabilities,
  CompletionToken,
  GenerateRequest,
  GenerateResult,
  LanguageModel,
  Message,
  SamplingOptions,
  Score,
  ScoreRequest,
  ScoreResult,
} from "../language-model/types.ts";
import { inOrderOfCompletion, untilAborted } from "../language-model/work.ts";
import type { Ask } from "./attempts.ts";
import { canPrefill, logprobsBody, promptBody, samplingBody } from "./body.ts";
import { type CallDependencies, createCalls } from "./calls.ts";
import { createLedger, type Ledger, type Spent } from "./ledger.ts";
import { type Abilities, probe } from "./probe.ts";
import { scoreFromEcho, scoreFromTop } from "./score.ts";
import type { ServerReached, ServerUse } from "./servers.ts";
import { addressesOf, type EndpointInput, endpointSettingsSchema, isUncounted } from "./settings.ts";
import { estimateTokens, type TokenIds, toCompletion, usageOf } from "./wire.ts";

export interface EndpointDependencies extends CallDependencies {
  /** Every byte goes through it: a recording, a replay, a proxy. */
  fetch?: typeof globalThis.fetch;
  /** Where the key is looked up. */
  environment?: Record<string, string | undefined>;
  /** Renders a conversation, with the opening of the assistant's turn: lets conversations be scored as raw text. */
  chatFormat?: (messages: Message[]) => string;
  /**
   * Tokens of replies are wanted by id, as vLLM gives them, to learn from: where log-probabilities are asked for, replies are then as they
   * were drawn, thoughts among them.
   */
  ids?: TokenIds;
}

/** A model behind a server, or one of several speakers that share its client, its limits and its budget. */
export interface EndpointModel extends LanguageModel {
  /** The same model with `usage()` of its own. Closing one closes all. */
  speaker(): EndpointModel;
  /** Counts towards the budget what was spent before: by an earlier process of the same run. */
  charge(spent: Spent): void;
  /** What each server was given. */
  servers(): ServerUse[];
  /** Asks each server once for its models, within seconds: which of them answer. Errors: the signal's reason. */
  reached(call?: { readonly signal?: AbortSignal | undefined }): Promise<ServerReached[]>;
}

/**
 * A model behind an OpenAI-compatible server: vLLM, llama.cpp, Ollama, hosted services; or behind several, which share the work
 * (`servers.ts`).
 *
 * Conversations go to `chat/completions`, raw text to `completions`. What the server can do beyond that is found out by a
 * few one-token calls when it is first needed, and remembered. `score` echoes the text where the server gives right
 * log-probabilities for it (this is checked: some give wrong ones), else it scores options that are single tokens among
 * the likeliest next ones; `capabilities().score` says which. Retries, limits, price and budget: `settings.ts`.
 * Errors: UsageError for settings; EndpointError, CapabilityError, BudgetError from calls. None holds the key.
 *
 * @example
 * const model = endpoint({ baseUrl: "http://localhost:8000/v1", concurrency: 16 });
 */
export function endpoint(input: EndpointInput, dependencies: EndpointDependencies = {}): EndpointModel {
  const parsed = endpointSettingsSchema.safeParse(input);
  if (!parsed.success) throw new UsageError(`endpoint settings: ${z.prettifyError(parsed.error)}`);
  const settings = parsed.data;
  if (isUncounted(settings))
    throw new UsageError(
      "endpoint settings: budget.usd needs a price above 0, by which it is counted; budget.tokens needs none",
    );
  const addresses = addressesOf(settings);
  if (addresses.length > 1 && settings.model === undefined)
    throw new UsageError(
      "endpoint settings: several servers need the name of the model that all of them serve: 'model'",
    );
  const ledger = createLedger(settings);
  const closing = new AbortController();
  const { ask, served, servers, reached, maxTokensField, without } = createCalls(
    settings,
    dependencies,
    ledger,
    closing.signal,
  );
  let abilities: Promise<Abilities> | undefined;

  // What the server can do is found out once and shared, so it outlives the call that asked first; a failure is forgotten.
  const rememberedAbilities = (signal: AbortSignal | undefined, account: Ledger) => {
    // Booked to who asks first.
    const asks: Ask = (prompt, body, context) => ask(prompt, body, { ...context, account });
    abilities ??= probe(asks, settings.maxTokensField, closing.signal).catch((error) => {
      abilities = undefined;
      throw error;
    });
    return untilAborted(abilities, signal);
  };

  const generateCall = async (
    { request, sampling, position, indices }: Sample,
    { signal, onEvent, stream }: CallOptions,
    account: Ledger,
  ): Promise<GenerateResult[]> => {
    const { dialect } = await served(signal);
    const body = {
      ...promptBody(request.prompt, dialect),
      ...samplingBody(sampling, dialect, maxTokensField(request.prompt)),
      ...logprobsBody(request.prompt, sampling.logprobs),
      ...(dependencies.ids && sampling.logprobs !== undefined && { return_tokens_as_token_ids: true }),
      seed: sampleSeed(request, sampling, indices[0]!),
      ...(indices.length > 1 && { n: indices.length }),
    };
    const index = indices[0]!;
    const streaming = stream && onEvent && indices.length === 1;
    let stops = stopDetector(sampling.stop);
    let said = "";
    const say = (text: string) => {
      said += text;
      if (text) onEvent?.({ type: "text", request: position, index, text });
    };
    try {
      const reply = await ask(request.prompt, body, {
        signal,
        account,
        request: position,
        ...(onEvent && { onRetry: (retry) => onEvent({ type: "retry", request: position, ...retry }) }),
        ...(streaming && {
          onText: (text: string) => say(stops.push(text).text),
          onStart: () => {
            stops = stopDetector(sampling.stop);
            if (said) onEvent({ type: "restart", request: position, index });
            said = "";
          },
        }),
      });
      if (streaming) say(stops.flush());
      if (reply.choices.length !== indices.length)
        throw new CapabilityError(
          "n",
          `asked for ${indices.length} samples, the endpoint gave ${reply.choices.length}: set samplesPerCall to 'one'`,
        );
      const { promptTokens, completionTokens } = usageOf(reply, request.prompt);
      account.totals.completions += indices.length;
      return indices.map((one, i) => {
        // A call's counts are its own; of several samples' the last takes what does not divide.
        const share = (count: number) =>
          i < indices.length - 1 ? Math.floor(count / indices.length) : count - i * Math.floor(count / indices.length);
        const usage = { promptTokens: share(promptTokens), completionTokens: share(completionTokens) };
        const completion = toCompletion(reply.choices[i]!, sampling, usage, one, dependencies.ids);
        return { request: position, completion };
      });
    } catch (error) {
      if (!signal?.aborted || !said) throw error;
      const usage = { promptTokens: estimateTokens(request.prompt), completionTokens: Math.ceil(said.length / 4) };
      account.book({ ...usage, estimated: true });
      account.totals.completions++;
      return [{ request: position, completion: { text: said, finishReason: "cancelled", usage, index } }];
    }
  };

  const scoreOne = async (
    { prompt, continuations }: ScoreRequest,
    position: number,
    { signal, onEvent }: CallOptions,
    account: Ledger,
  ): Promise<ScoreResult> => {
    const context = {
      signal,
      account,
      request: position,
      ...(onEvent && { onRetry: (retry: object) => onEvent({ type: "retry", request: position, ...retry } as never) }),
    };
    const can = await rememberedAbilities(signal, account);
    const { dialect } = await served(signal);
    if (typeof prompt !== "string" && dependencies.chatFormat && imagesOf(prompt).length > 0)
      throw new UsageError(
        "the conversation shows an image, and is scored as the text that chatFormat makes of it, which shows none. Leave chatFormat out",
      );
    const text = typeof prompt === "string" ? prompt : dependencies.chatFormat?.(prompt);
    const kind = text === undefined ? "chat" : "raw";
    const how = can.score[kind];
    if (how === "none")
      throw new CapabilityError("score", `the endpoint gives no log-probabilities to score ${kind} prompts by`);

    let scores: Score[];
    if (how === "continuations" && text !== undefined) {
      scores = await Promise.all(
        continuations.map(async (continuation) => {
          const body = { prompt: text + continuation, echo: true, logprobs: 1, max_tokens: 1, temperature: 0 };
          const reply = await ask(text + continuation, body, context);
          const generated = reply.usage?.completion_tokens ?? 1;
          const score = scoreFromEcho(reply.choices[0]!, { prompt: text, continuation, generated });
          if (!score)
            throw new CapabilityError("score", `the endpoint's echo of '${continuation.slice(0, 80)}' cannot be read`);
          return score;
        }),
      );
    } else {
      const asked = text ?? prompt;
      const body = {
        ...promptBody(asked, dialect),
        ...logprobsBody(asked, can.top[kind]!),
        [maxTokensField(asked)]: 1,
        temperature: 1, // some servers report log-probabilities after the temperature
      };
      // Where the sampled token happens to end the text, some servers report nothing: another seed draws another token.
      let top: CompletionToken["top"];
      for (let seed = 0; seed < 8 && !top?.length; seed++) {
        const choice = (await ask(asked, { ...body, seed }, context)).choices[0]!;
        // The first token of a thought is no answer, whatever it reads like.
        if (choice.thoughts !== undefined || readReply(choice.text).thoughts !== undefined) break;
        top = choice.tokens?.[0]?.top;
      }
      scores = scoreFromTop(top ?? [], continuations);
    }
    account.totals.scored++;
    return { request: position, scores };
  };

  const width = settings.concurrency * addresses.length;
  const batch = async function* <R>(tasks: ((signal: AbortSignal) => Promise<R[]>)[], signal: AbortSignal | undefined) {
    if (closing.signal.aborted) throw closing.signal.reason;
    const both = signal ? AbortSignal.any([signal, closing.signal]) : closing.signal;
    for await (const results of inOrderOfCompletion(tasks, { width, signal: both })) yield* results;
  };

  const speaker = (account: Ledger): EndpointModel => ({
    ...(dependencies.ids ? speaking(account) : asReplies(speaking(account))),
    speaker: () => speaker(account.part()),
    charge: (spent) => ledger.charge(spent),
    servers,
    reached: ({ signal } = {}) => reached(signal),
  });
  const speaking = (account: Ledger): LanguageModel => ({
    // Of several servers it does not matter which answers: what they give is the model's.
    id:
      typeof settings.baseUrl === "string"
        ? `${settings.model ?? "default"}@${new URL(settings.baseUrl).host}`
        : `${settings.model ?? "default"}`,
    async capabilities({ signal } = {}): Promise<Capabilities> {
      const { dialect } = await served(signal);
      const can = await rememberedAbilities(signal, account);
      const extended = dialect !== "openai";
      const tops = [can.top.chat, can.top.raw].filter((top) => top !== null);
      return {
        chat: can.chat,
        raw: can.raw,
        prefill: can.chat && canPrefill(dialect),
        topLogprobs: tops.length > 0 ? Math.min(...tops) : null,
        score: { raw: can.score.raw, chat: dependencies.chatFormat ? can.score.raw : can.score.chat },
        seed: extended && !without("seed"),
        topK: extended,
        minP: extended,
        minTokens: dialect === "vllm",
        repetitionPenalty: extended,
        streaming: true,
      };
    },
    async *generate(requests, options = {}) {
      const samples = requests.flatMap((request, position): Sample[] => {
        checkPrompt(request.prompt);
        const sampling = resolveSampling(request.sampling);
        const indices = Array.from({ length: sampling.n }, (_, index) => index);
        const groups = settings.samplesPerCall === "all" ? [indices] : indices.map((index) => [index]);
        return groups.map((group) => ({ request, sampling, position, indices: group }));
      });
      yield* batch(
        samples.map((sample) => (signal: AbortSignal) => generateCall(sample, { ...options, signal }, account)),
        options.signal,
      );
    },
    async *score(requests, options = {}) {
      for (const request of requests) checkPrompt(request.prompt);
      yield* batch(
        requests.map((request, position) => async (signal: AbortSignal) => [
          await scoreOne(request, position, { ...options, signal }, account),
        ]),
        options.signal,
      );
    },
    usage: () => account.usage(),
    close: async () => closing.abort(new UsageError("the model is closed")),
  });
  return speaker(ledger);
}

/** One call's worth of a request: the samples it is to bring. */
interface Sample {
  request: GenerateRequest;
  sampling: SamplingOptions;
  position: number;
  indices: number[];
}

/** The seed sent for a sample: 31 bits of (seed, key, index). */
function sampleSeed(request: GenerateRequest, { seed }: SamplingOptions, index: number): number {
  const stream = randomStream({ seed, stage: "generate", item: randomnessKey(request), sample: index });
  return stream.integer(0, 2 ** 31);
}
