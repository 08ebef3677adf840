import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CheckpointMismatchError, Checkpoints } from "./checkpoint.ts";

let folder: string;
const settings = { learningRate: 1e-4, lora: { rank: 4 }, from: undefined };

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-checkpoint-"));
});
afterEach(() => rm(folder, { recursive: true }));

const at = (step: number) => ({
  step,
  progress: { losses: [1.5, step] },
  blobs: { parameters: Uint8Array.of(step, 2) },
});

describe("Checkpoints", () => {
  it("gives back the newest, byte by byte, and keeps two", async () => {
    const checkpoints = new Checkpoints(join(folder, "a"), settings);
    expect(await checkpoints.latest()).toBeUndefined();
    for (const step of [5, 10, 200]) await checkpoints.save(at(step));
    const found = await new Checkpoints(join(folder, "a"), { ...settings }).latest();
    expect(found!.step).toBe(200);
    expect(found!.progress).toEqual({ losses: [1.5, 200] });
    expect([...found!.blobs.parameters!]).toEqual([200, 2]);
    expect((await readdir(join(folder, "a"))).sort()).toEqual(["step-00000010", "step-00000200"]);
  });

  it("replaces one of the same step", async () => {
    const checkpoints = new Checkpoints(folder, settings);
    await checkpoints.save(at(5));
    await checkpoints.save({ ...at(5), progress: "again" });
    expect((await checkpoints.latest())!.progress).toBe("again");
  });

  it("refuses another training's, naming what differs", async () => {
    await new Checkpoints(folder, settings).save(at(1));
    const other = new Checkpoints(folder, { learningRate: 2e-4, lora: { rank: 4 }, from: "earlier" });
    await expect(other.latest()).rejects.toThrow(CheckpointMismatchError);
    await expect(other.latest()).rejects.toThrow('from was not set, is "earlier"; learningRate was 0.0001, is 0.0002');
  });

  it.each([
    ["changed", (path: string) => writeFile(path, Uint8Array.of(9, 9))],
    ["cut short", (path: string) => writeFile(path, Uint8Array.of(2))],
    ["missing", (path: string) => rm(path)],
  ])("passes over one whose array is %s", async (_, damage) => {
    const checkpoints = new Checkpoints(folder, settings);
    await checkpoints.save(at(1));
    await checkpoints.save(at(2));
    await damage(join(folder, "step-00000002", "parameters.bin"));
    expect((await checkpoints.latest())!.step).toBe(1);
    await damage(join(folder, "step-00000001", "parameters.bin"));
    expect(await checkpoints.latest()).toBeUndefined();
  });

  it("never takes a half-written one, and clears it away", async () => {
    const checkpoints = new Checkpoints(folder, settings);
    await checkpoints.save(at(1));
    const half = join(folder, ".step-2.abc.tmp");
    await mkdir(half);
    await writeFile(join(half, "state.json"), await readFile(join(folder, "step-00000001", "state.json")));
    expect((await checkpoints.latest())!.step).toBe(1);
    expect(await readdir(folder)).toEqual(["step-00000001"]);
  });

  it("leaves nothing behind when it cannot be written", async () => {
    const checkpoints = new Checkpoints(folder, settings);
    await expect(checkpoints.save({ ...at(1), blobs: { "no/such": Uint8Array.of(1) } })).rejects.toThrow();
    expect(await readdir(folder)).toEqual([]);
  });
});
