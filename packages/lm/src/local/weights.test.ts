import { copyFile, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { writeTinyModel } from "../../test/tiny-model.ts";
import { CheckpointError, openCheckpoint } from "../checkpoint/index.ts";
import { collectCache } from "./cache-folders.ts";
import { contentsHash } from "./contents.ts";
import { mappedFile, mappedWeights } from "./weights.ts";

let home: string;
let cache: string;
let folder: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "tenet-weights-"));
  cache = join(home, "cache");
  folder = join(cache, "weights");
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(home, { recursive: true });
});

/** Files changed up to now count as settled: hashes are remembered. */
function later(): void {
  const now = Date.now();
  vi.spyOn(Date, "now").mockReturnValue(now + 10_000);
}

/** The first numbers of a model's output head, as they are mapped. */
async function mappedHead(model: string): Promise<number[]> {
  const checkpoint = await openCheckpoint(model);
  try {
    const tensor = (await mappedWeights(checkpoint, folder)).get("lm_head.weight")!;
    const { source } = tensor.node.attrs as { source: { path: string; offset: number } };
    return [...new Float32Array((await readFile(source.path)).buffer.slice(source.offset, source.offset + 64))];
  } finally {
    await checkpoint.close();
  }
}

async function readHead(model: string): Promise<number[]> {
  const checkpoint = await openCheckpoint(model);
  const values = await checkpoint.read("lm_head.weight");
  await checkpoint.close();
  return [...values.subarray(0, 16)];
}

async function mapped(): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.endsWith(".f32"));
}

describe("mapped weights", () => {
  it.each(["written over", "put in its place"])("are those of the contents, where other ones are %s", async (how) => {
    const [model, other] = [join(home, "model"), join(home, "other")];
    await writeTinyModel(model, { seed: 1 });
    await writeTinyModel(other, { seed: 2 });
    const place = join(model, "model.safetensors");
    const time = new Date("2020-01-01T00:00:00Z");
    await utimes(place, time, time);
    const { size } = await stat(place);
    later();
    const first = await mappedHead(model);
    expect(first).toEqual(await readHead(model));

    const replacement = join(other, "model.safetensors");
    expect((await stat(replacement)).size).toBe(size);
    if (how === "written over") await copyFile(replacement, place);
    else await rename(replacement, place);
    await utimes(place, time, time);
    expect((await stat(place)).mtimeMs).toBe(time.getTime());
    const second = await mappedHead(model);
    expect(second).toEqual(await readHead(model));
    expect(second).not.toEqual(first);
  });

  it("are shared by equal checkpoints, wherever they lie, and written once", async () => {
    await writeTinyModel(join(home, "model"));
    await cp(join(home, "model"), join(home, "copy"), { recursive: true });
    await mappedHead(join(home, "model"));
    const [name] = await mapped();
    const { ino } = await stat(join(folder, name!));
    await mappedHead(join(home, "copy"));
    await mappedHead(join(home, "model"));
    expect(await mapped()).toEqual([name]);
    expect((await stat(join(folder, name!))).ino).toBe(ino);
  });

  it("of a checkpoint that changes while it is read are refused, and nothing stays", async () => {
    const model = join(home, "model");
    await writeTinyModel(model);
    const checkpoint = await openCheckpoint(model);
    const pieces = [{ name: "x", dtype: "float32", shape: [1] }] as const;
    const reading = mappedFile(checkpoint, folder, "f32", pieces, async function* () {
      const place = join(model, "model.safetensors");
      const bytes = await readFile(place);
      bytes[bytes.length - 1]! ^= 1;
      await writeFile(place, bytes);
      yield ["x", Float32Array.of(1)];
    });
    await expect(reading).rejects.toThrow(CheckpointError);
    expect((await readdir(folder)).filter((name) => !name.endsWith(".sha256"))).toEqual([]);
    await checkpoint.close();
  });
});

describe("the hash of a file", () => {
  const remembered = async () => (await readdir(folder)).filter((name) => name.endsWith(".sha256"));
  let file: string;
  beforeEach(async () => {
    await mkdir(folder, { recursive: true });
    file = join(home, "file");
    await writeFile(file, "abc");
  });
  /** FIPS 180-2, appendix B.1. */
  const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

  it("is remembered while the file is as it was", async () => {
    later();
    expect(await contentsHash(file, folder)).toBe(abc);
    const [memory] = await remembered();
    const [facts] = (await readFile(join(folder, memory!), "utf8")).split("\n");
    const other = "0".repeat(64);
    await writeFile(join(folder, memory!), `${facts}\n${other}\n`);
    expect(await contentsHash(file, folder)).toBe(other);
    const { atime, mtime } = await stat(file);
    await utimes(file, atime, mtime);
    expect(await contentsHash(file, folder)).toBe(abc);
  });

  it("is not remembered of a file that changed just now: the next change might have the same times", async () => {
    expect(await contentsHash(file, folder)).toBe(abc);
    expect(await remembered()).toEqual([]);
  });

  it("is taken anew where what was remembered is damaged", async () => {
    later();
    await contentsHash(file, folder);
    const [memory] = await remembered();
    for (const damaged of ["", "x", (await readFile(join(folder, memory!), "utf8")).slice(0, -9)]) {
      await writeFile(join(folder, memory!), damaged);
      expect(await contentsHash(file, folder)).toBe(abc);
    }
  });
});

describe("what is left in the folder of weights", () => {
  const hour = 3600_000;
  const aged = async (name: string, age: number, bytes = 100) => {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), Buffer.alloc(bytes));
    const time = new Date(Date.now() - age);
    await utimes(join(folder, name), time, time);
  };

  it("by killed processes goes when a model is opened; what is being written stays", async () => {
    await aged("a.f32.0123456789ab.tmp", 2 * hour);
    await aged("b.f32.0123456789ab.tmp", hour / 2);
    await writeTinyModel(join(home, "model"));
    await mappedHead(join(home, "model"));
    const left = (await readdir(folder)).filter((name) => name.endsWith(".tmp"));
    expect(left).toEqual(["b.f32.0123456789ab.tmp"]);
  });

  it("goes when it was not opened for a month; opening a model says that its own is wanted", async () => {
    await writeTinyModel(join(home, "model"));
    await mappedHead(join(home, "model"));
    const name = (await mapped()).find((one) => one.length > 10)!;
    const old = new Date(Date.now() - 31 * 24 * hour);
    await utimes(join(folder, name), old, old);
    await aged("b.f32", 31 * 24 * hour, 20);
    await aged("c.f32", 29 * 24 * hour, 40);
    await mappedHead(join(home, "model"));
    expect(await mapped()).toEqual([name, "c.f32"].sort());
  });

  it("is collected when old, with graphs that are: half written, or not opened for a month", async () => {
    expect(await collectCache({ cacheDir: cache })).toEqual({ files: 0, bytes: 0 });
    await aged("b.f32", 31 * 24 * hour, 20);
    await aged("c.f32", 29 * 24 * hour, 40);
    await aged("a.f32.0123456789ab.tmp", 2 * hour, 10);
    await aged("../graphs/d.onnx", 31 * 24 * hour, 5);
    const before = await readdir(folder);
    expect(await collectCache({ cacheDir: cache, dryRun: true })).toEqual({ files: 3, bytes: 35 });
    expect(await readdir(folder)).toEqual(before);
    expect(await collectCache({ cacheDir: cache })).toEqual({ files: 3, bytes: 35 });
    expect(await mapped()).toEqual(["c.f32"]);
  });
});
