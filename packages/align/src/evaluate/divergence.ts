import {
  bootstrapEach,
  type Estimate,
  type Outcome,
  originSchema,
  type ResponseRow,
  rowId,
  withReasoning,
} from "@tenet/data";
import type { LanguageModel } from "@tenet/lm";
import { klEstimate } from "@tenet/train";
import { z } from "zod";
import { type StageCall, scoreEach } from "../ask.ts";
import { promptKey } from "./refusal.ts";

export const sampleLogprobsSchema = z.strictObject({
  id: z.string().min(1),
  origin: originSchema,
  /** Id of the response row. */
  sample: z.string(),
  /** The prompt's key: samples of one prompt are resampled together. */
  prompt: z.string(),
  /** ln π(y_t | x, y_<t) of the response's tokens; the token that ends the turn is not among them. */
  tokenLogprobs: z.array(z.number()).min(1),
});
export type SampleLogprobs = z.output<typeof sampleLogprobsSchema>;

/**
 * Log-probabilities of given responses under a model. Run it with the policy and with the reference on the same rows, then
 * `divergence` compares the two.
 *
 * Set aside: empty responses, and those that the model does not take. Errors: CapabilityError where the model cannot score replies.
 */
export async function* scoreResponses(
  rows: readonly ResponseRow[],
  { model }: { model: LanguageModel },
  call: StageCall = {},
): AsyncGenerator<Outcome<SampleLogprobs>> {
  const usable = rows.filter(({ response }) => response !== "");
  for (const { id, response } of rows)
    if (response === "") yield { input: id, rows: [], aside: "an empty response has no tokens to compare" };
  // Who reasons first is compared by all that it wrote.
  const requests = usable.map(({ prompt, response, reasoning }) => {
    return { prompt, continuations: [withReasoning(reasoning, response)] };
  });
  for await (const answer of scoreEach(model, requests, call)) {
    const row = usable[answer.request]!;
    if ("refused" in answer) {
      yield { input: row.id, rows: [], aside: answer.refused };
      continue;
    }
    const content = { sample: row.id, prompt: promptKey(row), tokenLogprobs: answer.value[0]!.tokenLogprobs };
    const origin = { models: { scored: model.id }, parents: [row.id] };
    yield { input: row.id, rows: [{ id: rowId("sample logprobs", model.id, content), origin, ...content }] };
  }
}

export interface Divergence {
  /** Nats per token, by both estimators. */
  perToken: { k1: Estimate; k3: Estimate };
  /** Nats per response: the sum over its tokens. */
  perSequence: { k1: Estimate; k3: Estimate };
}

/**
 * KL(π‖π_ref) on samples of π at temperature 1 (at another temperature it is a distance of other distributions).
 *
 * With Δ_t = log π − log π_ref of a token: k1 = Δ_t, k3 = exp(−Δ_t) − 1 + Δ_t, summed over a response. Intervals resample prompts.
 * Source: Schulman, "Approximating KL divergence" (2020).
 * Errors: RangeError where the two sides share no sample, or cut one into different numbers of tokens.
 *
 * @example
 * const sample = (logprob) => ({ id: "1", origin: { parents: [] }, sample: "1", prompt: "x", tokenLogprobs: [logprob] });
 * divergence([sample(-1)], [sample(-3)], { seed: 1 }).perToken.k1.value; // 2
 */
export function divergence(
  policy: readonly SampleLogprobs[],
  reference: readonly SampleLogprobs[],
  { seed }: { seed: number },
): Divergence {
  const others = new Map(reference.map((row) => [row.sample, row]));
  const samples = policy.flatMap(({ sample, prompt, tokenLogprobs }) => {
    const other = others.get(sample)?.tokenLogprobs;
    if (!other) return [];
    if (other.length !== tokenLogprobs.length)
      throw new RangeError(
        `response ${sample} has ${tokenLogprobs.length} tokens under the policy and ${other.length} under the reference: KL needs the same tokenizer on both sides`,
      );
    const deltas = tokenLogprobs.map((logprob, t) => logprob - other[t]!);
    const sum = (estimator: "k1" | "k3") => deltas.reduce((total, delta) => total + klEstimate(delta, estimator), 0);
    return [{ prompt, tokens: deltas.length, k1: sum("k1"), k3: sum("k3") }];
  });
  if (samples.length === 0) throw new RangeError("policy and reference scored no response in common");
  const [tokenK1, tokenK3, sequenceK1, sequenceK3] = bootstrapEach(
    samples,
    (sample) => {
      let [k1, k3, tokens] = [0, 0, 0];
      for (const row of sample) {
        k1 += row.k1;
        k3 += row.k3;
        tokens += row.tokens;
      }
      return [k1 / tokens, k3 / tokens, k1 / sample.length, k3 / sample.length];
    },
    { seed, cluster: ({ prompt }) => prompt },
  );
  return {
    perToken: { k1: tokenK1!, k3: tokenK3! },
    perSequence: { k1: sequenceK1!, k3: sequenceK3! },
  };
}
