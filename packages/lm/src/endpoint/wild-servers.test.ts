import { advice, openWildServers, wildServers } from "@tenet/fixtures";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { endpoint } from "./endpoint.ts";

let servers: Awaited<ReturnType<typeof openWildServers>>;
beforeAll(async () => {
  servers = await openWildServers();
});
afterAll(() => servers.close());

describe("text from servers as they are met", () => {
  it("are at least forty", () => expect(wildServers.length).toBeGreaterThanOrEqual(40));

  it.each(wildServers)("$name", async (server) => {
    const model = endpoint({ baseUrl: servers.url(server), retries: { baseSeconds: 0.001, perRequest: 2 } });
    const prompt = [{ role: "user" as const, content: "I have a cold. What helps?" }];
    const texts: string[] = [];
    for await (const { completion } of model.generate([{ prompt, sampling: { temperature: 0.7, n: 2, seed: 3 } }]))
      texts.push(completion.text);
    expect(texts).toEqual([advice, advice]);
    const usage = model.usage();
    for (const count of [usage.promptTokens, usage.completionTokens]) expect(count).toBeGreaterThan(0);
    const { score } = await model.capabilities();
    if (server.logprobs) expect(score.chat).toBe("options");
    if (server.notices) expect(Object.keys(model.usage().notices ?? {}).join("\n")).toMatch(server.notices);
    await model.close();
  });
});
