import type {
  CallOptions,
  GenerateRequest,
  GenerateResult,
  LanguageModel,
  Prompt,
  ScoreRequest,
  ScoreResult,
  Tokens,
} from "../language-model/index.ts";
import type { TextCodec } from "../text/index.ts";

/**
 * A language model that also takes texts by the ids of their tokens, and tells what these are.
 *
 * Errors: those of `LanguageModel`; UsageError for no tokens, and for one that is no whole number within the vocabulary.
 */
export interface TokenModel extends LanguageModel {
  readonly text: TextCodec;
  generate(requests: readonly GenerateRequest<Prompt | Tokens>[], options?: CallOptions): AsyncIterable<GenerateResult>;
  score(
    requests: readonly (ScoreRequest | ScoreRequest<Tokens, Tokens>)[],
    options?: CallOptions,
  ): AsyncIterable<ScoreResult>;
}
