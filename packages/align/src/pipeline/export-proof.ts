import { access, constants, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, isAbsolute, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { cell, type Estimate, type Message, type PromptRow, table, wilson } from "@tenet/data";
import {
  type Checkpoint,
  CheckpointError,
  type CompensatedBlocks,
  EndpointError,
  type ExportProof,
  ExportRuntimeError,
  exportGguf,
  type Factors,
  type GgufWriteType,
  ggufAdapterFaults,
  type LocalModel,
  loadAdapter,
  mostVllmRanks,
  type OnnxWriteType,
  onnxFaults,
  openCheckpoint,
  openLocalModel,
  openOnnxRuntime,
  ownRuntime,
  type Prompt,
  proveExport,
  refusesText,
  resolveModel,
  startLlamaServer,
  startTransformers,
  startVllm,
  vllmServes,
  weightFaults,
} from "@tenet/lm";
import type { Store } from "@tenet/runs";
import { type Constitution, type Principle, runChecks, violations } from "../constitution/index.ts";
import { rulesIn } from "../constitution/schema.ts";
import { openedOf, type StoredCheckpoint } from "./checkpoints.ts";
import type { PoolOptions } from "./models.ts";

/** Weights that an export has written, where they lie. */
export interface WrittenWeights {
  readonly part: "adapter" | "merged" | "gguf" | "gguf-adapter" | "onnx";
  readonly path: string;
  /** Of the matrices; a copy of a checkpoint is held against it as float32, without rounding. */
  readonly type: GgufWriteType;
  /** What the format cannot say. */
  readonly notices: readonly string[];
  /** Matrices that were not rounded number for number. */
  readonly compensated?: CompensatedBlocks;
}

/** What a program found, and how many of the replies break a principle that a check stands for. */
export interface RuntimeProof extends Omit<ExportProof, "replies"> {
  /** Greedy replies, those that are the model's to the last letter, and those that part from it where two tokens were nearly as likely. */
  readonly replies: number;
  readonly sameReplies: number;
  readonly nearTies: number;
  /** Shares of the replies, with 95 % intervals; absent where no check applies. */
  readonly violations?: { readonly before: Estimate; readonly after: Estimate };
}

/** What was found when an exported part was opened again. */
export interface PartProof extends Pick<WrittenWeights, "part" | "type"> {
  /** What the programs said that opened it. */
  readonly runtimes: readonly RuntimeProof[];
  readonly faults: readonly string[];
  readonly notices: readonly string[];
  /** What was not looked at, and why. */
  readonly unverified: readonly string[];
}

export interface ProveOptions extends Pick<PoolOptions, "cacheDir" | "offline" | "signal" | "environment" | "threads"> {
  /**
   * Held-out prompts that are replayed, at most. Default 8; 96 where weights are quantised, which may have the model say other things
   * and not only with other probabilities: whether it breaks principles more often takes more replies to see.
   */
  readonly proofPrompts?: number;
}

/** How many by default, by the type of the weights. */
export function promptsToReplay({ type }: Pick<WrittenWeights, "type">): number {
  return isQuantized(type) ? 96 : 8;
}

/** Whether weights of a type share scales: types of GGUF, those that are only read too. */
export function isQuantized(type: string): boolean {
  return /^I?Q/.test(type);
}

/** What a run holds replies against. */
export interface ProofEvidence {
  readonly rows: readonly PromptRow[];
  readonly constitution: Constitution | undefined;
}

/** Texts on which tokenizers and templates fall out most. */
const odd: Message[] = [
  { role: "user", content: "What's 12,345 + 678?\n\n  Naïve café… 日本語 🌊" },
  { role: "assistant", content: "It is 13,023." },
  { role: "user", content: "don't\tSTOP <|im_end|> now" },
];

/**
 * Opens every written part again and holds it against the checkpoint: weights number for number, and a sample of the held-out prompts
 * in what runs the part: Tenet itself, ONNX Runtime, and where they are at hand llama.cpp's server (TENET_LLAMA_SERVER, or
 * `llama-server` on the PATH), Python's transformers and PEFT (TENET_TRANSFORMERS_PYTHON) and vLLM (TENET_VLLM).
 */
export async function proveParts(
  written: readonly WrittenWeights[],
  { source }: StoredCheckpoint,
  { rows, constitution }: ProofEvidence,
  options: ProveOptions,
): Promise<PartProof[]> {
  const { proofPrompts, environment = process.env, ...given } = options;
  const scratch = await mkdtemp(join(tmpdir(), "tenet-proof-"));
  let base: { readonly checkpoint: Checkpoint; readonly adapter: Factors | undefined } | undefined;
  let model: LocalModel | undefined;
  // An adapter's files alone are told apart without the base, which may not be here.
  const openedBase = async () => {
    const checkpoint = await openCheckpoint(await resolveModel(source.reference, given));
    base = { checkpoint, adapter: undefined };
    if (source.adapter !== undefined)
      base = { checkpoint, adapter: await loadAdapter(source.adapter, checkpoint.config) };
    return base;
  };
  const local = { ...given, device: "cpu" as const };
  const openedModel = () =>
    openLocalModel(source.reference, { ...local, ...(source.adapter !== undefined && { adapter: source.adapter }) });
  const replay = async (one: WrittenWeights, unverified: string[]): Promise<RuntimeProof[]> => {
    const opening = await programs(one, unverified);
    // What nothing opens asks for no base.
    if (opening.length === 0) return [];
    model ??= await openedModel();
    const { text, config } = model;
    const asked = promptsFor(model, rows.slice(0, proofPrompts ?? promptsToReplay(one)));
    const prompts = asked.map(({ prompt }) => prompt);
    const proof = { model, prompts, type: one.type, ...(given.signal && { signal: given.signal }) };
    const longest = Math.max(0, ...prompts.map((prompt) => text.encodePrompt(prompt).length));
    const context = Math.min(config.max_position_embeddings, longest + 64);
    const found: RuntimeProof[] = [];
    for (const open of opening) {
      const runtime = await open(context);
      const raw = await proveExport({ ...proof, runtime }).finally(() => runtime.close());
      found.push(readProof(raw, asked, constitution));
      unverified.push(...notCompared(raw));
    }
    return found;
  };
  /** What opens a part here, one after another; notes what is not at hand. */
  const programs = async ({ part, path, type }: WrittenWeights, unverified: string[]) => {
    const own = async () => {
      const { config, close } = await openCheckpoint(path);
      await close();
      const ends = new Set(config.eos_token_ids);
      return ownRuntime(await openLocalModel(path, { ...local, cacheDir: scratch }), { ends });
    };
    const { TENET_TRANSFORMERS_PYTHON: python, TENET_VLLM: vllm } = environment;
    const transformers = (folders: { model: string; adapter?: string }) => {
      if (python) return [() => startTransformers({ python, ...folders })];
      unverified.push(
        `transformers${folders.adapter ? ", PEFT" : ""}: no Python was named (TENET_TRANSFORMERS_PYTHON)`,
      );
      return [];
    };
    const { signal } = given;
    const served = (folders: { model: string; adapter?: string }) => {
      if (vllm) return [(context: number) => startVllm({ program: vllm, ...folders, context, signal })];
      unverified.push("vLLM: no program was named (TENET_VLLM)");
      return [];
    };
    const llama = async (model: () => Promise<string>, lora?: { lora: string }) => {
      const program = await llamaServer(environment);
      if (program !== undefined) {
        const opened = { program, model: await model(), ...lora, signal };
        return [(context: number) => startLlamaServer({ ...opened, context })];
      }
      unverified.push("llama.cpp: no llama-server was at hand (name one in TENET_LLAMA_SERVER)");
      return [];
    };
    const both = (folders: { model: string; adapter?: string }) => [...transformers(folders), ...served(folders)];
    switch (part) {
      case "merged":
        return [own, ...both({ model: path })];
      case "adapter": {
        if (!python && !vllm) return both({ model: "", adapter: path });
        const model = await resolveModel(source.reference, given);
        if ((await stat(model)).isDirectory()) {
          if (!vllm || (await vllmServes(path))) return both({ model, adapter: path });
          unverified.push(`vLLM: it serves adapters of rank ${mostVllmRanks} at most`);
          return transformers({ model, adapter: path });
        }
        unverified.push("transformers, PEFT, vLLM: the base is a GGUF file here");
        return [];
      }
      case "gguf":
        return [own, ...(await llama(async () => path))];
      case "onnx":
        return [() => openOnnxRuntime(path, type as OnnxWriteType, given)];
      case "gguf-adapter":
        return llama(ggufOfBase, { lora: path }).catch((error) => {
          if (!(error instanceof CheckpointError)) throw error;
          unverified.push(`llama.cpp: no GGUF file of the base could be written: ${error.message}`);
          return [];
        });
    }
  };
  /** The base as llama.cpp opens it: its own file where that is GGUF, or else one that is written for this. */
  const ggufOfBase = async () => {
    const { checkpoint } = base ?? (await openedBase());
    if (checkpoint.format === "gguf") return checkpoint.path;
    const file = join(scratch, "base-F32.gguf");
    await exportGguf(checkpoint, file, { type: "F32" });
    return file;
  };
  try {
    const proofs: PartProof[] = [];
    for (const one of written) {
      given.signal?.throwIfAborted();
      const faults: string[] = [];
      const unverified = [...(notRun[one.part] ?? [])];
      let runtimes: RuntimeProof[] = [];
      try {
        if (one.part === "adapter") faults.push(...(await adapterFaults(one.path, source.adapter!)));
        else faults.push(...(await weightsOf(one, base ?? (await openedBase()))));
        if (faults.length === 0) runtimes = await replay(one, unverified);
      } catch (error) {
        // What cannot be opened, here or in the other program, is a fault of the export; all else is ours.
        if (
          !(error instanceof CheckpointError || error instanceof EndpointError || error instanceof ExportRuntimeError)
        )
          throw error;
        faults.push(error.message);
      }
      faults.push(...runtimes.flatMap((runtime) => runtime.faults));
      const { part, type, notices } = one;
      proofs.push({ part, type, runtimes, faults, unverified, notices });
    }
    return proofs;
  } finally {
    await model?.close();
    await base?.checkpoint.close();
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Programs that take a part and are not run here. */
const notRun: Partial<Record<WrittenWeights["part"], readonly string[]>> = {
  onnx: ["transformers.js in a browser: not run"],
};

/** Log-probabilities that were not held against the checkpoint's; that a program tells none at all is a fault. */
export function notCompared({ runtime, tokens, untold }: Pick<ExportProof, "runtime" | "tokens" | "untold">): string[] {
  if (tokens > 0)
    return untold > 0 ? [`log-probabilities of ${untold} of ${tokens + untold} tokens: ${runtime} tells none`] : [];
  return untold > 0 ? [] : [`log-probabilities in ${runtime}: there was no reply with a token`];
}

/** What differs between the files of an adapter and those that it was copied from, but for the name of its base. */
async function adapterFaults(path: string, source: string): Promise<readonly string[]> {
  const weights = (folder: string) => readFile(join(folder, "adapter_model.safetensors"));
  const settings = async (folder: string) => {
    const { base_model_name_or_path: _, ...rest } = JSON.parse(
      await readFile(join(folder, "adapter_config.json"), "utf8"),
    );
    return rest;
  };
  const same =
    (await weights(path)).equals(await weights(source)) &&
    isDeepStrictEqual(await settings(path), await settings(source));
  return same ? [] : ["its files are not those of the checkpoint's adapter"];
}

/** A proof with its replies read by the checks: the export may break principles no more and no less than its interval says. */
export function readProof(
  { replies, ...proof }: ExportProof,
  asked: readonly Asked[],
  constitution: Constitution | undefined,
): RuntimeProof {
  const broken = (which: "before" | "after") => {
    const checked = replies.flatMap((reply) => {
      const { prompt, category } = asked[reply.prompt]!;
      if (!constitution || typeof prompt === "string") return [];
      const found = violations(runChecks(constitution, { prompt, response: reply[which], category }));
      return found.applying > 0 ? [found.violated.length > 0] : [];
    });
    return wilson(checked.filter(Boolean).length, checked.length);
  };
  const [before, after] = [broken("before"), broken("after")];
  const [low, high] = before.interval;
  const within = before.n === 0 || (after.value >= low! && after.value <= high!);
  const fault = `replies break a principle in ${percent(after)} in ${proof.runtime}, where the checkpoint's do in ${percent(before)}`;
  return {
    ...proof,
    faults: within ? proof.faults : [...proof.faults, fault],
    replies: replies.length,
    sameReplies: replies.filter((reply) => reply.before === reply.after).length,
    nearTies: replies.filter(({ parts }) => parts?.margin !== undefined && parts.margin <= proof.allowed.nearTie)
      .length,
    ...(before.n > 0 && { violations: { before, after } }),
  };
}

/** A share with its interval. */
export function percent({ value, interval: [low, high], n }: Estimate): string {
  const share = (part: number) => `${Math.round(100 * part)} %`;
  return `${share(value)} (${share(low)}–${share(high)}, of ${n})`;
}

/** What is wrong with the numbers of a part. Throws CheckpointError where it cannot be opened. */
async function weightsOf(
  { part, path, type, compensated }: WrittenWeights,
  { checkpoint, adapter }: { checkpoint: Checkpoint; adapter: Factors | undefined },
): Promise<readonly string[]> {
  if (part === "gguf-adapter") return ggufAdapterFaults(path, adapter!, checkpoint.config);
  if (part === "onnx") return onnxFaults(path, { checkpoint, adapter, type: type as OnnxWriteType, compensated });
  const again = await openCheckpoint(path);
  try {
    return await weightFaults(again, { checkpoint, adapter, type, compensated });
  } finally {
    await again.close();
  }
}

/** A prompt that is replayed, and the category that its author gave it. */
export interface Asked {
  readonly prompt: Prompt;
  readonly category?: string | undefined;
}

/** Conversations that the model's template takes, or raw texts for a model without one. */
function promptsFor({ text }: LocalModel, rows: readonly PromptRow[]): Asked[] {
  const said: { prompt: Message[]; category?: string | undefined }[] = [
    ...rows.map(({ prompt, category }) => ({ prompt: [...prompt], category })),
    { prompt: odd },
  ];
  if (!text.hasChat) return said.map(({ prompt }) => ({ prompt: prompt.at(-1)!.content }));
  return said.filter(({ prompt }) => {
    try {
      text.encodePrompt(prompt);
      return true;
    } catch (error) {
      if (refusesText(error)) return false;
      throw error;
    }
  });
}

/** Where llama.cpp's server is: as named, or on the PATH; undefined where it is not. */
async function llamaServer(environment: Readonly<Record<string, string | undefined>>): Promise<string | undefined> {
  const named = environment.TENET_LLAMA_SERVER;
  const name = named || (process.platform === "win32" ? "llama-server.exe" : "llama-server");
  if (isAbsolute(name)) return name;
  for (const folder of (environment.PATH ?? "").split(delimiter)) {
    const path = join(folder, name);
    const there = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (folder !== "" && there) return path;
  }
  return named || undefined;
}

/** The held-out prompts of a run, or those that it was trained on where it holds none out; and its principles. */
export async function proofEvidence(store: Store, run: string): Promise<ProofEvidence> {
  const noted = (await openedOf(store, run))?.constitution as Constitution | undefined;
  const constitution = noted && { ...noted, principles: noted.principles.map(withoutModules) };
  for (const name of ["held-out", "prompts"]) {
    const stage = store.stage(run, name);
    if (stage?.status === "done" && stage.rows > 0)
      return { rows: [...store.rows<PromptRow>(stage.identity)], constitution };
  }
  return { rows: [], constitution };
}

/** What a run notes of its constitution holds no programs: checks that are modules are none that could be run. */
function withoutModules(principle: Principle): Principle {
  return { ...principle, checks: principle.checks.filter((check) => !rulesIn(check).includes("module")) };
}

/** What a program makes of messages that hold the text of a special token. */
function injection(prompts: number): string {
  return `${prompts} with the text of a special token in a message, which is taken for the token there (in Tenet it is text)`;
}

/** How many greedy replies are the same. */
function sameReplies({
  replies,
  sameReplies: same,
  nearTies,
}: Pick<RuntimeProof, "replies" | "sameReplies" | "nearTies">): string {
  return `${same} of ${replies}${nearTies > 0 ? `, ${nearTies} up to a near-tie` : ""}`;
}

/** What was found when a part was opened again, a line each. */
export function proofLines({ part, type, runtimes, faults, notices, unverified }: PartProof): string[] {
  const weights = `has the checkpoint's weights${type === "F32" ? "" : ` rounded to ${type}`}, number for number`;
  const verdict = faults.length > 0 ? "FAILED its proof" : weights;
  return [
    `${part} ${verdict}`,
    ...faults.map((fault) => `  ${fault}`),
    ...runtimes.map(({ runtime, prompts, samePrompts, tokens, largest, mean, violations: broken, ...replies }) => {
      const said = [`${samePrompts} of ${prompts} prompts became the same tokens`];
      if (replies.injectable > 0) said.push(injection(replies.injectable));
      if (largest !== undefined)
        said.push(`log-probabilities of ${tokens} tokens within ${largest.toFixed(4)} (mean ${mean!.toFixed(4)})`);
      said.push(`greedy replies the same in ${sameReplies(replies)}`);
      if (broken)
        said.push(
          `principles are broken in ${percent(broken.after)} of the replies, in ${percent(broken.before)} of the checkpoint's`,
        );
      return `  in ${runtime}: ${said.join(", ")}`;
    }),
    ...notices.map((notice) => `  note: ${notice}`),
    ...unverified.map((what) => `  not verified: ${what}`),
  ];
}

/** A card's section on what was proven of its weights. */
export function proofSection(proofs: readonly PartProof[]): string[] {
  if (proofs.length === 0) return [];
  const lines = proofs.flatMap(({ part, runtimes }) =>
    runtimes.map(({ runtime, prompts, samePrompts, tokens, largest, mean, violations: broken, ...replies }) => [
      ...[part, runtime, `${samePrompts} of ${prompts}`, tokens],
      ...[largest, mean].map((value) => (value === undefined ? "" : value.toFixed(4))),
      sameReplies(replies),
      broken ? `${percent(broken.before)} → ${percent(broken.after)}` : "",
    ]),
  );
  const said = proofs.flatMap(({ part, runtimes, faults, notices, unverified }) => [
    ...faults.map((fault) => `- **${part} failed its proof**: ${cell(fault)}`),
    ...runtimes
      .filter(({ injectable }) => injectable > 0)
      .map(({ runtime, injectable }) => `- ${part} in ${cell(runtime)}: ${injection(injectable)}`),
    ...notices.map((notice) => `- ${part}: ${cell(notice)}`),
    ...unverified.map((what) => `- ${part}, not verified: ${cell(what)}`),
  ]);
  return [
    "## Verified",
    "Each part was opened again after it was written, and its weights held against the checkpoint's, rounded to its type, number for number.",
    ...(lines.length > 0
      ? [
          table(
            [
              "part",
              "opened by",
              "same prompt tokens",
              "reply tokens",
              "largest Δ (nats)",
              "mean Δ",
              "same greedy replies",
              "violations before → after",
            ],
            lines,
          ),
        ]
      : []),
    ...(said.length > 0 ? [said.join("\n")] : []),
  ];
}
