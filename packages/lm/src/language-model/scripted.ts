import { randomStream } from "@tenet/data";
import { CapabilityError, UsageError } from "./errors.ts";
import { checkPrompt, randomnessKey, resolveSampling } from "./request.ts";
import { stopDetector } from "./stop.ts";
import type {
  CallOptions,
  Capabilities,
  Completion,
  CompletionToken,
  FinishReason,
  GenerateRequest,
  GenerateResult,
  LanguageModel,
  Prompt,
  SamplingOptions,
  Score,
  ScoreRequest,
  ScoreResult,
} from "./types.ts";
import { noUsage } from "./types.ts";
import { inOrderOfCompletion, sleep } from "./work.ts";

/** What a rule is told besides the prompt's text. */
export interface ScriptContext {
  prompt: Prompt;
  sampling: SamplingOptions;
  /** Index of the sample. */
  index: number;
}

export interface ScriptedRule {
  /** Found in the prompt's text (for conversations: all turns as `role: content` lines). */
  when: string | RegExp | ((promptText: string) => boolean);
  /**
   * One text, or several to choose from: at temperature 0 the first, else sample i takes the i-th from a start drawn with
   * the seed and the key, so that n samples differ as long as the texts do.
   */
  reply: string | string[] | ((promptText: string, context: ScriptContext) => string | string[]);
}

export interface ScriptedOptions {
  id?: string;
  /** The first that matches answers. */
  rules?: ScriptedRule[];
  /** Answers when no rule does. Default: a UsageError, so that a test's typo does not pass silently. */
  fallback?: ScriptedRule["reply"];
  /**
   * Multiple choice: how good each option's text is, as a logit, and what standing first adds to it. Options are read from
   * the prompt's lines `(A) …`, `(B) …`; a continuation is taken for the option whose letter it holds.
   */
  choice?: { value: (optionText: string, promptText: string) => number; positionBias?: number };
  /** ln P(continuation | prompt) for other continuations; undefined leaves it to the default. */
  logprob?: (promptText: string, continuation: string) => number | undefined;
  /** Milliseconds before each reply. */
  latencyMs?: number | ((promptText: string) => number);
  /** Milliseconds between the tokens of a reply. */
  tokenMs?: number;
  /** Throws what it returns. `call` counts the model's replies and scores from 0. */
  fail?: (promptText: string, call: number) => Error | undefined;
  /** Prompts of more tokens than this are refused. */
  contextTokens?: number;
}

/**
 * Tokens as the scripted model counts them: a run of letters, marks and digits with at most one space before it, or any
 * other single character. The tokens concatenate to the text.
 */
export function scriptedTokens(text: string): string[] {
  return text.match(/ ?[\p{L}\p{M}\p{N}]+|[\s\S]/gu) ?? [];
}

/** A prompt as rules see it: raw text as it is, a conversation as `role: content` lines. */
export function promptText(prompt: Prompt): string {
  return typeof prompt === "string" ? prompt : prompt.map(({ role, content }) => `${role}: ${content}`).join("\n");
}

/**
 * A model that answers by rules: deterministic, instant, for tests and dry runs.
 *
 * Tokens are those of `scriptedTokens`, of the prompt as `promptText` shows it. Unless a rule says otherwise, a token's
 * probability is a fixed pseudo-random number between 0.1 and 0.9 of the text before it, so that `score` of a reply equals the
 * sum of the log-probabilities that `generate` reported. Temperature (beyond being zero or not), top-k, top-p, min-p and
 * the penalty change nothing.
 * Errors: UsageError where no rule matches or the prompt is longer than `contextTokens`; whatever `fail` returns.
 *
 * @example
 * const model = scriptedModel({ rules: [{ when: /capital of France/, reply: "Paris." }] });
 */
export function scriptedModel(script: ScriptedOptions): LanguageModel {
  const totals = noUsage();
  let calls = 0;
  let closed = false;

  const admit = async (prompt: Prompt, signal: AbortSignal): Promise<string> => {
    const text = promptText(prompt);
    const length = scriptedTokens(text).length;
    if (length > (script.contextTokens ?? Number.POSITIVE_INFINITY))
      throw new UsageError(`the prompt has ${length} tokens: more than the model's context of ${script.contextTokens}`);
    const latency = typeof script.latencyMs === "function" ? script.latencyMs(text) : script.latencyMs;
    if (latency) await sleep(latency, signal);
    const failure = script.fail?.(text, calls++);
    if (failure) {
      totals.failedAttempts++;
      throw failure;
    }
    return text;
  };

  const replyTo = (text: string, request: GenerateRequest, sampling: SamplingOptions, index: number): string => {
    const rule = script.rules?.find(({ when }) => matches(when, text));
    const reply = rule ? rule.reply : script.fallback;
    if (reply === undefined) throw new UsageError(`no rule of the scripted model matches: ${text.slice(0, 200)}`);
    const texts = typeof reply === "function" ? reply(text, { prompt: request.prompt, sampling, index }) : reply;
    if (typeof texts === "string") return texts;
    if (texts.length === 0) throw new UsageError("a rule of the scripted model gives an empty list of replies");
    if (sampling.temperature === 0) return texts[0]!;
    const stream = randomStream({ seed: sampling.seed, stage: "generate", item: randomnessKey(request) });
    return texts[(stream.integer(0, texts.length) + index) % texts.length]!;
  };

  const generateOne = async (
    request: GenerateRequest,
    sampling: SamplingOptions,
    position: number,
    index: number,
    signal: AbortSignal,
    onEvent: CallOptions["onEvent"],
  ): Promise<GenerateResult> => {
    const text = await admit(request.prompt, signal);
    const stops = stopDetector(sampling.stop);
    const tokens: CompletionToken[] = [];
    let said = "";
    let out = "";
    let finishReason: FinishReason = "stop";
    const say = (piece: string) => {
      out += piece;
      if (piece) onEvent?.({ type: "text", request: position, index, text: piece });
    };
    for (const token of scriptedTokens(replyTo(text, request, sampling, index))) {
      if (tokens.length === sampling.maxTokens) {
        finishReason = "length";
        break;
      }
      if (script.tokenMs) await sleep(script.tokenMs, signal).catch(() => {});
      if (signal.aborted) {
        finishReason = "cancelled";
        break;
      }
      const logprob = tokenLogprob(text + said, token);
      said += token;
      tokens.push({ text: token, logprob, top: [{ text: token, logprob }].slice(0, sampling.logprobs) });
      const step = stops.push(token);
      say(step.text);
      if (step.stop !== undefined) break;
    }
    say(stops.flush());
    const usage = { promptTokens: scriptedTokens(text).length, completionTokens: tokens.length };
    totals.promptTokens += usage.promptTokens;
    totals.completionTokens += usage.completionTokens;
    totals.completions++;
    const completion: Completion = { text: out, finishReason, usage, index };
    if (sampling.logprobs !== undefined) completion.tokens = cutTokens(tokens, out.length);
    return { request: position, completion };
  };

  const scoreOne = async (request: ScoreRequest, position: number, signal: AbortSignal): Promise<ScoreResult> => {
    const text = await admit(request.prompt, signal);
    totals.scored++;
    totals.promptTokens += scriptedTokens(text).length;
    const options = script.choice ? readOptions(text) : [];
    const scores = request.continuations.map((continuation): Score => {
      const letter = /[A-Z]/.exec(continuation)?.[0];
      const chosen = options.findIndex((option) => option.letter === letter);
      const tokens = scriptedTokens(continuation);
      const set =
        chosen >= 0 && script.choice
          ? choiceLogprob(options, chosen, text, script.choice)
          : script.logprob?.(text, continuation);
      if (set !== undefined) {
        const even = tokens.map(() => set / tokens.length);
        return { logprob: set, tokenLogprobs: even, tokens };
      }
      let before = text;
      const tokenLogprobs = tokens.map((token) => {
        const logprob = tokenLogprob(before, token);
        before += token;
        return logprob;
      });
      return { logprob: tokenLogprobs.reduce((a, b) => a + b, 0), tokenLogprobs, tokens };
    });
    return { request: position, scores };
  };

  const open = () => {
    if (closed) throw new UsageError("the model is closed");
  };

  return {
    id: script.id ?? "scripted",
    capabilities: async () => scriptedCapabilities,
    async *generate(requests, { signal, onEvent, stream } = {}) {
      open();
      const tasks = requests.flatMap((request, position) => {
        checkPrompt(request.prompt);
        const sampling = resolveSampling(request.sampling);
        if (sampling.minTokens > 0)
          throw new CapabilityError("minTokens", "the scripted model says what its script says: leave minTokens out");
        return Array.from(
          { length: sampling.n },
          (_, index) => (inner: AbortSignal) =>
            generateOne(request, sampling, position, index, inner, stream ? onEvent : undefined),
        );
      });
      yield* inOrderOfCompletion(tasks, { signal });
    },
    async *score(requests, { signal } = {}) {
      open();
      const tasks = requests.map((request, position) => {
        checkPrompt(request.prompt);
        return (inner: AbortSignal) => scoreOne(request, position, inner);
      });
      yield* inOrderOfCompletion(tasks, { signal });
    },
    usage: () => ({ ...totals }),
    close: async () => {
      closed = true;
    },
  };
}

const scriptedCapabilities: Capabilities = {
  chat: true,
  raw: true,
  prefill: true,
  topLogprobs: 1,
  score: { raw: "continuations", chat: "continuations" },
  seed: true,
  topK: true,
  minP: true,
  // A script has said all it has to say.
  minTokens: false,
  repetitionPenalty: true,
  streaming: true,
};

function matches(when: ScriptedRule["when"], text: string): boolean {
  if (typeof when === "string") return text.includes(when);
  if (typeof when === "function") return when(text);
  // search() ignores lastIndex, which a /g expression would carry from call to call.
  return text.search(when) >= 0;
}

/** A fixed pseudo-random log-probability of a token after a text, in [ln 0.1, ln 0.9). */
function tokenLogprob(before: string, token: string): number {
  return Math.log(0.1 + 0.8 * randomStream({ seed: 0, stage: "scripted", item: `${before}\u0000${token}` }).uniform(0));
}

interface Option {
  letter: string;
  text: string;
}

/** The options of the last list of `(A) …`, `(B) …` in a prompt; an option may run over several paragraphs. */
function readOptions(text: string): Option[] {
  const end = /\n\s*\([A-Z]\)|\n\s*The answer|\nassistant:|$(?![\s\S])/.source;
  const found = [...text.matchAll(new RegExp(`^\\s*\\(([A-Z])\\)[ \\t]*([\\s\\S]*?)(?=${end})`, "gm"))];
  const start = found.findLastIndex(([, letter]) => letter === "A");
  return found.slice(Math.max(start, 0)).map(([, letter, option]) => ({ letter: letter!, text: option!.trim() }));
}

function choiceLogprob(
  options: Option[],
  chosen: number,
  prompt: string,
  { value, positionBias = 0 }: NonNullable<ScriptedOptions["choice"]>,
): number {
  const logits = options.map((option, place) => value(option.text, prompt) + (place === 0 ? positionBias : 0));
  const max = Math.max(...logits);
  return logits[chosen]! - max - Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - max), 0));
}

/** The tokens of the first `length` characters; one that a stop string cuts keeps its log-probability. */
export function cutTokens<T extends { text: string }>(tokens: T[], length: number): T[] {
  const kept: T[] = [];
  let before = 0;
  for (const token of tokens) {
    if (before >= length) break;
    kept.push(token);
    before += token.text.length;
  }
  return kept;
}
