import {
  and,
  cast,
  concat,
  customGradient,
  equal,
  expandDims,
  iota,
  less,
  lessEqual,
  matmul,
  max,
  maximum,
  or,
  pad,
  reshape,
  slice,
  softmax,
  sub,
  type Tensor,
} from "@tenet/tensor";

export interface AttentionOptions {
  /** Factor of the scores, 1/√size as a rule. */
  readonly scale: number;
  /** Packed rows: which sequence each position belongs to, int32 [batch, time]; positions see their own alone. */
  readonly segments?: Tensor | undefined;
  /** Beside segments: another segment that each position sees, where sequences go on from a shared beginning, int32 [batch, time]. */
  readonly beginnings?: Tensor | undefined;
  /** How many positions a query looks back, its own included; all where null. */
  readonly window?: number | null | undefined;
  /** Query positions handled at once; keys after a block are never touched, so short blocks skip more of the upper half. */
  readonly block?: number | undefined;
}

/**
 * Causal attention over grouped heads: softmax(scale · q·kᵀ, masked)·v.
 * q [batch, heads, time, size], k and v [batch, kvHeads, time, size] → [batch, heads, time, size].
 * Probabilities are kept for the backward pass, which is, with P the probabilities and δ = Σ dO·O (FlashAttention-2,
 * arXiv 2307.08691, §2.3): dV = Pᵀ·dO, dS = P·(dO·Vᵀ − δ), dQ = scale·dS·K, dK = scale·dSᵀ·Q.
 */
export function causalAttention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const { scale } = options;
  const [batch, heads, time, size] = q.shape as [number, number, number, number];
  const kvHeads = k.dim(1) as number;
  const group = heads / kvHeads;
  const blocks = queryBlocks(time, options);
  // Query heads that share keys stand above one another, so that one product serves the group.
  const grouped = (x: Tensor) => reshape(x, [batch, kvHeads, group, time, size]);
  const rows = (x: Tensor, { start, end }: QueryBlock) =>
    reshape(slice(x, 3, start, end), [batch, kvHeads, group * (end - start), x.dim(-1)]);

  const [out] = customGradient([q, k, v], () => {
    const probabilities = blocks.map((block) => {
      const { start, end, from } = block;
      const scores = matmul(rows(grouped(q), block), slice(k, 2, from, end), { transB: true, alpha: scale });
      const perHead = reshape(scores, [batch, kvHeads, group, end - start, end - from]);
      return reshape(maskedSoftmax(perHead, causalMask(block, options)), scores.shape);
    });
    const parts = probabilities.map((p, i) => {
      const { start, end, from } = blocks[i]!;
      return reshape(matmul(p, slice(v, 2, from, end)), [batch, kvHeads, group, end - start, size]);
    });
    return {
      outputs: [reshape(concat(parts, 3), q.shape)],
      saved: probabilities,
      gradient({ dys: [dy], inputs: [q, k, v], outputs: [out], saved }) {
        const delta = dy!.mul(out!).sum(-1, { keepDims: true });
        const parts = blocks.map((block, i) => {
          const p = saved[i]!;
          const { start, end, from } = block;
          const [keys, values] = [slice(k!, 2, from, end), slice(v!, 2, from, end)];
          const dOut = rows(grouped(dy!), block);
          const pull = rows(reshape(delta, [batch, kvHeads, group, time, 1]), block);
          const dScores = p.mul(matmul(dOut, values, { transB: true }).sub(pull));
          const dq = matmul(dScores, keys, { alpha: scale });
          const wide = (x: Tensor) => pad(x, 2, from, time - end);
          return {
            dq: reshape(dq, [batch, kvHeads, group, end - start, size]),
            dk: wide(matmul(dScores, rows(grouped(q!), block), { transA: true, alpha: scale })),
            dv: wide(matmul(p, dOut, { transA: true })),
          };
        });
        const total = (pick: "dk" | "dv") => parts.map((part) => part[pick]).reduce((a, b) => a.add(b));
        return [
          reshape(
            concat(
              parts.map((part) => part.dq),
              3,
            ),
            q!.shape,
          ),
          total("dk"),
          total("dv"),
        ];
      },
    };
  });
  return out!;
}

/**
 * Whether a query may see a key: not after it, and within the window where there is one, as bool; shapes broadcast.
 * The sliding window (Longformer, arXiv 2004.05150; Mistral 7B, arXiv 2310.06825) counts the query's own position.
 */
export function sees(query: Tensor, key: Tensor, window: number | null = null): Tensor {
  const before = lessEqual(key, query);
  return window === null ? before : and(before, less(query.sub(key), window));
}

/**
 * Softmax over the last axis where `mask` is 1, and 0 where it is 0; mask broadcasts against scores. The runtime's softmax leaves
 * e⁻⁸⁸ where a bias wants nothing, a denormal number, over which processors take ten times as long; e⁻⁶⁰ is none, but must not stay
 * either, or the gradients it reaches become some.
 */
function maskedSoftmax(scores: Tensor, mask: Tensor): Tensor {
  const biased = scores.add(biasOf(mask));
  const highest = max(biased, -1, { keepDims: true });
  return softmax(maximum(biased, highest.sub(60))).mul(mask);
}

/** 0 where a query may look, else so negative that no probability is left. */
export function attentionBias(visible: Tensor): Tensor {
  return biasOf(cast(visible, "float32"));
}

function biasOf(mask: Tensor): Tensor {
  return sub(mask, 1).mul(1e9);
}

/** Queries start … end − 1 and the keys they look at, from … end − 1. */
interface QueryBlock {
  readonly start: number;
  readonly end: number;
  readonly from: number;
}

/** A quarter of the sequence at a time, in 64s: three eighths of the scores are then never computed. */
function queryBlocks(time: number, options: AttentionOptions): QueryBlock[] {
  const { block = Math.max(64, Math.ceil(time / 4 / 64) * 64), window } = options;
  const blocks: QueryBlock[] = [];
  for (let start = 0; start < time; start += block)
    blocks.push({ start, end: Math.min(time, start + block), from: window ? Math.max(0, start - window + 1) : 0 });
  return blocks;
}

/** 1 where a block's queries see a key, else 0: [queries, keys], with segments [batch, 1, 1, queries, keys]. */
function causalMask({ start, end, from }: QueryBlock, options: AttentionOptions): Tensor {
  const { segments, beginnings, window } = options;
  const positions = iota(end);
  const limit = window && window < end ? window : null;
  let visible = sees(
    expandDims(slice(positions, 0, start, end), 1),
    expandDims(slice(positions, 0, from, end), 0),
    limit,
  );
  if (segments) {
    const [batch] = segments.shape;
    const keys = reshape(slice(segments, 1, from, end), [batch!, 1, 1, 1, end - from]);
    const within = (x: Tensor) => equal(reshape(slice(x, 1, start, end), [batch!, 1, 1, end - start, 1]), keys);
    visible = and(visible, beginnings ? or(within(segments), within(beginnings)) : within(segments));
  }
  return cast(visible, "float32");
}
