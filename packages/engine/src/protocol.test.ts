import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { healthServer } from "../test/ray-server.ts";
import { BodyError, readBody, writeBody } from "./body.ts";
import { EngineClient } from "./client.ts";
import { EngineError, EngineGoneError, EngineMemoryError, EngineRefusedError, EngineRestartedError } from "./errors.ts";
import { programFolder } from "./launch.ts";
import { PROTOCOL, protocolSchema } from "./protocol.ts";

it("the Python side checks by what the page says: npm run docs", () => {
  const file = readFileSync(join(programFolder, "tenet_engine/protocol.schema.json"), "utf8");
  expect(JSON.parse(file)).toEqual(protocolSchema());
});

describe("a body", () => {
  const tensors = {
    a: { shape: [2, 2], data: Float32Array.of(1, Number.NaN, -0, 3e38) },
    b: { shape: [3], data: Int32Array.of(1, -2, 3) },
    c: { shape: [0], data: new Float32Array() },
    d: { shape: [1], data: Float64Array.of(Number.POSITIVE_INFINITY) },
  };

  it("comes back as it was", () => {
    expect(readBody(writeBody({ name: "ä", list: [1] }, tensors))).toEqual({ json: { name: "ä", list: [1] }, tensors });
  });

  it.each([
    ["nothing", new Uint8Array()],
    ["a page", Buffer.from("<html>not found</html>")],
    ["one that is cut", writeBody({}, tensors).subarray(0, -9)],
  ])("that is %s is said to be none", (_, bytes) => {
    expect(() => readBody(bytes)).toThrow(BodyError);
  });
});

describe("what the engine answers", () => {
  const health = { versions: {}, epoch: 1, workers: [], wanted: 1, model: null, upSeconds: 1 };
  let status = 200;
  const server = createServer((request, response) => {
    request.resume();
    request.on("end", () => {
      if (status === 0) request.socket.destroy();
      else response.writeHead(status).end(JSON.stringify({ error: "in words" }));
    });
  });
  let client: EngineClient;
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    client = new EngineClient({ address: `http://127.0.0.1:${port}/`, token: "t", patienceSeconds: 0 });
  });
  afterAll(() => void server.close());

  it.each([
    [401, EngineRefusedError, /in words.*another token/],
    [409, EngineRestartedError, /in words/],
    [422, EngineRefusedError, /in words/],
    [500, EngineError, /in words \(status 500\)/],
    [503, EngineGoneError, /in words/],
    [507, EngineMemoryError, /in words/],
    // Whether a step was taken before the line broke nobody knows: it is not taken again.
    [0, EngineRestartedError, /broke off during update/],
  ] as const)("%d", async (said, kind, words) => {
    status = said;
    const update = { learningRate: 1, betas: [0.9, 0.99], epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 } as const;
    const failed = client.call("update", { name: "a", ...update, betas: [...update.betas] });
    await expect(failed).rejects.toThrow(kind);
    await expect(failed).rejects.toThrow(words);
    await expect(failed).rejects.toThrow(client.address);
  });

  it.each([
    [
      { ...health, protocol: PROTOCOL - 1 },
      new RegExp(`it speaks protocol ${PROTOCOL - 1}, this Tenet ${PROTOCOL}; use one release of Tenet for both`),
    ],
    ["<html>", /it speaks protocol of another program, this Tenet \d+/],
  ])("another release, or another program: %o", async (value, words) => {
    const other = await healthServer(() => ({ token: "t", value }));
    const stranger = new EngineClient({ address: `http://127.0.0.1:${other.port}`, token: "t" });
    try {
      await expect(stranger.health()).rejects.toThrow(EngineRefusedError);
      await expect(stranger.health()).rejects.toThrow(words);
    } finally {
      other.close();
    }
  });

  it("nobody", async () => {
    const nobody = new EngineClient({ address: "http://127.0.0.1:1", token: "t", patienceSeconds: 0 });
    await expect(nobody.call("drop", { name: "a" })).rejects.toThrow(EngineGoneError);
    await expect(nobody.health()).rejects.toThrow(/is the job running, and the tunnel up/i);
  });
});
