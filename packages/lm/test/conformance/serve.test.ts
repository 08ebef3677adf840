import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { endpoint } from "../../src/endpoint/index.ts";
import { type LocalModel, openLocalModel } from "../../src/local/index.ts";
import { type RunningServer, serve } from "../../src/serve/index.ts";
import { writeTinyModel } from "../tiny-model.ts";
import { localCapabilities } from "./local-capabilities.ts";
import { conformance } from "./suite.ts";

let folder: string;
let model: LocalModel;
let server: RunningServer;

async function opened(): Promise<LocalModel> {
  folder = await mkdtemp(join(tmpdir(), "tenet-serve-"));
  model = await openLocalModel(await writeTinyModel(folder), { device: "cpu", cacheDir: folder });
  return model;
}

conformance({
  name: "a local model for callers that come and go",
  open: async () => (await opened()).live(),
  shut: () => rm(folder, { recursive: true }),
  capabilities: localCapabilities,
  tokens: true,
  tolerance: 1e-4,
});

conformance({
  name: "an endpoint on Tenet's own server",
  async open() {
    server = await serve({ models: new Map([["tiny", (await opened()).live()]]) });
    return endpoint({ baseUrl: server.url });
  },
  async shut() {
    await server.close();
    await model.close();
    await rm(folder, { recursive: true });
  },
  capabilities: { ...localCapabilities, topLogprobs: 20, score: { raw: "continuations", chat: "options" } },
  tolerance: 1e-4,
});
