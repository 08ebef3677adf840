import { mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cudaUnavailable, cudaWheels, librariesOf } from "@tenet/tensor";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { surroundings } from "../test/project.ts";
import { remedy } from "./devices.ts";
import { run } from "./index.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-devices-"));
  // The processes that try devices read the environment itself.
  vi.stubEnv("TENET_CACHE", join(folder, "cache"));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

async function tenet(...args: string[]) {
  const { io, written } = surroundings({ env: { TENET_CACHE: join(folder, "cache") } });
  return { code: await run(["devices", ...args], io), ...written };
}

const libraries = cudaWheels.flatMap(librariesOf);

/** The libraries as PyTorch's environment has them, each in its package's folder; empty, as nothing here can run them. */
async function environment(leftOut: string[] = []): Promise<string> {
  const place = join(folder, "site-packages");
  for (const wheel of cudaWheels) {
    const own = join(place, wheel.package, "lib");
    await mkdir(own, { recursive: true });
    for (const name of librariesOf(wheel)) if (!leftOut.includes(name)) await writeFile(join(own, name), "");
  }
  return place;
}

it("says of every device whether it can be used, and why not", async () => {
  const { code, stdout } = await tenet("--json");
  expect(code).toBe(0);
  const { devices } = JSON.parse(stdout) as { devices: { device: string; usable: boolean; reason?: string }[] };
  expect(devices.map(({ device }) => device)).toEqual(["cpu", "webgpu", "cuda", "coreml", "dml"]);
  for (const { usable, reason } of devices) expect(usable || reason).toBeTruthy();
});

it("refuses to install where it was not asked to", async () => {
  expect(await tenet("--yes")).toMatchObject({ code: 2, stderr: expect.stringContaining("--install cuda") });
  expect(await tenet("--install", "tpu")).toMatchObject({ code: 2 });
});

it("tells what to do by what is the matter", () => {
  const cuda = (reason: string, platform = "linux") => remedy({ device: "cuda", reason }, platform, "tenet");
  expect(cuda("CUDA's libraries are not installed")).toContain("tenet devices --install cuda");
  expect(cuda("CUDA failure 35: CUDA driver version is insufficient")).toContain("driver from 580 on");
  expect(cuda("CUDA's libraries are not installed", "darwin")).toContain("Linux");
});

it("says why there are no libraries for other systems", () => {
  expect(cudaUnavailable("linux", "x64")).toBeUndefined();
  expect(cudaUnavailable("darwin", "arm64")).toContain("darwin on arm64");
});

// Of this test file only what follows needs a machine for which there are libraries.
describe.skipIf(cudaUnavailable() !== undefined)("devices --install cuda", () => {
  it("says size and licences, and off a terminal wants a yes before", async () => {
    const { code, stderr } = await tenet("--install", "cuda");
    expect(code).toBe(2);
    expect(stderr).toMatch(/nvidia-cublas +13\.1\.0\.3 +423 MB +NVIDIA CUDA Toolkit EULA/);
    expect(stderr).toContain("1.3 GB");
    expect(stderr).toContain("--yes");
  });

  it("asks the index that it is given, and says what it answered", async () => {
    const { code, stderr } = await tenet("--install", "cuda", "--yes", "--index", "http://127.0.0.1:9/simple");
    expect(code).toBe(1);
    expect(stderr).toMatch(/http:\/\/127\.0\.0\.1:9\/simple\/onnxruntime-gpu\/: \S+/);
  });

  it("links libraries of another installation, and the loader's words say what is wrong with one", async () => {
    const place = await environment();
    const { code, stdout } = await tenet("--install", "cuda", "--from", place, "--json");
    expect(code).toBe(0);
    const { devices, installed } = JSON.parse(stdout) as {
      devices: { device: string; reason: string }[];
      installed: string;
    };
    expect((await readdir(installed)).sort()).toEqual([...libraries, "libonnxruntime.so.1"].sort());
    expect(await readlink(join(installed, "libcudart.so.13"))).toBe(
      join(place, "nvidia-cuda-runtime", "lib", "libcudart.so.13"),
    );
    // The runtime itself is a copy, and the processes that try devices run with it.
    expect(devices).toContainEqual({ device: "cpu", usable: true });
    expect(devices.find(({ device }) => device === "cuda")!.reason).toMatch(/libcudart\.so\.13: file too short/);
    // Nothing is left to do, so nothing is asked for.
    expect(await tenet("--install", "cuda")).toMatchObject({ code: 0 });
  }, 60_000);

  it("names what a folder lacks and installs nothing", async () => {
    const place = await environment(["libcublas.so.13"]);
    const { code, stderr } = await tenet("--install", "cuda", "--from", place);
    expect(code).toBe(2);
    expect(stderr).toContain("libcublas.so.13");
    expect(stderr).not.toContain("libcudart.so.13");
    expect(await readdir(join(folder, "cache", "cuda", "1.30.0"))).toEqual([]);
    expect(await tenet("--install", "cuda", "--from", join(folder, "nowhere"))).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("expected a folder"),
    });
  });

  it("checks a wheel that it is given, and leaves it where it is", async () => {
    const place = await environment(librariesOf(cudaWheels[0]!));
    const wheel = join(place, cudaWheels[0]!.file);
    await writeFile(wheel, "no wheel");
    const { code, stderr } = await tenet("--install", "cuda", "--from", place);
    expect(code).toBe(1);
    expect(stderr).toContain(`the size is 8, expected ${cudaWheels[0]!.bytes}`);
    expect(await readFile(wheel, "utf8")).toBe("no wheel");
  });
});
