import type { CostRow, PairRow, PreferenceRow, PromptRow } from "@tenet/data";
import { costGateStage, costModelStage, costRowsStage } from "./parts/cost.ts";
import { type GateReport, preferenceGateStage } from "./parts/gates.ts";
import { givenStage } from "./parts/given.ts";
import { labelsStage } from "./parts/labels.ts";
import { mixStage } from "./parts/mixture.ts";
import { opinionsFile } from "./parts/opinions.ts";
import { pairsStage, testPairsStage } from "./parts/pairs.ts";
import { humanLabelsStage } from "./parts/people.ts";
import { humanCostsStage, humanSafety } from "./parts/people-costs.ts";
import { policyStage } from "./parts/policy.ts";
import { avoidsOf, constraintOf, imitatesOf } from "./parts/policy-judges.ts";
import { preferenceModelStage } from "./parts/preference.ts";
import { flaggedStage, verdictsStage, weighedStage } from "./parts/verdicts.ts";
import type { Round } from "./round.ts";
import type { Plan } from "./rounds.ts";
import type { Stage } from "./stages/index.ts";
import { type Imitable, imitable } from "./supervise.ts";
import type { ModelValue, Report, StoredRows } from "./values.ts";

type Pairs = Stage<StoredRows<PreferenceRow>>;

/** What reinforcement learning of a round leaves to the next. */
export interface Reinforced {
  readonly model: Stage<ModelValue>;
  /** What the policy of this round began from. */
  readonly start: Stage<ModelValue>;
  /** Pairs that were labelled in this round. */
  readonly judged: Pairs;
  readonly preferenceModel: Stage<ModelValue>;
  readonly gate: Stage<Report<GateReport>>;
  /** Of the cost model that bounds the policy, where one does. */
  readonly costGate?: Stage<Report<GateReport>>;
  /** Who says what its replies cost, where that is bounded and the checks do not: a cost model, or the critic. */
  readonly costedBy?: Stage<ModelValue> | undefined;
}

/**
 * RLAIF from a model: pairs of its replies, labels, the preference model, and the policy. What neither the policy nor the scorecard
 * needs of these is joined to nothing, and so not executed. METHODS §3 to §5.
 */
export function reinforce(
  round: Round,
  model: Stage<ModelValue>,
  {
    plan,
    earlier,
    learnt,
  }: {
    readonly plan: Plan;
    readonly earlier: readonly Reinforced[];
    /** What this round's supervised half learnt, where it came before. */
    readonly learnt?: Imitable | undefined;
  },
): Reinforced {
  const { context, name, role, validation } = round;
  const judges = { labeller: role("labeller"), critic: role("critic") };
  const prompts = round.prompts("policy");
  const pairs = pairsStage(context, { name: name("pairs"), prompts, model });
  const audit = round.audit(pairs);
  const labels = labelsStage(context, { name: name("labels"), title: "labels", pairs, ...judges, behind: audit });
  const byPeople = context.recipe.feedback.label.method === "people";
  const judged = byPeople ? labels : humanLabelsStage(context, { name: name("human labels"), pairs, machine: labels });
  const rounds = plan.pairs === "all" ? [...earlier.map((one) => one.judged), judged] : [judged];
  const labelled = weighed(round, "labels", withPeoples(round, ofRounds(round, rounds)));
  // People are asked about pairs to learn from alone: the model is then tested on a share of these.
  const tested = byPeople ? undefined : validation;
  const learntBy = { prompts, labels };
  const held =
    tested && testPairsStage(context, { name: name("validation pairs"), prompts: tested, model, learnt: learntBy });
  const [first] = earlier;
  const { preferenceModel, gate } =
    plan.preferenceModel === "once" && first
      ? first
      : preferenceModelOf(round, {
          // What goes on from the last round's was pre-trained with it.
          from: plan.preferenceModel === "continue" ? earlier.at(-1)?.preferenceModel : undefined,
          prompts: tested ?? prompts,
          labelled: givenStage(context, { name: name("given"), labels: labelled }),
          held:
            held &&
            givenStage(context, {
              name: name("validation given"),
              // What it learns is held against the constitution, and so is what it is tested by.
              labels: weighed(
                round,
                "validation labels",
                labelsStage(context, {
                  ...{ name: name("validation labels"), title: "labels of pairs to test on", pairs: held },
                  ...{ ...judges, behind: audit },
                }),
              ),
            }),
        });
  const learning = context.recipe.policy!;
  const costed = constraintOf(learning)?.cost === "model" ? costOf(round, pairs) : undefined;
  const policy = policyStage(context, {
    ...(imitatesOf(learning) && { examples: (learnt ?? toImitate(round, model, prompts)).examples }),
    ...(avoidsOf(learning) && { flagged: flaggedOf(round, pairs) }),
    ...(costed && { costModel: costed.model, gates: [costed.gate] }),
    judges,
    name: name("policy"),
    base: model,
    untrained: model === round.base,
    prompts,
    pairs: labelled,
    preferenceModel,
    gate,
    validation,
    opinions: opinionsFile(context, round.file),
    reference: referenceOf(round, first?.start ?? model),
  });
  const costedBy = costed?.model ?? (constraintOf(learning)?.cost === "critic" ? judges.critic : undefined);
  return {
    model: policy,
    start: model,
    judged,
    preferenceModel,
    gate,
    costedBy,
    ...(costed && { costGate: costed.gate }),
  };
}

/** The pairs of several rounds as one dataset. */
function ofRounds({ context, name }: Round, judged: readonly Pairs[]): Pairs {
  if (judged.length === 1) return judged[0]!;
  return mixStage(
    context,
    name("pairs of all rounds"),
    judged.map((rows, i) => ({ name: `round ${i + 1}`, rows })),
  );
}

/** Labels held against the constitution, where the recipe has them held. */
function weighed({ context, name, role }: Round, what: string, labels: Pairs): Pairs {
  const { weigh: settings } = context.recipe.feedback;
  if (settings === undefined) return labels;
  const critic = role("critic");
  const verdicts = verdictsStage(context, {
    name: name(`verdicts on ${what}`),
    pairs: labels,
    critic,
    panel: settings,
  });
  return weighedStage(context, { name: name(`weighed ${what}`), labels, verdicts, settings });
}

type Untold = Stage<StoredRows<PairRow>>;

/** Replies of the pairs that violate. */
function flaggedOf({ context, name, role }: Round, pairs: Untold) {
  const { by } = avoidsOf(context.recipe.policy!)!;
  const panel = { by, principles: "all" } as const;
  const verdicts = verdictsStage(context, { name: name("verdicts on pairs"), pairs, critic: role("critic"), panel });
  return flaggedStage(context, { name: name("flagged"), pairs, verdicts });
}

/** A cost model of the pairs, or of what people judged, or of both, behind its gate. */
function costOf(round: Round, pairs: Untold) {
  const { context, name, base, role } = round;
  const { by, principles } = context.recipe.costModel!;
  const own = () => {
    const panel = { by: by as Exclude<typeof by, "people">, principles };
    const verdicts = verdictsStage(context, { name: name("verdicts for costs"), pairs, critic: role("critic"), panel });
    return costRowsStage(context, { name: name("costs"), pairs, verdicts });
  };
  const costs = withHuman(round, by === "people" ? undefined : own());
  const model = costModelStage(context, { name: name("cost model"), base, costs });
  return { model, gate: costGateStage(context, { name: name("cost gate"), costModel: model }) };
}

/** With what people judged, where the recipe names a file of it; one of the two is there. */
function withHuman({ context, name, file }: Round, own: Stage<StoredRows<CostRow>> | undefined) {
  const safety = humanSafety(context, file);
  if (!safety) return own!;
  // Files are the same in every round.
  const people = humanCostsStage(context, { name: name("human costs"), safety });
  if (!own) return people;
  const { ratio } = context.recipe.costModel!.human!;
  return mixStage<CostRow>(context, name("all costs"), [
    { name: "machine", rows: own, ...(ratio !== undefined && { ratio: 1 }) },
    { name: "human", rows: people, ...(ratio !== undefined && { ratio }) },
  ]);
}

/** What a policy imitates, its start's replies revised for it: no half before it made any. */
function toImitate(round: Round, model: Stage<ModelValue>, prompts: Stage<StoredRows<PromptRow>>): Imitable {
  return imitable({ ...round, name: (own) => round.name(`${own} to imitate`) }, model, prompts);
}

/** Pairs labelled by people, where the recipe names a file of them. */
export function humanPairs({ recipe }: Round["context"], file: Round["file"]) {
  const { human } = recipe.preferenceModel;
  if (human === undefined) return undefined;
  const { ratio: _, ...reference } = human;
  return file({ name: "human pairs", title: "pairs labelled by people", reference, as: "preferences" });
}

/** With the pairs of a file, where the recipe has one. */
function withPeoples({ context, name, file }: Round, machine: Pairs): Pairs {
  const { human } = context.recipe.preferenceModel;
  if (human === undefined) return machine;
  const { ratio } = human;
  const people = humanPairs(context, file)!;
  return mixStage(context, name("preferences"), [
    { name: "machine", rows: machine, ...(ratio !== undefined && { ratio: 1 }) },
    { name: "human", rows: people, ...(ratio !== undefined && { ratio }) },
  ]);
}

/** A preference model of these pairs behind its gate. */
function preferenceModelOf(
  { context, name, base, file }: Round,
  {
    from,
    labelled,
    held,
    prompts,
  }: {
    from: Stage<ModelValue> | undefined;
    labelled: Pairs;
    held: Pairs | undefined;
    /** What the pairs that it is tested on are of, those of a file apart. */
    prompts: Stage<StoredRows<PromptRow>>;
  },
) {
  const { pretrain, human } = context.recipe.preferenceModel;
  const rankings =
    pretrain === undefined || from !== undefined
      ? undefined
      : file({ name: "rankings", title: "public rankings", reference: pretrain, as: "preferences" });
  const preferenceModel = preferenceModelStage(context, {
    name: name("preference model"),
    base: from ?? base,
    pairs: labelled,
    held,
    rankings,
  });
  const gate = preferenceGateStage(context, {
    ...{ name: name("preference gate"), preferenceModel, ...((held || human === undefined) && { prompts }) },
    ...(held ? { held } : { learnt: labelled }),
  });
  return { preferenceModel, gate };
}

/** What the policy is held to, where that is not the model that it starts from. */
function referenceOf({ context, base, number }: Round, first: Stage<ModelValue>): Stage<ModelValue> | undefined {
  const { policy } = context.recipe;
  const reference = policy && "kl" in policy ? policy.kl.reference : undefined;
  if (reference === "base") return base;
  return reference === "first" && number > 1 ? first : undefined;
}
