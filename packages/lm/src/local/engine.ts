import type { Feeds, TensorData } from "@tenet/tensor";
import type { ModelConfig } from "../checkpoint/index.ts";
import type { BlockAnswers, BlockRow } from "./block.ts";
import { blockAnswers, blockFeeds } from "./block.ts";
import type { BlockGraph } from "./block-graph.ts";
import { cacheShape, type Fresh, type KeyValueCache, Prefix } from "./cache.ts";
import type { GenerationGraph } from "./graph.ts";
import { type Answer, answers, type Question, readoutFeeds } from "./readout.ts";

/** New tokens at most in one call, padding included: bounds the memory of activations. */
export const tokensPerCall = 512;

/** Answers at most that one call asks for, each of which takes logits over the vocabulary. */
const answersPerCall = 512;

/**
 * Takes from the front what fits one call when rows are padded to the longest, `most` at most; the first always does.
 * @param answersOf how many answers an item asks for
 */
export function takeCall<T>(
  waiting: T[],
  tokensOf: (item: T) => number,
  { most = Number.POSITIVE_INFINITY, answersOf = () => 1 }: { most?: number; answersOf?: (item: T) => number } = {},
): T[] {
  let [longest, answers, count] = [0, 0, 0];
  for (const item of waiting) {
    longest = Math.max(longest, tokensOf(item));
    answers += answersOf(item);
    if (count === most) break;
    if (count > 0 && ((count + 1) * longest > tokensPerCall || answers > answersPerCall)) break;
    count++;
  }
  return waiting.splice(0, count);
}

/** A stretch of new tokens in a packed row. */
export interface Stretch {
  readonly tokens: readonly number[];
  /** Position of its first token. */
  readonly position: number;
  /** The stretch it continues, by index in the row; none when it continues the prefix. */
  readonly trunk?: number;
  /** What is asked about the successors of its tokens, by their index. */
  readonly asked: readonly (readonly [offset: number, question: Question])[];
}

export interface Prompted {
  /** A row's new tokens stand stretch after stretch, the first ones from 0 on. */
  readonly fresh: Fresh;
  /** Per row, stretch and question. */
  readonly answers: readonly (readonly (readonly Answer[])[])[];
}

/** One sample's next tokens in a decoding call, the last token drawn and guesses behind it, each with its question. */
export interface DecodeRow {
  readonly tokens: readonly number[];
  readonly questions: readonly Question[];
}

export interface Decoded {
  readonly fresh: Fresh;
  /** Per row and token. */
  readonly answers: readonly (readonly Answer[])[];
}

type Ran = ReturnType<GenerationGraph["run"]>;

/** The graphs of a model under one set of adapted modules; each is made when it is asked for. */
export interface Graphs {
  prompt(prefixed: boolean, feeds: Feeds): Ran;
  decode(prefixed: boolean, feeds: Feeds): Ran;
  block<Result>(kind: BlockKind, work: (graph: BlockGraph) => Promise<Result>): Promise<Result>;
}

/** Which graph of blocks. */
export interface BlockKind {
  readonly prefixed: boolean;
  readonly filtered: boolean;
}

interface Asked {
  /** Place among all tokens of the call. */
  readonly at: number;
  readonly question: Question;
}

/** The graphs under one adapter (or none), called with rows of tokens. */
export class Engine {
  readonly config: ModelConfig;
  readonly #ends: ReadonlySet<number>;
  readonly #graphs: Graphs;
  readonly #adapter: Feeds;

  constructor(config: ModelConfig, ends: ReadonlySet<number>, graphs: Graphs, adapter: Feeds) {
    this.config = config;
    this.#ends = ends;
    this.#graphs = graphs;
    this.#adapter = adapter;
  }

  emptyPrefix(): Prefix {
    return Prefix.empty(cacheShape(this.config));
  }

  /** Computes a text's positions, in calls of bounded size. `base` is what is known of its beginning. */
  async prefix(tokens: readonly number[], base: Prefix): Promise<Prefix> {
    let prefix = base;
    while (prefix.tokens.length < tokens.length) {
      const position = prefix.tokens.length;
      const piece = tokens.slice(position, position + tokensPerCall);
      const { fresh } = await this.prompt([[{ tokens: piece, position, asked: [] }]], prefix);
      prefix = prefix.extended(piece, fresh);
    }
    return prefix;
  }

  /** Runs rows of stretches behind a prefix; stretches see the prefix, their trunk and themselves. */
  async prompt(rows: readonly (readonly Stretch[])[], prefix: Prefix): Promise<Prompted> {
    const lengths = rows.map((stretches) => stretches.reduce((sum, { tokens }) => sum + tokens.length, 0));
    const time = Math.max(...lengths);
    const shape = [rows.length, time];
    const field = (fill = 0) => new Int32Array(rows.length * time).fill(fill);
    // What fills up a short row is of no segment, and nothing that counts sees it.
    const [tokens, positions, segments, trunks] = [field(), field(), field(-1), field(-1)];
    const asked: Asked[] = [];
    rows.forEach((stretches, row) => {
      let at = row * time;
      stretches.forEach((stretch, index) => {
        for (const [offset, question] of stretch.asked) asked.push({ at: at + offset, question });
        stretch.tokens.forEach((token, i) => {
          tokens[at] = token;
          positions[at] = stretch.position + i;
          segments[at] = index;
          trunks[at] = stretch.trunk ?? index;
          at++;
        });
      });
    });
    const prefixed = prefix.tokens.length > 0;
    const { fresh, answered } = await this.#call(
      "prompt",
      prefixed,
      asked,
      { rows: rows.length, time },
      {
        ...(prefixed ? prefix.feeds() : {}),
        tokens: { data: tokens, shape },
        positions: { data: positions, shape },
        segments: { data: segments, shape },
        trunks: { data: trunks, shape },
      },
    );
    return {
      fresh,
      answers: rows.map((stretches) => stretches.map((stretch) => stretch.asked.map(() => answered.shift()!))),
    };
  }

  /** One decoding step: row i of the cache is followed by the tokens of `rows[i]`. Nothing is appended to the cache. */
  async decode(rows: readonly DecodeRow[], cache: KeyValueCache, prefix: Prefix): Promise<Decoded> {
    const time = Math.max(...rows.map(({ tokens }) => tokens.length));
    const shape = [rows.length, time];
    const tokens = new Int32Array(rows.length * time);
    const positions = new Int32Array(rows.length * time);
    const asked: Asked[] = [];
    rows.forEach((given, row) => {
      const position = prefix.tokens.length + cache.lengths[row]!;
      for (let i = 0; i < time; i++) {
        const at = row * time + i;
        // A short row is filled up behind its end, where no token that counts looks.
        tokens[at] = given.tokens[i] ?? 0;
        positions[at] = Math.min(position + i, this.config.max_position_embeddings - 1);
        if (i < given.tokens.length) asked.push({ at, question: given.questions[i]! });
      }
    });
    const prefixed = prefix.tokens.length > 0;
    const { fresh, answered } = await this.#call(
      "decode",
      prefixed,
      asked,
      { rows: rows.length, time },
      {
        ...(prefixed ? prefix.feeds() : {}),
        ...cache.feeds(rows.length),
        tokens: { data: tokens, shape },
        positions: { data: positions, shape },
      },
    );
    return { fresh, answers: rows.map((given) => given.tokens.map(() => answered.shift()!)) };
  }

  /**
   * Several decoding steps in one call, one token each a row: row i of the cache is followed by the last token of `rows[i]`, and each
   * step's token by the next. Nothing is appended to the cache; keys and values are not fetched where every row ends with the block.
   */
  async block(
    rows: readonly BlockRow[],
    steps: number,
    cache: KeyValueCache,
    prefix: Prefix,
  ): Promise<{ fresh?: Fresh; answers: BlockAnswers }> {
    const prefixed = prefix.tokens.length > 0;
    const { feeds, filtered } = blockFeeds(rows, steps);
    const positions = Int32Array.from(rows, (_, row) => prefix.tokens.length + cache.lengths[row]!);
    const all = {
      ...this.#adapter,
      ...(prefixed ? prefix.feeds() : {}),
      ...cache.feeds(rows.length),
      ...feeds,
      positions: { data: positions, shape: [rows.length] },
    };
    // Where there is a filter a draw may be left to a step behind the block.
    const over = !filtered && rows.every(({ left }) => left <= steps);
    return this.#graphs.block({ prefixed, filtered }, async (graph) => {
      if (over) return { answers: blockAnswers(rows.length, await graph.runFor(["tokens", "logprobs"], all)) };
      const out = await graph.run(all);
      const fresh = { data: out.fresh.data as Float32Array, rows: rows.length, time: steps };
      return { answers: blockAnswers(rows.length, out), fresh };
    });
  }

  async #call(
    kind: "prompt" | "decode",
    prefixed: boolean,
    asked: readonly Asked[],
    { rows, time }: Pick<Fresh, "rows" | "time">,
    feeds: Feeds,
  ): Promise<{ fresh: Fresh; answered: Answer[] }> {
    const { vocab_size: vocabulary } = this.config;
    const out = await this.#graphs[kind](prefixed, {
      ...{ ...this.#adapter, ...feeds },
      ...readoutFeeds(asked, vocabulary),
    });
    const questions = asked.map(({ question }) => question);
    const fresh: TensorData = out.fresh;
    return {
      fresh: { data: fresh.data as Float32Array, rows, time },
      answered: answers(questions, out, vocabulary, this.#ends),
    };
  }
}
