import {
  type EngineHealth,
  EngineRefusedError,
  type EngineTraffic,
  type LaunchedEngine,
  type LaunchOptions,
  launchEngine,
  stopJob,
  testedWith,
} from "@tenet/engine";
import {
  type Adapter,
  AdapterServers,
  adapterFactors,
  adapterShapes,
  type LanguageModel,
  type LocalModel,
  loadAdapter,
  type ModelConfig,
  SCORE_WEIGHT,
  type TextCodec,
} from "@tenet/lm";
import { ParameterSet } from "@tenet/tensor";
import {
  engineModel,
  type Forward,
  type RemoteModel,
  scoredBy,
  scoringForward,
  weightsFingerprint,
} from "@tenet/train";
import type { EngineSettings } from "./schema/engine.ts";
import type { LocalSource } from "./values.ts";

/** What a run is told of its engine. */
export interface EngineChoice {
  readonly settings: EngineSettings;
  /** The recipe's model: what the engine holds. */
  readonly reference: string;
  /** Names the job. */
  readonly run: string;
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly say: (level: "info" | "warning", message: string) => void;
}

/** How a run's engine gets at the same model here. */
export interface ModelHere {
  /** Where its folder lies. */
  path(): Promise<string>;
  shell(): Promise<{ readonly config: ModelConfig; readonly text: TextCodec }>;
  /** With its weights. */
  base(): Promise<LocalModel>;
}

interface Started {
  readonly launched: LaunchedEngine;
  readonly model: RemoteModel;
}

/** Adapters whose values are asked for in turns: each costs the engine its memory. */
const mostForwards = 6;

/** The engine of a run: a job of a Ray cluster, started when something is first to be computed there. */
export class RunEngine {
  readonly #choice: EngineChoice;
  readonly #here: ModelHere;
  #started: Promise<Started> | undefined;
  /** By the hash of the model, the last used last. */
  readonly #forwards = new Map<string, Promise<Forward>>();

  constructor(choice: EngineChoice, here: ModelHere) {
    this.#choice = choice;
    this.#here = here;
  }

  /** Whether it holds this model. */
  holds(reference: string): boolean {
    return reference === this.#choice.reference;
  }

  /** The model, to be trained. Errors: those of `launchEngine`; EngineRefusedError where the workers have other weights. */
  async model(): Promise<RemoteModel> {
    return (await this.#start()).model;
  }

  /** The model under an adapter or none: it scores at the engine, and speaks where the recipe says. @param hash of the two */
  async speaker({ adapter: folder }: LocalSource, hash: string): Promise<LanguageModel> {
    const { model } = await this.#start();
    const adapter = folder === undefined ? undefined : await loadAdapter(folder, model.config);
    const speaker = await model.speak(adapter && { id: hash, ...adapter });
    return scoredBy(model, speaker, { run: async (items) => (await this.#forward(hash, adapter)).run(items) });
  }

  /** Says what it took, and ends the job where the run goes on later or never: otherwise the next start finds it, or it ends by itself. */
  async close({ over }: { readonly over: boolean }): Promise<void> {
    // One that never started has nothing to end.
    const started = await this.#started?.catch(() => undefined);
    if (!started) return;
    const { settings, say } = this.#choice;
    const { launched } = started;
    say("info", usedText(launched, settings));
    if (!over) return;
    try {
      await launched.jobs.stop(launched.id);
    } catch (error) {
      const message = (error as Error).message;
      say(
        "warning",
        `the engine was not stopped (${message}); it ends after ${settings.idleMinutes} minutes by itself`,
      );
    }
  }

  #start(): Promise<Started> {
    this.#started ??= this.#launch();
    return this.#started;
  }

  async #launch(): Promise<Started> {
    const { settings, run, reference, signal, environment, say } = this.#choice;
    const path = await this.#here.path();
    const { config, text } = await this.#here.shell();
    const statuses = new Set<string>();
    const launched = await launchEngine({
      ...launchOptions(settings, { run, path }),
      signal,
      ...(environment && { variables: environment }),
      onStatus(status) {
        if (!statuses.has(status)) say("info", `engine at ${settings.ray}: ${status}`);
        statuses.add(status);
      },
    });
    const { health } = launched;
    await requireSameModel(health, { config, path, address: launched.client.address }).catch(async (error) => {
      await stopJob(launched.jobs, launched.id, error);
      throw error;
    });
    for (const difference of await versionsApart(health)) say("warning", `engine: ${difference}`);
    say("info", startedText(launched));
    const speak = settings.generation
      ? this.#servers(settings.generation, { config, text })
      : async (adapter: (Adapter & { readonly id: string }) | undefined) => {
          const base = await this.#here.base();
          return base.withAdapter(adapter && { id: adapter.id, ...adapterFactors(adapter) });
        };
    const model = engineModel({
      ...{ id: reference, config, text, engine: launched.client, speak },
      onRestart: ({ message }) => say("warning", `${message}; asked again`),
    });
    return { launched, model };
  }

  #servers(
    { endpoints, adapters, serversSee, model, apiKeyVariable, concurrency }: NonNullable<EngineSettings["generation"]>,
    shell: { readonly config: ModelConfig; readonly text: TextCodec },
  ) {
    const { environment, reference } = this.#choice;
    const servers = new AdapterServers({
      ...{ id: reference, ...shell, folder: adapters, serversSee },
      endpoint: {
        ...{ baseUrl: endpoints, concurrency },
        ...(model !== undefined && { model }),
        ...(apiKeyVariable !== undefined && { apiKeyVariable }),
      },
      ...(environment && { dependencies: { environment: { ...environment } } }),
    });
    return (adapter: (Adapter & { readonly id: string }) | undefined) => servers.speaker(adapter);
  }

  async #forward(hash: string, adapter: Adapter | undefined): Promise<Forward> {
    const found = this.#forwards.get(hash);
    const forward = found ?? this.#openForward(adapter);
    this.#forwards.delete(hash);
    this.#forwards.set(hash, forward);
    const [oldest, old] = [...this.#forwards][0]!;
    if (this.#forwards.size > mostForwards) {
      this.#forwards.delete(oldest);
      await (await old).close();
    }
    return forward;
  }

  async #openForward(adapter: Adapter | undefined): Promise<Forward> {
    const { model } = await this.#start();
    // Beside zeros the base is itself.
    const lora = adapter?.lora ?? { rank: 1, alpha: 1 };
    const parameters = adapter?.parameters ?? new ParameterSet(adapterShapes(model.config, lora));
    const head = parameters.ranges.some(({ name }) => name === SCORE_WEIGHT);
    return model.openForward({ tuning: { lora, head } }, parameters, scoringForward);
  }
}

/** What a recipe's engine is started with. */
export function launchOptions(
  settings: EngineSettings,
  { run, path }: { readonly run: string; readonly path: string },
): LaunchOptions {
  const { ray, reach, port, python, environment, startMinutes, model = path } = settings;
  const { dtype, workers, gpus, shard, threads, maxFailures, idleMinutes, host } = settings;
  return {
    ...{ ray, run, port, python, startMinutes },
    ...(reach !== undefined && { reach }),
    ...(environment !== undefined && { environment }),
    spec: { model, dtype, workers, gpus, shard, threads, maxFailures, idleMinutes, host },
  };
}

/** Errors: EngineRefusedError where what a worker has loaded is another model. */
export async function requireSameModel(
  { model, workers }: EngineHealth,
  { config, path, address }: { readonly config: ModelConfig; readonly path: string; readonly address: string },
): Promise<void> {
  const shape = [
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
  ] as const;
  for (const key of model ? shape : []) {
    const there = model![key];
    if (there !== null && there !== config[key])
      throw new EngineRefusedError(
        `engine ${address}: the workers' model has ${key} ${there}, the one here ${config[key]}: name the folder of the same model as the workers see it (engine.model)`,
      );
  }
  const here = await weightsFingerprint(path);
  for (const { rank, node, weights } of workers)
    if (here !== undefined && weights && weights !== here)
      throw new EngineRefusedError(
        `engine ${address}: worker ${rank}${node === undefined ? "" : ` on node ${node.slice(0, 8)}`} has other weights than lie here in ${path}: copy the same files there, or name their folder (engine.model)`,
      );
}

/** Where the engine's packages are not those that it was tested with. */
export async function versionsApart({ versions }: Pick<EngineHealth, "versions">): Promise<string[]> {
  const tested = await testedWith();
  return Object.entries(versions).flatMap(([name, version]) => {
    const own = tested[name];
    return own === undefined || own === version ? [] : [`${name} ${version} there, tested with ${own}`];
  });
}

function startedText({ health, attached, client }: LaunchedEngine): string {
  const nodes = new Set(health.workers.map(({ node }) => node)).size;
  const count = (number: number, what: string) => `${number} ${what}${number === 1 ? "" : "s"}`;
  const found = attached ? "was running already" : "is ready";
  return `engine ${client.address} ${found}: ${count(health.workers.length, "worker")} on ${count(nodes, "node")}, ${health.workers[0]?.device ?? "no device"}`;
}

/** What an engine was asked for, in calls, time and bytes. */
function usedText({ client }: LaunchedEngine, { workers }: EngineSettings): string {
  const all: EngineTraffic[] = Object.values(client.traffic);
  const sum = (of: (one: EngineTraffic) => number) => all.reduce((total, one) => total + of(one), 0);
  const { update } = client.traffic;
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
  const perUpdate = update ? `, ${update.calls} updates` : "";
  return `engine of ${workers}: ${sum(({ calls }) => calls)} calls${perUpdate}, ${Math.round(sum(({ milliseconds }) => milliseconds) / 1000)} s, ${megabytes(sum(({ bytesSent }) => bytesSent))} there, ${megabytes(sum(({ bytesReceived }) => bytesReceived))} back`;
}
