import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { download, sizeOf } from "./download.ts";
import { DownloadError, IntegrityError } from "./errors.ts";

const content = randomBytes(300_000);
const sha256 = createHash("sha256").update(content).digest("hex");
const gitBlob = createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");

describe("download", () => {
  let folder: string;
  let url: string;
  let file: string;
  const asked: (string | undefined)[] = [];
  let serve: (request: IncomingMessage, response: ServerResponse, call: number) => void;
  const server = createServer((request, response) => {
    asked.push(request.headers.range);
    serve(request, response, asked.length);
  });

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tenet-download-"));
    file = join(folder, "file");
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/file`;
  });
  afterEach(async () => {
    asked.length = 0;
    await rm(file, { force: true });
  });
  afterAll(async () => {
    server.closeAllConnections();
    server.close();
    await rm(folder, { recursive: true });
  });

  /** Sends what is asked for, but cuts the connection after so many bytes. */
  const ranged =
    (cutAfter: (call: number) => number, etag = () => '"v1"', body = content) =>
    (request: IncomingMessage, response: ServerResponse, call: number) => {
      const given = request.headers["if-range"];
      const match = given && given !== etag() ? null : /^bytes=(\d+)-/.exec(request.headers.range ?? "");
      const from = match ? Number(match[1]) : 0;
      const part = body.subarray(from);
      response.writeHead(match ? 206 : 200, {
        etag: etag(),
        "content-length": part.length,
        ...(match && { "content-range": `bytes ${from}-${body.length - 1}/${body.length}` }),
      });
      const cut = cutAfter(call);
      if (cut >= part.length) return void response.end(part);
      response.write(part.subarray(0, cut), () => setTimeout(() => response.destroy(), 20));
    };

  it("takes up a broken connection where it broke", async () => {
    serve = ranged((call) => (call < 5 ? 70_000 : Number.POSITIVE_INFINITY));
    const seen: number[] = [];
    await download(url, file, {
      expected: { bytes: content.length, sha256, gitBlob },
      onBytes: (done) => void seen.push(done),
    });
    expect((await readFile(file)).equals(content)).toBe(true);
    expect(asked.length).toBe(5);
    expect(asked[0]).toBeUndefined();
    expect(asked.slice(1).every((range) => /^bytes=[1-9]\d*-$/.test(range!))).toBe(true);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(content.length);
  });

  it("continues what another process left", async () => {
    serve = ranged(() => Number.POSITIVE_INFINITY);
    await writeFile(file, content.subarray(0, 1000));
    await download(url, file, { expected: { sha256 } });
    expect(asked).toEqual(["bytes=1000-"]);
    expect((await readFile(file)).equals(content)).toBe(true);
    asked.length = 0;
    await download(url, file, { expected: { bytes: content.length, sha256 } });
    expect(asked).toEqual([]);
  });

  it("starts again where the server knows no ranges", async () => {
    serve = (_, response, call) => {
      response.writeHead(200, { "content-length": content.length });
      if (call > 2) return void response.end(content);
      response.write(content.subarray(0, 50_000), () => setTimeout(() => response.destroy(), 20));
    };
    await download(url, file, { expected: { sha256 } });
    expect((await readFile(file)).equals(content)).toBe(true);
  });

  it("keeps what has come when it is cancelled, and goes on from there", async () => {
    serve = (request, response, call) => {
      if (call > 1) return ranged(() => Number.POSITIVE_INFINITY)(request, response, call);
      response.writeHead(200, { "content-length": content.length });
      response.write(content.subarray(0, 40_000)); // and then nothing more
    };
    const aborter = new AbortController();
    const cancelled = download(url, file, {
      signal: aborter.signal,
      onBytes: (done) => done >= 40_000 && aborter.abort(new Error("enough")),
    });
    await expect(cancelled).rejects.toThrow("enough");
    expect(await sizeOf(file)).toBe(40_000);
    await download(url, file, { expected: { sha256 } });
    expect(asked).toEqual([undefined, "bytes=40000-"]);
  });

  it("gives a silent connection up and tries again", async () => {
    serve = (request, response, call) => {
      if (call > 1) return ranged(() => Number.POSITIVE_INFINITY)(request, response, call);
      response.writeHead(200, { "content-length": content.length });
      response.write(content.subarray(0, 10));
    };
    await download(url, file, { expected: { sha256 }, idleMs: 100 });
    expect(asked).toEqual([undefined, "bytes=10-"]);
  });

  it("refuses what is not what was promised, and removes it", async () => {
    const wrong = Buffer.from(content);
    wrong[7]! ^= 1;
    serve = ranged(() => Number.POSITIVE_INFINITY, undefined, wrong);
    await expect(download(url, file, { expected: { sha256 } })).rejects.toBeInstanceOf(IntegrityError);
    expect(await sizeOf(file)).toBe(0);
    await expect(download(url, file, { expected: { gitBlob } })).rejects.toThrow("git id");
    await expect(download(url, file, { expected: { bytes: 1000 } })).rejects.toThrow("more than the 1000 bytes");
  });

  it("does not glue two versions together", async () => {
    const other = randomBytes(content.length);
    const otherHash = createHash("sha256").update(other).digest("hex");
    serve = (request, response, call) =>
      call === 1
        ? ranged(() => 50_000)(request, response, call)
        : ranged(
            () => Number.POSITIVE_INFINITY,
            () => '"v2"',
            other,
          )(request, response, call);
    await expect(download(url, file, { expected: { sha256: otherHash } })).resolves.toBeUndefined();
  });

  it("does not keep what an earlier process left of another version", async () => {
    serve = ranged(() => Number.POSITIVE_INFINITY);
    await writeFile(file, randomBytes(1000));
    await download(url, file, { expected: { sha256 } });
    expect(asked).toEqual(["bytes=1000-", undefined]);
  });

  it("says what a server said, and gives up on one that never gets further", async () => {
    serve = (_, response) => void response.writeHead(404).end();
    await expect(download(url, file)).rejects.toThrow(/status 404/);
    expect(asked).toHaveLength(1);
    serve = (_, response) => void response.destroy();
    await expect(download(url, file, { patience: 2 })).rejects.toBeInstanceOf(DownloadError);
    expect(asked).toHaveLength(3);
  });
});
