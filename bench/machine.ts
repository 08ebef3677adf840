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
  const times = () =>
    cpus().reduce(
      (sum, { times: { idle, ...others } }) => {
        const busy = Object.values(others).reduce((a, b) => a + b, 0);
        return { busy: sum.busy + busy, all: sum.all + busy + idle };
      },
      { busy: 0, all: 0 },
    );
  const before = times();
  await wait(milliseconds);
  const after = times();
  return (after.busy - before.busy) / (after.all - before.all);
}
