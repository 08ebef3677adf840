import type { ChainRow, ExampleRow, PromptRow } from "@tenet/data";
import { chainsStage, examplesStage } from "./parts/chains.ts";
import { deliberationStage } from "./parts/deliberation.ts";
import { helpfulStage } from "./parts/helpful.ts";
import { mixStage } from "./parts/mixture.ts";
import { responsesStage } from "./parts/replies.ts";
import { supervisedStage } from "./parts/supervised.ts";
import type { Round } from "./round.ts";
import type { Stage } from "./stages/index.ts";
import type { ModelValue, StoredRows } from "./values.ts";

/** What critique and revision of a model's replies come to. */
export interface Revised {
  readonly chains: Stage<StoredRows<ChainRow>>;
  /** What is learnt of the chains. */
  readonly revised: Stage<StoredRows<ExampleRow>>;
  /** With what else is learnt beside it. */
  readonly examples: Stage<StoredRows<ExampleRow>>;
}

/** Replies of a model, criticised and revised, as examples. METHODS §2. */
export function revisions(round: Round, model: Stage<ModelValue>, prompts: Stage<StoredRows<PromptRow>>): Revised {
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
  const revised =
    supervised.deliberate?.by === "model"
      ? deliberationStage(context, { name: name("examples"), prompts, generator: speaker, critic })
      : examplesStage(context, name("examples"), chains);
  const { helpful } = supervised;
  const examples =
    helpful === undefined
      ? revised
      : mixStage(context, name("mixture"), [
          { name: "chains", rows: revised, ratio: 1 },
          {
            name: "helpful",
            rows: helpfulStage(context, { name: name("helpful"), model, file: round.file }),
            ratio: helpful.ratio,
          },
        ]);
  return { chains, revised, examples };
}

/** CAI: supervised learning on a model's own replies, criticised and revised. */
export function supervise(round: Round, model: Stage<ModelValue>) {
  const { context, name, validation } = round;
  const made = revisions(round, model, round.prompts("supervised"));
  const trained = supervisedStage(context, {
    name: name("supervised"),
    base: model,
    examples: made.examples,
    validation,
  });
  return { ...made, model: trained };
}
