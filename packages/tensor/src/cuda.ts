import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { cacheFolder } from "./cache.ts";

/*
 * ONNX Runtime's npm package has no CUDA inside. What it needs for it is published as Python wheels, which are zip files: its CUDA provider,
 * built from the same commit, and NVIDIA's libraries. They lie together in a folder of the cache, and a process takes them from there
 * without a search path: a library that is loaded already is found by its name.
 */

/** A wheel, and which of its files are wanted. */
export interface CudaWheel {
  readonly package: string;
  readonly version: string;
  readonly file: string;
  /** Of the wheel. */
  readonly bytes: number;
  readonly sha256: string;
  readonly licence: string;
  /** Paths in the wheel. */
  readonly members: readonly string[];
}

const requireHere = createRequire(import.meta.url);
const version = (requireHere("onnxruntime-node/package.json") as { version: string }).version;

const cudnn = ["", "_graph", "_ops", "_cnn", "_adv", "_heuristic", "_engines_precompiled", "_engines_runtime_compiled"];

/**
 * What CUDA takes on Linux x64, of CUDA 13.0: drivers from 580 on run it. The provider belongs to onnxruntime-node's version, exactly.
 * Hashes are of the files on the Python Package Index.
 */
export const cudaWheels: readonly CudaWheel[] = [
  {
    package: "onnxruntime-gpu",
    version: "1.30.0",
    file: "onnxruntime_gpu-1.30.0-cp312-cp312-manylinux_2_28_x86_64.whl",
    bytes: 246685715,
    sha256: "6acc0f4b3d5ac5f2984432faa59dd8fcce6775f8b43a7140afa0f322c7a703b1",
    licence: "MIT",
    members: ["shared", "cuda"].map((name) => `onnxruntime/capi/libonnxruntime_providers_${name}.so`),
  },
  {
    package: "nvidia-cuda-runtime",
    version: "13.0.96",
    file: "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    bytes: 2243632,
    sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
    licence: "NVIDIA CUDA Toolkit EULA",
    members: ["nvidia/cu13/lib/libcudart.so.13"],
  },
  {
    package: "nvidia-cublas",
    version: "13.1.0.3",
    file: "nvidia_cublas-13.1.0.3-py3-none-manylinux_2_27_x86_64.whl",
    bytes: 423133236,
    sha256: "ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171",
    licence: "NVIDIA CUDA Toolkit EULA",
    members: ["nvidia/cu13/lib/libcublasLt.so.13", "nvidia/cu13/lib/libcublas.so.13"],
  },
  {
    package: "nvidia-curand",
    version: "10.4.0.35",
    file: "nvidia_curand-10.4.0.35-py3-none-manylinux_2_27_x86_64.whl",
    bytes: 59544258,
    sha256: "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc",
    licence: "NVIDIA CUDA Toolkit EULA",
    members: ["nvidia/cu13/lib/libcurand.so.10"],
  },
  {
    package: "nvidia-cufft",
    version: "12.0.0.61",
    file: "nvidia_cufft-12.0.0.61-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    bytes: 214085489,
    sha256: "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3",
    licence: "NVIDIA CUDA Toolkit EULA",
    members: ["nvidia/cu13/lib/libcufft.so.12"],
  },
  {
    package: "nvidia-cudnn-cu13",
    version: "9.19.0.56",
    file: "nvidia_cudnn_cu13-9.19.0.56-py3-none-manylinux_2_27_x86_64.whl",
    bytes: 366066321,
    sha256: "d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf",
    licence: "NVIDIA cuDNN licence",
    members: cudnn.map((part) => `nvidia/cudnn/lib/libcudnn${part}.so.9`),
  },
];

/** Names of the libraries of a wheel, as they lie in the folder. */
export function librariesOf({ members }: CudaWheel): string[] {
  return members.map((member) => member.slice(member.lastIndexOf("/") + 1));
}

const runtimeLibrary = "libonnxruntime.so.1";

/** A wheel's library that must be there before the provider is loaded; cuDNN's parts find one another. */
const preloaded = cudaWheels
  .slice(1)
  .flatMap(librariesOf)
  .filter((name) => !/^libcudnn_/.test(name));

/** Where CUDA's libraries lie for this version of the runtime. */
export function cudaFolder(environment: Record<string, string | undefined> = process.env): string {
  return join(cacheFolder(environment), "cuda", version);
}

/** Why CUDA's libraries cannot be had on this kind of machine; undefined where they can. */
export function cudaUnavailable(platform: string = process.platform, arch: string = process.arch): string | undefined {
  if (platform === "linux" && arch === "x64") return undefined;
  return `CUDA's libraries are there for Linux on x64, not for ${platform} on ${arch}`;
}

/** Libraries that a folder lacks of all that CUDA takes. */
export function missingLibraries(folder: string): string[] {
  return [...cudaWheels.flatMap(librariesOf), runtimeLibrary].filter((name) => !existsSync(join(folder, name)));
}

/** The runtime's own library in the npm package. */
export function ownRuntimeLibrary(): string {
  const root = dirname(requireHere.resolve("onnxruntime-node/package.json"));
  return join(root, "bin/napi-v6", process.platform, process.arch, runtimeLibrary);
}

/** Keeps a library in memory after Node finds that it is no addon. Linux's number; Node has no name for it. */
const RTLD_NODELETE = 0x1000;

/**
 * Loads libraries into this process; returns what the loader says of those that it could not.
 * Node's loader is for addons, so it complains of every other library, which stays loaded.
 */
export function loadLibraries(paths: readonly string[]): string[] {
  return paths.flatMap((path) => {
    try {
      process.dlopen({ exports: {} }, path, constants.dlopen.RTLD_NOW | RTLD_NODELETE);
      return [];
    } catch (error) {
      const { message } = error as Error;
      return message.includes("did not self-register") ? [] : [message];
    }
  });
}

/** What a process must load so that the runtime finds its CUDA provider, in this order; nothing where it is not installed. */
export function cudaLibraries(folder: string = cudaFolder()): { readonly runtime: string[]; readonly cuda: string[] } {
  if (cudaUnavailable() !== undefined || missingLibraries(folder).length > 0) return { runtime: [], cuda: [] };
  const placed = (names: readonly string[]) => names.map((name) => join(folder, name));
  return { runtime: placed([runtimeLibrary]), cuda: placed(preloaded) };
}

/**
 * Loads NVIDIA's libraries into this process, once.
 *
 * They would multiply float32 matrices in TF32, whose products have 10 bits where float32 has 23; NVIDIA_TF32_OVERRIDE = 0 forbids it, as
 * the environment may have it otherwise.
 */
export function loadCuda(): void {
  if (loaded) return;
  loaded = true;
  process.env.NVIDIA_TF32_OVERRIDE ??= "0";
  loadLibraries(cudaLibraries().cuda);
}

let loaded = false;
