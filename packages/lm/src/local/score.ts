import { logSoftmax, type Score, type ScoreResult } from "../language-model/index.ts";
import type { TextCodec } from "../text/index.ts";
import { type Engine, type Prefix, type Stretch, takeCall, tokensPerCall } from "./engine.ts";

export interface ScoreJob {
  readonly position: number;
  readonly prompt: readonly number[];
  readonly continuations: readonly (readonly number[])[];
}

/**
 * Log-probabilities of continuations behind their prompts: prompt and continuations go through the model in one row,
 * each continuation seeing the prompt and itself; several prompts share a row, and all share their common beginning.
 */
export async function* scoreJobs(
  engine: Engine,
  jobs: readonly ScoreJob[],
  shared: Prefix | undefined,
  text: TextCodec,
  signal: AbortSignal | undefined,
): AsyncGenerator<ScoreResult> {
  const waiting = [...jobs];
  const common = shared?.tokens.length ?? 0;
  while (waiting.length > 0) {
    signal?.throwIfAborted();
    const { batch, size } = takeCall(waiting, (job) => rowLength(job) - common);
    let base = shared;
    if (size > tokensPerCall) base = await engine.prefix(batch[0]!.prompt.slice(0, -1), shared);
    const start = base?.tokens.length ?? 0;
    const stretches: Stretch[] = [];
    for (const { prompt, continuations } of batch) {
      const trunk = stretches.length;
      const rest = prompt.slice(start);
      stretches.push({ tokens: rest, position: start, chosen: [rest.length - 1] });
      // The last token of a continuation predicts nothing that is asked for.
      for (const continuation of continuations) {
        const tokens = continuation.slice(0, -1);
        stretches.push({ tokens, position: prompt.length, trunk, chosen: tokens.map((_, i) => i) });
      }
    }
    const { logits } = await engine.packed(stretches, base);
    let at = 0;
    for (const { position, continuations } of batch) {
      const first = logSoftmax(logits[at++]![0]!);
      const scores = continuations.map((continuation): Score => {
        const rows = logits[at++]!;
        const tokenLogprobs = continuation.map((token, i) =>
          i === 0 ? first[token]! : logprobOf(rows[i - 1]!, token),
        );
        const logprob = tokenLogprobs.reduce((a, b) => a + b, 0);
        return { logprob, tokenLogprobs, tokens: continuation.map((token) => text.tokenText(token)) };
      });
      yield { request: position, scores };
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function rowLength({ prompt, continuations }: ScoreJob): number {
  return continuations.reduce((sum, tokens) => sum + Math.max(0, tokens.length - 1), prompt.length);
}

function logprobOf(logits: Float32Array, token: number): number {
  return logSoftmax(logits)[token]!;
}
