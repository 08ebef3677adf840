import { type PreferenceRow, type PromptRow, splitRows } from "@tenet/data";
import { judgeSettingsSchema, trainingPlan, trainJudge } from "@tenet/train";
import { letters } from "../../feedback/index.ts";
import type { PartContext } from "../context.ts";
import { deviceOf } from "../models.ts";
import { type JudgeTraining, pick, type Recipe } from "../recipe.ts";
import { rowsStage, type Stage, trainingStage } from "../stages/index.ts";
import type { ModelValue, Report, StoredRows } from "../values.ts";
import { type AuditReport, auditStage } from "./audit.ts";
import { fileStage } from "./files.ts";
import { labelsStage } from "./labels.ts";
import { type Lesson, lessons, type TaughtRole } from "./lessons.ts";
import { contrastPairsStage, pairsStage } from "./pairs.ts";

export interface TrainedJudge {
  /** The model behind its gate: what asks it waits for the audit. */
  readonly model: Stage<ModelValue>;
  readonly audit: Stage<Report<AuditReport>>;
}

interface Taught {
  /** Of the role. */
  readonly name: TaughtRole;
  readonly base: Stage<ModelValue>;
  readonly prompts: Stage<StoredRows<PromptRow>>;
  readonly train: JudgeTraining;
}

/**
 * A role played by a trained judge: the base is taught the role's own question on pairs with a known answer, is audited on
 * others, and stands behind the audit's gate. METHODS §3.
 */
export function trainedJudge(given: PartContext, part: Taught): TrainedJudge {
  const { name, base, train } = part;
  const context = asked(given);
  const lesson = lessons[name](context);
  const learnt = knownPairs(context, { ...part, name: `${name} pairs` });
  const { path, format, limit, share, ...gate } = train.audit;
  const others =
    path === undefined
      ? undefined
      : fileStage(context, {
          name: `${name} audit file`,
          title: "pairs to be audited on",
          reference: { path, format, limit },
          as: "preferences",
        });
  const { known, kept } = others ? apart(context, name, learnt, others) : split(context, name, learnt, share);
  const trained = judgeStage(context, { name: `${name} training`, base, pairs: kept, train, lesson });
  const audit = auditStage(context, {
    name: `${name} audit`,
    known,
    labels: lesson.labels(`${name} audit`, known, trained),
    settings: gate,
    who: name === "critic" ? "critic" : "labeller",
    refused: `Give it more pairs or more epochs (roles.${name}.train), another role, or set roles.${name}.train.audit.override: true, which the report will say`,
  });
  const model: Stage<ModelValue> = {
    name,
    title: `the ${name}, trained and audited`,
    player: trained.player,
    inputs: [trained, audit],
    execute: async (stage) => stage.value(trained),
  };
  return { model, audit };
}

/** Pairs with a known answer: those of a file, or made of the prompts by the base. */
function knownPairs(context: PartContext, part: Omit<Taught, "name"> & { readonly name: string }): Pairs {
  const { name, base, prompts, train } = part;
  if (typeof train.pairs === "string" || "path" in train.pairs)
    return fileStage(context, {
      ...{ name, title: "pairs to learn from" },
      ...{ reference: train.pairs, as: "preferences" },
    });
  const { sampling } = train.pairs;
  if (train.pairs.from === "checks") return checkedPairs(context, { ...part, samples: train.pairs.samples, sampling });
  return contrastPairsStage(context, { name, prompts, model: base, sampling });
}

/** Replies of the base that the constitution's checks tell apart. */
function checkedPairs(
  context: PartContext,
  part: {
    readonly name: string;
    readonly base: Stage<ModelValue>;
    readonly prompts: Stage<StoredRows<PromptRow>>;
    readonly samples: number;
    readonly sampling: Recipe["feedback"]["pairs"]["sampling"];
  },
): Pairs {
  const { name, base, prompts, samples, sampling } = part;
  const { feedback } = context.recipe;
  const told = withFeedback(context, {
    pairs: { ...feedback.pairs, contrast: undefined, samples, sampling, pairs: "all" },
    label: { ...feedback.label, judge: undefined, method: "checks" },
  });
  const pairs = pairsStage(told, { name: `${name} untold`, prompts, model: base });
  return labelsStage(told, { name, title: "pairs to learn from", pairs, labeller: base, critic: base });
}

/** Fine-tuning on the questions of pairs with a known answer. */
function judgeStage(
  { recipe: { seed }, options }: PartContext,
  part: {
    readonly name: string;
    readonly base: Stage<ModelValue>;
    readonly pairs: Pairs;
    readonly train: JudgeTraining;
    readonly lesson: Lesson;
  },
): Stage<ModelValue> {
  const { name, base, pairs, train, lesson } = part;
  const settings = judgeSettingsSchema.parse(pick(train, judgeSettingsSchema.shape));
  return trainingStage({
    name,
    title: lesson.title,
    kind: "judge",
    version: 1,
    seed,
    expect(sized) {
      const { rows } = sized(pairs);
      const { each, tokens } = lesson.questions(sized(pairs));
      const questions = (settings.epochs * rows + Math.min(train.warmup, rows)) * each;
      const question = Math.min(tokens, settings.maxLength);
      return {
        ...{ ...sized(pairs), trainingTokens: questions * question },
        // It learns from the logits of two letters.
        training: trainingPlan(settings, {
          ...{ scores: true, learning: 0, looking: 0, networks: 1 },
          updateTokens: settings.batchSize * each * question,
        }),
      };
    },
    inputs: { pairs },
    base,
    settings: [settings, lesson.dependsOn, ...(train.warmup > 0 ? [train.warmup] : [])],
    train: async function* (inputs, { base: source, folder, models, signal }) {
      const model = await models.trainable(source.reference);
      const speaker = await models.speaker({ hash: "", source: { type: "local", reference: source.reference } });
      const capabilities = await speaker.capabilities(signal ? { signal } : {});
      const known = [...inputs.pairs.rows()];
      const { path, report } = yield* trainJudge({
        model,
        rows: lesson.rows(known, capabilities),
        warmup: lesson.warmup(known, train.warmup, capabilities),
        letters,
        settings,
        seed,
        folder,
        from: source.adapter,
        signal,
        ...deviceOf(options),
      });
      return { kind: "adapter", path, report };
    },
  });
}

/** The recipe as a judge is taught and audited under it: it answers at once, and nobody decides before it. */
function asked(context: PartContext): PartContext {
  const { judge: _, ...label } = context.recipe.feedback.label;
  const constitutionFirst = { ...label.constitutionFirst, by: "off" as const };
  return withFeedback(context, { label: { ...label, method: "choice", constitutionFirst } });
}

/** The recipe with other settings of feedback. */
function withFeedback(context: PartContext, feedback: Partial<Recipe["feedback"]>): PartContext {
  const { recipe } = context;
  return { ...context, recipe: { ...recipe, feedback: { ...recipe.feedback, ...feedback } } };
}

type Pairs = Stage<StoredRows<PreferenceRow>>;

/** Pairs that begin alike are on one side: the same question with another reply would be known by heart. */
const beginningOf = ({ prompt }: PreferenceRow) => JSON.stringify(prompt[0]);

/** A share of the pairs is for the audit, the others are learnt. */
function split(
  { recipe: { seed } }: PartContext,
  name: string,
  pairs: Pairs,
  share: number,
): { readonly known: Pairs; readonly kept: Pairs } {
  const part = (side: "train" | "validation", what: string, title: string) =>
    rowsStage<PreferenceRow>({
      name: `${name} pairs to ${what}`,
      title,
      kind: `judge-${side}`,
      version: 1,
      seed,
      inputs: [pairs],
      expect: (sized) => ({
        ...sized(pairs),
        rows: sized(pairs).rows * (side === "train" ? 1 - share : share),
      }),
      settings: () => ({ share }),
      *make(context) {
        const sides = splitRows(context.value(pairs).rows(), { seed, validation: share, key: beginningOf });
        for (const row of sides[side]) yield { row };
      },
    });
  return {
    kept: part("train", "learn", "pairs to learn from, without those of the audit"),
    known: part("validation", "audit", "pairs to be audited on, which are not learnt"),
  };
}

/** All of the audit's own pairs; of those to learn the ones that begin like one of them are left out. */
function apart(
  { recipe: { seed } }: PartContext,
  name: string,
  pairs: Pairs,
  known: Pairs,
): { readonly known: Pairs; readonly kept: Pairs } {
  const kept = rowsStage<PreferenceRow>({
    name: `${name} pairs to learn`,
    title: "pairs to learn from, without what the audit asks",
    kind: "judge-apart",
    version: 1,
    seed,
    inputs: [pairs, known],
    settings: () => null,
    *make(context) {
      const asked = new Set([...context.value(known).rows()].map(beginningOf));
      for (const row of context.value(pairs).rows())
        if (asked.has(beginningOf(row)))
          yield { aside: { input: row.id, reason: "the audit asks about this conversation" } };
        else yield { row };
    },
  });
  return { known, kept };
}
