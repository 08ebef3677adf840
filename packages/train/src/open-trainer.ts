import { type LocalTrainerOptions, openLocalTrainer } from "./local-trainer.ts";
import type { RemoteModel, TrainableModel, Trainer, TrainerOptions } from "./trainer.ts";

/**
 * Opens a trainer where the model's weights are: parameters on top of a frozen model, their optimizer, and the losses they are trained by.
 * Errors: those of loading the adapter it begins from; TrainerError when that one does not fit; those of the engine.
 */
export async function openTrainer(options: TrainerOptions): Promise<Trainer> {
  const { model } = options;
  return isRemote(model) ? model.openTrainer(options) : openLocalTrainer(options as LocalTrainerOptions);
}

/** Whether a model's weights are elsewhere. */
export function isRemote(model: TrainableModel): model is RemoteModel {
  return "openTrainer" in model;
}
