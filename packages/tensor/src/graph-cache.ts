import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdir, readFile, rm, stat } from "node:fs/promises";
import { arch, cpus, platform } from "node:os";
import { join } from "node:path";
import { pruneCache, taken, temporaryPath, touch, writeWhole } from "./cache-files.ts";
import { cudaLibraries, ownRuntimeLibrary } from "./cuda.ts";
import { ort } from "./runtime.ts";

/*
 * Optimising a graph takes longer than loading it: a training graph of 30 layers 5 s against 2. What the runtime made of a graph is kept
 * in a folder, under a name made of the graph, the runtime's library and the processor, and is loaded from then on as it is. A file that
 * was damaged is as good as none, and a disk that takes no file costs the time that one would have saved.
 */

/** Bytes below which a graph is optimised about as fast as it is found. */
const smallestGraph = 2 ** 18;
/** Above this the runtime has folded weights into the graph, which are better made anew than kept twice. */
const largestGraph = 2 ** 26;
/** Bytes of all that is kept. */
const mostBytes = 2 ** 29;
const digestBytes = 32;

export interface StoredGraph {
  /** What was kept of it; undefined where nothing was, or what was there is damaged. */
  read(): Promise<Uint8Array | undefined>;
  /** Where the runtime is to write what it makes of the graph, and what keeps that, where the disk takes it. */
  readonly written: string;
  keep(): Promise<void>;
}

/**
 * The place of a graph in a folder; undefined where it is too small to be worth one, or the folder cannot be made. Weights in
 * files must have the name of their contents: it is all that the graph says of them.
 * @param settings of the session, as far as they decide what the runtime makes of the graph
 */
export async function storedGraph(
  folder: string,
  model: Uint8Array,
  settings: string,
): Promise<StoredGraph | undefined> {
  if (model.length < smallestGraph) return undefined;
  const name = createHash("sha256")
    .update(`${await machine()}\n${settings}\n`)
    .update(model)
    .digest("hex")
    .slice(0, 32);
  const path = join(folder, `${name}.onnx`);
  if (!(await taken(mkdir(folder, { recursive: true })))) return undefined;
  const written = temporaryPath(path);
  return {
    written,
    async read() {
      const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return undefined;
        throw error;
      });
      if (!bytes) return undefined;
      const graph = bytes.subarray(digestBytes);
      if (!digest(graph).equals(bytes.subarray(0, digestBytes))) return undefined;
      await touch(path);
      return graph;
    },
    async keep() {
      try {
        const graph = await readFile(written);
        if (graph.length > largestGraph) return;
        const whole = writeWhole(path, async (file) => {
          await file.writeFile(digest(graph));
          await file.writeFile(graph);
        });
        if (!(await taken(whole))) return;
      } finally {
        await rm(written, { force: true });
      }
      await taken(pruneCache(folder, { most: mostBytes }));
    },
  };
}

function digest(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}

let known: string | undefined;

/** What decides which kernels the runtime takes: its library, the system, the processor and what that one can do. */
async function machine(): Promise<string> {
  known ??= [await library(), platform(), arch(), cpus()[0]?.model ?? "", features()].join("\n");
  return known;
}

/**
 * The runtime's version, and which file of it this process loaded, where its place is known: one that somebody built or changed tells the
 * version of the one that it stands for, and may take other kernels.
 */
async function library(): Promise<string> {
  const [path = ownRuntimeLibrary()] = cudaLibraries().runtime;
  const file = await stat(path).catch(() => undefined);
  return [ort.env.versions.node, ...(file ? [file.size, file.mtimeMs] : [])].join(" ");
}

/** The processor's own list of its instruction sets, where the system tells it; elsewhere its name stands for them. */
function features(): string {
  if (platform() !== "linux") return "";
  const line = /^(?:flags|Features)\s*:.*$/m.exec(readFileSync("/proc/cpuinfo", "utf8"));
  return line?.[0] ?? "";
}
