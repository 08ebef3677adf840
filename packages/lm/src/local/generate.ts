import { type RandomStream, randomStream } from "@tenet/data";
import {
  type CallOptions,
  type Completion,
  type CompletionToken,
  type FinishReason,
  type GenerateRequest,
  type GenerateResult,
  logSoftmax,
  type Prompt,
  randomnessKey,
  type Sampled,
  type SamplingOptions,
  type StopDetector,
  sampleToken,
  stopDetector,
  type Tokens,
  UsageError,
} from "../language-model/index.ts";
import type { TextCodec } from "../text/index.ts";
import { type Beginnings, shortest } from "./beginnings.ts";
import { type BlockLimits, type BlockRow, blockSteps, fitsBlock } from "./block.ts";
import type { KeyValueCache, Prefix } from "./cache.ts";
import { PromptLookup } from "./drafts.ts";
import { type DecodeRow, type Engine, type Stretch, takeCall, tokensPerCall } from "./engine.ts";
import { families } from "./families.ts";
import type { Answer, Question } from "./readout.ts";

/** A request that passed all checks. */
export interface Job {
  readonly request: GenerateRequest<Prompt | Tokens>;
  readonly position: number;
  readonly sampling: SamplingOptions;
  readonly tokens: readonly number[];
  /** Tokens a reply may have: what was asked for, or what is left of the context. */
  readonly room: number;
  /** Of its own, where it is not one of a batch: its signal ends this job and no other. */
  readonly options?: CallOptions;
}

export interface GenerateSettings {
  readonly text: TextCodec;
  /** Empty, with a row for each of the samples decoded together. */
  readonly cache: KeyValueCache;
  /** Guess repeated text, where tokens are decoded step by step. */
  readonly drafts: boolean;
  /** Where several steps are decoded in one call: how many at most. */
  readonly blocks?: BlockLimits;
  readonly options: CallOptions;
  /** Counted up as work is done. */
  readonly statistics: DecodeStatistics;
  /** Jobs that came since it was last asked: they are taken in between two calls. */
  readonly arrivals?: () => readonly Job[];
  /** What is computed of prompts' beginnings behind the shared one, where those who ask do not know of each other. */
  readonly beginnings?: Beginnings;
}

/** What decoding did, in sums. */
export interface DecodeStatistics {
  /** Calls of the decoding graph. */
  steps: number;
  /** Tokens they gave, over all samples. */
  tokens: number;
  /** Tokens guessed, and guesses that were right. */
  drafted: number;
  accepted: number;
}

/** Tokens of a decoding call up to which further ones cost next to nothing. */
const cheapTokens = 16;

/** Single steps between two blocks, at most, where most draws are none that a block can tell. */
const longestPause = 31;

/** Waiting prompts that are looked at together for what they begin with. */
const mostAlike = 64;

/** Tokens of a call that take as long as what a call costs whatever it holds. */
const callWorth = 256;

/** Positions of replies that room is made for at once, where they may be so long. */
const roomAtOnce = 128;

/**
 * Continuous batching: each slot of the cache carries one sample; when one ends, the next takes its place. Prompts are
 * computed several to a call, behind the beginning they share, and once for all samples of a request. Yields samples as
 * they end. Stops between calls when the signal aborts, yielding what has text as cancelled; of a job with a signal of its own, that
 * job alone.
 */
export async function* generateJobs(
  engine: Engine,
  jobs: readonly Job[],
  shared: Prefix,
  settings: GenerateSettings,
): AsyncGenerator<GenerateResult> {
  const { cache, drafts, blocks, options, statistics, arrivals } = settings;
  const slots = cache.rows;
  const waiting = kinOf(jobs, shared);
  // A block holds its own positions, and what the cache has room for travels to the device with each.
  const ahead = blocks ? 0 : roomAtOnce;
  const makeRoom = (jobs: readonly Job[]) => {
    const most = Math.max(0, ...jobs.map(({ tokens, room }) => tokens.length + Math.min(room, ahead)));
    cache.reserve(most - shared.tokens.length);
  };
  makeRoom(jobs);
  const ready: Placed[] = [];
  // Slots in use are always the first ones.
  const active: Sample[] = [];
  /** Single steps before the next block, and how many they were at first: behind blocks that could tell few draws, ever more. */
  let [single, pause] = [0, 0];
  /** The last sample moves into the slot that becomes free. */
  const leave = (sample: Sample) => {
    const slot = active.indexOf(sample);
    const moved = active.pop()!;
    if (moved !== sample) {
      cache.copy(slot, active.length);
      active[slot] = moved;
    }
    cache.clear(active.length);
  };

  for (;;) {
    if (options.signal?.aborted) {
      for (const sample of active) if (sample.begun) yield sample.finish("cancelled");
      throw options.signal.reason;
    }
    if (arrivals) {
      const arrived = arrivals();
      makeRoom(arrived);
      const strangers = waiting.find(({ common }) => common === 0);
      if (strangers) strangers.jobs.push(...arrived);
      else waiting.push({ jobs: [...arrived], common: 0 });
      for (const { jobs } of waiting) remove(jobs, (job) => job.options?.signal?.aborted === true);
      remove(waiting, ({ jobs }) => jobs.length === 0);
      remove(ready, ({ sample }) => sample.aborted);
      for (const sample of active.filter(({ aborted }) => aborted)) {
        leave(sample);
        yield sample.finish("cancelled");
      }
    }
    while (active.length < slots && (ready.length > 0 || waiting.length > 0)) {
      const before = active.length;
      if (ready.length === 0) ready.push(...(await prefill(engine, waiting, shared, settings)));
      while (ready.length > 0 && active.length < slots) {
        const { sample, first, place } = ready.shift()!;
        const reason = sample.take(first);
        if (reason) {
          yield sample.finish(reason);
          continue;
        }
        place(cache, active.length);
        active.push(sample);
      }
      // Samples that end at their first token fill no slot: those that grow, and whoever comes or goes, do not wait for all of them.
      if (options.signal?.aborted || (arrivals && active.length === before)) break;
    }
    if (active.length === 0) {
      if (ready.length === 0 && waiting.length === 0) return;
      // As behind a step: let the program see to its timers and signals.
      await new Promise((resolve) => setImmediate(resolve));
      continue;
    }

    const block = blocks && single === 0 ? active.flatMap((sample) => sample.ofBlock() ?? []) : [];
    const counts: number[] = [];
    const ended: { sample: Sample; reason: FinishReason }[] = [];
    statistics.steps++;
    single = Math.max(0, single - 1);
    if (blocks && block.length === active.length) {
      const waits = { waiting: ready.length + waiting.length > 0, watched: options.stream === true || !!arrivals };
      const steps = blockSteps(block, blocks, waits);
      const { fresh, answers } = await engine.block(block, steps, cache, shared);
      let untold = 0;
      active.forEach((sample, slot) => {
        let taken = 0;
        let reason: FinishReason | undefined;
        while (!reason && taken < steps) {
          const answer = answers.at(slot, taken);
          if (!answer) break;
          reason = sample.take({ kind: "draw", ...answer });
          taken++;
        }
        if (!reason && taken < steps) {
          if (!fresh) throw new UsageError("the model's logits are not numbers");
          untold++;
        }
        counts.push(taken);
        statistics.tokens += taken;
        if (reason) ended.push({ sample, reason });
      });
      if (fresh) cache.appendAll(fresh, counts);
      // The next step is one that a block could not tell. Where that befalls most rows, it is likely to do so again.
      pause = untold > active.length / 2 ? Math.min(2 * pause + 1, longestPause) : Math.min(untold, 1);
      single = pause;
    } else {
      const guesses = drafts ? Math.floor(cheapTokens / active.length) - 1 : 0;
      const rows = active.map((sample) => sample.next(guesses));
      const { fresh, answers } = await engine.decode(rows, cache, shared);
      active.forEach((sample, slot) => {
        const { tokens } = rows[slot]!;
        let taken = 0;
        let reason: FinishReason | undefined;
        do reason = sample.take(answers[slot]![taken++]!);
        while (!reason && taken < tokens.length && sample.last === tokens[taken]);
        counts.push(taken);
        sample.judge(tokens.length - 1, taken - 1);
        statistics.tokens += taken;
        statistics.drafted += tokens.length - 1;
        statistics.accepted += taken - 1;
        if (reason) ended.push({ sample, reason });
      });
      cache.appendAll(fresh, counts);
    }
    for (const { sample, reason } of ended) {
      leave(sample);
      yield sample.finish(reason);
    }
    // Let the program see to its timers and signals between calls.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function remove<T>(items: T[], gone: (item: T) => boolean): void {
  const kept = items.filter((item) => !gone(item));
  if (kept.length < items.length) items.splice(0, items.length, ...kept);
}

/** Jobs whose prompts are computed together. */
interface Kin {
  readonly jobs: Job[];
  /** Positions that their prompts share and that are computed once for them; 0 where they share no more than all do. */
  readonly common: number;
  beginning?: Prefix;
}

/** Jobs by what their prompts share, those that share nothing more than all do at the end. */
function kinOf(jobs: readonly Job[], shared: Prefix): Kin[] {
  const found = families(
    jobs.map(({ tokens }) => tokens),
    { known: shared.tokens.length, shortest, cost: callWorth },
  );
  const taken = new Set(found.flatMap(({ members }) => members));
  const rest = { jobs: jobs.filter((_, i) => !taken.has(i)), common: 0 };
  const kin = found.map(({ members, common }) => ({ jobs: members.map((i) => jobs[i]!), common }));
  // Alike lengths together waste no padding, and long ones first none at the end.
  for (const { jobs } of [...kin, rest]) jobs.sort((a, b) => b.tokens.length - a.tokens.length);
  return [...kin, rest].filter(({ jobs }) => jobs.length > 0);
}

/** A sample whose prompt is computed: the answer to its first question, and how its keys and values get into a slot. */
interface Placed {
  readonly sample: Sample;
  readonly first: Answer;
  place(cache: KeyValueCache, slot: number): void;
}

/** Computes the prompts of the next few requests, as many as fit one call, and gives their samples. */
async function prefill(
  engine: Engine,
  waiting: Kin[],
  shared: Prefix,
  { text, options, beginnings }: GenerateSettings,
): Promise<Placed[]> {
  const kin = waiting[0]!;
  const texts = kin.jobs.slice(0, mostAlike).map(({ tokens }) => tokens);
  if (kin.common > 0) kin.beginning ??= await engine.prefix(texts[0]!.slice(0, kin.common), shared);
  const beginning = kin.beginning ?? (await beginnings?.of(texts)) ?? shared;
  const known = beginning.tokens.length;
  const batch = takeCall(kin.jobs, ({ tokens }) => tokens.length - known, {
    // What was not looked at may begin otherwise.
    ...(kin.beginning === undefined && beginnings && { most: texts.length }),
    answersOf: ({ sampling }) => sampling.n,
  });
  if (kin.jobs.length === 0) waiting.shift();
  // A prompt longer than a call becomes a beginning of its own, but for its last token.
  const [first] = batch;
  const long = first!.tokens.length - known > tokensPerCall;
  const base = long ? await engine.prefix(first!.tokens.slice(0, -1), beginning) : beginning;
  const start = base.tokens.length;
  const samples = batch.map((job) =>
    Array.from({ length: job.sampling.n }, (_, index) => new Sample(job, index, text, options)),
  );
  const rows = batch.map(({ tokens }, i): Stretch[] => {
    const rest = tokens.slice(start);
    const asked = samples[i]!.map((sample) => [rest.length - 1, sample.question(0)] as const);
    return [{ tokens: rest, position: start, asked }];
  });
  const { fresh, answers } = await engine.prompt(rows, base);
  return samples.flatMap((some, row) =>
    some.map((sample, index) => ({
      sample,
      first: answers[row]![0]![index]!,
      place(cache, slot) {
        cache.clear(slot);
        cache.appendPrefix(slot, base, shared.tokens.length);
        cache.append(slot, fresh, row, 0, rows[row]![0]!.tokens.length);
      },
    })),
  );
}

/** One reply while it grows. */
class Sample {
  /** The token drawn last; its keys and values are not in the cache yet. */
  last = -1;
  readonly #job: Job;
  readonly #index: number;
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

  constructor(job: Job, index: number, text: TextCodec, options: CallOptions) {
    this.#job = job;
    this.#index = index;
    this.#text = text;
    this.#options = job.options ?? options;
    const { seed, stop } = job.sampling;
    this.#random = randomStream({ seed, stage: "generate", item: randomnessKey(job.request), sample: index });
    this.#stops = stopDetector(stop);
    this.#decoder = text.decoder();
    this.#lookup = new PromptLookup(job.tokens);
    this.#history = [...job.tokens];
  }

  /** Whether the one who asked for it has gone. */
  get aborted(): boolean {
    return this.#job.options?.signal?.aborted === true;
  }

  /** Whether any token was drawn. */
  get begun(): boolean {
    return this.#count > 0;
  }

  /**
   * What is asked for the token `ahead` places behind the next one. Its random number belongs to its place, so guesses
   * change nothing. Where sampling filters, penalises or reports more than the token, it takes all logits.
   */
  question(ahead: number): Question {
    const { temperature, topP, topK, minP, repetitionPenalty, logprobs, minTokens } = this.#job.sampling;
    const place = this.#count + ahead;
    const filtered = temperature > 0 && (topP < 1 || topK > 0 || minP > 0);
    const reported = logprobs !== undefined && (logprobs > 0 || (temperature !== 0 && temperature !== 1));
    if (filtered || reported || repetitionPenalty !== 1) return { kind: "logits" };
    const uniform = temperature > 0 ? this.#random.uniform(place) : 0;
    return { kind: "draw", temperature, uniform, barred: place < minTokens, logprob: logprobs !== undefined };
  }

  /** What to run next: the last token, and up to `most` guesses at what follows it. */
  next(most: number): DecodeRow {
    const left = this.#job.room - this.#count - 1;
    const tokens = [this.last, ...this.#lookup.guess(Math.min(most, left))];
    return { tokens, questions: tokens.map((_, ahead) => this.question(ahead)) };
  }

  /** Its row of a block of steps, where its draws can be made in one. */
  ofBlock(): BlockRow | undefined {
    const { sampling, room } = this.#job;
    if (!fitsBlock(sampling)) return undefined;
    const place = this.#count;
    return {
      last: this.last,
      left: room - place,
      barring: sampling.minTokens - place,
      sampling,
      uniform: (step) => this.#random.uniform(place + step),
    };
  }

  /** Learns how many of its guesses were right. */
  judge(guessed: number, right: number): void {
    this.#lookup.judge(guessed, right);
  }

  /** Takes the next token. */
  take(answer: Answer): FinishReason | undefined {
    const { sampling, room } = this.#job;
    const drawn = this.#drawn(answer);
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

  #drawn(answer: Answer): Sampled {
    if (answer.kind === "draw") return { ...answer, top: [] };
    if (answer.kind === "logits") return this.#draw(answer.logits);
    throw new Error("a score is no answer to a draw");
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
