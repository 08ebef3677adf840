import type * as Ort from "onnxruntime-node";
import { signedBytesAreExact } from "./byte-products.ts";
import { touch } from "./cache-files.ts";
import type { CompileOptions } from "./compile.ts";
import type { DeviceName } from "./device.ts";
import { TensorError } from "./errors.ts";
import { type StoredGraph, storedGraph } from "./graph-cache.ts";
import { ort } from "./runtime.ts";

/** A graph in the runtime, ready to run. */
export interface Session {
  run(feeds: Ort.InferenceSession.FeedsType, outputs: readonly string[]): Promise<Ort.InferenceSession.ReturnType>;
  release(): Promise<void>;
}

/** Sessions that this process made. */
export interface SessionCounts {
  /** Those that were not freed yet: each holds its copy of rearranged weights, and maps the file of the others. */
  readonly open: number;
  readonly made: number;
  /** Of these, whose graph was optimised earlier. */
  readonly stored: number;
}

const counts = { open: 0, made: 0, stored: 0 };

/** How many sessions there are, and were. */
export function sessionCounts(): SessionCounts {
  return { ...counts };
}

export interface SessionGraph {
  /** As ONNX. */
  readonly model: Uint8Array;
  /** Files of external data, and the folder that their names are relative to; undefined where there are none. */
  readonly files: readonly string[];
  readonly folder: string | undefined;
  /** Whether it multiplies bytes. */
  readonly bytes: boolean;
}

/** Has the runtime optimise a graph, or takes what it made of it once. Errors: TensorError where it refuses. */
export async function createSession(
  graph: SessionGraph,
  device: DeviceName,
  options: CompileOptions,
): Promise<Session> {
  const { graphCache, prepack = true } = options;
  const keeps = graphCache !== undefined && device === "cpu";
  const unsigned = graph.bytes && device === "cpu" && !(await signedBytesAreExact());
  const arithmetic = { ...options, unsigned };
  // Files that a cache holds are wanted as long as graphs over them are opened.
  if (keeps) for (const file of graph.files) await touch(file);
  const stored = keeps
    ? await storedGraph(graphCache, graph.model, decides(prepack, graph.bytes, unsigned))
    : undefined;
  try {
    const session =
      (await fromStore(stored, graph, arithmetic)) ?? (await fromGraph(stored, graph, device, arithmetic));
    counts.open++;
    counts.made++;
    let released = false;
    return {
      run: (feeds, outputs) => session.run(feeds, outputs),
      async release() {
        if (released) return;
        released = true;
        counts.open--;
        await session.release();
      },
    };
  } catch (cause) {
    throw new TensorError(`ONNX Runtime refused the graph on ${device}: ${(cause as Error).message}`, { cause });
  }
}

/** What the runtime's form of a graph hangs on beside the graph. */
function decides(prepack: boolean, bytes: boolean, unsigned: boolean): string {
  return `prepack ${prepack}${bytes ? `, weights of bytes ${unsigned ? "made unsigned" : "as they are"}` : ""}`;
}

/** Options, and whether signed weights of bytes are to be made unsigned. */
interface Arithmetic extends CompileOptions {
  readonly unsigned: boolean;
}

/** A session of what the runtime once made of the graph. What it does not take any more is as good as nothing. */
async function fromStore(
  stored: StoredGraph | undefined,
  graph: SessionGraph,
  options: Arithmetic,
): Promise<Ort.InferenceSession | undefined> {
  const model = await stored?.read();
  if (!model) return undefined;
  const session = await ort.InferenceSession.create(model, {
    ...settings(graph, "cpu", options),
    graphOptimizationLevel: "disabled",
  }).catch(() => undefined);
  if (session) counts.stored++;
  return session;
}

async function fromGraph(
  stored: StoredGraph | undefined,
  graph: SessionGraph,
  device: DeviceName,
  options: Arithmetic,
): Promise<Ort.InferenceSession> {
  const plain = settings(graph, device, options);
  if (!stored) return ort.InferenceSession.create(graph.model, plain);
  const session = await ort.InferenceSession.create(graph.model, {
    ...plain,
    optimizedModelFilePath: stored.written,
  }).catch(() => undefined);
  // The runtime does not say whether it was the graph or the disk; without the file it does.
  if (!session) return ort.InferenceSession.create(graph.model, plain);
  await stored.keep();
  return session;
}

/** Sessions that are profiled because the environment has it so: the runtime would name those of one second alike. */
let profiled = 0;

function settings(
  { folder }: SessionGraph,
  device: DeviceName,
  { threads, profile: asked, prepack, unsigned }: Arithmetic,
): Ort.InferenceSession.SessionOptions {
  const { TENET_PROFILE } = process.env;
  const profile = asked ?? (TENET_PROFILE ? `${TENET_PROFILE}.${++profiled}` : undefined);
  return {
    executionProviders: device === "cpu" ? ["cpu"] : [device, "cpu"],
    logSeverityLevel: 3,
    // With an arena a session keeps all that its largest run needed for as long as it is open. Without one it takes memory from the
    // process's, where other sessions find it again: those that take turns need the memory of one, at the same time a run.
    ...(device === "cpu" ? { enableCpuMemArena: false } : {}),
    // A planned block would be held beside what runs take otherwise: twice the memory at the same speed.
    enableMemPattern: false,
    ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
    ...(profile === undefined ? {} : { enableProfiling: true, profileFilePrefix: profile }),
    extra: {
      session: {
        ...(unsigned ? { x64quantprecision: "1" } : {}),
        // Threads would go on looking for work after every run: tens of milliseconds of a core for nothing.
        force_spinning_stop: "1",
        ...(folder === undefined ? {} : { model_external_initializers_file_folder_path: folder }),
        ...(prepack === false ? { disable_prepacking: "1" } : {}),
        // Else weights would lie in the arena of a device, which grows by doubling: up to twice their size for as long as the session is open.
        ...(device === "cpu" ? {} : { use_device_allocator_for_initializers: "1" }),
      },
    },
  };
}
