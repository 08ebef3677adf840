import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findFile } from "./bytes.ts";
import { collect, DatasetError, type DatasetKinds, openDataset } from "./index.ts";
import { readParquet } from "./parquet.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-parquet-"));
});
afterAll(() => rm(folder, { recursive: true }));

const prompts = Array.from({ length: 25 }, (_, i) => `prompt ${i}`);
const codecs = {
  UNCOMPRESSED: undefined,
  SNAPPY: undefined,
  GZIP: (page: Uint8Array) => gzipSync(page),
  BROTLI: (page: Uint8Array) => brotliCompressSync(page),
  LZ4: (page: Uint8Array) => page,
};

it("a record longer than a line may be is set aside before anything is made of it, and the others are read", async () => {
  const long = "word ".repeat(300_000);
  const jsonl = join(folder, "long.jsonl");
  await writeFile(jsonl, ["one", long, "two"].map((prompt) => `${JSON.stringify({ prompt })}\n`).join(""));
  for (const path of [await file("SNAPPY", ["one", long, "two"], "long.parquet"), jsonl]) {
    const { rows, asides } = await collect(await openDataset(path, { as: "prompts" }));
    expect(rows.map(({ prompt }) => prompt[0]!.content)).toEqual(["one", "two"]);
    expect(asides).toMatchObject([
      { reason: expect.stringMatching(/^15000\d\d bytes long; a record may have 1048576 /) },
    ]);
  }
});

async function file(codec: keyof typeof codecs = "SNAPPY", data = prompts, name = "x.parquet"): Promise<string> {
  const compressor = codecs[codec];
  const buffer = parquetWriteBuffer({
    columnData: [
      { name: "unused", data: data.map((_, i) => i), type: "INT32" },
      { name: "prompt", data, type: "STRING" },
    ],
    codec,
    rowGroupSize: 10,
    ...(compressor && { compressors: { [codec]: compressor } }),
  });
  const path = join(folder, name);
  await writeFile(path, new Uint8Array(buffer));
  return path;
}

it.each(["image", "images"])(
  "records that have something in a column %s are set aside, and no others",
  async (name) => {
    const path = join(folder, `${name}.parquet`);
    const pictures = [new Uint8Array([137, 80, 78, 71]), undefined, new Uint8Array([]), new Uint8Array([1])];
    const columnData = [
      { name: "prompt", data: ["one", "two", "three", "four"], type: "STRING" as const },
      { name, data: pictures, type: "BYTE_ARRAY" as const, nullable: true },
    ];
    await writeFile(path, new Uint8Array(parquetWriteBuffer({ columnData })));
    for (const images of [false, true]) {
      const { rows, asides } = await collect(await openDataset(path, { as: "prompts", images }));
      expect(rows.map(({ prompt }) => prompt[0]!.content)).toEqual(["two", "three"]);
      const reason = images ? "images of a Parquet file are not read" : "nobody sees who reads this file";
      expect(asides).toMatchObject([
        { source: `${name}.parquet:1`, doubtful: true, reason: expect.stringContaining(reason) },
        { source: `${name}.parquet:4` },
      ]);
    }
  },
);

const read = async (path: string, as: keyof DatasetKinds = "prompts") => collect(await openDataset(path, { as }));

describe("Parquet", () => {
  it.each(["UNCOMPRESSED", "SNAPPY", "GZIP", "BROTLI"] as const)("compressed with %s is read", async (codec) => {
    const { rows } = await read(await file(codec));
    expect(rows.map(({ prompt }) => prompt[0]?.content)).toEqual(prompts);
    expect(rows.map(({ origin }) => origin.source)).toEqual(prompts.map((_, i) => `x.parquet:${i + 1}`));
  });

  it("of an unknown codec is refused by its name", async () => {
    await expect(read(await file("LZ4"))).rejects.toThrow(DatasetError);
    await expect(read(await file("LZ4"))).rejects.toThrow(
      /compressed with LZ4, which is not read here; expected .*SNAPPY/,
    );
  });

  it("is told by its beginning, whatever its name", async () => {
    const dataset = await openDataset(await file("SNAPPY", prompts, "data.jsonl"), { as: "prompts" });
    expect(dataset.format).toBe("parquet");
  });

  it("of other columns is refused with the columns it has", async () => {
    const path = join(folder, "other.parquet");
    const buffer = parquetWriteBuffer({ columnData: [{ name: "question", data: ["a"], type: "STRING" }] });
    await writeFile(path, new Uint8Array(buffer));
    await expect(read(path)).rejects.toThrow(/has the columns question; expected some of prompt, chosen/);
    await expect(read(await file(), "preferences")).rejects.toThrow(/as preferences: no usable record .*found prompt/);
  });

  it("without rows is refused, and so is a row group larger than allowed", async () => {
    await expect(read(await file("SNAPPY", []))).rejects.toThrow("holds no records");
    const large = readParquet(await findFile(await file()), ["prompt"], { maxGroupBytes: 50, seconds: 60 });
    await expect(large.next()).rejects.toThrow(/a row group of \d+ bytes \(number 1\).*may have 50\. Write it again/);
  });

  it("that is damaged is an error of the file's, and never anything else", async () => {
    const bytes = new Uint8Array(await readFile(await file("SNAPPY", prompts, "whole.parquet")));
    const path = join(folder, "damaged.parquet");
    const lengths = [12, bytes.length - 1, Math.floor(bytes.length / 2)];
    const places = Array.from(
      { length: Number(process.env.PARQUET_CASES ?? 12) },
      (_, i) => 4 + ((i * 7919) % (bytes.length - 8)),
    );
    const damaged = [
      ...lengths.map((length) => bytes.slice(0, length)),
      ...places.map((place, i) => bytes.map((byte, j) => (j === place ? byte ^ (1 << (i % 8)) : byte))),
    ];
    for (const [i, content] of damaged.entries()) {
      await writeFile(path, content);
      const failure = await read(path).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (i < lengths.length || failure) expect(failure).toBeInstanceOf(DatasetError);
      if (failure) expect((failure as Error).message).toContain("damaged.parquet");
    }
  });

  it("whose counts are damaged is given up in bounded time", async () => {
    const path = await file("SNAPPY", prompts, "counts.parquet");
    const whole = new Uint8Array(await readFile(path));
    const bounds = { maxGroupBytes: 1000, seconds: 3 };
    const records = async () => {
      for await (const _ of readParquet(await findFile(path), ["prompt"], bounds));
    };
    await records();
    // A bit of the header of the second column's page, which begins at 69: its counts turn into others, and hyparquet never ends.
    await writeFile(
      path,
      whole.map((byte, i) => (i === 77 ? byte ^ 4 : byte)),
    );
    await expect(records()).rejects.toThrow(/took over 3 s|memory/);
  });
});
