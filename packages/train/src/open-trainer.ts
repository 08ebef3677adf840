import { type Adapter, adapterFactors, type LanguageModel, type LocalModel } from "@tenet/lm";
import type { ParameterSet } from "@tenet/tensor";
import { forwardPass, Layout, type LayoutOptions } from "./forward.ts";
import { type LocalTrainerOptions, openLocalTrainer } from "./local-trainer.ts";
import type { BuildForward, Forward, RemoteModel, TrainableModel, Trainer, TrainerOptions } from "./trainer.ts";

/**
 * Opens a trainer where the model's weights are: parameters on top of a frozen model, their optimizer, and the losses they are trained by.
 * Errors: those of loading the adapter it begins from; TrainerError when that one does not fit; those of the engine.
 */
export async function openTrainer(options: TrainerOptions): Promise<Trainer> {
  const { model } = options;
  return isRemote(model) ? model.openTrainer(options) : openLocalTrainer(options as LocalTrainerOptions);
}

/** Values under parameters that nobody trains, computed where the model's weights are. Errors: those of the engine. */
export async function openForward(
  { model, ...options }: LayoutOptions,
  parameters: ParameterSet,
  build: BuildForward,
): Promise<Forward> {
  if (isRemote(model)) return model.openForward(options, parameters, build);
  return forwardPass(new Layout({ ...options, model: model as LocalModel }), parameters, build);
}

/** A model as it speaks under an adapter, or under none. */
export async function speakerOf(
  model: TrainableModel,
  adapter: (Adapter & { readonly id: string }) | undefined,
): Promise<LanguageModel> {
  if (isRemote(model)) return model.speak(adapter);
  return (model as LocalModel).withAdapter(adapter && { id: adapter.id, ...adapterFactors(adapter) });
}

/** Whether a model's weights are elsewhere. */
export function isRemote(model: TrainableModel): model is RemoteModel {
  return "openTrainer" in model;
}
