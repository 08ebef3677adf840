import { type LanguageModel, type LocalModel, scriptedModel, type TextCodec } from "@tenet/lm";

/** A text, and whether the limit of tokens cut it; otherwise it ends. */
export interface Said {
  readonly text: string;
  readonly cut?: boolean;
}

/** A model whose sample i of every prompt is the i-th of these, in a codec's tokens. */
export function saying(said: readonly Said[], codec: TextCodec): LanguageModel {
  const scripted = scriptedModel({ id: "saying" });
  return {
    id: scripted.id,
    capabilities: () => scripted.capabilities(),
    score: (requests) => scripted.score(requests),
    usage: () => scripted.usage(),
    close: () => scripted.close(),
    async *generate(requests) {
      for (const [request, { sampling }] of requests.entries())
        for (let index = 0; index < (sampling?.n ?? 1); index++) {
          const { text, cut = false } = said[index % said.length]!;
          const tokens = codec.encode(text).map((id) => ({ id, text: codec.tokenText(id), logprob: -1 }));
          const usage = { promptTokens: 1, completionTokens: tokens.length };
          yield { request, completion: { text, tokens, finishReason: cut ? "length" : "stop", usage, index } };
        }
    },
  };
}

/** The same weights to train, of a model that says these texts under any adapter. */
export function speakingAs(model: LocalModel, said: readonly Said[]): LocalModel {
  return new Proxy(model, {
    get(target, key) {
      if (key === "withAdapter") return async () => saying(said, target.text);
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
