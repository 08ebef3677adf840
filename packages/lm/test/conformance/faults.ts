import { faultProxy } from "@tenet/fixtures";
import { expect, it } from "vitest";
import { endpoint } from "../../src/endpoint/endpoint.ts";
import type { EndpointInput } from "../../src/endpoint/settings.ts";
import { BudgetError } from "../../src/language-model/errors.ts";
import type { GenerateResult } from "../../src/language-model/types.ts";
import { allFaults, someFaults } from "./some-faults.ts";

/**
 * Behaviour of an endpoint behind a proxy that spoils a third of all calls: nothing lost, nothing doubled, counts that
 * equal the server's own, the budget kept. Run over a fake server and over a real one.
 */
export function faultTests(
  upstream: () => string,
  {
    requests,
    settings,
    timeoutMs = 60_000,
  }: { requests: number; settings: Partial<EndpointInput>; timeoutMs?: number },
) {
  const retries = { perRequest: 12, baseSeconds: 0.005, maxSeconds: 3 };
  const batch = Array.from({ length: requests }, (_, i) => ({
    prompt: [{ role: "user" as const, content: `Say something about the number ${i}.` }],
    sampling: { maxTokens: 8, seed: i },
    key: `request ${i}`,
  }));

  it(
    `brings ${requests} requests through, each once, with the server's own counts`,
    async () => {
      const proxy = await faultProxy(upstream(), someFaults(1 / 3, 42));
      const model = endpoint({ baseUrl: proxy.url, retries, ...settings });
      try {
        const results: GenerateResult[] = [];
        const reasons: string[] = [];
        const onEvent = (event: { type: string; reason?: string }) => void (event.reason && reasons.push(event.reason));
        for await (const result of model.generate(batch, { onEvent })) results.push(result);

        expect(results.map(({ request }) => request).sort((a, b) => a - b)).toEqual(batch.map((_, i) => i));
        expect(new Set(proxy.deliveredBodies).size).toBe(requests);
        expect(proxy.delivered.replies).toBe(requests);
        const sum = (name: "promptTokens" | "completionTokens") =>
          results.reduce((all, { completion }) => all + completion.usage[name], 0);
        const usage = model.usage();
        for (const name of ["promptTokens", "completionTokens"] as const) {
          expect(usage[name]).toBe(proxy.delivered[name]);
          expect(sum(name)).toBe(proxy.delivered[name]);
        }
        expect(usage.completions).toBe(requests);
        expect(usage.estimated).toBe(0);
        // A server under load may also be too slow by itself.
        const spoiled = [...allFaults, "abandoned"].reduce((all, fault) => all + (proxy.done[fault] ?? 0), 0);
        expect(usage.failedAttempts).toBe(spoiled);
        expect(reasons).toHaveLength(spoiled);
        if (requests >= 100) for (const fault of allFaults) expect(proxy.done[fault], fault).toBeGreaterThan(0);
        console.log(`${requests} requests, ${spoiled} spoiled calls: ${JSON.stringify(proxy.done)}`);
      } finally {
        await model.close();
        await proxy.close();
      }
    },
    timeoutMs,
  );

  it(
    "stops when the budget is spent, overshooting by no more than the calls under way",
    async () => {
      const proxy = await faultProxy(upstream(), someFaults(1 / 3, 7));
      const probe = endpoint({ baseUrl: proxy.url, retries, ...settings });
      let each = 0;
      for await (const { completion } of probe.generate(batch.slice(0, 1)))
        each = completion.usage.promptTokens + completion.usage.completionTokens;
      await probe.close();

      const concurrency = 4;
      const budget = { tokens: each * Math.floor(requests / 4) };
      const before = { ...proxy.delivered };
      const model = endpoint({ baseUrl: proxy.url, retries, ...settings, concurrency, budget });
      try {
        const results: GenerateResult[] = [];
        const loop = (async () => {
          for await (const result of model.generate(batch)) results.push(result);
        })();
        await expect(loop).rejects.toBeInstanceOf(BudgetError);
        const { promptTokens, completionTokens, completions } = model.usage();
        const spent = promptTokens + completionTokens;
        expect(spent).toBeGreaterThanOrEqual(budget.tokens);
        // A prompt here differs from the first by a few tokens, for its number.
        expect(spent).toBeLessThan(budget.tokens + concurrency * (each + 8));
        // What was paid for has been delivered.
        expect(results).toHaveLength(completions);
        expect(new Set(results.map(({ request }) => request)).size).toBe(results.length);
        expect(proxy.delivered.replies - before.replies).toBe(results.length);
        await expect(model.generate(batch.slice(0, 1))[Symbol.asyncIterator]().next()).rejects.toBeInstanceOf(
          BudgetError,
        );
      } finally {
        await model.close();
        await proxy.close();
      }
    },
    timeoutMs,
  );
}
