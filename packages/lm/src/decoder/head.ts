import {
  after,
  concat,
  customGradient,
  flattenRows,
  gather,
  gatherAlong,
  log,
  matmul,
  max,
  reshape,
  scatterAdd,
  slice,
  softmax,
  type Tensor,
} from "@tenet/tensor";

export interface HeadOptions {
  /** Rows whose logits are held at once. Default 256. */
  readonly chunk?: number;
}

/**
 * Negative log-likelihood of target tokens under a linear head: −log softmax(h·Wᵀ)[target].
 * hidden [rows, width], head [vocabulary, width], targets int32 [rows] → [rows].
 *
 * Logits exist for one chunk of rows at a time: their gradient by the hidden states, P·W − W[target] with P the
 * probabilities, is formed while they are there. Values need no second pass over the vocabulary:
 * log Σ exp = max(logits) − log max(P), where max(P) ≥ 1/vocabulary.
 */
export function linearCrossEntropy(hidden: Tensor, head: Tensor, targets: Tensor, options: HeadOptions = {}): Tensor {
  const rows = hidden.dim(0) as number;
  const size = options.chunk ?? 256;
  const bounds = Array.from(
    { length: Math.ceil(rows / size) },
    (_, i) => [i * size, Math.min(rows, (i + 1) * size)] as const,
  );
  const [loss] = customGradient([hidden, head], () => {
    const chunks = bounds.map(([start, end]) => {
      const target = slice(targets, 0, start, end);
      const logits = matmul(slice(hidden, 0, start, end), head, { transB: true });
      const p = softmax(logits);
      const total = max(logits, 1).sub(log(max(p, 1)));
      const chosen = reshape(gatherAlong(logits, reshape(target, [end - start, 1])), [end - start]);
      const nll = total.sub(chosen);
      const slope = matmul(p, head).sub(gather(head, target));
      // Each waits for the other, so neither holds a chunk's logits back until the rest of the graph is done.
      return { p, nll: after(nll, slope), slope: after(slope, nll) };
    });
    return {
      outputs: [concat(chunks.map(({ nll }) => nll))],
      saved: [concat(chunks.map(({ slope }) => slope)), ...chunks.map(({ p }) => p)],
      gradient({ dys: [dy], inputs: [hidden], saved: [slope, ...probabilities] }) {
        const weight = reshape(dy!, [rows, 1]);
        const weighted = hidden!.mul(weight);
        // dW = Pᵀ·(dy·h) with dy·h taken off the targets' rows.
        const dHead = bounds
          .map(([start, end], i) => matmul(probabilities[i]!, slice(weighted, 0, start, end), { transA: true }))
          .reduce((a, b) => a.add(b));
        return [slope!.mul(weight), scatterAdd(dHead, targets, weighted.neg())];
      },
    };
  });
  return loss!;
}

/** Log-probabilities of target tokens, without the gradient being formed beforehand: for scoring. hidden [.., width]. */
export function targetLogprobs(hidden: Tensor, head: Tensor, targets: Tensor): Tensor {
  const rows = flattenRows(hidden);
  const logits = matmul(rows, head, { transB: true });
  const total = max(logits, 1).sub(log(max(softmax(logits), 1)));
  const flat = reshape(targets, [rows.dim(0), 1]);
  return reshape(reshape(gatherAlong(logits, flat), [rows.dim(0)]).sub(total), hidden.shape.slice(0, -1));
}

/** The scalar head's weight, [1, hidden], under the name transformers gives it in sequence classification. */
export const SCORE_WEIGHT = "score.weight";

/**
 * One number for each chosen position, hidden[position]·wᵀ: a preference model's score at a sequence's last token, a value
 * network's estimate at every token. hidden [rows, width], head [1, width], positions int32 [n], rows counted over the
 * flattened batch → [n].
 */
export function scalarHead(hidden: Tensor, head: Tensor, positions: Tensor): Tensor {
  return reshape(matmul(gather(hidden, positions), head, { transB: true }), positions.shape);
}
