import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { arch, availableParallelism, cpus, loadavg, platform, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

const requireRuntime = createRequire(new URL("../packages/tensor/package.json", import.meta.url));

/** Where the runtime's libraries for this system lie. */
export function runtimeFolder(): string {
  const manifest = requireRuntime.resolve("onnxruntime-node/package.json");
  return join(dirname(manifest), "bin", "napi-v6", platform(), arch());
}

/** Names the instruction set that scripts/hold-to-avx2.ts holds the runtime to, where it does. */
export function heldFile(): string {
  return join(runtimeFolder(), "held-to.txt");
}

/** The instruction set that the runtime is held to, of a processor that has more. */
export function heldTo(): string | undefined {
  return existsSync(heldFile()) ? readFileSync(heldFile(), "utf8").trim() : undefined;
}

/** What of the processor's instruction set decides how products round and how fast they are. Empty where the system does not tell. */
export function instructions(): string[] {
  const held = heldTo();
  if (held !== undefined) return [`${held} (the processor has more, which the runtime is kept from)`];
  if (!existsSync("/proc/cpuinfo")) return [];
  const flags = new Set(/^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1]?.trim().split(" "));
  const known = { avx2: "AVX2", avx512f: "AVX-512", avx512_vnni: "AVX-512 VNNI", avx_vnni: "AVX-VNNI" };
  return Object.entries(known).flatMap(([flag, name]) => (flags.has(flag) ? [name] : []));
}

/** Enough to judge a figure by, nothing that tells whose machine it is. `device` is named where it is not the processor. */
export function describeMachine(device = "cpu"): string {
  const manifest = readFileSync(requireRuntime.resolve("onnxruntime-node/package.json"), "utf8");
  const { version } = JSON.parse(manifest) as { version: string };
  return [
    cpus()[0]?.model.trim() || "unknown processor",
    `${availableParallelism()} cores`,
    instructions().join(" and ") || "instruction set unknown",
    `${Math.round(totalmem() / 2 ** 30)} GiB`,
    ...(device === "cpu" ? [] : [device]),
    `${platform()} ${arch()}`,
    `load ${loadavg()[0]!.toFixed(1)}`,
    `node ${process.versions.node}`,
    `onnxruntime ${version}`,
  ].join(", ");
}

/** Above this share of the processors at other work, ratios say more about that work. */
export const quiet = 0.1;

/** The share of all processors' time that was not idle, over some milliseconds in which this process does nothing: 0 to 1. */
export async function busyShare(milliseconds = 2000): Promise<number> {
  const before = processorTimes();
  await wait(milliseconds);
  const after = processorTimes();
  return (after.busy - before.busy) / (after.all - before.all);
}

/** Milliseconds of all processors together. */
function processorTimes(): { readonly busy: number; readonly all: number } {
  return cpus().reduce(
    (sum, { times: { idle, ...others } }) => {
      const busy = Object.values(others).reduce((a, b) => a + b, 0);
      return { busy: sum.busy + busy, all: sum.all + busy + idle };
    },
    { busy: 0, all: 0 },
  );
}

/**
 * Begins to watch; the function it returns tells what share of all processors' time others took since: neither this process nor those of the given
 * ids. Undefined where the system does not tell what a process took, as Linux does.
 */
export function watchOthers(processes: readonly number[]): () => number | undefined {
  const own = () => {
    const { user, system } = process.cpuUsage();
    const theirs = processes.map(processTime);
    return theirs.includes(undefined) ? undefined : theirs.reduce<number>((a, b) => a + b!, (user + system) / 1000);
  };
  const before = { ...processorTimes(), own: own() };
  return () => {
    const after = { ...processorTimes(), own: own() };
    if (before.own === undefined || after.own === undefined) return undefined;
    return Math.max(0, (after.busy - before.busy - (after.own - before.own)) / (after.all - before.all));
  };
}

/** Milliseconds that a process and the children it waited for took; its clock ticks 100 times a second. */
function processTime(id: number): number | undefined {
  const file = `/proc/${id}/stat`;
  if (!existsSync(file)) return undefined;
  // Behind the name, which may hold anything, utime to cstime are the twelfth to the fifteenth.
  const fields = readFileSync(file, "latin1").replace(/^.*\)/s, "").trim().split(" ");
  return 10 * fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0);
}
