import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeTinyModel } from "@tenet/fixtures";
import { ParameterSet } from "@tenet/tensor";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { adapterShapes, initialiseAdapter } from "../adapter/index.ts";
import { type ModelConfig, openShell } from "../checkpoint/index.ts";
import type { LanguageModel } from "../language-model/index.ts";
import { openText, type TextCodec } from "../text/index.ts";
import { AdapterError, AdapterServers } from "./adapter-servers.ts";

/**
 * As vLLM answers, by its documentation: the base and what was loaded are models; a name is loaded once; a folder has to hold an adapter of a rank that fits; tokens
 * are named by their ids where that is asked for, the one that ends a reply among them.
 */
async function vllm({ lora = true, maxRank = 16, key }: { lora?: boolean; maxRank?: number; key?: string } = {}) {
  const loaded = new Map<string, string>();
  const asked: { path: string; body: Record<string, unknown> }[] = [];
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = parts.length > 0 ? JSON.parse(Buffer.concat(parts).toString()) : {};
    const path = request.url!;
    asked.push({ path, body });
    const say = (status: number, value: unknown) =>
      void response
        .writeHead(status, { "content-type": typeof value === "string" ? "text/plain" : "application/json" })
        .end(typeof value === "string" ? value : JSON.stringify(value));
    const wrong = (status: number, message: string) => say(status, { error: { message, code: status } });
    if (key !== undefined && request.headers.authorization !== `Bearer ${key}`) return wrong(401, "Unauthorized");
    const models = ["base", ...loaded.keys()].map((id) => ({ id, object: "model", owned_by: "vllm" }));
    if (path === "/v1/models") return say(200, { object: "list", data: models });
    if (/_lora_adapter$/.test(path) && !lora) return say(404, { detail: "Not Found" });
    if (path === "/v1/load_lora_adapter") {
      if (loaded.has(body.lora_name))
        return wrong(
          400,
          `The lora adapter '${body.lora_name}' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.`,
        );
      if (!existsSync(join(body.lora_path, "adapter_config.json")))
        return wrong(404, `Loading lora ${body.lora_name} failed: No adapter found for ${body.lora_path}`);
      const { r } = JSON.parse(await readFile(join(body.lora_path, "adapter_config.json"), "utf8"));
      if (r > maxRank) return wrong(400, `LoRA rank ${r} is greater than max_lora_rank ${maxRank}.`);
      loaded.set(body.lora_name, body.lora_path);
      return say(200, `Success: LoRA adapter '${body.lora_name}' added successfully.`);
    }
    if (path === "/v1/unload_lora_adapter") {
      if (!loaded.delete(body.lora_name)) return wrong(404, `The lora adapter '${body.lora_name}' cannot be found.`);
      return say(200, `Success: LoRA adapter '${body.lora_name}' removed successfully.`);
    }
    if (!models.some(({ id }) => id === body.model)) return wrong(404, `The model \`${body.model}\` does not exist.`);
    const ids = [72, 105, 258]; // H, i, and what ends a turn
    const content = ids.map((id) => ({
      token: body.return_tokens_as_token_ids ? `token_id:${id}` : String.fromCharCode(id),
      logprob: -0.5,
      top_logprobs: [],
    }));
    say(200, {
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: "Hi" },
          finish_reason: "stop",
          logprobs: body.logprobs ? { content } : null,
        },
      ],
      usage: { prompt_tokens: 3, completion_tokens: 3 },
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    loaded,
    asked,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

let folder: string;
let config: ModelConfig;
let text: TextCodec;
let servers: Awaited<ReturnType<typeof vllm>>[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-adapter-servers-"));
  const shell = await openShell(await writeTinyModel(join(folder, "model")));
  config = shell.config;
  text = await openText(shell);
});
beforeEach(() => () => {
  for (const server of servers) server.close();
  servers = [];
});
afterAll(() => rm(folder, { recursive: true }));

const lora = { rank: 2, alpha: 4 };
function adapter(seed: number) {
  const parameters = new ParameterSet(adapterShapes(config, lora));
  initialiseAdapter(parameters, { seed });
  return { id: `adapter-${seed}`, lora, parameters, baseModel: undefined };
}

async function opened(how: Parameters<typeof vllm>[0] & { count?: number } = {}, more: { serversSee?: string } = {}) {
  for (let i = 0; i < (how.count ?? 2); i++) servers.push(await vllm(how));
  const where = { baseUrl: servers.map(({ address }) => address), model: "base", apiKeyVariable: "KEY" };
  return new AdapterServers({
    ...{ id: "tiny", config, text, folder: join(folder, "adapters"), endpoint: where, ...more },
    dependencies: { environment: { KEY: "the-key" } },
  });
}

async function reply(model: LanguageModel, logprobs?: number) {
  const sampling = { n: 1, seed: 1, maxTokens: 4, ...(logprobs !== undefined && { logprobs }) };
  for await (const { completion } of model.generate([{ prompt: [{ role: "user", content: "Hello" }], sampling }]))
    return completion;
  throw new Error("no reply");
}

describe("servers that adapters are loaded into", () => {
  it("all load a policy before it speaks, under a name of its contents, and it speaks by token ids", async () => {
    const pool = await opened({ key: "the-key" });
    const first = await pool.speaker(adapter(1));
    const [name] = [...servers[0]!.loaded.keys()];
    expect(name).toMatch(/^tenet-[0-9a-f]{24}$/);
    for (const { loaded } of servers) expect([...loaded]).toEqual([[name, join(folder, "adapters", name!)]]);
    expect(first.id).toBe("tiny+adapter-1");
    const { tokens, text: said } = await reply(first, 0);
    expect(said).toBe("Hi");
    expect(tokens!.map(({ id, text, logprob }) => [id, text, logprob])).toEqual([
      [72, "H", -0.5],
      [105, "i", -0.5],
    ]);
    const calls = servers.flatMap(({ asked }) => asked).filter(({ path }) => path.endsWith("/completions"));
    expect(calls.map(({ body }) => [body.model, body.return_tokens_as_token_ids])).toEqual([[name, true]]);

    // The same again is there already; another is another; the base is none.
    await pool.speaker(adapter(1));
    await pool.speaker(adapter(2));
    expect(servers.map(({ loaded }) => loaded.size)).toEqual([2, 2]);
    const base = await pool.speaker(undefined);
    expect(base.id).toBe("tiny");
    await reply(base);
    const models = servers.flatMap(({ asked }) => asked).map(({ body }) => body.model);
    expect(models).toContain("base");
  });

  it("keep a few, and let the oldest go with its files; one that was started again has nothing to lose", async () => {
    const pool = await opened({ count: 1 });
    for (let seed = 1; seed <= 4; seed++) await pool.speaker(adapter(seed));
    servers[0]!.loaded.clear();
    for (let seed = 5; seed <= 7; seed++) await pool.speaker(adapter(seed));
    expect(servers[0]!.loaded.size).toBe(3);
    expect(new Set(await readdir(join(folder, "adapters"))).size).toBeLessThanOrEqual(6);
    // What it lost is loaded again where it speaks again.
    await pool.speaker(adapter(4));
    expect(servers[0]!.loaded.size).toBe(4);
  });

  it.each([
    ["take none", { lora: false }, {}, /--enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1/],
    ["have room for less", { maxRank: 1 }, {}, /--max-lora-rank of at least the recipe's lora\.rank/],
    [
      "do not see the folder",
      {},
      { serversSee: "/elsewhere" },
      /No adapter found[\s\S]*engine\.generation\.serversSee/,
    ],
    ["want another key", { key: "another" }, {}, /status 401/],
  ] as const)("that %s say so", async (_, how, more, words) => {
    const pool = await opened({ ...how, count: 1 }, more);
    const failed = pool.speaker(adapter(1));
    await expect(failed).rejects.toThrow(AdapterError);
    await expect(failed).rejects.toThrow(words);
    await expect(failed).rejects.toThrow(servers[0]!.address);
  });

  it("that are gone, or name tokens by their text, say so", async () => {
    const pool = await opened({ count: 1 });
    const model = await pool.speaker(adapter(1));
    const texts = endpointWithTexts(servers[0]!.address);
    await expect(reply(await texts.speaker(adapter(1)), 0)).rejects.toThrow(/needs vLLM's return_tokens_as_token_ids/);
    servers[0]!.close();
    await expect(pool.speaker(adapter(2))).rejects.toThrow(/nobody answers .*is the server up\?/);
    await model.close();
  });
});

/** A server between that does not know the field. */
function endpointWithTexts(address: string): AdapterServers {
  const send: typeof fetch = (url, init) => {
    const { return_tokens_as_token_ids: _, ...body } = JSON.parse(String(init?.body ?? "{}"));
    return fetch(url, init?.body ? { ...init, body: JSON.stringify(body) } : init);
  };
  return new AdapterServers({
    ...{ id: "tiny", config, text, folder: join(folder, "adapters") },
    endpoint: { baseUrl: address, model: "base" },
    dependencies: { fetch: send },
  });
}
