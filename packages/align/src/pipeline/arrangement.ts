import type { CheckpointNote } from "./checkpoints.ts";
import type { PartContext } from "./context.ts";
import { heldOutStage, type Learnt } from "./parts/apart.ts";
import { type AuditReport, auditLabelsStage, auditStage, examplePairsStage } from "./parts/audit.ts";
import { dialoguesStage } from "./parts/dialogues.ts";
import { scorecardStage } from "./parts/evaluation.ts";
import { fileReader, fileStage, type ReadFile } from "./parts/files.ts";
import { helpfulFile } from "./parts/helpful.ts";
import type { TaughtRole } from "./parts/lessons.ts";
import type { CheckpointPart } from "./parts/looks.ts";
import { opinionsFile } from "./parts/opinions.ts";
import { peoplesLabelsStage } from "./parts/people.ts";
import { humanSafety } from "./parts/people-costs.ts";
import { roleStage } from "./parts/roles.ts";
import { trainedJudge } from "./parts/trained-judge.ts";
import { promptStages } from "./parts/validation.ts";
import { writtenFile } from "./parts/written.ts";
import { auditShows, isTrained, learnsOwnReplies, type Recipe, rewardsPreference, showsProxy } from "./recipe.ts";
import { humanPairs, type Reinforced, reinforce } from "./reinforce.ts";
import type { Round } from "./round.ts";
import { type Plan, planOf, promptsOf, roundSeed, settingsOf } from "./rounds.ts";
import type { StepName } from "./schema/arrangement.ts";
import { inOrder, type Stage } from "./stages/index.ts";
import { type Imitable, supervise } from "./supervise.ts";
import type { ModelValue, Report } from "./values.ts";

/** What an arrangement comes to: the checkpoints that the scorecard compares, the first being what it began with. */
export interface Arrangement {
  readonly checkpoints: readonly CheckpointPart[];
  /** Every stage that is to be executed, the checkpoints' among them. */
  readonly targets: readonly Stage[];
  /** Stages that are worth executing where this one refused to go on. */
  readonly refused: (gate: Stage) => readonly Stage[];
}

/**
 * The stages of a recipe: its steps, in their order, round by round, each from the model that the one before it made. METHODS §6.
 * All of them are there before anything runs, so that a killed run goes on in whichever round it was.
 */
export function arrange(context: PartContext): Arrangement {
  const { recipe, options } = context;
  const plan = planOf(recipe);
  const base = roleStage("model", recipe.model, options, { trained: true });
  const { train: prompts, validation } = promptStages(context);
  const players = playersOf(context, { base, prompts });
  const train =
    recipe.prompts.dialogue === undefined
      ? prompts
      : dialoguesStage(context, {
          ...{ name: "dialogues", prompts },
          ...{ assistant: players.role("generator"), person: players.role("persona") },
        });
  const shared = { base, validation, role: players.role, file: fileReader(context) };
  const audit = labellerAudit(context, players.role);
  const checkpoints: CheckpointPart[] = [{ id: "base", label: "Base", model: base }];
  const imitated: Imitable[] = [];
  const reinforced: Reinforced[] = [];
  const gates = new Set<Reinforced["gate"]>();
  let model = base;
  for (let number = 1; number <= plan.rounds; number++) {
    const round = roundOf(context, { ...shared, number, plan, train, audit: audit.of });
    // What the other half made of this round, where it came first.
    const before = (other: StepName) => (plan.steps[0] === other ? imitated.at(-1) : undefined);
    for (const step of plan.steps) {
      if (step === "supervised") {
        const made = supervise(round, model);
        imitated.push(made.imitable);
        model = made.model;
      } else {
        const made = reinforce(round, model, { plan, earlier: reinforced, learnt: before("supervised") });
        reinforced.push(made);
        if (rewardsPreference(round.context.recipe.policy)) gates.add(made.gate);
        if (made.costGate) gates.add(made.costGate);
        model = made.model;
      }
      checkpoints.push({ ...namesOf(plan, step, round), step, round: number, model });
    }
  }
  const { heldOut } = recipe.prompts;
  const judge = heldOut === undefined || recipe.roles.judge === undefined ? undefined : players.role("judge");
  // The audit needs nothing that was trained: a labeller that is refused is refused before anything is spent.
  const audits = [...players.audits, ...audit.made];
  const learnt = learntOf(context, { plan, file: shared.file, prompts: [train, ...(validation ? [validation] : [])] });
  /** Behind a gate that refused, of what is measured and told only that which needs nothing behind it. */
  const scorecard = (some: readonly CheckpointPart[], refused?: Stage) => {
    if (heldOut === undefined) return [];
    const known = (stage: Stage) => stage === refused || !refused || !inOrder([stage]).includes(refused);
    const proxy = showsProxy(recipe) ? reinforced.findLast(({ preferenceModel }) => known(preferenceModel)) : undefined;
    const first = imitated.find(({ examples }) => known(examples));
    const passed = [...gates].filter(known);
    const bounded = reinforced.findLast(({ model }) => some.some((one) => one.model === model));
    return [
      scorecardStage(context, {
        checkpoints: some,
        ...(first?.chains && { chains: first.chains }),
        ...(first && { examples: first.examples }),
        heldOut: heldOutStage(context, { reference: heldOut, learnt }),
        opinions: opinionsFile(context, shared.file),
        ...(judge && { judge }),
        audits: [...audit.made, ...players.audits],
        ...(proxy && { preferenceModel: proxy.preferenceModel }),
        ...(proxy && gates.has(proxy.gate) && { preferenceGate: proxy.gate }),
        ...(bounded?.costedBy && { costedBy: bounded.costedBy }),
        ...(passed.length > 0 && { gates: passed }),
      }),
    ];
  };
  return {
    checkpoints,
    targets: [...audits, ...checkpoints.map((one) => one.model), ...scorecard(checkpoints)],
    // What was learnt before a preference model was refused is measured all the same.
    refused(gate) {
      const at = checkpoints.findIndex((one) => inOrder([one.model]).includes(gate));
      return reinforced.some((one) => one.gate === gate || one.costGate === gate)
        ? scorecard(checkpoints.slice(0, at), gate)
        : [];
    },
  };
}

/** Everything whose prompts are learnt from, or that trainings are chosen by: none of them may be measured on. */
function learntOf(
  context: PartContext,
  { plan, file, prompts }: { readonly plan: Plan; readonly file: ReadFile; readonly prompts: readonly Learnt[] },
): Learnt[] {
  const learnt: (Learnt | undefined)[] = [...prompts, writtenFile(context, file)];
  if (plan.steps.includes("supervised") && context.recipe.supervised.helpful !== undefined) {
    const helpful = helpfulFile(context, file);
    learnt.push(helpful.examples ?? helpful.prompts);
  }
  if (plan.steps.includes("policy")) learnt.push(humanPairs(context, file), humanSafety(context, file));
  return learnt.filter((stage) => stage !== undefined);
}

/** What a run notes of its checkpoints: how to find each again, and all that it was made of. */
export function notesOf({ checkpoints }: Pick<Arrangement, "checkpoints">): CheckpointNote[] {
  return checkpoints.map(({ id, label, step, round, model }) => ({
    ...{ id, label, stage: model.name },
    ...(step && { step }),
    ...(round && { round }),
    from: inOrder([model]).map(({ name }) => name),
  }));
}

/** What a checkpoint is called: with one round as it always was. */
function namesOf(
  { steps, rounds }: Plan,
  step: StepName,
  { number, context: { recipe } }: Round,
): { id: string; label: string } {
  const reversed = steps[0] === "policy";
  const short = { supervised: "sl", policy: "rl" }[step];
  const byPeople = recipe.feedback.label.method === "people";
  const long = learnsOwnReplies(recipe)
    ? { supervised: reversed ? "RLAIF → CAI" : "SL-CAI", policy: reversed ? "RLAIF" : "RL-CAI" }[step]
    : { supervised: "SFT", policy: byPeople ? "RLHF" : "RLAIF" }[step];
  return rounds === 1 ? { id: short, label: long } : { id: `${short}-${number}`, label: `${long} ${number}` };
}

function roundOf(
  context: PartContext,
  {
    number,
    plan,
    train,
    ...shared
  }: Omit<Round, "name" | "context" | "prompts"> & {
    readonly plan: Plan;
    readonly train: ReturnType<Round["prompts"]>;
  },
): Round {
  const { recipe } = context;
  const name = (own: string) => (plan.rounds === 1 ? own : `${own} ${number}`);
  const steps = new Map<StepName, ReturnType<Round["prompts"]>>();
  return {
    ...shared,
    number,
    name,
    context: {
      ...context,
      recipe: { ...settingsOf(recipe, plan, number), seed: roundSeed(recipe.seed, number) },
    },
    prompts(step) {
      const known = steps.get(step);
      if (known) return known;
      const prompts = promptsOf(context, { name: name(`${step} prompts`), prompts: train, plan, round: number, step });
      steps.set(step, prompts);
      return prompts;
    },
  };
}

/** Who plays which role, each made once; the recipe's model where it names nobody. */
function playersOf(
  context: PartContext,
  { base, prompts }: { readonly base: Stage<ModelValue>; readonly prompts: ReturnType<Round["prompts"]> },
) {
  const { recipe, options } = context;
  const known = new Map<string, Stage<ModelValue>>();
  const audits: Stage<Report<AuditReport>>[] = [];
  const role = (name: keyof Recipe["roles"]): Stage<ModelValue> => {
    const reference = recipe.roles[name];
    if (reference === undefined) return base;
    const found = known.get(name);
    if (found) return found;
    if (isTrained(reference)) {
      // The schema lets only these be trained.
      const taught = name as TaughtRole;
      const { model, audit } = trainedJudge(context, { name: taught, base, prompts, train: reference.train });
      known.set(name, model);
      audits.push(audit);
      return model;
    }
    const given = roleStage(name, reference, options);
    known.set(name, given);
    return given;
  };
  return { role, audits };
}

/** The audit that a recipe wants of its labels, whoever makes them: one, made where the first labels are. */
function labellerAudit(context: PartContext, role: Round["role"]) {
  const made: Stage<Report<AuditReport>>[] = [];
  const of: Round["audit"] = (pairs) => {
    const { audit } = context.recipe.feedback;
    if (audit && made.length === 0) made.push(auditOn(context, audit, role, pairs));
    return made[0];
  };
  return { of, made };
}

function auditOn(
  context: PartContext,
  { path, format, limit, examples, people, ...settings }: NonNullable<Recipe["feedback"]["audit"]>,
  role: Round["role"],
  pairs: Parameters<Round["audit"]>[0],
) {
  const known = () => {
    if (people) return peoplesLabelsStage(context, { name: "known", pairs });
    if (examples) return examplePairsStage(context, "known");
    return fileStage(context, {
      ...{ name: "known", title: "pairs with a known answer" },
      ...{ reference: { path: path!, format, limit }, as: "preferences", images: auditShows(context.recipe) },
    });
  };
  const pairsKnown = known();
  const asked = { labeller: role("labeller"), critic: role("critic") };
  return auditStage(context, {
    ...{ name: "audit", known: pairsKnown, settings, who: "labeller" },
    labels: auditLabelsStage(context, { name: "audit", known: pairsKnown, ...asked }),
    refused:
      "Give a better one (roles.labeller), another method (feedback.label), or set feedback.audit.override: true, which the report will say",
  });
}
