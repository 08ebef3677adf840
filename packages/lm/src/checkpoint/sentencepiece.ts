/** What SentencePiece writes for a space. */
export const SPACE = "▁";

/**
 * The merges that SentencePiece's scores stand for: whichever two tokens make a token are merged, those that make the one of the highest
 * score first. Splits of one token follow the ids of their parts. Tokens of the vocabulary that no two make have none.
 * Source: Kudo & Richardson 2018 (arXiv 1808.06226), §2, and how transformers converts its models.
 */
export function mergesOfScores(
  vocab: ReadonlyMap<string, { readonly id: number; readonly score: number }>,
): [string, string][] {
  const made = [...vocab].map(([token, { id, score }]) => {
    const letters = [...token];
    const splits: { left: string; right: string; ids: [number, number] }[] = [];
    for (let cut = 1; cut < letters.length; cut++) {
      const [left, right] = [letters.slice(0, cut).join(""), letters.slice(cut).join("")];
      const [a, b] = [vocab.get(left), vocab.get(right)];
      if (a && b) splits.push({ left, right, ids: [a.id, b.id] });
    }
    splits.sort((one, other) => one.ids[0] - other.ids[0] || one.ids[1] - other.ids[1]);
    return { id, score, splits };
  });
  made.sort((one, other) => other.score - one.score || one.id - other.id);
  return made.flatMap(({ splits }) => splits.map(({ left, right }): [string, string] => [left, right]));
}

/** The parts of a `tokenizer.json` around such a vocabulary; `prefix`: whether a text gets a space before it. */
export function sentencePieceParts(prefix: boolean) {
  const replace = { type: "Replace", pattern: { String: " " }, content: SPACE };
  return {
    normalizer: { type: "Sequence", normalizers: [...(prefix ? [{ type: "Prepend", prepend: SPACE }] : []), replace] },
    pre_tokenizer: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: SPACE }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(prefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
  };
}
