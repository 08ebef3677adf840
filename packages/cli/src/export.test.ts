import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { catalogue } from "@tenet/lm";
import { hashOf, openStore } from "@tenet/runs";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { surroundings } from "../test/project.ts";
import { run } from "./index.ts";

const home = mkdtempSync(join(tmpdir(), "tenet-export-"));
beforeAll(async () => {
  vi.stubEnv("TENET_CACHE", join(home, "cache"));
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
  store.close();
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(home, { recursive: true });
});

it("notes a base that is not known to be what programs load by its name on the hub", async () => {
  const { io, written } = surroundings({ env: { TENET_STORE: join(home, "runs") } });
  expect(await run(["export", "desk", join(home, "out")], io)).toBe(0);
  expect(written.stdout).toContain("adapter, README.md (checkpoint sl)");
  expect(written.stderr).toMatch(
    /^note: its base, as this machine has it, is smollm2-135m-instruct, which may not be what programs load by the hub's name HuggingFaceTB\/SmolLM2-135M-Instruct: .*--what merged/m,
  );
});
