import { type Factors, mergedWeight } from "../adapter/index.ts";
import { decodeInto } from "../checkpoint/decode.ts";
import { openRanges } from "../checkpoint/file.ts";
import { readGgufHeader } from "../checkpoint/gguf-header.ts";
import type { Checkpoint, ModelConfig } from "../checkpoint/index.ts";
import type { CompletionToken, LanguageModel, Prompt } from "../language-model/index.ts";
import type { TextCodec } from "../text/index.ts";
import { ggufAdapterTensors } from "./adapter.ts";
import { type GgufWriteType, rounded } from "./encode.ts";
import { typeOf } from "./export.ts";

/** A program that runs an exported model, as a proof asks it. */
export interface ExportRuntime {
  /** For people: which program opened the file. */
  readonly name: string;
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

/** What a proof asked, and what differed. */
export interface ExportProof {
  readonly runtime: string;
  readonly prompts: number;
  /** Prompts that became the same tokens. */
  readonly samePrompts: number;
  /** Greedy replies of both, for who reads them on; those that are the same are so to the last letter. */
  readonly replies: readonly { readonly prompt: number; readonly before: string; readonly after: string }[];
  /** Tokens of replies whose log-probabilities were held against each other. */
  readonly tokens: number;
  /** Their differences in nats: the largest, and the mean of all. Absent where none was compared. */
  readonly largest?: number;
  readonly mean?: number;
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
 * How far a token's log-probability may move, in nats, by the type of the weights: the largest and the mean. What quantised weights
 * do is no fault; a wrong adapter is found by the weights themselves (`weightFaults`).
 */
const tolerances: Record<GgufWriteType, { readonly largest: number; readonly mean: number }> = {
  F32: { largest: 0.02, mean: 0.005 },
  F16: { largest: 0.05, mean: 0.01 },
  BF16: { largest: 0.5, mean: 0.1 },
  Q8_0: { largest: 1, mean: 0.2 },
  Q4_0: { largest: Number.POSITIVE_INFINITY, mean: 2 },
};

/**
 * Replays prompts in a program that opened the export, and holds it against the model: prompt tokens, log-probabilities of the
 * model's own greedy replies, and where replies end.
 */
export async function proveExport(options: ProofOptions): Promise<ExportProof> {
  const { model, prompts, runtime, type, maxTokens = 48, signal } = options;
  const faults: string[] = [];
  let same = 0;
  for (const [i, prompt] of prompts.entries()) {
    const [before, after] = [model.text.encodePrompt(prompt), await runtime.promptTokens(prompt)];
    const at = firstDifference(before, after);
    if (at === undefined) same++;
    else if (faults.length === 0)
      faults.push(
        `prompt ${i + 1} becomes other tokens from token ${at + 1} on: ${around(model.text, before, at)} before, ${around(model.text, after, at)} in ${runtime.name}`,
      );
  }
  if (same < prompts.length - 1) faults[0] += `; so do ${prompts.length - same - 1} more`;

  const differences: number[] = [];
  const replies: ExportProof["replies"][number][] = [];
  const sampling = { temperature: 0, maxTokens, logprobs: 0 };
  const requests = prompts.map((prompt) => ({ prompt, sampling }));
  for await (const { request, completion } of model.generate(requests, signal ? { signal } : {})) {
    const { text, tokens = [] } = completion;
    replies.push({ prompt: request, before: text, after: await runtime.reply(prompts[request]!, maxTokens) });
    if (tokens.length === 0) continue;
    const after = await runtime.replyLogprobs(prompts[request]!, { text, tokens });
    tokens.forEach(({ logprob }, i) => {
      const other = after[i];
      if (other !== undefined) differences.push(Math.abs(logprob - other));
    });
  }
  const most = tolerances[type];
  const largest = Math.max(...differences);
  const mean = differences.reduce((sum, difference) => sum + difference, 0) / differences.length;
  // Also where a number is none.
  if (differences.length > 0 && !(largest <= most.largest && mean <= most.mean))
    faults.push(
      `log-probabilities differ by up to ${largest.toFixed(4)} and by ${mean.toFixed(4)} in the mean; ${type} allows ${most.largest} and ${most.mean}`,
    );
  for (const id of model.text.endIds)
    if (!(await runtime.endsAt(id)))
      faults.push(`replies do not end at ${JSON.stringify(model.text.tokenText(id))} (token ${id}) in ${runtime.name}`);
  return {
    ...{
      runtime: runtime.name,
      prompts: prompts.length,
      samePrompts: same,
      tokens: differences.length,
      replies,
      faults,
    },
    ...(differences.length > 0 && { largest, mean }),
  };
}

function firstDifference(a: readonly number[], b: readonly number[]): number | undefined {
  for (let i = 0; i < Math.max(a.length, b.length); i++) if (a[i] !== b[i]) return i;
  return undefined;
}

function around(text: TextCodec, ids: readonly number[], at: number): string {
  const piece = ids.slice(at, at + 6);
  return piece.length === 0 ? "nothing" : JSON.stringify(text.decode(piece));
}

/**
 * Holds every weight of a written file against what it is to be: the model's, with the adapter merged in, rounded to the file's type.
 * Gives what is wrong, a sentence; nothing for a file that is as it should be. Throws CheckpointError where the file cannot be read.
 */
export async function weightFaults(
  written: Checkpoint,
  { checkpoint, adapter, type }: { checkpoint: Checkpoint; adapter?: Factors | undefined; type: GgufWriteType },
): Promise<readonly string[]> {
  const wrong: string[] = [];
  for (const [name, { shape }] of checkpoint.tensors) {
    if (!written.tensors.has(name)) {
      wrong.push(name);
      continue;
    }
    const expected = adapter ? await mergedWeight(checkpoint, adapter, name) : await checkpoint.read(name);
    const found = await written.read(name);
    const wanted = rounded(expected, typeOf(name, shape, type));
    if (found.length !== wanted.length || found.some((value, i) => value !== wanted[i])) wrong.push(name);
  }
  if (wrong.length === 0) return [];
  return [
    `${wrong.length} of ${checkpoint.tensors.size} weights are not those of the checkpoint, the first of them ${JSON.stringify(wrong[0])}: another adapter, another base or a damaged file`,
  ];
}

/** As `weightFaults`, of an adapter written by `exportGgufAdapter`: its tensors are to be those that are written for `adapter`. */
export async function ggufAdapterFaults(
  path: string,
  adapter: Factors,
  config: ModelConfig,
): Promise<readonly string[]> {
  const file = await openRanges(path);
  try {
    const { tensors, metadata } = await readGgufHeader(file);
    const expected = ggufAdapterTensors(adapter, config);
    const wrong: string[] = [];
    for (const { name, shape, data } of expected) {
      const info = tensors.get(name);
      const [found, wanted] = [new Float32Array(info?.elements ?? 0), await data()];
      if (info) await decodeInto({ ...info, file, name }, found);
      if (`${info?.shape}` !== `${shape}` || found.some((value, i) => value !== wanted[i])) wrong.push(name);
    }
    if (tensors.size !== expected.length || metadata.get("adapter.lora.alpha") !== Math.fround(adapter.lora.alpha))
      wrong.push("adapter.lora.alpha, or another number of factors");
    return wrong.length > 0 ? [`${JSON.stringify(wrong[0])} is not as the checkpoint's adapter has it`] : [];
  } finally {
    await file.close();
  }
}

/** A file opened by Tenet itself. */
export function ownRuntime(
  model: Pick<LanguageModel, "generate" | "score" | "close"> & { readonly text: TextCodec },
): ExportRuntime {
  return {
    name: "Tenet",
    promptTokens: async (prompt) => model.text.encodePrompt(prompt),
    async replyLogprobs(prompt, { text, tokens }) {
      for await (const { scores } of model.score([{ prompt, continuations: [text] }])) {
        const { tokenLogprobs } = scores[0]!;
        // A reply whose text becomes other tokens than the model drew cannot be held against them.
        return tokenLogprobs.length === tokens.length ? tokenLogprobs : [];
      }
      return [];
    },
    async reply(prompt, maxTokens) {
      for await (const { completion } of model.generate([{ prompt, sampling: { temperature: 0, maxTokens } }]))
        return completion.text;
      throw new Error("a request had no reply");
    },
    endsAt: async (token) => model.text.endIds.has(token),
    close: () => model.close(),
  };
}
