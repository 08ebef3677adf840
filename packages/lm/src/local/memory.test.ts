import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeTinyModel } from "@tenet/fixtures";
import { expect, it, vi } from "vitest";
import { openLocalModel } from "./index.ts";
import { usualBudget } from "./memory.ts";

const free = vi.hoisted(() => ({ bytes: 0 }));
vi.mock("node:os", async (original) => ({
  ...(await original<typeof import("node:os")>()),
  freemem: () => free.bytes,
}));

it("decodes as many replies together however much memory is free, so that they round alike", async () => {
  const cacheDir = await mkdtemp(join(tmpdir(), "tenet-memory-"));
  const model = await openLocalModel(await writeTinyModel(join(cacheDir, "base")), { device: "cpu", cacheDir });
  const requests = Array.from({ length: 6 }, (_, seed) => ({
    prompt: "Once",
    sampling: { maxTokens: 8, logprobs: 0, seed },
  }));
  const found = [];
  for (const bytes of [1, 2 ** 50]) {
    free.bytes = bytes;
    const before = model.statistics().steps;
    const replies = [];
    for await (const { request, completion } of model.generate(requests)) replies[request] = completion.tokens;
    found.push({ replies, steps: model.statistics().steps - before, budget: usualBudget() });
  }
  await model.close();
  await rm(cacheDir, { recursive: true });
  expect(found[0]).toEqual(found[1]);
});
