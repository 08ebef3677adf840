import type { GgufWriteType } from "../gguf/encode.ts";
import type { CompletionToken, LanguageModel, Prompt } from "../language-model/index.ts";
import type { TokenModel } from "../local/token-model.ts";
import type { TextCodec } from "../text/index.ts";

/** What may differ, in nats. */
export interface Tolerance {
  /** How far a token's log-probability may move: at most, and in the mean. */
  readonly largest: number;
  readonly mean: number;
  /** How far a greedy token may be ahead of the next likeliest and yet become another. */
  readonly nearTie: number;
}

/** A program that runs an exported model, as a proof asks it. */
export interface ExportRuntime {
  /** For people: which program opened the file. */
  readonly name: string;
  /** What its own rounding may do, whatever the weights. Default: that of float32. */
  readonly rounding?: Tolerance;
  /** The tokens that a prompt becomes. */
  promptTokens(prompt: Prompt): Promise<readonly number[]>;
  /** The log-probability of each token of a reply behind its prompt; undefined where one is not told. */
  replyLogprobs(prompt: Prompt, reply: ProvenReply): Promise<readonly (number | undefined)[]>;
  /** What it replies greedily. */
  reply(prompt: Prompt, maxTokens: number): Promise<string>;
  /** Whether a reply ends at a token. */
  endsAt(token: number): Promise<boolean>;
  close(): Promise<void>;
}

/** What the model said before it was exported. */
export interface ProvenReply {
  readonly text: string;
  readonly tokens: readonly CompletionToken[];
}

/** A greedy reply before and after; the same to the last letter where it does not part. */
export interface ProofReply {
  readonly prompt: number;
  readonly before: string;
  readonly after: string;
  /**
   * Where the two part: the token of the reply before, and how far in nats it was ahead of the next likeliest, which is not known
   * where the reply ended there.
   */
  readonly parts?: { readonly token: number; readonly margin?: number };
}

/** What a proof asked, and what differed. */
export interface ExportProof {
  readonly runtime: string;
  readonly prompts: number;
  /** Prompts that became the same tokens. */
  readonly samePrompts: number;
  /**
   * Prompts that become other tokens only because the program takes the text of a special token in a message for the token, which is
   * text to Tenet: whoever may write to it there can end a turn. No fault of the export; nothing further is held against them.
   */
  readonly injectable: number;
  /** Greedy replies of both, for who reads them on. */
  readonly replies: readonly ProofReply[];
  /** Tokens of replies whose log-probabilities were held against each other, and those that the program told none of. */
  readonly tokens: number;
  readonly untold: number;
  /** Their differences in nats: the largest, and the mean of all. Absent where none was compared. */
  readonly largest?: number;
  readonly mean?: number;
  /** What they may be, by the type of the weights and the program. */
  readonly allowed: Tolerance;
  /** What is wrong with the export, a sentence each: none for one that is proven. */
  readonly faults: readonly string[];
}

export interface ProofOptions {
  /** The model as it was before it was exported. */
  readonly model: Pick<LanguageModel, "generate"> & { readonly text: TextCodec };
  readonly prompts: readonly Prompt[];
  readonly runtime: ExportRuntime;
  /** Of the matrices in the file: how far log-probabilities may be apart. */
  readonly type: GgufWriteType;
  /** Tokens of a reply at most. Default 48. */
  readonly maxTokens?: number;
  readonly signal?: AbortSignal;
}

/**
 * What rounding the weights to a type may do, in a program that computes in float32. What was measured stands in docs/serve.md; a wrong
 * adapter, however small, is found by the weights themselves (`weightFaults`).
 */
export const tolerances: Record<GgufWriteType, Tolerance> = {
  F32: within(1e-3, 2e-4),
  F16: within(0.05, 0.01),
  BF16: within(0.5, 0.1),
  Q8_0: within(1, 0.2),
  Q4_0: within(8, 1, 8),
  Q4_K: within(8, 1, 8),
};

/** @param nearTie by default twice of what each of the two log-probabilities may move by */
export function within(largest: number, mean: number, nearTie = 2 * largest): Tolerance {
  return { largest, mean, nearTie };
}

/** What is allowed where two things round. */
export function wider(a: Tolerance, b: Tolerance): Tolerance {
  return within(Math.max(a.largest, b.largest), Math.max(a.mean, b.mean), Math.max(a.nearTie, b.nearTie));
}

/**
 * Replays prompts in a program that opened the export, and holds it against the model: prompt tokens, log-probabilities of the
 * model's own greedy replies, greedy replies up to the first near-tie, and where replies end.
 */
export async function proveExport(options: ProofOptions): Promise<ExportProof> {
  const { model, prompts, runtime, type, maxTokens = 48, signal } = options;
  const faults: string[] = [];
  const injectable = new Set<number>();
  let others = 0;
  for (const [i, prompt] of prompts.entries()) {
    const [before, after] = [model.text.encodePrompt(prompt), await runtime.promptTokens(prompt)];
    const at = firstDifference(before, after);
    if (at === undefined) continue;
    if (readsSpecial(model.text, prompt, before, after)) injectable.add(i);
    else if (others++ === 0)
      faults.push(
        `prompt ${i + 1} becomes other tokens from token ${at + 1} on: ${around(model.text, before, at)} before, ${around(model.text, after, at)} in ${runtime.name}`,
      );
  }
  if (others > 1) faults[0] += `; so do ${others - 1} more`;

  const differences: number[] = [];
  let untold = 0;
  const replies: ProofReply[] = [];
  const sampling = { temperature: 0, maxTokens, logprobs: 2 };
  const asked = [...prompts.keys()].filter((i) => !injectable.has(i));
  const requests = asked.map((i) => ({ prompt: prompts[i]!, sampling }));
  for await (const { request, completion } of model.generate(requests, signal ? { signal } : {})) {
    const { text, tokens = [] } = completion;
    const prompt = prompts[asked[request]!]!;
    const reply = await runtime.reply(prompt, maxTokens);
    replies.push({ prompt: asked[request]!, before: text, after: reply, ...parting(tokens, text, reply) });
    if (tokens.length === 0) continue;
    const after = await runtime.replyLogprobs(prompt, { text, tokens });
    tokens.forEach(({ logprob }, i) => {
      const other = after[i];
      if (other === undefined) untold++;
      else differences.push(Math.abs(logprob - other));
    });
  }
  if (differences.length === 0 && untold > 0)
    faults.push(`${runtime.name} tells no log-probability of any of the ${untold} tokens of replies`);
  const allowed = wider(tolerances[type], runtime.rounding ?? tolerances.F32);
  const largest = Math.max(...differences);
  const mean = differences.reduce((sum, difference) => sum + difference, 0) / differences.length;
  // Also where a number is none.
  if (differences.length > 0 && !(largest <= allowed.largest && mean <= allowed.mean))
    faults.push(
      `log-probabilities differ by up to ${largest.toFixed(4)} and by ${mean.toFixed(4)} in the mean; ${type} in ${runtime.name} allows ${allowed.largest} and ${allowed.mean}`,
    );
  const apart = replies.filter(({ parts }) => parts?.margin !== undefined && !(parts.margin <= allowed.nearTie));
  if (apart.length > 0) {
    const { prompt, parts } = apart[0]!;
    faults.push(
      `the greedy reply to prompt ${prompt + 1} is another from token ${parts!.token + 1} on, where the checkpoint's was ahead by ${parts!.margin!.toFixed(4)}; ${type} in ${runtime.name} turns those within ${allowed.nearTie}${apart.length > 1 ? `; so are ${apart.length - 1} more` : ""}`,
    );
  }
  for (const id of model.text.endIds)
    if (!(await runtime.endsAt(id)))
      faults.push(`replies do not end at ${JSON.stringify(model.text.tokenText(id))} (token ${id}) in ${runtime.name}`);
  return {
    ...{
      runtime: runtime.name,
      prompts: prompts.length,
      samePrompts: prompts.length - others - injectable.size,
      injectable: injectable.size,
      tokens: differences.length,
      untold,
      allowed,
      replies,
      faults,
    },
    ...(differences.length > 0 && { largest, mean }),
  };
}

/**
 * Where a reply parts from the one before, if it does. Its tokens are not known, and one that begins with what was said parts before the
 * texts do: where the next likeliest token goes on as the reply does, beyond where the texts part, it is taken for the reply's own.
 */
function parting(tokens: readonly CompletionToken[], before: string, after: string): Pick<ProofReply, "parts"> {
  if (before === after) return {};
  const same = firstDifference(before, after)!;
  let said = "";
  let found: ProofReply["parts"];
  for (const [token, { text, top = [] }] of tokens.entries()) {
    const [first, second] = top;
    const margin = first && second && first.logprob - second.logprob;
    const other = said + (second?.text ?? "");
    if (other.length > same && after.startsWith(other) && !(found && found.margin! <= margin!))
      found = { token, margin: margin! };
    said += text;
    if (after.startsWith(said)) continue;
    const here = { token, ...(margin !== undefined && { margin }) };
    return { parts: found && !(margin! < found.margin!) ? found : here };
  }
  return { parts: found ?? { token: tokens.length } };
}

function firstDifference(a: ArrayLike<unknown>, b: ArrayLike<unknown>): number | undefined {
  for (let i = 0; i < Math.max(a.length, b.length); i++) if (a[i] !== b[i]) return i;
  return undefined;
}

/** Whether all that differs is that a message's text of a special token became the token. */
function readsSpecial(text: TextCodec, prompt: Prompt, before: readonly number[], after: readonly number[]): boolean {
  const contents = typeof prompt === "string" ? [prompt] : prompt.map(({ content }) => content);
  const count = (ids: readonly number[], id: number) => ids.filter((one) => one === id).length;
  const became = [...new Set(after)].some((id) => {
    const said = text.tokenText(id);
    if (said === "" || !contents.some((content) => content.includes(said))) return false;
    const plain = text.encode(said);
    const special = plain.length !== 1 || plain[0] !== id;
    return special && count(after, id) > count(before, id);
  });
  return became && text.decode(before) === text.decode(after);
}

function around(text: TextCodec, ids: readonly number[], at: number): string {
  const piece = ids.slice(at, at + 6);
  return piece.length === 0 ? "nothing" : JSON.stringify(text.decode(piece));
}

/**
 * A file opened by Tenet itself. `ends` are the tokens at which its settings alone end replies, as other programs read them; by default
 * also those that Tenet tells from the chat template.
 */
export function ownRuntime(
  model: Pick<TokenModel, "generate" | "score" | "close"> & { readonly text: TextCodec },
  { ends = model.text.endIds }: { readonly ends?: ReadonlySet<number> } = {},
): ExportRuntime {
  return {
    name: "Tenet",
    promptTokens: async (prompt) => model.text.encodePrompt(prompt),
    async replyLogprobs(prompt, { text, tokens }) {
      const ids = tokens.flatMap(({ id }) => id ?? []);
      // By its tokens where they are known: a reply that ends within a character is no text that becomes them again.
      const request =
        ids.length === tokens.length
          ? { prompt: { tokens: model.text.encodePrompt(prompt) }, continuations: [{ tokens: ids }] }
          : { prompt, continuations: [text] };
      for await (const { scores } of model.score([request])) {
        const { tokenLogprobs } = scores[0]!;
        return tokenLogprobs.length === tokens.length ? tokenLogprobs : [];
      }
      return [];
    },
    async reply(prompt, maxTokens) {
      for await (const { completion } of model.generate([{ prompt, sampling: { temperature: 0, maxTokens } }]))
        return completion.text;
      throw new Error("a request had no reply");
    },
    endsAt: async (token) => ends.has(token),
    close: () => model.close(),
  };
}
