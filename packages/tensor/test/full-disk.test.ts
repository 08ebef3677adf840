import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { compile, constant, input } from "../src/index.ts";

/** What the disk says of a new folder and of a new file; nothing where it takes them. */
const disk = vi.hoisted(() => ({ folder: "", file: "" }));
vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof import("node:fs/promises")>();
  const refused = (code: string) => Promise.reject(Object.assign(new Error(`${code}: no`), { code }));
  return {
    ...real,
    // "absent": it says that there is a folder, and there is none.
    mkdir: (...args: Parameters<typeof real.mkdir>) =>
      disk.folder === "absent" ? Promise.resolve() : disk.folder ? refused(disk.folder) : real.mkdir(...args),
    open: (...args: Parameters<typeof real.open>) => (disk.file ? refused(disk.file) : real.open(...args)),
  };
});

let root: string;
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tenet-full-disk-"));
});
afterAll(() => rm(root, { recursive: true }));
beforeEach(() => {
  Object.assign(disk, { folder: "", file: "" });
});

/** A graph that is worth keeping, run. */
async function sumThrough(): Promise<number> {
  const graphCache = join(root, `${count++}`, "graphs");
  const weights = constant(new Float32Array(2 ** 18).fill(0.5), [2 ** 9, 2 ** 9]);
  const x = input("x", "float32", [1, 2 ** 9]);
  const program = await compile(() => ({ y: x.matmul(weights).sum() }), { graphCache });
  try {
    const { y } = await program.run({ x: { data: new Float32Array(2 ** 9).fill(1), shape: [1, 2 ** 9] } });
    return y.data[0] as number;
  } finally {
    await program.dispose();
  }
}

it.each([
  ["folder", "ENOSPC"],
  ["folder", "EROFS"],
  ["folder", "absent"],
  ["file", "ENOSPC"],
  ["file", "EACCES"],
] as const)("a graph runs where the disk refuses a %s: %s", async (what, code) => {
  disk[what] = code;
  expect(await sumThrough()).toBe(2 ** 17);
});

it("what is no matter of room is an error", async () => {
  disk.folder = "EIO";
  await expect(sumThrough()).rejects.toThrow("EIO");
});
