/*
 * The engine on the real model. Opt-in, because the file is 94 MB:
 *   TENET_TEST_MODEL  the path of SmolLM2-135M-Instruct.Q4_1.gguf
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readSmolLm2 } from "../../test/golden/smollm2.ts";
import type { Prompt } from "../language-model/index.ts";
import { openLocalModel } from "./index.ts";

const path = process.env.TENET_TEST_MODEL;

describe("SmolLM2-135M-Instruct from its GGUF", () => {
  it("draws the same 64 greedy tokens as transformers on 20 prompts", { timeout: 300_000 }, async ({ skip }) => {
    if (!path) return skip("TENET_TEST_MODEL is not set");
    const cacheDir = await mkdtemp(join(tmpdir(), "tenet-smollm2-"));
    const model = await openLocalModel(path, { device: "cpu", cacheDir });
    const { prompts } = await readSmolLm2();
    const requests = prompts.map(({ text, chat, greedy }) => ({
      prompt: (chat ? [{ role: "user", content: text }] : text) as Prompt,
      sampling: { temperature: 0, maxTokens: greedy.length, logprobs: 0 },
    }));
    let compared = 0;
    for await (const { request, completion } of model.generate(requests)) {
      const drawn = completion.tokens!.map(({ id }) => id!);
      const expected = prompts[request]!.greedy;
      // The golden runs on behind the end of a turn; a reply ends there.
      const end = expected.findIndex((id) => model.text.endIds.has(id));
      expect(drawn, prompts[request]!.text).toEqual(end < 0 ? expected : expected.slice(0, end));
      compared++;
    }
    expect(compared).toBe(20);
    await model.close();
    await rm(cacheDir, { recursive: true });
  });
});
