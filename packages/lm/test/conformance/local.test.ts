import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLocalModel } from "../../src/local/index.ts";
import { writeTinyModel } from "../tiny-model.ts";
import { localCapabilities } from "./local-capabilities.ts";
import { conformance } from "./suite.ts";

let folder: string;

conformance({
  name: "a local model",
  async open() {
    folder = await mkdtemp(join(tmpdir(), "tenet-local-"));
    return openLocalModel(await writeTinyModel(folder), { device: "cpu", cacheDir: folder });
  },
  shut: () => rm(folder, { recursive: true }),
  capabilities: localCapabilities,
  tokens: true,
  // Prompts are computed in rows of different lengths, which adds in a different order.
  tolerance: 1e-4,
});
