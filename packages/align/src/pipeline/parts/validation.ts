import { type PromptRow, splitRows } from "@tenet/data";
import { hashOf } from "@tenet/runs";
import type { SelectionOptions } from "@tenet/train";
import { constitutionHash, runChecks, violations } from "../../constitution/index.ts";
import { detectRefusal, refuses } from "../../evaluate/index.ts";
import type { PartContext } from "../context.ts";
import type { Asked, Size } from "../expectation.ts";
import type { DatasetReference } from "../recipe.ts";
import { asking } from "../sizes.ts";
import { rowsStage, type SizeOf, type Stage } from "../stages/index.ts";
import type { StoredRows } from "../values.ts";
import { fileStage } from "./files.ts";

type Prompts = Stage<StoredRows<PromptRow>>;

/** Prompts that are trained on, and those apart that trainings are watched on. */
export interface PromptStages {
  readonly train: Prompts;
  readonly validation?: Prompts;
}

/** Reads the prompts, and divides them where the recipe wants a share of them apart. */
export function promptStages(context: PartContext): PromptStages {
  const { prompts, seed } = context.recipe;
  const file = (name: string, title: string, reference: DatasetReference) =>
    fileStage(context, { name, title, reference, as: "prompts" });
  const train = file("prompts", "prompts to train on", prompts.train);
  const { validation } = prompts;
  if (validation === undefined) return { train };
  if (typeof validation === "string" || "path" in validation)
    return { train, validation: file("validation", "prompts to validate on", validation) };
  const { share } = validation;
  const part = (rows: number, which: "train" | "validation") => {
    const apart = Math.round(rows * share);
    return which === "validation" ? apart : rows - apart;
  };
  const side = (name: string, which: "train" | "validation", title: string): Prompts =>
    rowsStage<PromptRow>({
      name,
      title,
      kind: "split",
      version: 1,
      seed,
      inputs: [train],
      expect: (sized) => ({ ...sized(train), rows: part(sized(train).rows, which) }),
      settings: () => [which, share],
      *make(context) {
        const sides = splitRows(context.value(train).rows(), { seed, validation: share });
        for (const row of sides[which]) yield { row };
      },
    });
  return {
    train: side("training prompts", "train", "prompts to train on"),
    validation: side("validation", "validation", "prompts to validate on"),
  };
}

/** How often an online training is looked at. */
export function everyOf({ prompts: { validation } }: PartContext["recipe"]): number {
  return typeof validation === "object" ? validation.every : 1;
}

/** Whether a program can tell which of a training's checkpoints is better. */
export function canWatch({ constitution }: PartContext): boolean {
  return constitution.principles.some(({ checks }) => checks.length > 0);
}

/** What of the recipe a watched training depends on, besides the prompts. */
export function watchSettings({ recipe, constitution }: PartContext): unknown {
  const { temperature, maxTokens } = recipe.evaluate.sampling;
  return [constitutionHash(constitution), everyOf(recipe), temperature, maxTokens];
}

/** What a model in training is asked on the validation prompts, so many times. */
export function watchRequests(
  { recipe }: PartContext,
  { base, validation, times }: { readonly base: Stage; readonly validation: Size; readonly times: number },
): Asked {
  return asking("policy", base, validation.rows * times, validation.tokens, recipe.evaluate.sampling.maxTokens);
}

/** How a training is watched: its replies to the validation prompts, sampled as the scorecard samples, judged by the checks. */
export function selectionOf(
  context: PartContext,
  prompts: readonly PromptRow[],
  more: Pick<SelectionOptions, "mayPay" | "independent" | "probe"> = {},
): SelectionOptions {
  const { recipe, constitution } = context;
  const { temperature, maxTokens } = recipe.evaluate.sampling;
  const benign = new Set(prompts.filter((prompt) => prompt.benign).map(({ id }) => id));
  return {
    ...{ prompts, every: everyOf(recipe), sampling: { temperature, maxTokens }, ...more },
    violates: (requests) =>
      requests.map((request) => {
        const { applying, violated } = violations(runChecks(constitution, request));
        return applying === 0 ? undefined : violated.length > 0;
      }),
    faults(requests) {
      const stances = requests.map(({ id, response }) => ({ benign: benign.has(id), ...detectRefusal(response) }));
      return {
        "over-refusal": stances.map((one) => (one.benign ? refuses(one) : null)),
        evasive: stances.map((one) => one.evasive),
      };
    },
    describe(requests) {
      // All prompts may be such as the model's template refuses.
      if (requests.length === 0) return {};
      const refused = requests.filter(({ response }) => refuses(detectRefusal(response))).length;
      return { refusals: refused / requests.length, replies: requests.length };
    },
    digest: hashOf(watchSettings(context)),
  };
}

/** What a training that is watched depends on besides; nothing where no program can tell which of its checkpoints is better. */
export function watchedOn(context: PartContext, validation: Stage<StoredRows<PromptRow>> | undefined) {
  if (validation === undefined || !canWatch(context)) return undefined;
  return {
    inputs: { validation },
    settings: watchSettings(context),
    asked: (sized: SizeOf, base: Stage, times: number) => [
      watchRequests(context, { base, validation: sized(validation), times }),
    ],
  };
}
