import type { ChainRow, ExampleRow, PromptRow } from "@tenet/data";
import { chainsStage, examplesStage } from "./parts/chains.ts";
import { deliberationStage } from "./parts/deliberation.ts";
import { helpfulStage } from "./parts/helpful.ts";
import { mixStage } from "./parts/mixture.ts";
import { responsesStage } from "./parts/replies.ts";
import { supervisedStage } from "./parts/supervised.ts";
import { writtenFile } from "./parts/written.ts";
import { learnsOwnReplies } from "./recipe.ts";
import type { Round } from "./round.ts";
import type { Stage } from "./stages/index.ts";
import type { ModelValue, StoredRows } from "./values.ts";

type Examples = Stage<StoredRows<ExampleRow>>;

/** What there is to imitate: revisions of a model's replies, what people wrote, or both. */
export interface Imitable {
  /** Where the model's own replies are learnt from. */
  readonly chains?: Stage<StoredRows<ChainRow>>;
  readonly examples: Examples;
}

/** What a model is taught by examples: its own replies, criticised and revised, beside what people wrote, or this alone. METHODS §2, §6. */
export function imitable(round: Round, model: Stage<ModelValue>, prompts: Stage<StoredRows<PromptRow>>): Imitable {
  const { context, name, file } = round;
  const { recipe } = context;
  const written = writtenFile(context, file);
  if (written !== undefined && !learnsOwnReplies(recipe)) return { examples: written };
  const revised = revisions(round, model, prompts);
  if (written === undefined) return revised;
  const ratio = typeof recipe.supervised.written === "object" ? recipe.supervised.written.ratio : undefined;
  const examples = mixStage(context, name("all examples"), [
    { name: "chains", rows: revised.examples, ...(ratio !== undefined && { ratio: 1 }) },
    { name: "written", rows: written, ...(ratio !== undefined && { ratio }) },
  ]);
  return { ...revised, examples };
}

/** Replies of a model, criticised and revised, as examples. METHODS §2. */
function revisions(round: Round, model: Stage<ModelValue>, prompts: Stage<StoredRows<PromptRow>>): Required<Imitable> {
  const { context, name, role } = round;
  const { supervised, roles } = context.recipe;
  // In later rounds the model on its way speaks for itself.
  const speaker = round.number === 1 && roles.generator !== undefined ? role("generator") : model;
  const responses = responsesStage(context, {
    name: name("responses"),
    title: "first responses",
    prompts,
    model: speaker,
    sampling: supervised.response,
    system: supervised.system,
  });
  const [critic, reviser] = [role("critic"), role("reviser")];
  const chains = chainsStage(context, { name: name("chains"), responses, critic, reviser });
  const examples =
    supervised.deliberate?.by === "model"
      ? deliberationStage(context, { name: name("examples"), prompts, generator: speaker, critic })
      : examplesStage(context, name("examples"), chains);
  return { chains, examples };
}

/** With what keeps the model helpful, where the recipe has it. */
function withHelpful({ context, name, file }: Round, model: Stage<ModelValue>, examples: Examples): Examples {
  const { helpful, written } = context.recipe.supervised;
  if (helpful === undefined) return examples;
  return mixStage(context, name("mixture"), [
    { name: written === undefined ? "chains" : "examples", rows: examples, ratio: 1 },
    { name: "helpful", rows: helpfulStage(context, { name: name("helpful"), model, file }), ratio: helpful.ratio },
  ]);
}

/** CAI: supervised learning on a model's own replies, criticised and revised; RLHF's first step, on what people wrote. */
export function supervise(round: Round, model: Stage<ModelValue>) {
  const { context, name, validation } = round;
  const imitated = imitable(round, model, round.prompts("supervised"));
  const trained = supervisedStage(context, {
    name: name("supervised"),
    base: model,
    examples: withHelpful(round, model, imitated.examples),
    validation,
  });
  return { imitable: imitated, model: trained };
}
