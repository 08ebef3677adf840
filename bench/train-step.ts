/** The training step that is measured: LoRA r = 16 on all projections of SmolLM2-135M's shapes, 8 × 256 tokens. */
import { readFileSync } from "node:fs";
import { decoder, headName, linearCrossEntropy, loraFrom, loraShapes, weightShapes } from "@tenet/lm";
import { type CompileOptions, compile, input, ParameterSet, reshape, type Tensor, weight } from "@tenet/tensor";
import { config, lora, type TrainStepTask } from "./random-model.ts";

const [rows, time] = [8, 256];

/** Compiles it. The adapter's factors are those of the task, and current in `parameters`. */
export async function buildTrainStep(
  { weights: path, places }: TrainStepTask,
  { checkpointing, ...options }: CompileOptions & { checkpointing: boolean },
) {
  const weights = new Map<string, Tensor>();
  for (const [name, shape] of Object.entries(weightShapes(config)))
    weights.set(name, weight(name, shape as number[], { path, offset: places[name]!.offset }));
  const parameters = new ParameterSet(loraShapes(config, lora));
  const file = readFileSync(path);
  for (const { name } of parameters.ranges) {
    const view = parameters.view(name);
    const { offset } = places[name]!;
    view.set(new Float32Array(file.buffer.slice(file.byteOffset + offset, file.byteOffset + offset + view.byteLength)));
  }
  const step = await compile(() => {
    const tokens = input("tokens", "int32", [rows, time]);
    const targets = input("targets", "int32", [rows, time]);
    const hidden = decoder(tokens, {
      config,
      weight: (name) => weights.get(name)!,
      lora: loraFrom(config, lora, parameters.tensors),
      checkpointing,
    });
    const loss = linearCrossEntropy(hidden, weights.get(headName(config))!, reshape(targets, [rows * time])).mean();
    return { loss, gradient: parameters.gradient(loss) };
  }, options);
  return { step, parameters };
}

/** What is learnt; peers are given the same. */
export function trainStepBatch() {
  const draw = (salt: number) =>
    Int32Array.from({ length: rows * time }, (_, i) => ((i * 7919 + salt) * 104729) % config.vocab_size);
  return { tokens: draw(1), targets: draw(5) };
}
