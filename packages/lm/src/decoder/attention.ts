import {
  and,
  cast,
  concat,
  customGradient,
  equal,
  expandDims,
  iota,
  lessEqual,
  matmul,
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
  const { scale, segments } = options;
  const [batch, heads, time, size] = q.shape as [number, number, number, number];
  const kvHeads = k.dim(1) as number;
  const group = heads / kvHeads;
  const blocks = queryBlocks(time, options.block);
  // Query heads that share keys stand above one another, so that one product serves the group.
  const grouped = (x: Tensor) => reshape(x, [batch, kvHeads, group, time, size]);
  const rows = (x: Tensor, { start, end }: QueryBlock) =>
    reshape(slice(x, 3, start, end), [batch, kvHeads, group * (end - start), x.dim(-1)]);

  const [out] = customGradient([q, k, v], () => {
    const probabilities = blocks.map((block) => {
      const { start, end } = block;
      const scores = matmul(rows(grouped(q), block), slice(k, 2, 0, end), { transB: true, alpha: scale });
      const perHead = reshape(scores, [batch, kvHeads, group, end - start, end]);
      return reshape(softmax(perHead.add(causalBias(block, segments))), scores.shape);
    });
    const parts = probabilities.map((p, i) => {
      const { start, end } = blocks[i]!;
      return reshape(matmul(p, slice(v, 2, 0, end)), [batch, kvHeads, group, end - start, size]);
    });
    return {
      outputs: [reshape(concat(parts, 3), q.shape)],
      saved: probabilities,
      gradient({ dys: [dy], inputs: [q, k, v], outputs: [out], saved }) {
        const delta = dy!.mul(out!).sum(-1, { keepDims: true });
        const parts = blocks.map((block, i) => {
          const p = saved[i]!;
          const { start, end } = block;
          const [keys, values] = [slice(k!, 2, 0, end), slice(v!, 2, 0, end)];
          const dOut = rows(grouped(dy!), block);
          const pull = rows(reshape(delta, [batch, kvHeads, group, time, 1]), block);
          const dScores = p.mul(matmul(dOut, values, { transB: true }).sub(pull));
          const dq = matmul(dScores, keys, { alpha: scale });
          const wide = (x: Tensor) => pad(x, 2, 0, time - end);
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

interface QueryBlock {
  readonly start: number;
  readonly end: number;
}

/** A quarter of the sequence at a time, in 64s: three eighths of the scores are then never computed. */
function queryBlocks(time: number, block = Math.max(64, Math.ceil(time / 4 / 64) * 64)): QueryBlock[] {
  const blocks: QueryBlock[] = [];
  for (let start = 0; start < time; start += block) blocks.push({ start, end: Math.min(time, start + block) });
  return blocks;
}

/** 0 where a query may look, else very negative: [queries, keys], with segments [batch, 1, 1, queries, keys]. */
function causalBias({ start, end }: QueryBlock, segments: Tensor | undefined): Tensor {
  const queries = expandDims(slice(iota(end), 0, start, end), 1);
  let sees = lessEqual(expandDims(iota(end), 0), queries);
  if (segments) {
    const [batch] = segments.shape;
    const own = reshape(slice(segments, 1, start, end), [batch!, 1, 1, end - start, 1]);
    sees = and(sees, equal(own, reshape(slice(segments, 1, 0, end), [batch!, 1, 1, 1, end])));
  }
  return sub(cast(sees, "float32"), 1).mul(1e9);
}
