import { createHash } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Adapter, saveAdapter } from "../adapter/index.ts";
import type { ModelConfig } from "../checkpoint/index.ts";
import type { LanguageModel } from "../language-model/index.ts";
import type { TextCodec } from "../text/index.ts";
import { type EndpointDependencies, endpoint } from "./endpoint.ts";
import type { EndpointInput } from "./settings.ts";

/** A server that does not take an adapter. */
export class AdapterError extends Error {
  override name = "AdapterError";
}

export interface AdapterServerOptions {
  /** How the servers are asked: addresses, key, calls at once. Its `model` is what they call the base; by default the one that they list. */
  readonly endpoint: EndpointInput;
  /** Where adapters are written here. */
  readonly folder: string;
  /** The same folder as the servers see it. */
  readonly serversSee?: string | undefined;
  readonly id: string;
  readonly config: ModelConfig;
  readonly text: TextCodec;
  readonly dependencies?: EndpointDependencies | undefined;
}

/** Adapters that stay loaded: the policy's of now, and those that it is compared with. */
const kept = 4;

/**
 * vLLM servers of one model, into which adapters are loaded by name (`/v1/load_lora_adapter`). A name is made of the adapter's contents: servers keep what they
 * computed of a prompt under the name, so that other contents must have another; and one that is loaded already is the one that is meant.
 */
export class AdapterServers {
  readonly #options: AdapterServerOptions;
  readonly #loaded: string[] = [];

  constructor(options: AdapterServerOptions) {
    this.#options = options;
  }

  /**
   * The model as it speaks under an adapter, which every server has loaded then, or under none.
   * Errors: AdapterError with the server and what it said; those of `endpoint`.
   */
  async speaker(adapter: (Adapter & { readonly id: string }) | undefined): Promise<LanguageModel> {
    const { id, endpoint: settings, text, dependencies } = this.#options;
    const name = adapter === undefined ? undefined : await this.#load(adapter);
    const ids = { tokenText: (token: number) => text.tokenText(token), endIds: text.endIds };
    const named = name === undefined ? {} : { model: name };
    const model = endpoint({ ...settings, dialect: "vllm", ...named }, { ...dependencies, ids });
    // What is written into rows names weights, not addresses.
    return { ...model, id: adapter === undefined ? id : `${id}+${adapter.id}` };
  }

  async #load(adapter: Adapter): Promise<string> {
    const { folder, serversSee = folder, config } = this.#options;
    const name = `tenet-${digestOf(adapter)}`;
    await mkdir(folder, { recursive: true });
    const path = join(folder, name);
    await saveAdapter(path, { ...adapter, baseModel: undefined, config });
    for (const address of this.#addresses)
      await this.#post(address, "load", { lora_name: name, lora_path: `${serversSee.replace(/\/$/, "")}/${name}` });
    const at = this.#loaded.indexOf(name);
    if (at >= 0) this.#loaded.splice(at, 1);
    this.#loaded.push(name);
    for (const old of this.#loaded.splice(0, Math.max(0, this.#loaded.length - kept))) {
      for (const address of this.#addresses) await this.#post(address, "unload", { lora_name: old });
      await rm(join(folder, old), { recursive: true, force: true });
    }
    return name;
  }

  get #addresses(): string[] {
    return [this.#options.endpoint.baseUrl].flat();
  }

  async #post(address: string, verb: "load" | "unload", body: Readonly<Record<string, string>>): Promise<void> {
    const { endpoint: settings, dependencies: { fetch: send = fetch, environment = process.env } = {} } = this.#options;
    const key = settings.apiKeyVariable === undefined ? undefined : environment[settings.apiKeyVariable];
    const url = `${address.replace(/\/$/, "")}/${verb}_lora_adapter`;
    let reply: Response;
    try {
      reply = await send(url, {
        method: "POST",
        headers: { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(120_000),
      });
    } catch (error) {
      throw new AdapterError(`${url}: nobody answers (${(error as Error).message}); is the server up?`, {
        cause: error,
      });
    }
    const said = (await reply.text()).slice(0, 500);
    if (reply.ok) return;
    // Of a name that is made of the contents, it is the same adapter.
    if (verb === "load" && /already been loaded/i.test(said)) return;
    // One that was started again has nothing to unload.
    if (verb === "unload" && reply.status === 404) return;
    const off = reply.status === 404 && !/adapter/i.test(said);
    const advice = off
      ? "it takes no adapters: start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"
      : /rank/i.test(said)
        ? "start it with a --max-lora-rank of at least the recipe's lora.rank"
        : "does it see the folder (engine.generation.serversSee)?";
    throw new AdapterError(`${url}: status ${reply.status}: ${said}; ${advice}`);
  }
}

/** Of an adapter's shape and numbers. */
function digestOf({ lora, parameters }: Adapter): string {
  const digest = createHash("sha256").update(JSON.stringify([lora, parameters.ranges]));
  const { data } = parameters;
  digest.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return digest.digest("hex").slice(0, 24);
}
