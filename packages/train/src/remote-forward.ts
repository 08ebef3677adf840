import type { EngineRestartedError, TensorOf } from "@tenet/engine";
import { compile, type Outputs, type ParameterSet, type Program } from "@tenet/tensor";
import type { BuildForward, Forward, LayoutOptions, PlaceValues } from "./forward.ts";
import type { Item } from "./packing.ts";
import { type EngineShare, placesOf, RemoteAdapter } from "./remote-adapter.ts";
import { type RemoteGraph, remoteFeeds, remoteGraph, wantedBy } from "./remote-graph.ts";
import { resumed } from "./resuming.ts";
import { TrainerError, type TrainerOptions } from "./trainer.ts";

/** Sequences sent at once, where nothing is added up there. */
const sequencesAtOnce = 512;

type ForwardOutputs = { readonly values: ReturnType<BuildForward> };

/** Values at chosen places of some items, by a program over what the engine computes under an adapter. */
export async function remoteValues(
  compiled: Compiled<ForwardOutputs>,
  items: readonly Item[],
  {
    adapter,
    sequencesPerItem = 1,
  }: { readonly adapter: RemoteAdapter; readonly sequencesPerItem?: number | undefined },
): Promise<Readonly<Record<string, PlaceValues>>> {
  const { program, letters } = await compiled.get(sequencesPerItem);
  const found: Record<string, Float32Array[][]> = {};
  const size = Math.max(1, Math.floor(sequencesAtOnce / sequencesPerItem));
  for (let start = 0; start < items.length; start += size) {
    const some = items.slice(start, start + size);
    const values = await adapter.values(some, wantedBy(program.inputs), letters);
    const outputs = await program.run(remoteFeeds(program.inputs, some, values));
    for (const [key, { data }] of Object.entries(outputs.values as unknown as Record<string, TensorOf>))
      found[key] = [...(found[key] ?? []), ...placesOf(some, data as Float32Array)];
  }
  return found;
}

/**
 * Values under parameters that nobody trains, computed by an engine. Where the engine was started again they are put there again, and what
 * was asked is asked again. Errors: TrainerError where all weights are to be computed under; those of the engine.
 */
export async function openRemoteForward(
  share: EngineShare,
  {
    options: { tuning, microBatchTokens, sequencesPerItem, threads },
    parameters,
    build,
    onRestart,
  }: {
    readonly options: Omit<LayoutOptions, "model">;
    readonly parameters: ParameterSet;
    readonly build: BuildForward;
    readonly onRestart?: ((error: EngineRestartedError) => void) | undefined;
  },
): Promise<Forward> {
  const { lora } = tuning;
  if (!lora) throw new TrainerError("an engine computes under adapters beside frozen weights, not under other weights");
  const own = threads === undefined ? {} : { threads };
  const compiled = new Compiled<ForwardOutputs>((graph) => ({ values: build(graph) }), own);
  const adapter = new RemoteAdapter(share, { lora, shapes: parameters, microBatchTokens });
  let there = false;
  return {
    run: (items) =>
      resumed(
        async () => {
          if (!there) await adapter.put({ parameters: new Uint8Array(parameters.data.buffer) }, false);
          there = true;
          return remoteValues(compiled, items, { adapter, sequencesPerItem });
        },
        {
          onRestart(error) {
            there = false;
            onRestart?.(error);
          },
        },
      ),
    async close() {
      await compiled.close();
      await adapter.close();
    },
  };
}

/** A program over the engine's values, compiled when first needed. */
export class Compiled<O extends Outputs> {
  readonly #build: (graph: RemoteGraph) => O;
  readonly #options: Pick<TrainerOptions, "threads">;
  #made: Promise<{ program: Program<O>; letters: readonly number[] | undefined }> | undefined;

  constructor(build: (graph: RemoteGraph) => O, { threads }: Pick<TrainerOptions, "threads">) {
    this.#build = build;
    this.#options = threads === undefined ? {} : { threads };
  }

  get(sequencesPerItem = 1) {
    this.#made ??= (async () => {
      let graph: RemoteGraph | undefined;
      const program = await compile(
        () => {
          graph = remoteGraph(sequencesPerItem);
          return this.#build(graph);
        },
        { device: "cpu", ...this.#options },
      );
      return { program, letters: graph!.letters };
    })();
    return this.#made;
  }

  async close(): Promise<void> {
    const made = this.#made;
    this.#made = undefined;
    // One that was not to be compiled has said so where it was needed.
    await made?.then(
      ({ program }) => program.dispose(),
      () => undefined,
    );
  }
}
