import {
  type CallOptions,
  type Completion,
  type CompletionToken,
  type FinishReason,
  type GenerateRequest,
  type GenerateResult,
  logSoftmax,
  type RandomStream,
  randomnessKey,
  randomStream,
  type Sampled,
  type SamplingOptions,
  type StopDetector,
  sampleToken,
  stopDetector,
} from "../language-model/index.ts";
import type { TextCodec } from "../text/index.ts";
import type { KeyValueCache } from "./cache.ts";
import { PromptLookup } from "./drafts.ts";
import { type Engine, type Prefix, type Stretch, takeCall, tokensPerCall } from "./engine.ts";

/** A request that passed all checks. */
export interface Job {
  readonly request: GenerateRequest;
  readonly position: number;
  readonly sampling: SamplingOptions;
  readonly tokens: readonly number[];
  /** Tokens a reply may have: what was asked for, or what is left of the context. */
  readonly room: number;
}

export interface GenerateSettings {
  readonly text: TextCodec;
  /** Samples decoded together. */
  readonly slots: number;
  /** Guess repeated text. */
  readonly drafts: boolean;
  readonly options: CallOptions;
}

/** Rows of a decoding call up to which further rows cost next to nothing. */
const cheapRows = 16;
const longestDraft = 8;

/**
 * Continuous batching: each slot of the cache carries one sample; when one ends, the next takes its place. Prompts are
 * computed several to a call, behind the beginning they share, and once for all samples of a request. Yields samples as
 * they end. Stops between calls when the signal aborts, yielding what has text as cancelled.
 */
export async function* generateJobs(
  engine: Engine,
  jobs: readonly Job[],
  shared: Prefix | undefined,
  { text, slots, drafts, options }: GenerateSettings,
): AsyncGenerator<GenerateResult> {
  const cache = engine.cache(slots);
  const waiting = [...jobs];
  const ready: Sample[] = [];
  // Slots in use are always the first ones.
  const active: Sample[] = [];

  for (;;) {
    if (options.signal?.aborted) {
      for (const sample of active) if (sample.begun) yield sample.finish("cancelled");
      throw options.signal.reason;
    }
    while (active.length < slots && (ready.length > 0 || waiting.length > 0)) {
      if (ready.length === 0) ready.push(...(await prefill(engine, waiting, shared, text, options)));
      while (ready.length > 0 && active.length < slots) {
        const sample = ready.shift()!;
        const reason = sample.take(sample.first);
        if (reason) {
          yield sample.finish(reason);
          continue;
        }
        sample.place(cache, active.length);
        active.push(sample);
      }
    }
    if (active.length === 0) return;

    const most = drafts ? Math.min(longestDraft, Math.floor(cheapRows / active.length) - 1) : 0;
    const rows = active.map((sample) => sample.next(most));
    const { fresh, logits } = await engine.decode(rows, cache);
    const ended: { sample: Sample; reason: FinishReason }[] = [];
    active.forEach((sample, slot) => {
      let taken = 0;
      let reason: FinishReason | undefined;
      do reason = sample.take(logits[slot]![taken++]!);
      while (!reason && taken < rows[slot]!.length && sample.last === rows[slot]![taken]);
      cache.append(slot, fresh, slot, 0, taken);
      if (reason) ended.push({ sample, reason });
    });
    for (const { sample, reason } of ended) {
      // The last sample moves into the slot that became free.
      const slot = active.indexOf(sample);
      const moved = active.pop()!;
      if (moved !== sample) {
        cache.copy(slot, cache, active.length);
        active[slot] = moved;
      }
      cache.clear(active.length);
      yield sample.finish(reason);
    }
    // Let the program see to its timers and signals between calls.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Computes the prompts of the next few requests, as many as fit one call, and gives their samples. */
async function prefill(
  engine: Engine,
  waiting: Job[],
  shared: Prefix | undefined,
  text: TextCodec,
  options: CallOptions,
): Promise<Sample[]> {
  const common = shared?.tokens.length ?? 0;
  const { batch, size } = takeCall(waiting, ({ tokens }) => tokens.length - common);
  let base = shared;
  // A prompt longer than a call becomes a beginning of its own, but for its last token.
  if (size > tokensPerCall) base = await engine.prefix(batch[0]!.tokens.slice(0, -1), shared);
  const start = base?.tokens.length ?? 0;
  const stretches = batch.map(({ tokens }): Stretch => {
    const rest = tokens.slice(start);
    return { tokens: rest, position: start, chosen: [rest.length - 1] };
  });
  const { fresh, starts, logits } = await engine.packed(stretches, base);
  return batch.flatMap((job, i) => {
    const end = starts[i]! + stretches[i]!.tokens.length;
    const origin: Origin = {
      first: logits[i]![0]!,
      place(cache, slot) {
        cache.clear(slot);
        if (base) cache.copy(slot, base.cache, 0);
        cache.append(slot, fresh, 0, starts[i]!, end);
      },
    };
    return Array.from({ length: job.sampling.n }, (_, index) => new Sample(job, index, origin, text, options));
  });
}

/** Where a sample starts from: its prompt's keys and values, and the logits of its first token. */
interface Origin {
  readonly first: Float32Array;
  place(cache: KeyValueCache, slot: number): void;
}

/** One reply while it grows. */
class Sample {
  /** The token drawn last; its keys and values are not in the cache yet. */
  last = -1;
  readonly #job: Job;
  readonly #index: number;
  readonly #origin: Origin;
  readonly #text: TextCodec;
  readonly #options: CallOptions;
  readonly #random: RandomStream;
  readonly #stops: StopDetector;
  readonly #decoder: ReturnType<TextCodec["decoder"]>;
  readonly #lookup: PromptLookup;
  readonly #history: number[];
  readonly #tokens: CompletionToken[] = [];
  #count = 0;
  #said = "";

  constructor(job: Job, index: number, origin: Origin, text: TextCodec, options: CallOptions) {
    this.#job = job;
    this.#index = index;
    this.#origin = origin;
    this.#text = text;
    this.#options = options;
    const { seed, stop } = job.sampling;
    this.#random = randomStream({ seed, stage: "generate", item: randomnessKey(job.request), sample: index });
    this.#stops = stopDetector(stop);
    this.#decoder = text.decoder();
    this.#lookup = new PromptLookup(job.tokens);
    this.#history = [...job.tokens];
  }

  get first(): Float32Array {
    return this.#origin.first;
  }

  /** Whether any token was drawn. */
  get begun(): boolean {
    return this.#count > 0;
  }

  place(cache: KeyValueCache, slot: number): void {
    this.#origin.place(cache, slot);
  }

  /** What to run next: the last token, and up to `most` guesses at what follows it. */
  next(most: number): number[] {
    const left = this.#job.room - this.#count - 1;
    const count = Math.min(most, left);
    return count > 0 ? [this.last, ...this.#lookup.guess(count)] : [this.last];
  }

  /** Draws the next token from logits. The token's random number belongs to its place, so guesses change nothing. */
  take(logits: Float32Array): FinishReason | undefined {
    const { sampling, room } = this.#job;
    const drawn = this.#draw(logits);
    if (this.#text.endIds.has(drawn.token)) return "stop";
    this.#count++;
    this.last = drawn.token;
    this.#history.push(drawn.token);
    this.#lookup.push(drawn.token);
    if (sampling.logprobs !== undefined) this.#tokens.push(this.#report(drawn));
    const step = this.#stops.push(this.#decoder.push(drawn.token));
    this.#say(step.text);
    if (step.stop !== undefined) return "stop";
    return this.#count === room ? "length" : undefined;
  }

  finish(finishReason: FinishReason): GenerateResult {
    const step = this.#stops.push(this.#decoder.end());
    this.#say(step.text + this.#stops.flush());
    const usage = { promptTokens: this.#job.tokens.length, completionTokens: this.#count };
    const completion: Completion = { text: this.#said, finishReason, usage, index: this.#index };
    if (this.#job.sampling.logprobs !== undefined) completion.tokens = this.#tokens;
    return { request: this.#job.position, completion };
  }

  /** A token; while the reply must go on, none that ends it. What is reported is the model's own distribution. */
  #draw(logits: Float32Array): Sampled {
    const { sampling } = this.#job;
    const uniform = this.#random.uniform(this.#count);
    if (this.#count >= sampling.minTokens) return sampleToken(logits, sampling, uniform, this.#history);
    const allowed = logits.slice();
    for (const id of this.#text.endIds) allowed[id] = Number.NEGATIVE_INFINITY;
    const { token } = sampleToken(allowed, { ...sampling, logprobs: undefined }, uniform, this.#history);
    if (sampling.logprobs === undefined) return { token };
    const { top } = sampleToken(logits, { ...sampling, temperature: 0, repetitionPenalty: 1 }, 0);
    return { token, logprob: logSoftmax(logits)[token]!, top: top! };
  }

  #report({ token, logprob, top }: Sampled): CompletionToken {
    const name = (id: number) => this.#text.tokenText(id);
    return {
      id: token,
      text: name(token),
      logprob: logprob!,
      top: top!.map((entry) => ({ text: name(entry.token), logprob: entry.logprob })),
    };
  }

  #say(piece: string): void {
    if (piece === "") return;
    this.#said += piece;
    if (this.#options.stream)
      this.#options.onEvent?.({ type: "text", request: this.#job.position, index: this.#index, text: piece });
  }
}
