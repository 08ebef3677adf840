import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EngineHealth, EngineRefusedError, PROTOCOL, testedWith } from "@tenet/engine";
import { writeTinyModel } from "@tenet/fixtures";
import { type ModelConfig, openShell } from "@tenet/lm";
import { weightsFingerprint } from "@tenet/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launchOptions, requireSameModel, versionsApart } from "./run-engine.ts";
import { engineIdentity, engineSchema } from "./schema/engine.ts";

let folder: string;
let path: string;
let config: ModelConfig;
let weights: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-run-engine-"));
  path = await writeTinyModel(join(folder, "model"));
  config = (await openShell(path)).config;
  weights = (await weightsFingerprint(path))!;
});
afterAll(() => rm(folder, { recursive: true }));

function health(change: Partial<EngineHealth["model"] & { weights: string }> = {}): EngineHealth {
  const { hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, vocab_size } = config;
  const { weights: other = weights, ...shape } = change;
  return {
    ...{ protocol: PROTOCOL, versions: {}, epoch: 1, wanted: 1, upSeconds: 1 },
    model: { hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, vocab_size, ...shape },
    workers: [{ rank: 3, pid: 1, device: "cpu", memory: 1, node: "0123456789abcdef", weights: other }],
  };
}

describe("what the workers have", () => {
  const here = () => ({ config, path, address: "http://head:8270" });

  it("is the model that lies here", async () => {
    await requireSameModel(health(), here());
    // Where the weights are there alone, the shape is all that can be compared.
    const shell = await mkdtemp(join(folder, "shell-"));
    await requireSameModel(health({ weights: "others" }), { ...here(), path: shell });
  });

  it.each([
    [{ hidden_size: 8 }, /head:8270: the workers' model has hidden_size 8, the one here \d+: .*engine\.model/],
    [
      { weights: "others" },
      /worker 3 on node 01234567 has other weights than lie here in .*: copy the same files there/,
    ],
  ])("or it is refused by name: %o", async (change, words) => {
    const refused = requireSameModel(health(change), here());
    await expect(refused).rejects.toThrow(EngineRefusedError);
    await expect(refused).rejects.toThrow(words);
  });

  it("is told where its packages are others", async () => {
    const { torch } = await testedWith();
    expect(await versionsApart({ versions: { torch: torch!, peft: "9.9.9", python: "3.11.7" } })).toEqual([
      expect.stringMatching(/^peft 9\.9\.9 there, tested with \d/),
    ]);
  });
});

describe("an engine's settings", () => {
  const settings = engineSchema.parse({ ray: "http://head:8265", workers: 4, shard: true, dtype: "bfloat16" });

  it("make the job, the model's folder as the workers see it", () => {
    const { spec, port, ray } = launchOptions(settings, { run: "r", path: "/here" });
    expect([ray, port, spec]).toEqual([
      "http://head:8265",
      8270,
      {
        ...{ model: "/here", dtype: "bfloat16", workers: 4, gpus: 1, shard: true, threads: 1 },
        ...{ maxFailures: 5, idleMinutes: 15, host: "127.0.0.1" },
      },
    ]);
    expect(launchOptions({ ...settings, model: "/there" }, { run: "r", path: "/here" }).spec.model).toBe("/there");
  });

  it("make another run by what they compute in, not by where", () => {
    const elsewhere = engineSchema.parse({ ray: "http://other:1", dtype: "bfloat16" });
    expect(engineIdentity(settings)).toEqual(engineIdentity(elsewhere));
    expect(engineIdentity(engineSchema.parse({ ray: "http://head:8265" }))).not.toEqual(engineIdentity(settings));
  });
});
