import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { writeTinyModel } from "../../test/tiny-model.ts";
import { openCheckpoint } from "../checkpoint/index.ts";
import { collectCache } from "./cache-folders.ts";
import { mappedWeights } from "./weights.ts";

/** Whose the old file is. */
const disk = vi.hoisted(() => ({ anothers: true }));
vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof import("node:fs/promises")>();
  const refused = Object.assign(new Error("EACCES: permission denied"), { code: "EACCES" });
  return {
    ...real,
    rm: (...[path, options]: Parameters<typeof real.rm>) =>
      disk.anothers && String(path).endsWith("forgotten.f32") ? Promise.reject(refused) : real.rm(path, options),
  };
});

it("a model opens out of a cache in which what is old is another's, and who asks to remove that is told", async () => {
  const home = await mkdtemp(join(tmpdir(), "tenet-shared-cache-"));
  const folder = join(home, "weights");
  await mkdir(folder);
  const old = new Date("2020-01-01T00:00:00Z");
  await writeFile(join(folder, "forgotten.f32"), "old");
  await utimes(join(folder, "forgotten.f32"), old, old);
  const checkpoint = await openCheckpoint(await writeTinyModel(join(home, "model")));
  expect((await mappedWeights(checkpoint, folder)).has("lm_head.weight")).toBe(true);
  await checkpoint.close();
  expect(await readdir(folder)).toContain("forgotten.f32");
  await expect(collectCache({ cacheDir: home })).rejects.toThrow("EACCES");
  disk.anothers = false;
  expect((await collectCache({ cacheDir: home })).files).toBe(1);
  await rm(home, { recursive: true });
});
