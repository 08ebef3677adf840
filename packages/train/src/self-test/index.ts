import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { EngineClient } from "@tenet/engine";
import { type LocalModel, openLocalModel } from "@tenet/lm";
import { speakerOf } from "../open-trainer.ts";
import { engineModel } from "../remote-trainer.ts";
import type { RemoteModel, TrainableModel } from "../trainer.ts";
import { type Distance, distance, finish, type Trained } from "./distance.ts";
import { headed, trainings } from "./trainings.ts";

/** A training here and at an engine. */
export interface TrainingCompared extends Distance {
  readonly training: string;
  /** Whether both are within `equalityBounds`. */
  readonly equal: boolean;
  /** Seconds. */
  readonly here: number;
  readonly there: number;
}

/** How far apart an engine in float32 and the local trainer may be: per update a loss, relative, and the adapter at the end. */
export const equalityBounds = { loss: 1e-4, adapter: 1e-3 } as const;

export interface SelfTest {
  /** Its trainings: every algorithm, and with them every verb. */
  readonly trainings: readonly string[];
  /** The model where Tenet runs, and as the engine has it. */
  readonly here: LocalModel;
  readonly there: RemoteModel;
  /** Folder of an adapter with a scalar head, from which value networks begin. */
  readonly start: string;
  /** One of the trainings on one of the two models, into a folder that is made anew. */
  train(name: string, model: TrainableModel, into: string): Promise<Trained>;
  /** One of the trainings on both. Errors: those of the engine. */
  compare(name: string): Promise<TrainingCompared>;
  close(): Promise<void>;
}

/**
 * Opens the comparison of an engine with the local trainer, on a small model that both have. Errors: those of opening a model.
 *
 * @param model its folder here
 * @param folder receives adapters and checkpoints; it is the caller's to remove
 */
export async function openSelfTest({
  model: path,
  folder,
  engine,
}: {
  readonly model: string;
  readonly folder: string;
  readonly engine: EngineClient;
}): Promise<SelfTest> {
  const here = await openLocalModel(path, { device: "cpu", threads: 1, cacheDir: folder });
  const { id, config, text } = here;
  const there = engineModel({ id, config, text, engine, speak: (adapter) => speakerOf(here, adapter) });
  const { path: start } = await finish(headed(here, join(folder, "headed")));
  const train = async (name: string, model: TrainableModel, into: string) => {
    const at = join(folder, into);
    await rm(at, { recursive: true, force: true });
    return finish(trainings[name]!(model, at, start));
  };
  return {
    ...{ trainings: Object.keys(trainings), here, there, start, train },
    async compare(name) {
      const mine = await train(name, here, `${name}-here`);
      const theirs = await train(name, there, `${name}-there`);
      const apart = await distance(here, mine, theirs);
      const equal =
        theirs.events.length === mine.events.length &&
        apart.loss < equalityBounds.loss &&
        apart.adapter < equalityBounds.adapter;
      return { training: name, ...apart, equal, here: mine.seconds, there: theirs.seconds };
    },
    close: () => here.close(),
  };
}
