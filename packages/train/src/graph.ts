import { decoder, headName, type LocalModel, type LoraConfig, loraFrom, SCORE_WEIGHT, scalarHead } from "@tenet/lm";
import {
  after,
  broadcastTo,
  concat,
  constant,
  customGradient,
  type Dim,
  dimMul,
  type Feeds,
  gather,
  gatherAlong,
  greaterEqual,
  input,
  log,
  matmul,
  max,
  mul,
  reshape,
  scatterAdd,
  slice,
  softmax,
  stopGradient,
  type Tensor,
} from "@tenet/tensor";
import type { PackedBatch } from "./packing.ts";

/** What is trained on top of a frozen model. */
export interface Tuning {
  /** Low-rank factors beside frozen weights; without it all weights are trained. */
  readonly lora?: LoraConfig | undefined;
  /** A scalar head on the hidden states: a preference model's score, a value network's estimate. */
  readonly head?: boolean | undefined;
}

/** What a loss is made of: symbolic tensors of one micro-batch. Dimensions: `n` chosen places, `items`. */
export interface BatchGraph {
  /** Final hidden states at the chosen places. [n, hidden] */
  readonly hidden: Tensor;
  /** 1 for a chosen place, 0 for what pads: every sum over places must carry it, or weights that are 0 there. [n] */
  readonly mask: Tensor;
  /** Log-probabilities of the tokens behind the chosen places, with what is reported beside them. */
  tokens(options?: TokenOptions): TokenTerms;
  /** Logits of a few tokens at the chosen places, without those of the others: differences of log-probabilities. [n, tokens] */
  logits(tokens: readonly number[]): Tensor;
  /** The scalar head at the chosen places. [n] */
  scores(): Tensor;
  /** `Sequence.values[name]`, 0 where padded. [n] */
  value(name: string): Tensor;
  /** `Item.values[name]`. [items] */
  item(name: string): Tensor;
  /** Sums over each sequence's chosen places: [n] → [items, sequences per item]. Padding adds nothing. */
  perSequence(values: Tensor): Tensor;
}

export interface TokenOptions {
  /** Also the entropy of each distribution: two more passes over the vocabulary. */
  readonly entropy?: boolean;
}

export interface TokenTerms {
  /** ln π(token), natural. [n] */
  readonly logprobs: Tensor;
  /** 1 where the token is the likeliest, without gradient. [n] */
  readonly correct: Tensor;
  /** −Σ π ln π in nats, without gradient; when asked for. [n] */
  readonly entropy?: Tensor;
}

/** What a graph that trains needs of a model. */
export type GraphModel = Pick<LocalModel, "config" | "weight"> & Partial<Pick<LocalModel, "projection">>;

export interface GraphOptions {
  readonly model: GraphModel;
  readonly tuning: Tuning;
  /** Graph inputs of what is tuned, by name. */
  readonly parameters: Readonly<Record<string, Tensor>>;
  /** Length of a row. */
  readonly time: number;
  /** Parts in which the output head is computed: the logits of one are in memory at a time. */
  readonly chunks: number;
  readonly sequencesPerItem: number;
  /** Whether sequences may stand behind a beginning laid out once. */
  readonly shareBeginnings?: boolean | undefined;
  /** Whether the loss is differentiated: without it no gradient is prepared in the forward pass. */
  readonly gradient: boolean;
  /** Recompute each layer in the backward pass instead of keeping its activations. */
  readonly checkpointing?: boolean | undefined;
}

/**
 * The model over one micro-batch. Rows, tokens, chosen places and items are symbolic: one program serves every batch of the same row
 * length, and one arena of the runtime instead of one for each shape.
 */
export function batchGraph(options: GraphOptions): BatchGraph {
  const { model, tuning, parameters, time, chunks, sequencesPerItem, shareBeginnings, gradient } = options;
  const { config } = model;
  const weight = (name: string) => parameters[name] ?? model.weight(name);
  const place = (name: string) => input(name, "int32", ["rows", time]);
  const lora = tuning.lora && loraFrom(config, tuning.lora, parameters);
  const ofTokens = (name: string) => input(name, "int32", ["tokens"]);
  const states = decoder(ofTokens("tokens"), {
    config,
    weight,
    lora,
    project: lora && model.projection?.(lora),
    occupied: { order: ofTokens("order"), slots: place("slots") },
    segments: place("segments"),
    beginnings: shareBeginnings ? place("beginnings") : undefined,
    positions: place("positions"),
    maxPositions: time,
    checkpointing: options.checkpointing,
  });
  const n = dimMul(chunks, "chunk");
  const along = new Map<string, Tensor>();
  const beside = (name: string, dtype: "int32" | "float32") => {
    const known = along.get(name) ?? reshape(input(name, dtype, [chunks, "chunk"]), [n]);
    along.set(name, known);
    return known;
  };
  const ofItems = new Map<string, Tensor>();
  const item = (name: string) => {
    const known = ofItems.get(name) ?? input(`item.${name}`, "float32", ["items"]);
    ofItems.set(name, known);
    return known;
  };
  const chosen = beside("chosen", "int32");
  const hidden = gather(states, chosen);
  const mask = beside("mask", "float32");
  return {
    hidden,
    mask,
    tokens: (wanted = {}) =>
      tokenTerms(hidden, weight(headName(config)), beside("targets", "int32"), { ...wanted, chunks, gradient }),
    logits(tokens) {
      const rows = gather(weight(headName(config)), constant(Int32Array.from(tokens), [tokens.length]));
      return matmul(hidden, rows, { transB: true });
    },
    scores: () => scalarHead(states, parameters[SCORE_WEIGHT]!, chosen),
    value: (name) => beside(`value.${name}`, "float32"),
    item,
    perSequence(values) {
      const count = dimMul(sequencesPerItem, "items");
      const zeros = mul(item("one"), 0);
      const none = reshape(broadcastTo(reshape(zeros, ["items", 1]), ["items", sequencesPerItem]), [count]);
      const sums = scatterAdd(none, beside("owners", "int32"), mul(values, mask));
      return reshape(sums, ["items", sequencesPerItem]);
    },
  };
}

/** What `batchGraph`'s inputs are given for a batch; a program takes those of them it declares. */
export function batchFeeds(batch: PackedBatch, chunks: number): Feeds {
  const rows = (data: Int32Array) => ({ data, shape: [batch.rows, batch.time] });
  const beside = (data: Int32Array | Float32Array) => ({ data, shape: [chunks, data.length / chunks] });
  const items = (data: Float32Array) => ({ data, shape: [data.length] });
  const named = <T, U>(prefix: string, record: Readonly<Record<string, T>>, make: (value: T) => U) =>
    Object.fromEntries(Object.entries(record).map(([name, value]) => [prefix + name, make(value)]));
  return {
    tokens: { data: batch.tokens, shape: [batch.tokenCount] },
    order: { data: batch.order, shape: [batch.tokenCount] },
    slots: rows(batch.slots),
    segments: rows(batch.segments),
    beginnings: rows(batch.beginnings),
    positions: rows(batch.positions),
    chosen: beside(batch.chosen),
    targets: beside(batch.targets),
    owners: beside(batch.owners),
    mask: beside(batch.mask),
    ...named("value.", batch.values, beside),
    ...named("item.", batch.itemValues, items),
    "item.one": items(new Float32Array(batch.items.length).fill(1)),
  };
}

interface TokenSettings extends TokenOptions {
  readonly chunks: number;
  readonly gradient: boolean;
}

/**
 * ln softmax(h·Wᵀ)[target] and what is reported beside it: hidden [n, width], head [vocabulary, width], targets int32 [n],
 * n a multiple of `chunks`.
 *
 * As in `linearCrossEntropy`, logits exist for one part at a time and their gradient by the hidden states,
 * W[target] − P·W with P the probabilities, is formed while they are there. Values need no second pass over the vocabulary:
 * log Σ exp = max(logits) − log max(P), where max(P) ≥ 1/vocabulary.
 */
function tokenTerms(hidden: Tensor, head: Tensor, targets: Tensor, settings: TokenSettings): TokenTerms {
  const { chunks, gradient, entropy } = settings;
  const n = hidden.dim(0);
  const size: Dim = typeof n === "number" ? n / chunks : "chunk";
  const bounds = Array.from({ length: chunks }, (_, i) => [dimMul(i, size), dimMul(i + 1, size)] as const);
  const part = (x: Tensor, i: number) => slice(x, 0, ...bounds[i]!);

  const outputs = customGradient([hidden, head], () => {
    let before: Tensor | undefined;
    const parts = bounds.map((_, i) => {
      const target = part(targets, i);
      const h = part(hidden, i);
      // One after another: the logits of two parts are never wanted at once.
      const logits = matmul(before ? after(h, before) : h, head, { transB: true });
      const p = softmax(logits);
      const highest = max(logits, 1);
      const total = highest.sub(log(max(p, 1)));
      const own = reshape(gatherAlong(logits, reshape(target, [size, 1])), [size]);
      const terms = [own.sub(total), greaterEqual(own, highest).cast("float32")];
      // H = log Σ exp − Σ P·logits
      if (entropy) terms.push(total.sub(p.mul(logits).sum(1)));
      if (!gradient) {
        before = terms.at(-1)!;
        return { p, terms, slope: undefined };
      }
      const slope = gather(head, target).sub(matmul(p, head));
      before = slope;
      // Each waits for the other, so neither holds a part's logits back until the rest of the graph is done.
      return { p, terms: terms.map((term) => after(term, slope)), slope: after(slope, ...terms) };
    });
    return {
      outputs: parts[0]!.terms.map((_, k) => concat(parts.map(({ terms }) => terms[k]!))),
      saved: gradient ? [concat(parts.map(({ slope }) => slope!)), ...parts.map(({ p }) => p)] : [],
      gradient({ dys: [dy], inputs: [hidden], saved: [slope, ...probabilities] }) {
        const weight = reshape(dy!, [n, 1]);
        const weighted = hidden!.mul(weight);
        // dW = −Pᵀ·(dy·h) with dy·h added to the targets' rows.
        const dHead = probabilities
          .map((p, i) => matmul(p, part(weighted, i), { transA: true }))
          .reduce((a, b) => a.add(b));
        return [slope!.mul(weight), scatterAdd(dHead.neg(), targets, weighted)];
      },
    };
  });
  const [logprobs, correct, entropies] = outputs;
  return {
    logprobs: logprobs!,
    correct: stopGradient(correct!),
    ...(entropies ? { entropy: stopGradient(entropies) } : {}),
  };
}
