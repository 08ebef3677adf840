import {
  adapterShapes,
  headName,
  type LocalModel,
  type Lora,
  type LoraConfig,
  type ModelConfig,
  projectionBeside,
  projectionShape,
  projections,
  SCORE_WEIGHT,
  type TrainingFormat,
  weightShapes,
} from "@tenet/lm";
import { input, int8Matmul, numel, ParameterSet, type ParameterShapes, peakBytes, type Tensor } from "@tenet/tensor";
import { batchGraph, type GraphModel, type Tuning } from "./graph.ts";
import { TrainerError } from "./trainer.ts";

/** What a training's memory depends on. */
export interface TrainingShape {
  readonly model: GraphModel;
  readonly tuning: Tuning;
  /** Places of a micro-batch. */
  readonly tokens: number;
  readonly sequencesPerItem?: number | undefined;
  /** `LayoutOptions.shareBeginnings`. */
  readonly shareBeginnings?: boolean | undefined;
  readonly checkpointing?: boolean | undefined;
}

/** Length of the rows that stand for all: attention grows with it, but is a small part of what a step holds. */
const rowLength = 256;

/**
 * Bytes that the results of a training graph take at most over one micro-batch, every place of which is chosen: forward pass, loss and
 * backward pass, the adapter merged into the matrices included; not weights, nor the optimizer's.
 */
export function activationBytes({
  model,
  tuning,
  tokens,
  sequencesPerItem = 1,
  shareBeginnings,
  checkpointing,
}: TrainingShape): number {
  const time = Math.min(rowLength, tokens);
  const chunks = Math.max(1, Math.ceil(tokens / 256));
  const parameters = new ParameterSet(tunedShapes(model, tuning));
  const graph = batchGraph({
    ...{
      model,
      tuning,
      parameters: parameters.tensors,
      time,
      chunks,
      sequencesPerItem,
      shareBeginnings,
      checkpointing,
    },
    gradient: true,
  });
  const values = tuning.head ? graph.scores() : graph.tokens({ entropy: true }).logprobs;
  const loss = values.mul(graph.mask).sum().neg();
  const rows = Math.ceil(tokens / time);
  return peakBytes([loss, parameters.gradient(loss)], { rows, tokens, chunk: Math.ceil(tokens / chunks), items: rows });
}

/** What a training is, as far as its memory goes: told before its model is opened. */
export interface TrainingPlan {
  /** Shape of the adapter; without it all weights are trained. */
  readonly lora?: LoraConfig | undefined;
  /** Learns from scores alone: the output table has no part in it. */
  readonly scores?: boolean | undefined;
  /** Programs over log-probabilities that learn, and such that only look. */
  readonly learning: number;
  readonly looking: number;
  /** Adapters that are trained, each with an optimizer. */
  readonly networks: number;
  /** Places at once, at most, and tokens of an update, where a smaller one needs fewer. */
  readonly microBatchTokens: number;
  readonly updateTokens: number;
  readonly sequencesPerItem?: number | undefined;
  readonly shareBeginnings?: boolean | undefined;
  readonly activationCheckpointing: boolean;
  /** How the frozen base is held. Default float32, as its weights lie. */
  readonly trainedOn?: TrainingFormat | undefined;
}

/**
 * What a training on a processor holds beside its model's mapped weights, in bytes. `tables`: the output table as the runtime arranges it for each program over
 * log-probabilities, twice where it learns. `frozen`: the layers' matrices in 8 bits, both ways round as their file has them, and what each program arranges
 * anew. `activations`: results of one micro-batch. `parameters`: of each network values, gradient, that of a micro-batch, and AdamW's two moments; and a
 * frozen copy.
 */
export function trainingBytes(
  config: ModelConfig,
  plan: TrainingPlan,
  memoryBudget?: number,
): Readonly<Record<"tables" | "frozen" | "activations" | "parameters", number>> {
  const { lora, scores = false, learning, looking, networks, sequencesPerItem, shareBeginnings } = plan;
  const shapes = weightShapes(config);
  const weight = (name: string) => input(name, "float32", shapes[name]!);
  const tuning = { lora, head: scores };
  const eight = plan.trainedOn === "int8" && lora !== undefined;
  const projection = (of: Lora) => projectionBeside(config, inBytes(shapes), weight, of);
  const shape = {
    ...{
      model: { config, weight, ...(eight && { projection }) },
      tuning,
      sequencesPerItem,
      shareBeginnings,
      checkpointing: plan.activationCheckpointing,
    },
    tokens: Math.max(leastTokens, Math.min(plan.microBatchTokens, Math.ceil(plan.updateTokens))),
  };
  const tokens = memoryBudget === undefined ? shape.tokens : fittingTokens(shape, memoryBudget, 1);
  const size = Object.values(tunedShapes({ config }, tuning)).reduce((sum, dims) => sum + numel(dims), 0);
  const table = 4 * numel(shapes[headName(config)]!);
  const ofLayer = projections.reduce((sum, name) => sum + numel(projectionShape(config, name)), 0);
  const bytes = config.num_hidden_layers * ofLayer;
  return {
    // A table that is trained is fed, and arranged by nobody.
    tables: scores || !lora ? 0 : table * (2 * learning + looking),
    frozen: eight ? bytes * (2 + 2 * Math.max(learning, networks) + looking) : 0,
    activations: activationBytes({ ...shape, tokens }),
    parameters: networks * 6 * 4 * size,
  };
}

/** Products with matrices in 8 bits that are not there yet. */
function inBytes(shapes: ReturnType<typeof weightShapes>) {
  return (x: Tensor, name: string) => {
    const [out, width] = shapes[name] as [number, number];
    return int8Matmul(x, input(`${name}.int8`, "int8", [width, out]), input(`${name}.scales`, "float32", [out]));
  };
}

/** Places of the smallest micro-batch that is tried: the schema's least. */
const leastTokens = 64;

/**
 * Places of a micro-batch whose results fit a budget: those that were asked for, or half as many until they fit.
 * @param longest tokens of the longest sequence: a row is never cut
 * @throws TrainerError when not even one row fits
 */
export function fittingTokens(shape: TrainingShape, budget: number, longest: number): number {
  for (let tokens = shape.tokens; ; tokens = Math.floor(tokens / 2)) {
    const atOnce = Math.max(tokens, longest);
    const bytes = activationBytes({ ...shape, tokens: atOnce });
    if (bytes <= budget) return tokens;
    if (tokens > longest && tokens >= 2 * leastTokens) continue;
    throw new TrainerError(
      `training on ${atOnce} tokens at once takes ${bytes} bytes beside the weights; the memory budget is ${Math.floor(budget)}. Raise it${shape.checkpointing ? "" : ", set activationCheckpointing: true"}, or train on shorter texts.`,
    );
  }
}

/** What is trained, by name: an adapter's factors or all weights, and a scalar head where there is one. */
export function tunedShapes({ config }: Pick<LocalModel, "config">, { lora, head = false }: Tuning): ParameterShapes {
  if (lora) return adapterShapes(config, lora, { head });
  return { ...weightShapes(config), ...(head ? { [SCORE_WEIGHT]: [1, config.hidden_size] } : {}) };
}
