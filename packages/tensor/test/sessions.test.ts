import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  add,
  compile,
  constant,
  input,
  matmul,
  type Program,
  ProgramPool,
  sessionCounts,
  sin,
  type Tensor,
  weight,
} from "../src/index.ts";

describe("a session", () => {
  it("is counted from when it is made until it is freed, once", async () => {
    const before = sessionCounts();
    const program = await compile(() => ({ y: sin(input("x", "float32", [2])) }));
    expect(sessionCounts()).toEqual({ ...before, open: before.open + 1, made: before.made + 1 });
    await program.dispose();
    await program.dispose();
    expect(sessionCounts()).toEqual({ ...before, made: before.made + 1 });
  });
});

/** Runs a script in a process of its own, whose memory and time are nobody else's. */
async function alone(name: string): Promise<Record<string, number>> {
  const script = fileURLToPath(new URL(`./processes/${name}.ts`, import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [
    "--conditions=source",
    ...["--import", "tsx", script],
  ]);
  return JSON.parse(stdout);
}

describe("what sessions take", () => {
  it("in memory is that of one where they take turns", { timeout: 120_000 }, async () => {
    const { empty, first, second } = await alone("turns");
    // The first is large beside what the process takes anyway, or nothing would be shown.
    expect(first! - empty!).toBeGreaterThan(200);
    expect((second! - empty!) / (first! - empty!)).toBeLessThan(1.4);
  });

  it("of the processor ends with the run", { timeout: 120_000 }, async () => {
    const { behind } = await alone("idle");
    expect(behind).toBeLessThan(5);
  });
});

describe("a pool of programs", () => {
  const made: string[] = [];
  const freed: string[] = [];
  const compiled = (name: string) => async () => {
    made.push(name);
    return { name, dispose: async () => void freed.push(name) };
  };
  const nameOf = async ({ name }: { name: string }) => name;
  beforeEach(() => {
    made.length = 0;
    freed.length = 0;
  });

  type Named = { name: string; dispose(): Promise<void> };

  it("frees the one unused longest when there are too many, and compiles it again", async () => {
    const pool = new ProgramPool<Named>({ most: 2, patience: 0 });
    for (const name of ["a", "b", "a", "c"]) expect(await pool.use(name, compiled(name), nameOf)).toBe(name);
    expect([made, freed]).toEqual([["a", "b", "c"], ["b"]]);
    await pool.use("b", compiled("b"), nameOf);
    expect([made, freed]).toEqual([
      ["a", "b", "c", "b"],
      ["b", "a"],
    ]);
    await pool.close();
    expect(freed).toEqual(["b", "a", "c", "b"]);
  });

  it("keeps as many as take turns, and frees what was not wanted for so long", async () => {
    const pool = new ProgramPool<Named>({ most: 1, patience: 4 });
    const turns = async (...names: string[]) => {
      for (const name of names) await pool.use(name, compiled(name), nameOf);
    };
    for (let turn = 0; turn < 3; turn++) await turns("a", "b", "c", "d");
    expect([made, freed]).toEqual([["a", "b", "c", "d"], []]);
    await turns("d", "d", "d", "d", "d");
    expect(freed).toEqual(["a", "b", "c"]);
    await pool.close();
  });

  it("frees none that is at work, however many are", async () => {
    const pool = new ProgramPool<Named>({ most: 1, patience: 0 });
    await pool.use("a", compiled("a"), () => pool.use("b", compiled("b"), async () => expect(freed).toEqual([])));
    await pool.use("c", compiled("c"), nameOf);
    expect(freed).toContain("a");
    await pool.close();
  });

  it("compiles one program for calls at the same time", async () => {
    const pool = new ProgramPool<Named>({ most: 1, patience: 0 });
    await pool.use("z", compiled("z"), nameOf);
    await Promise.all([1, 2, 3].map(() => pool.use("a", compiled("a"), nameOf)));
    expect(made).toEqual(["z", "a"]);
  });

  it("keeps nothing of a program that does not compile", async () => {
    const pool = new ProgramPool<Named>({ most: 1, patience: 0 });
    const failing = async () => Promise.reject(new Error("no"));
    await expect(pool.use("a", failing, nameOf)).rejects.toThrow("no");
    expect(await pool.use("a", compiled("a"), nameOf)).toBe("a");
    await expect(pool.use("a", compiled("a"), () => Promise.reject(new Error("work")))).rejects.toThrow("work");
    expect(made).toEqual(["a"]);
    await pool.close();
    expect(freed).toEqual(["a"]);
  });
});

describe("graphs that the runtime optimised", () => {
  let folder: string;
  let cache: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "tenet-graphs-"));
    cache = join(folder, "graphs");
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  /** Large enough to be worth a file; with a matrix in a file, a constant, and nodes that are folded and fused. */
  const large = async (steps = 1500, name = "w") => {
    const path = join(folder, name);
    await writeFile(
      path,
      Float32Array.from({ length: 64 * 64 }, (_, i) => Math.sin(i) / 8),
    );
    return (): { y: Tensor } => {
      const w = weight(name, [64, 64], { path, offset: 0 });
      let y = input("x", "float32", ["rows", 64]);
      for (let i = 0; i < steps; i++) {
        const shift = add(constant(Float32Array.of(i), [1]), 1);
        y = i % 100 === 0 ? matmul(y, w, { transB: true }) : sin(y.mul(1.5).add(shift));
      }
      return { y };
    };
  };
  const x = { data: Float32Array.from({ length: 3 * 64 }, (_, i) => Math.cos(i)), shape: [3, 64] };
  const valuesOf = async (program: Program<{ y: Tensor }>) => {
    const { y } = await program.run({ x });
    await program.dispose();
    return y;
  };
  /** What a graph gives, and how many sessions were made of stored graphs meanwhile. */
  const through = async (build: () => { y: Tensor }, graphCache: string | null = cache) => {
    const before = sessionCounts().stored;
    const y = await valuesOf(await compile(build, graphCache === null ? {} : { graphCache }));
    return { y, stored: sessionCounts().stored - before };
  };

  it("are optimised once, and give the same bits from then on", async () => {
    const build = await large();
    const { y } = await through(build, null);
    expect(await through(build)).toEqual({ y, stored: 0 });
    expect(await through(build)).toEqual({ y, stored: 1 });
    expect((await readdir(cache)).map((name) => name.replace(/^[0-9a-f]{32}/, "hash"))).toEqual(["hash.onnx"]);
  });

  it("have a file each: another graph, or the same one without rearranged matrices, is not taken for it", async () => {
    await through(await large());
    expect((await through(await large(1501))).stored).toBe(0);
    expect((await through(await large(1500, "v"))).stored).toBe(0);
    await valuesOf(await compile(await large(), { graphCache: cache, prepack: false }));
    expect(await readdir(cache)).toHaveLength(4);
  });

  it.each(["cut", "changed", "empty"])("are made again where their file is %s", async (damage) => {
    const build = await large();
    const { y } = await through(build);
    const path = join(cache, (await readdir(cache))[0]!);
    const { size } = await stat(path);
    const bytes = await readFile(path);
    if (damage === "cut") await truncate(path, size - 1000);
    if (damage === "empty") await truncate(path, 0);
    bytes[size >> 1]! ^= 1;
    if (damage === "changed") await writeFile(path, bytes);
    expect(await through(build)).toEqual({ y, stored: 0 });
    expect(await through(build)).toEqual({ y, stored: 1 });
  });

  it("are not kept where they are small, nor where no folder is given", async () => {
    await through(await large(10));
    await through(await large(), null);
    expect(await readdir(cache).catch(() => [])).toEqual([]);
  });
});
