import {
  type ModelConfig,
  mostSpare,
  openCheckpoint,
  type ResolveOptions,
  resolveModel,
  speakingBytes,
  weightBytes,
} from "@tenet/lm";
import { trainingBytes } from "@tenet/train";
import type { Expectation } from "./expectation.ts";
import type { Recipe, RoleReference } from "./recipe.ts";
import type { Stage } from "./stages/index.ts";

/** What the process of a run holds at most in a stage, in bytes: as the system counts what is in memory once (PSS), on a processor. */
export interface MemoryEstimate {
  readonly bytes: number;
  readonly parts: {
    /** Node, Tenet and the runtime. */
    readonly process: number;
    /** Mapped weights of the models so far. */
    readonly weights: number;
    /** Matrices as the runtime arranges them for decoding, of the models that spoke so far. */
    readonly matrices: number;
    readonly cache: number;
    readonly logits: number;
    /** Output tables of training programs. */
    readonly tables: number;
    /** Matrices in 8 bits under adapters that are trained. */
    readonly frozen: number;
    readonly activations: number;
    readonly parameters: number;
  };
}

/** Shapes of models by what recipes call them; undefined of one whose files are not here, or cannot be read. */
export type ShapeOf = (reference: string) => Promise<ModelConfig | undefined>;

const unreadable = ["DownloadError", "ModelReferenceError", "CheckpointError"];

/** Reads shapes of what is on this machine; fetches nothing. */
export function shapesHere(options: Pick<ResolveOptions, "cacheDir" | "environment">): ShapeOf {
  const known = new Map<string, Promise<ModelConfig | undefined>>();
  const read = async (reference: string) => {
    try {
      const checkpoint = await openCheckpoint(await resolveModel(reference, { ...options, offline: true }));
      await checkpoint.close();
      return checkpoint.config;
    } catch (error) {
      // Whoever opens the model says what is wrong with it; here it is only one whose shape is not known.
      if (error instanceof Error && unreadable.includes(error.name)) return undefined;
      throw error;
    }
  };
  return (reference) => {
    const found = known.get(reference) ?? read(reference);
    known.set(reference, found);
    return found;
  };
}

/** Measured, with 30 MB of the runtime's own code: docs/performance.md. */
const processBytes = 190e6;

/**
 * The memory of the stages of one process, in their order: models stay open, and what one arranged to speak stays with it. Nothing of a stage that
 * computes nothing here, and of one that asks or trains a model whose files are not here; `unknown` names those models.
 * Errors: those of reading a model's configuration; TrainerError where a budget is too small.
 */
export async function memoryOf(
  stages: readonly { readonly stage: Stage; readonly todo: Expectation }[],
  {
    recipe,
    shapeOf,
    memoryBudget,
  }: { readonly recipe: Recipe; readonly shapeOf: ShapeOf; readonly memoryBudget?: number | undefined },
): Promise<{ readonly of: ReadonlyMap<Stage, MemoryEstimate>; readonly unknown: readonly string[] }> {
  const unknown = new Set<string>();
  const found = new Map<Stage, MemoryEstimate>();
  const weights = new Map<string, number>();
  const matrices = new Map<string, number>();
  let kept = 0;
  for (const { stage, todo } of stages) {
    const trained = recipe.engine === undefined && todo.training ? localOf(stage.player) : undefined;
    const asked = (todo.asked ?? []).flatMap(({ model, requests, ...tokens }) => {
      const reference = localOf(model);
      return reference !== undefined && requests > 0 ? [{ reference, requests, ...tokens }] : [];
    });
    const references = [...asked.map(({ reference }) => reference), ...(trained === undefined ? [] : [trained])];
    const shapes = new Map<string, ModelConfig>();
    for (const reference of references) {
      const shape = await shapeOf(reference);
      if (shape) shapes.set(reference, shape);
      else unknown.add(reference);
    }
    if (references.length === 0 || references.some((reference) => !shapes.has(reference))) continue;
    for (const [reference, shape] of shapes) weights.set(reference, weightBytes(shape));
    const held = { cache: kept, logits: 0 };
    for (const { reference, requests, promptTokens, completionTokens, shared = 0 } of asked) {
      if (completionTokens === 0) continue;
      const speaking = speakingBytes(shapes.get(reference)!, {
        ...{ replies: requests, positions: (promptTokens + completionTokens) / requests - shared, memoryBudget },
        weights: recipe.inference?.weights,
      });
      matrices.set(reference, speaking.matrices);
      held.cache = Math.max(held.cache, speaking.cache);
      held.logits = Math.max(held.logits, speaking.logits);
    }
    kept = Math.min(mostSpare, held.cache);
    const learning =
      trained === undefined
        ? { tables: 0, frozen: 0, activations: 0, parameters: 0 }
        : trainingBytes(shapes.get(trained)!, { ...todo.training!, trainedOn: recipe.training?.weights }, memoryBudget);
    const parts = { process: processBytes, weights: sum(weights), matrices: sum(matrices), ...held, ...learning };
    // Logits are gone when a training computes.
    const bytes = Object.values(parts).reduce((all, part) => all + part, 0) - Math.min(parts.logits, parts.activations);
    found.set(stage, { bytes, parts });
  }
  return { of: found, unknown: [...unknown] };
}

function localOf(player: RoleReference | undefined): string | undefined {
  if (player === undefined || typeof player === "string") return player;
  return "endpoint" in player ? undefined : player.model;
}

function sum(values: ReadonlyMap<string, number>): number {
  return [...values.values()].reduce((all, value) => all + value, 0);
}
