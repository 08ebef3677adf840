import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { cudaLibraries, loadCuda } from "./cuda.ts";
import { DeviceError } from "./errors.ts";
import { GraphBuilder, valueInfo } from "./onnx/builder.ts";
import { encodeModel } from "./onnx/proto.ts";
import { ort } from "./runtime.ts";

// What goes wrong is thrown; the runtime would also write it to stderr, a failed probe of a device included.
ort.env.logLevel = "fatal";

/** Where a graph runs, by ONNX Runtime's execution providers. */
export type DeviceName = "cpu" | "webgpu" | "cuda" | "coreml" | "dml";

export interface DeviceReport {
  readonly device: DeviceName;
  readonly usable: boolean;
  /** Why it cannot be used here. */
  readonly reason?: string;
}

/** Version of the ONNX Runtime that runs the graphs. */
export const runtimeVersion: string = ort.env.versions.node ?? ort.env.versions.common;

/** Devices in the order "auto" prefers them to the CPU. CoreML is never chosen by itself: it runs few of a training graph's ops. */
const preference: readonly DeviceName[] = ["cuda", "dml", "webgpu"];
const all: readonly DeviceName[] = ["cpu", "webgpu", "cuda", "coreml", "dml"];

const probes = new Map<DeviceName, Promise<DeviceReport>>();

/** Tries every device with a tiny graph and says which work on this machine now. */
export async function listDevices(): Promise<DeviceReport[]> {
  probes.clear();
  return Promise.all(all.map(probe));
}

/** The device to run on. @throws DeviceError when one asked for by name does not work here */
export async function resolveDevice(wanted: DeviceName | "auto"): Promise<DeviceName> {
  if (wanted === "cpu") return "cpu";
  if (wanted !== "auto") {
    const report = all.includes(wanted)
      ? await probe(wanted)
      : { usable: false, reason: `there is no such device; expected auto, ${all.join(", ")}` };
    if (!report.usable) throw new DeviceError(`device "${wanted}" cannot be used here: ${report.reason}`);
    return prepared(wanted);
  }
  const reports = await Promise.all(preference.map(probe));
  return prepared(reports.find(({ usable }) => usable)?.device ?? "cpu");
}

/** A device that works, with what it takes in this process. */
function prepared(device: DeviceName): DeviceName {
  if (device === "cuda") loadCuda();
  return device;
}

function probe(device: DeviceName): Promise<DeviceReport> {
  let report = probes.get(device);
  if (!report) {
    report = attempt(device);
    probes.set(device, report);
  }
  return report;
}

async function attempt(device: DeviceName): Promise<DeviceReport> {
  const built = ort.listSupportedBackends().map((backend) => backend.name as string);
  if (!built.includes(device))
    return { device, usable: false, reason: `the installed onnxruntime-node has no ${device} provider` };
  const { status, said } = await elsewhere(device);
  if (status === 0) return { device, usable: true };
  return { device, usable: false, reason: reasonOf(device, said) || `the process that tried it ended with ${status}` };
}

/** What the runtime says, without the places in its own source. */
function reasonOf(device: DeviceName, said: string): string {
  const cuda = /CUDA failure \d+: [^;]+/.exec(said)?.[0].trim();
  if (cuda) return cuda;
  const [message = "", unloaded] = said.split("\n");
  if (device === "cuda" && message.includes("Failed to load shared library")) {
    if (cudaLibraries().cuda.length === 0) return "CUDA's libraries are not installed";
    return unloaded ?? "there is no NVIDIA driver (libcuda.so.1)";
  }
  return message.replace(/^\/\S+ .* was false\. /, "");
}

/**
 * Runs the probe in a process of its own: drivers write to stderr past the runtime's log level, and some take the process
 * with them.
 */
function elsewhere(device: DeviceName): Promise<{ status: number | NodeJS.Signals; said: string }> {
  const model = Buffer.from(probeModel(device)).toString("base64");
  const runtime = createRequire(import.meta.url).resolve("onnxruntime-node");
  const libraries = cudaLibraries();
  const loads = [...libraries.runtime, ...(device === "cuda" ? libraries.cuda : [])];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["-e", trial, runtime, device, model, ...loads], {
      stdio: ["ignore", "pipe", "ignore"],
      // A driver's first start reads hundreds of megabytes of libraries.
      timeout: 60_000,
      killSignal: "SIGKILL",
      windowsHide: true,
    });
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk;
    });
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ status: code ?? signal!, said }));
  });
}

/** What that process does: the graph once, on the device; the runtime's words on stdout and status 1 where that fails. */
const trial = `
const [runtime, device, model, ...libraries] = process.argv.slice(1);
const flags = require("node:os").constants.dlopen.RTLD_NOW | 0x1000;
const unloaded = [];
for (const library of libraries)
  try {
    process.dlopen({ exports: {} }, library, flags);
  } catch (error) {
    if (!error.message.includes("did not self-register")) unloaded.push(error.message);
  }
const ort = require(runtime);
ort.env.logLevel = "fatal";
(async () => {
  const options = { executionProviders: [device], logSeverityLevel: 4 };
  const session = await ort.InferenceSession.create(Buffer.from(model, "base64"), options);
  await session.run({ x: new ort.Tensor("float32", Float32Array.of(1), [1]) }, { logSeverityLevel: 4 });
  await session.release();
})().catch((error) => {
  process.stdout.write([error?.message ?? error, ...unloaded].join("\\n"), () => process.exit(1));
});
`;

/** x + x for a vector of one. */
function probeModel(device: DeviceName): Uint8Array {
  const g = new GraphBuilder(device, () => false);
  const type = { dtype: "float32", shape: [1] } as const;
  const x = g.declareInput({ name: "x", ...type });
  return encodeModel(g.finish("probe", [valueInfo(g.call("Add", [x, x]), type)], []));
}
