import {
  broadcastTo,
  dimMul,
  type Feeds,
  input,
  mul,
  reshape,
  scatterAdd,
  stopGradient,
  type Tensor,
} from "@tenet/tensor";
import type { BatchGraph } from "./graph.ts";
import type { Item } from "./packing.ts";
import { TrainerError } from "./trainer.ts";

/** What an engine computes at chosen places. */
export type EngineValue = "logprobs" | "correct" | "entropy" | "scores" | "logits";

/** A loss's graph over an engine's values, in place of a transformer's. */
export interface RemoteGraph extends BatchGraph {
  /** Tokens of whose logits `logits` consists; known when the graph is built. */
  readonly letters: readonly number[] | undefined;
  /** What a loss can be differentiated by. */
  leaves(): Readonly<Partial<Record<EngineValue, Tensor>>>;
}

const prefix = "engine.";

/**
 * As `batchGraph`, with what the transformer gives as inputs, so that the same losses are compiled down to log-probabilities and scores.
 * All sequences of a call make one batch; nothing is padded. Dimensions: `n` chosen places, `items`.
 */
export function remoteGraph(sequencesPerItem: number): RemoteGraph {
  const known = new Map<string, Tensor>();
  const once = (name: string, make: () => Tensor) => {
    const tensor = known.get(name) ?? make();
    known.set(name, tensor);
    return tensor;
  };
  const beside = (name: string, dtype: "float32" | "int32" = "float32") => once(name, () => input(name, dtype, ["n"]));
  const given = new Map<EngineValue, Tensor>();
  const leaf = (name: EngineValue, shape: readonly (string | number)[] = ["n"]) => {
    const tensor = once(prefix + name, () => input(prefix + name, "float32", shape));
    given.set(name, tensor);
    return tensor;
  };
  const item = (name: string) => once(`item.${name}`, () => input(`item.${name}`, "float32", ["items"]));
  const mask = beside("mask");
  let letters: readonly number[] | undefined;
  return {
    get letters() {
      return letters;
    },
    leaves: () => Object.fromEntries([...given].filter(([name]) => name !== "correct" && name !== "entropy")),
    get hidden(): Tensor {
      throw new TrainerError(
        "an engine gives log-probabilities, logits of some tokens and scores; hidden states stay there",
      );
    },
    mask,
    tokens: ({ entropy = false } = {}) => ({
      logprobs: leaf("logprobs"),
      correct: stopGradient(leaf("correct")),
      ...(entropy ? { entropy: stopGradient(leaf("entropy")) } : {}),
    }),
    logits(tokens) {
      if (letters && String(letters) !== String(tokens))
        throw new TrainerError("an engine gives the logits of one list of tokens in a loss");
      letters = tokens;
      return leaf("logits", ["n", tokens.length]);
    },
    scores: () => leaf("scores"),
    value: (name) => beside(`value.${name}`),
    item,
    perSequence(values) {
      const count = dimMul(sequencesPerItem, "items");
      const zeros = mul(item("one"), 0);
      const none = reshape(broadcastTo(reshape(zeros, ["items", 1]), ["items", sequencesPerItem]), [count]);
      return reshape(scatterAdd(none, beside("owners", "int32"), mul(values, mask)), ["items", sequencesPerItem]);
    },
  };
}

/** Which of the engine's values a program takes. */
export function wantedBy(inputs: readonly { readonly name: string }[]): EngineValue[] {
  return inputs.flatMap(({ name }) => (name.startsWith(prefix) ? [name.slice(prefix.length) as EngineValue] : []));
}

/** What a program's inputs are given for some items. @param found the engine's values, of all chosen places one after another */
export function remoteFeeds(
  inputs: readonly { readonly name: string }[],
  items: readonly Item[],
  found: Readonly<Record<string, { readonly shape: readonly number[]; readonly data: unknown }>>,
): Feeds {
  const sequences = items.flatMap((one) => one.sequences);
  const n = sequences.reduce((sum, { chosen }) => sum + chosen.length, 0);
  const places = (of: (owner: number, k: number) => number, data: Float32Array | Int32Array) => {
    let at = 0;
    sequences.forEach(({ chosen }, owner) => {
      for (let k = 0; k < chosen.length; k++) data[at++] = of(owner, k);
    });
    return { data, shape: [n] };
  };
  const feed = (name: string): Feeds[string] => {
    if (name.startsWith(prefix)) return found[name.slice(prefix.length)] as Feeds[string];
    if (name === "mask") return { data: new Float32Array(n).fill(1), shape: [n] };
    if (name === "owners") return places((owner) => owner, new Int32Array(n));
    if (name === "item.one") return { data: new Float32Array(items.length).fill(1), shape: [items.length] };
    const [kind, key] = [name.slice(0, name.indexOf(".")), name.slice(name.indexOf(".") + 1)];
    if (kind === "value") return places((owner, k) => sequences[owner]!.values![key]![k]!, new Float32Array(n));
    return { data: Float32Array.from(items, ({ values }) => values![key]!), shape: [items.length] };
  };
  return Object.fromEntries(inputs.map(({ name }) => [name, feed(name)]));
}
