import { encodeScore, type LanguageModel, type ModelConfig, noUsage, type TextCodec } from "@tenet/lm";
import type { Forward } from "./forward.ts";
import type { BatchGraph } from "./graph.ts";
import { completionSequence } from "./packing.ts";

/** What a forward pass has to give so that continuations can be scored by it: ln P(token | what stands before it). */
export const scoringForward = (graph: BatchGraph) => ({ logprobs: graph.tokens().logprobs });

/**
 * A model that speaks by one way of computing and scores by another: replies are `speaker`'s, log-probabilities those of a forward pass under the
 * same weights. Closing it closes the speaker; the pass is its owner's.
 *
 * @param forward of `scoringForward`
 */
export function scoredBy(
  { config, text }: { readonly config: ModelConfig; readonly text: TextCodec },
  speaker: LanguageModel,
  forward: Pick<Forward, "run">,
): LanguageModel {
  const totals = noUsage();
  return {
    id: speaker.id,
    async capabilities(options) {
      const chat = text.hasChat ? "continuations" : "none";
      return { ...(await speaker.capabilities(options)), score: { raw: "continuations", chat } };
    },
    generate: (requests, options) => speaker.generate(requests, options),
    async *score(requests, { signal } = {}) {
      const reader = { id: speaker.id, config, text };
      const jobs = requests.map((request, position) => encodeScore(reader, request, position));
      if (jobs.length === 0) return;
      signal?.throwIfAborted();
      const items = jobs.flatMap(({ prompt, continuations }) =>
        continuations.map((tokens) => ({ sequences: [completionSequence(prompt, tokens)] })),
      );
      const { logprobs } = await forward.run(items);
      let at = 0;
      for (const { position, prompt, continuations } of jobs) {
        const scores = continuations.map((tokens) => {
          const tokenLogprobs = Array.from(logprobs![at++]![0]!);
          const logprob = tokenLogprobs.reduce((a, b) => a + b, 0);
          return { logprob, tokenLogprobs, tokens: tokens.map((token) => text.tokenText(token)) };
        });
        totals.promptTokens += continuations.reduce((sum, tokens) => sum + tokens.length, prompt.length);
        totals.scored++;
        yield { request: position, scores };
      }
    },
    usage() {
      const spoken = speaker.usage();
      return {
        ...spoken,
        promptTokens: spoken.promptTokens + totals.promptTokens,
        scored: spoken.scored + totals.scored,
      };
    },
    close: () => speaker.close(),
  };
}
