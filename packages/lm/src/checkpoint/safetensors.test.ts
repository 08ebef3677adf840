import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { failure, safetensorsBytes, withFile, withFolder } from "../../test/checkpoint/build.ts";
import golden from "../../test/checkpoint/safetensors.golden.json" with { type: "json" };
import { openSafetensors, openShardedSafetensors } from "./safetensors.ts";
import { type TensorToWrite, writeSafetensors } from "./safetensors-write.ts";

const bytesOf = (base64: string) => Buffer.from(base64, "base64");
const floatsOf = (base64: string) => new Float32Array(new Uint8Array(bytesOf(base64)).buffer);

describe("reading what the reference wrote", () => {
  it("gives every float tensor as float32, and the metadata", () =>
    withFile(bytesOf(golden.floats), async (path) => {
      const file = await openSafetensors(path);
      expect(Object.fromEntries(file.metadata)).toEqual(golden.metadata);
      expect([...file.tensors.keys()].sort()).toEqual(Object.keys(golden.values).sort());
      for (const [name, values] of Object.entries(golden.values)) {
        expect(await file.read(name), name).toEqual(floatsOf(values));
      }
      expect(file.tensors.get("scalar")!.shape).toEqual([]);
      const target = new Float32Array(20).fill(9);
      await file.readInto("half", target.subarray(2, 17));
      expect(target.subarray(2, 17)).toEqual(floatsOf(golden.values.half));
      expect([target[1], target[17]]).toEqual([9, 9]);
      await file.close();
    }));

  it("knows integer tensors and refuses to convert them", () =>
    withFile(bytesOf(golden.mixed), async (path) => {
      const file = await openSafetensors(path);
      expect(file.tensors.get("ids")).toMatchObject({ dtype: "I64", shape: [4], bytes: 32 });
      expect(file.tensors.get("mask")!.dtype).toBe("BOOL");
      const error = await failure(file.read("ids"));
      expect(error.message).toContain("I64");
      expect(error.message).toContain("F32, F16, BF16");
      expect((await failure(file.read("y"))).found).toContain("none of that name");
      expect((await failure(file.readInto("x", new Float32Array(3)))).expected).toContain("15");
      await file.close();
    }));
});

describe("writing", () => {
  const shapes = new Map<string, { dtype: TensorToWrite["dtype"]; shape: number[] }>();
  const inputs = async (): Promise<TensorToWrite[]> =>
    withFile(bytesOf(golden.floats), async (path) => {
      const file = await openSafetensors(path);
      for (const [name, { dtype, shape }] of file.tensors) shapes.set(name, { dtype: dtype as "F32", shape });
      await file.close();
      return Object.entries(golden.inputs).map(([name, data]) => ({
        name,
        ...shapes.get(name)!,
        data: floatsOf(data),
      }));
    });

  it("gives the reference's bytes, and leaves no temporary file", () =>
    withFolder(async (folder) => {
      const path = join(folder, "a.safetensors");
      await writeFile(path, "older");
      const tensors = await inputs();
      // In any order, and from functions.
      const shuffled = tensors
        .reverse()
        .map((t, i) => (i % 2 ? t : { ...t, data: async () => t.data as Float32Array }));
      await writeSafetensors(path, shuffled, golden.metadata);
      expect((await readFile(path)).equals(bytesOf(golden.floats))).toBe(true);
      expect(await readdir(folder)).toEqual(["a.safetensors"]);
    }));

  it("keeps large tensors through several chunks", () =>
    withFolder(async (folder) => {
      const path = join(folder, "big.safetensors");
      const data = Float32Array.from({ length: 200_001 }, (_, i) => ((i * 7919) % 2039) / 8 - 128);
      const tensors = (["F32", "F16", "BF16"] as const).map((dtype) => ({
        name: dtype,
        dtype,
        shape: [3, 66_667],
        data,
      }));
      await writeSafetensors(path, tensors);
      const file = await openSafetensors(path);
      const same = (other: Float32Array) => Buffer.from(other.buffer).equals(Buffer.from(data.buffer));
      expect([same(await file.read("F32")), same(await file.read("F16"))]).toEqual([true, true]);
      const rounded = await file.read("BF16");
      expect(data.findIndex((value, i) => Math.abs(value - rounded[i]!) > 0.25)).toBe(-1);
      await file.close();
    }));

  it("leaves the old file alone when it fails", () =>
    withFolder(async (folder) => {
      const path = join(folder, "a.safetensors");
      await writeFile(path, "older");
      const tensor: TensorToWrite = { name: "w", dtype: "F32", shape: [2], data: new Float32Array(3) };
      expect((await failure(writeSafetensors(path, [tensor]))).found).toBe("3");
      const twice = { ...tensor, data: new Float32Array(2) };
      expect((await failure(writeSafetensors(path, [twice, twice]))).found).toContain("twice");
      await expect(writeSafetensors(path, [{ ...twice, data: () => Promise.reject(new Error("no")) }])).rejects.toThrow(
        "no",
      );
      expect(await readdir(folder)).toEqual(["a.safetensors"]);
      expect(await readFile(path, "utf8")).toBe("older");
    }));
});

describe("hostile files", () => {
  const tensor = (begin: number, end: number, more: object = {}) => ({
    dtype: "U8",
    shape: [end - begin],
    data_offsets: [begin, end],
    ...more,
  });
  const fails = (bytes: Uint8Array) => withFile(bytes, (path) => failure(openSafetensors(path)));
  const text = (inner: string) => safetensorsBytes(`{${inner}}`, new Uint8Array(4));
  const one = (fields: string) => text(`"a":{${fields}}`);

  it.each<[string, Uint8Array, RegExp]>([
    ["an empty file", Buffer.alloc(0), /byte 0: expected 8 more bytes, found the end of the file/],
    ["a cut prefix", Buffer.alloc(5), /found the end of the file/],
    [
      "a cut header",
      safetensorsBytes({ a: tensor(0, 4) }, undefined, 1000n),
      /header of at most \d+ bytes, found 1000/,
    ],
    ["a header of 2^63 bytes", safetensorsBytes({}, undefined, 2n ** 63n), /found 9223372036854775808/],
    ["a header that is a list", safetensorsBytes([]), /expected a JSON object, "\{", found "\["/],
    ["a header that is no JSON", safetensorsBytes("hello"), /character 0 of the header/],
    ["bytes that are no UTF-8", Buffer.concat([safetensorsBytes("", undefined, 2n), Buffer.of(0xff, 0xfe)]), /UTF-8/],
    ["text after the header", safetensorsBytes("{} x"), /only spaces after the header/],
    ["deep nesting", safetensorsBytes(`{"a":${"[".repeat(100_000)}`), /a tensor's description, found "\["/],
    ["a value that is a number", text(`"a":1`), /a tensor's description/],
    ["an unknown field", one(`"dtype":"U8","shape":[4],"extra":[]`), /"dtype", "shape" and "data_offsets", once each/],
    ["a missing field", one(`"dtype":"U8","shape":[4]`), /a description with/],
    ["a repeated field", one(`"dtype":"U8","dtype":"U8"`), /once each/],
    ["three offsets", one(`"dtype":"U8","shape":[4],"data_offsets":[0,4,5]`), /at most 2/],
    ["a negative size", one(`"dtype":"U8","shape":[-4],"data_offsets":[0,4]`), /whole sizes.*found "-"/],
    ["a leading zero", one(`"dtype":"U8","shape":[04],"data_offsets":[0,4]`), /whole sizes.*found "0"/],
    ["a fraction", one(`"dtype":"U8","shape":[4.5],"data_offsets":[0,4]`), /after a whole number, found "\."/],
    ["an exponent", one(`"dtype":"U8","shape":[4e0],"data_offsets":[0,4]`), /found "e"/],
    ["a size beyond 2^53", one(`"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,4]`), /whole sizes/],
    ["endless dimensions", one(`"dtype":"U8","shape":[${"1,".repeat(99)}1],"data_offsets":[0,1]`), /at most 32/],
    [
      "an overflowing shape",
      safetensorsBytes({ a: tensor(0, 4, { shape: [2 ** 40, 2 ** 40] }) }, new Uint8Array(4)),
      /1\.2089/,
    ],
    [
      "an unknown dtype",
      safetensorsBytes({ a: tensor(0, 4, { dtype: "F13" }) }, new Uint8Array(4)),
      /a dtype of .*"F13"/,
    ],
    [
      "a dtype of Object's",
      safetensorsBytes({ a: tensor(0, 4, { dtype: "toString" }) }, new Uint8Array(4)),
      /a dtype of/,
    ],
    [
      "a shape that is too large",
      safetensorsBytes({ a: tensor(0, 4, { shape: [5] }) }, new Uint8Array(4)),
      /offsets 5 bytes apart/,
    ],
    [
      "a dtype that is too wide",
      safetensorsBytes({ a: tensor(0, 4, { dtype: "F16" }) }, new Uint8Array(4)),
      /offsets 8 bytes apart/,
    ],
    [
      "offsets in reverse",
      safetensorsBytes({ a: tensor(0, 4, { data_offsets: [4, 0] }) }, new Uint8Array(4)),
      /offsets \[4,0\]/,
    ],
    [
      "overlap",
      safetensorsBytes({ a: tensor(0, 4), b: tensor(2, 6) }, new Uint8Array(6)),
      /tensor "b": expected data that starts at byte/,
    ],
    ["a hole", safetensorsBytes({ a: tensor(0, 2), b: tensor(4, 6) }, new Uint8Array(6)), /data that starts at byte/],
    ["data past the end", safetensorsBytes({ a: tensor(0, 8) }, new Uint8Array(6)), /within the file's/],
    ["data that nobody owns", safetensorsBytes({ a: tensor(0, 4) }, new Uint8Array(6)), /where the last tensor ends/],
    ["a name twice", text(`"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"a":{}`), /each tensor name once/],
    ["metadata that are no strings", text(`"__metadata__":{"a":1}`), /a string, found "1"/],
    ["metadata twice", text(`"__metadata__":{},"__metadata__":{}`), /one __metadata__/],
    ["an unfinished string", safetensorsBytes(`{"a`), /the end of a quoted name, found the end of the header/],
    ["a bad escape", text(`"\\u00zz":{}`), /a valid escape sequence/],
  ])("%s", async (_, bytes, message) => {
    expect((await fails(bytes)).message).toMatch(message);
  });

  it("gives up on 100,001 tensors", async () => {
    const header = Array.from({ length: 100_001 }, (_, i) => `"${i}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`);
    expect((await fails(safetensorsBytes(`{${header.join(",")}}`))).expected).toBe("at most 100000 tensors in a file");
  });

  it("treats names of Object's own properties as names", () => {
    const header = `{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"constructor":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}}`;
    return withFile(safetensorsBytes(header, new Uint8Array(Float32Array.of(2).buffer)), async (path) => {
      const file = await openSafetensors(path);
      expect([...file.tensors.keys()]).toEqual(["__proto__", "constructor"]);
      expect(await file.read("__proto__")).toEqual(Float32Array.of(2));
      expect((await failure(file.read("toString"))).found).toContain("none");
      await file.close();
    });
  });

  it("shortens and escapes hostile names in messages", async () => {
    const { message } = await fails(safetensorsBytes({ [`\u001b[2J${"x".repeat(5000)}`]: tensor(0, 9) }));
    expect(message.length).toBeLessThan(500);
    expect(message).not.toContain("\u001b");
  });

  it("says what is not a file", () =>
    withFolder(async (folder) => {
      expect((await failure(openSafetensors(join(folder, "none")))).found).toBe("nothing at this path");
      expect((await failure(openSafetensors(folder))).found).toBe("a folder");
    }));
});

describe("shards", () => {
  const shard = (name: string, value: number) =>
    safetensorsBytes(
      { [name]: { dtype: "F32", shape: [1], data_offsets: [0, 4] } },
      new Uint8Array(Float32Array.of(value).buffer),
    );

  async function checkpoint(folder: string, map: unknown): Promise<string> {
    const index = join(folder, "model.safetensors.index.json");
    await writeFile(index, JSON.stringify({ metadata: { total_size: 8 }, weight_map: map }));
    await writeFile(join(folder, "1.safetensors"), shard("a", 1));
    await writeFile(join(folder, "2.safetensors"), shard("b", 2));
    return index;
  }

  it("are read as one", () =>
    withFolder(async (folder) => {
      const file = await openShardedSafetensors(await checkpoint(folder, { a: "1.safetensors", b: "2.safetensors" }));
      expect(await Promise.all([file.read("a"), file.read("b")])).toEqual([Float32Array.of(1), Float32Array.of(2)]);
      await file.close();
    }));

  it.each<[string, unknown, RegExp]>([
    ["an absolute path", { a: "/etc/hostname" }, /inside the checkpoint's folder, found a path that leaves it/],
    ["a path up", { a: "../1.safetensors" }, /a path that leaves it/],
    ["a path down and up", { a: "x/../../1.safetensors" }, /a path that leaves it/],
    ["the folder itself", { a: "." }, /a path that leaves it/],
    ["a missing shard", { a: "3.safetensors" }, /nothing at this path/],
    ["a shard with a NUL", { a: "1\0.safetensors" }, /readable file/],
    ["a tensor elsewhere", { a: "2.safetensors" }, /different downloads/],
    ["a shard that is no name", { a: 1 }, /a file name, found 1/],
    ["a map that is none", [], /weight_map: expected an object/],
    ["no map", undefined, /weight_map/],
  ])("refuse %s", (_, map, message) =>
    withFolder(async (folder) => {
      expect((await failure(openShardedSafetensors(await checkpoint(folder, map)))).message).toMatch(message);
    }),
  );

  it("refuse a symbolic link that leaves the folder, but not one within it", () =>
    withFolder(async (outer) => {
      const folder = join(outer, "model");
      await mkdir(folder);
      await writeFile(join(outer, "outside.safetensors"), shard("a", 3));
      const index = await checkpoint(folder, { a: "link.safetensors" });
      await symlink(join(outer, "outside.safetensors"), join(folder, "link.safetensors"));
      expect((await failure(openShardedSafetensors(index))).found).toBe("a symbolic link that leaves it");
      await checkpoint(folder, { a: "inner.safetensors" });
      await symlink("1.safetensors", join(folder, "inner.safetensors"));
      await (await openShardedSafetensors(index)).close();
    }));

  it("accept the links of Hugging Face's cache", () =>
    withFolder(async (outer) => {
      await mkdir(join(outer, "blobs"));
      await mkdir(join(outer, "snapshots", "abc"), { recursive: true });
      const folder = join(outer, "snapshots", "abc");
      const index = await checkpoint(folder, { a: "link.safetensors" });
      await writeFile(join(outer, "blobs", "f00"), shard("a", 4));
      await symlink("../../blobs/f00", join(folder, "link.safetensors"));
      const file = await openShardedSafetensors(index);
      expect(await file.read("a")).toEqual(Float32Array.of(4));
      await file.close();
    }));
});
