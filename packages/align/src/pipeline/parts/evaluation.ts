import {
  type ChainRow,
  type ExampleRow,
  type GivenPrinciple,
  givenBefore,
  type OpinionRow,
  type Origin,
  type PairRow,
  type PromptRow,
  type ResponseRow,
  readDocument,
  rowId,
} from "@tenet/data";
import { addressesOf, type Message, refusesText } from "@tenet/lm";
import { hashOf } from "@tenet/runs";
import { openPreferenceModel, type TrainableModel } from "@tenet/train";
import { constitutionHash } from "../../constitution/index.ts";
import {
  answerChoices,
  answerOpinions,
  assembleScorecard,
  type CheckpointEvidence,
  type ChoiceAnswer,
  type Comparison,
  choiceJudge,
  comparePairs,
  expectedScores,
  formatJudge,
  type JudgedScore,
  judgedDependsOn,
  judgedResponses,
  judgedScores,
  judgeQuestion,
  type OpinionAnswer,
  pairResponses,
  ratingQuestion,
  type SampleLogprobs,
  type Scorecard,
  scoreResponses,
  scoreTexts,
  type TextScore,
} from "../../evaluate/index.ts";
import { labelDependsOn, principleJudge } from "../../feedback/index.ts";
import { verdictTokens } from "../../judge/index.ts";
import { alarmsOf, taughtNothingText } from "../alarms.ts";
import { askedIn } from "../asked-anew.ts";
import { chartsOf } from "../charts.ts";
import type { PartContext } from "../context.ts";
import { nothing } from "../expectation.ts";
import { independenceOf } from "../independence.ts";
import { labellingOf } from "../label-costs.ts";
import { labelsBy, preferenceModelOf } from "../learnt-from.ts";
import { deviceOf } from "../models.ts";
import { peopleCard, wordsAbout } from "../people-card.ts";
import { isAudited, isTrained, learnsModelLabels, neutralTextsSchema } from "../recipe.ts";
import type { StepName } from "../schema/arrangement.ts";
import { asking, mean, size } from "../sizes.ts";
import { itemStage, reportStage, rowsStage, type Stage, type StageContext } from "../stages/index.ts";
import { localName, type ModelValue, preferenceSource, type Report, type StoredRows } from "../values.ts";
import { learntFromText, wasLearntFrom } from "./apart.ts";
import type { AuditReport } from "./audit.ts";
import { type BaselinePart, baselineParts } from "./baselines.ts";
import { fileStage } from "./files.ts";
import type { GateReport } from "./gates.ts";
import { shownBeside, shownSettings } from "./given.ts";
import { unreadIn } from "./labels.ts";
import { constraintOf } from "./policy-judges.ts";
import { responsesStage } from "./replies.ts";
import { scoredStage } from "./scored.ts";

/** A model on its way, as the scorecard names it. */
export interface CheckpointPart {
  readonly id: string;
  readonly label: string;
  readonly model: Stage<ModelValue>;
  /** The half of the method that made it, and in which round; of what training began with neither. */
  readonly step?: StepName;
  readonly round?: number;
}

/** What the last policy's constraint allows its replies to cost. */
function boundOf({ policy }: PartContext["recipe"], checkpoints: readonly CheckpointPart[]) {
  const constraint = constraintOf(policy);
  const bounded = checkpoints.findLast(({ step }) => step === "policy");
  return constraint && bounded && { checkpoint: bounded.id, bound: constraint.bound, cost: constraint.cost };
}

interface TextRow {
  readonly id: string;
  readonly origin: Origin;
  readonly text: string;
}

/** Texts that have nothing to do with the constitution: a list in YAML or JSON. */
export function textsStage({ recipe: { seed } }: PartContext, name: string, path: string): Stage<StoredRows<TextRow>> {
  const read = async () => (await readDocument(path, neutralTextsSchema)).value;
  return rowsStage<TextRow>({
    name,
    title: "neutral texts",
    kind: "texts",
    version: 1,
    seed,
    async expect() {
      const texts = await read();
      return { ...nothing, rows: texts.length, tokens: mean(texts.map(size)) };
    },
    settings: read,
    async *make() {
      for (const text of await read()) yield { row: { id: rowId("text", text), origin: { parents: [] }, text } };
    },
  });
}

/** What is looked at of one checkpoint. */
interface Looked {
  readonly responses: Stage<StoredRows<ResponseRow>>;
  readonly texts?: Stage<StoredRows<TextScore>>;
  readonly choices?: Stage<StoredRows<ChoiceAnswer>>;
  readonly opinions?: Stage<StoredRows<OpinionAnswer>>;
  /** The checkpoint's replies under itself and under the first one; the first has none. */
  readonly logprobs?: {
    readonly policy: Stage<StoredRows<SampleLogprobs>>;
    readonly reference: Stage<StoredRows<SampleLogprobs>>;
  };
}

export interface ScorecardParts {
  readonly checkpoints: readonly CheckpointPart[];
  readonly heldOut: Stage<StoredRows<PromptRow>>;
  /** Questions in which a person says what they think. */
  readonly opinions?: Stage<StoredRows<OpinionRow>> | undefined;
  readonly chains?: Stage<StoredRows<ChainRow>>;
  /** What is learnt of the chains. */
  readonly examples?: Stage<StoredRows<ExampleRow>>;
  /** What the labels are worth, of each labeller that was audited. */
  readonly audits?: readonly Stage<Report<AuditReport>>[];
  /** What had to pass before it was learnt from. */
  readonly gates?: readonly Stage<Report<GateReport>>[];
  /** Scores the replies too. */
  readonly preferenceModel?: Stage<ModelValue>;
  /** Compares the checkpoints' replies, each with those of every checkpoint before it; rates them where training never heard it. */
  readonly judge?: Stage<ModelValue>;
}

/** The scorecard, and everything it is made of: the same prompts and seeds for every checkpoint. METHODS §7. */
export function scorecardStage(context: PartContext, parts: ScorecardParts): Stage<Report<Scorecard>> {
  const { recipe, constitution } = context;
  const { checkpoints, heldOut, opinions, chains, examples, audits = [], gates = [], judge, preferenceModel } = parts;
  const { sampling, samples, neutral, divergence } = recipe.evaluate;
  const questions =
    recipe.evaluate.choices &&
    fileStage(context, {
      ...{ name: "questions", title: "questions with options", reference: recipe.evaluate.choices, as: "choices" },
    });
  const texts = neutral === undefined ? undefined : textsStage(context, "neutral texts", neutral);
  const [first] = checkpoints;
  const looked = checkpoints.map(({ id, label, model }): Looked => {
    const responses = responsesStage(context, {
      name: `answers of ${id}`,
      title: `replies of ${label} to held-out prompts`,
      prompts: heldOut,
      model,
      sampling: { ...sampling, n: samples },
    });
    return {
      responses,
      ...(texts
        ? {
            texts: scoredStage(context, scoreTexts, {
              ...{ name: `texts under ${id}`, over: texts, model },
              title: `log-probabilities of neutral texts under ${label}`,
              kind: "score-texts",
            }),
          }
        : {}),
      ...(questions
        ? {
            choices: scoredStage(context, answerChoices, {
              ...{ name: `choices of ${id}`, over: questions, model },
              title: "answers to questions with options",
              kind: "answer-choices",
            }),
          }
        : {}),
      ...(opinions
        ? {
            opinions: scoredStage(context, answerOpinions, {
              ...{ name: `opinions of ${id}`, over: opinions, model },
              title: "answers to questions with a person's view",
              kind: "answer-opinions",
            }),
          }
        : {}),
      ...(divergence && first && id !== first.id
        ? {
            logprobs: {
              policy: scoredStage(context, scoreResponses, {
                ...{ name: `answers of ${id} under ${id}`, over: responses, model },
                title: `log-probabilities of replies of ${label} under itself`,
                kind: "score-responses",
              }),
              reference: scoredStage(context, scoreResponses, {
                ...{ name: `answers of ${id} under ${first.id}`, over: responses, model: first.model },
                title: `log-probabilities of replies of ${label} under ${first.label}`,
                kind: "score-responses",
              }),
            },
          }
        : {}),
    };
  });
  const answers = checkpoints.map(({ id }, i) => ({ id, responses: looked[i]!.responses }));
  const comparisons = judge
    ? answers.flatMap((later, i) =>
        // With the first, and with the one before it.
        answers
          .filter((_, j) => j < i && (j === 0 || j === i - 1))
          .map((earlier) => comparisonStage(context, later, earlier, judge)),
      )
    : [];
  const baselines = first ? baselineParts(context, { model: first.model, heldOut, examples }) : [];
  const independence = independenceOf(context);
  const bound = boundOf(recipe, checkpoints);
  const shown = preferenceModel && shownBeside(context);
  const rated = judge && independence?.kind === "judge" ? judge : undefined;
  const spoken = [...answers, ...baselines];
  const ratings = rated ? spoken.map((one) => ratingStage(context, one, rated)) : [];
  const inputs: Record<string, Stage> = {
    ...Object.fromEntries([...comparisons, ...ratings].map((stage) => [stage.name, stage])),
    ...Object.fromEntries(baselines.map(({ id, responses }) => [`baseline ${id}`, responses])),
    ...(chains && { chains }),
    ...Object.fromEntries([...audits, ...gates].map((stage) => [stage.name, stage])),
    ...(preferenceModel && { preferenceModel }),
  };
  for (const [i, { id, model }] of checkpoints.entries()) {
    const { responses, texts: scored, choices, opinions, logprobs } = looked[i]!;
    if (opinions) inputs[`opinions ${id}`] = opinions;
    if (choices) inputs[`choices ${id}`] = choices;
    Object.assign(inputs, { [`model ${id}`]: model, [`answers ${id}`]: responses });
    if (scored) inputs[`texts ${id}`] = scored;
    if (logprobs) Object.assign(inputs, { [`policy ${id}`]: logprobs.policy, [`reference ${id}`]: logprobs.reference });
  }
  return reportStage({
    name: "scorecard",
    title: "scorecard on held-out prompts",
    kind: "scorecard",
    version: 2,
    seed: recipe.seed,
    inputs,
    settings: {
      constitution: constitutionHash(constitution),
      checkpoints: checkpoints.map(({ id, label }) => [id, label]),
      ...(recipe.evaluate.mustHold && { mustHold: recipe.evaluate.mustHold }),
      ...(bound && { bound: { ...bound } }),
      ...(shown && { shown: shownSettings(recipe) }),
    },
    async make(_, stage) {
      const replies = spoken.map(({ responses }) => [...stage.value(responses).rows()]);
      const proxies =
        preferenceModel &&
        (await proxyScores(stage, stage.value(preferenceModel), replies, { ...deviceOf(context.options), shown }));
      const seen = (i: number) => ({
        responses: judgedResponses(constitution, replies[i]!),
        ...(proxies ? { proxy: proxies[i]! } : {}),
        ...(rated ? { judge: scoresOf(stage.value(ratings[i]!).rows()) } : {}),
      });
      const evidence = checkpoints.map(({ id, label, model }, i): CheckpointEvidence => {
        const { texts: scored, choices, opinions, logprobs } = looked[i]!;
        const value = stage.value(model);
        return {
          id,
          label,
          model: nameOf(value),
          ...(value.source.type === "local" && value.source.adapter !== undefined ? { adapter: value.hash } : {}),
          ...seen(i),
          ...(scored ? { texts: [...stage.value(scored).rows()] } : {}),
          ...(choices ? { choices: [...stage.value(choices).rows()] } : {}),
          ...(opinions ? { opinions: [...stage.value(opinions).rows()] } : {}),
          ...(logprobs
            ? {
                logprobs: {
                  policy: [...stage.value(logprobs.policy).rows()],
                  reference: [...stage.value(logprobs.reference).rows()],
                },
              }
            : {}),
        };
      });
      const untrained = baselines.map(({ id, label, about, reply }, i) => {
        const model = reply ? "none" : nameOf(stage.value(first!.model));
        return { id, label, about, model, ...seen(checkpoints.length + i), ...(reply && { reply: reply(stage) }) };
      });
      const voids = checkpoints.flatMap(({ id, model }) => {
        const why = taughtNothingText(stage.value(model).report);
        return why === undefined ? [] : [{ checkpoint: id, why }];
      });
      const { count, reasons } = stage.value(heldOut);
      const left = reasons().reduce((sum, { reason, count }) => sum + (wasLearntFrom(reason) ? count : 0), 0);
      const preferences = preferenceModelOf(stage.store, stage.run.id);
      const labelled = labelsBy(stage.store, stage.run.id);
      const words = wordsAbout(stage.store, stage.run.id);
      return assembleScorecard({
        title: context.name,
        constitution,
        seed: recipe.seed,
        checkpoints: evidence,
        proxyName: "preference model",
        ...(rated
          ? { judgeName: `${recipe.evaluate.judge?.format ?? "rating"} by ${nameOf(stage.value(rated))}` }
          : {}),
        ...(independence?.kind === "checks" ? { judgeName: "share of replies that break no check" } : {}),
        ...(independence ? { independence: named(independence, rated && nameOf(stage.value(rated))) } : {}),
        ...(untrained.length > 0 ? { baselines: untrained } : {}),
        replyLimit: sampling.maxTokens,
        ...(voids.length > 0 ? { voids } : {}),
        ...(left > 0 ? { leftOut: `${learntFromText(left, left + count)}.` } : {}),
        ...(preferences ? { preferenceModel: preferences } : {}),
        ...(labelled ? { labelsBy: labelled } : {}),
        ...(words.length > 0 && { people: peopleCard(words, recipe.seed) }),
        ...(judge
          ? {
              comparisons: comparisons.flatMap((one) => [...stage.value(one).rows()]),
              unreadComparisons: comparisons.reduce((sum, one) => sum + unreadIn(stage.value(one)), 0),
            }
          : {}),
        ...(rated && { unreadRatings: ratings.reduce((sum, one) => sum + unreadIn(stage.value(one)), 0) }),
        ...(audits.length > 0 && { labelHealth: audits.map((audit) => stage.value(audit).value.health) }),
        gates: [
          ...gates.map((one) => {
            const { name, gate } = stage.value(one).value;
            return { name, passed: gate.passed, overridden: gate.overridden, why: gate.reasons.join("; ") };
          }),
          ...unaudited(recipe),
        ],
        ...(recipe.evaluate.mustHold && { mustHold: recipe.evaluate.mustHold }),
        ...(bound && { bound }),
        charts: chartsOf(stage.store.metrics(stage.run.id)),
        ...(chains ? { chains: [...stage.value(chains).rows()].filter(({ rounds }) => rounds.length > 0) } : {}),
        costs: costsOf(stage),
        ...labellingOf(stage.store.stages(stage.run.id), stage.store.usage(stage.run.id), recipe, {
          words,
          anew: await askedIn(stage.store, stage.run.id),
        }),
        provenance: {
          command: `tenet run ${context.file}`,
          seed: recipe.seed,
          hashes: {
            recipe: hashOf(context.written),
            constitution: constitutionHash(constitution),
            ...Object.fromEntries(checkpoints.map(({ id, model }) => [id, stage.value(model).hash])),
            "held-out prompts": stage.value(heldOut).hash,
          },
          versions: stage.run.info.versions,
          models: Object.fromEntries(checkpoints.map(({ id, model }) => [id, nameOf(stage.value(model))])),
          notes: checkpoints.flatMap(({ label, model }) =>
            alarmsOf(stage.value(model).report).map((alarm) => `${label}: ${alarm}`),
          ),
        },
      });
    },
  });
}

/** A model's labels that were learnt from although nobody knows what they are worth. */
function unaudited(recipe: PartContext["recipe"]) {
  if (!learnsModelLabels(recipe) || isAudited(recipe)) return [];
  return [{ name: "labeller", passed: false, overridden: true, why: "its labels were not audited" }];
}

/** What a judge thinks of a reply, however it was asked. */
type Score = Pick<JudgedScore, "id" | "origin" | "response" | "score">;

type Independence = NonNullable<Scorecard["independence"]>;

function named(independence: Independence, name: string | undefined): Independence {
  return name === undefined ? independence : { ...independence, name };
}

function scoresOf(rows: Iterable<Score>): Map<string, number> {
  return new Map([...rows].map(({ response, score }) => [response, score]));
}

/** A model as people know it: no path of this machine. */
function nameOf({ source, hash }: ModelValue): string {
  return source.type === "local"
    ? localName(source, hash)
    : (source.settings.model ?? addressesOf(source.settings).join(", "));
}

/** Replies scored between two messages of progress. */
const repliesAtOnce = 64;

/** What the preference model says of each checkpoint's replies, by row id. */
async function proxyScores(
  { models, signal, emit }: StageContext,
  value: ModelValue,
  replies: readonly (readonly ResponseRow[])[],
  {
    shown = () => [],
    ...options
  }: Parameters<typeof openPreferenceModel>[2] & {
    /** Principles that the model is shown beside a reply. */
    readonly shown?: ((row: ResponseRow) => readonly GivenPrinciple[]) | undefined;
  },
): Promise<ReadonlyMap<string, number>[]> {
  const { reference, adapter } = preferenceSource(value);
  const base = await models.trainable(reference);
  // A constant reply is there also to prompts that the model's template refuses; it has no score then.
  const taken = replies.map((rows) => rows.filter((row) => takesPrompt(base, givenBefore(row.prompt, shown(row)))));
  const model = await openPreferenceModel(base, adapter, options);
  try {
    const total = taken.reduce((sum, rows) => sum + rows.length, 0);
    let done = 0;
    const scored: ReadonlyMap<string, number>[] = [];
    for (const rows of taken) {
      const scores: number[] = [];
      for (let start = 0; start < rows.length; start += repliesAtOnce) {
        scores.push(
          ...(await model.score(
            rows.slice(start, start + repliesAtOnce).map((row) => ({
              ...{ prompt: givenBefore(row.prompt, shown(row)), response: row.response },
              cut: row.finishReason === "length",
            })),
            { signal },
          )),
        );
        emit({ type: "progress", stage: "scorecard", done: done + scores.length, total, unit: "replies" });
      }
      done += rows.length;
      scored.push(new Map(rows.map(({ id }, i) => [id, scores[i]!])));
    }
    return scored;
  } finally {
    await model.close();
  }
}

function takesPrompt(base: Pick<TrainableModel, "text">, prompt: readonly Message[]): boolean {
  try {
    base.text.encodePrompt([...prompt]);
    return true;
  } catch (error) {
    if (refusesText(error)) return false;
    throw error;
  }
}

function costsOf({ store, run }: StageContext): NonNullable<Parameters<typeof assembleScorecard>[0]["costs"]> {
  const usage = store.usage(run.id);
  return store.stages(run.id).map(({ name, seconds, rows, kind }) => {
    const spent = usage.filter(({ stage }) => stage === name);
    const sum = (of: (one: (typeof spent)[number]) => number) => spent.reduce((total, one) => total + of(one), 0);
    const usd = spent.some(({ dollars }) => dollars !== undefined) ? { usd: sum(({ dollars = 0 }) => dollars) } : {};
    return {
      name,
      promptTokens: sum(({ promptTokens }) => promptTokens),
      completionTokens: sum(({ completionTokens }) => completionTokens),
      seconds,
      ...usd,
      ...(kind === "label" ? { labels: rows } : {}),
    };
  });
}

/** Who answered better, prompt by prompt. METHODS §7. */
function comparisonStage(
  { recipe, constitution, labelDemonstrations: demonstrations }: PartContext,
  a: Answers,
  b: Answers,
  judge: Stage<ModelValue>,
): Stage<StoredRows<Comparison>> {
  const sides = [a.responses, b.responses];
  const pairs = rowsStage<PairRow>({
    name: `answers of ${a.id} and ${b.id}`,
    title: "replies side by side",
    kind: "pair-responses",
    version: 1,
    seed: recipe.seed,
    expect(sized) {
      const { rows, tokens, prompt } = sized(a.responses);
      return { rows, prompt, tokens: 2 * tokens - prompt };
    },
    inputs: sides,
    settings: () => null,
    *make(stage) {
      const [ours, theirs] = sides.map((side) => [...stage.value(side).rows()]);
      for (const row of pairResponses(ours!, theirs!)) yield { row };
    },
  });
  // A judge of one's own is asked what it was taught.
  const trained = isTrained(recipe.roles.judge);
  const { system, principles } = recipe.feedback.label;
  const question = {
    ...(system !== undefined && { system }),
    principles,
    constitution,
    demonstrations,
    seed: recipe.seed,
  };
  const format = formatOf(recipe);
  return itemStage<PairRow, Comparison>({
    name: `${a.id} against ${b.id}`,
    title: "which reply is better",
    kind: "compare",
    version: 2,
    seed: recipe.seed,
    expect(sized) {
      const { rows, tokens } = sized(pairs);
      return {
        ...sized(pairs),
        asked: [asking("judge", judge, 2 * rows, tokens + size(judgeQuestion), verdictTokens(recipe.evaluate.judge))],
      };
    },
    over: pairs,
    models: { judge },
    dependsOn: (row) => ({
      question: trained
        ? labelDependsOn(row, { ...question, method: "choice", swap: true })
        : format
          ? judgedDependsOn(format)
          : judgeQuestion,
      ...{ a: a.id, b: b.id },
    }),
    run: (rows, models, call) => {
      const labeller = models.judge!;
      const who = trained
        ? principleJudge({ ...question, labeller })
        : format
          ? formatJudge({ ...format, judge: labeller })
          : choiceJudge(labeller, { seed: recipe.seed });
      return comparePairs(rows, { judge: who, a: a.id, b: b.id }, call);
    },
  });
}

/** The judge's own way of being asked, where the recipe names one. */
function formatOf({ evaluate, seed }: PartContext["recipe"]) {
  return evaluate.judge && { asking: evaluate.judge, seed };
}

/** How good each reply is to a judge that training never heard. METHODS §3, §7. */
function ratingStage(
  { recipe }: PartContext,
  { id, responses }: Answers | BaselinePart,
  judge: Stage<ModelValue>,
): Stage<StoredRows<Score>> {
  const format = formatOf(recipe);
  return itemStage<ResponseRow, Score>({
    name: `rating of ${id}`,
    title: `the judge's rating of replies of ${id}`,
    kind: "rate",
    version: 1,
    seed: recipe.seed,
    expect(sized) {
      const { rows, tokens } = sized(responses);
      return {
        ...sized(responses),
        asked: [asking("judge", judge, rows, tokens + size(ratingQuestion), verdictTokens(recipe.evaluate.judge))],
      };
    },
    over: responses,
    models: { judge },
    dependsOn: () => ({ question: format ? judgedDependsOn(format) : ratingQuestion }),
    run: (rows, models, call) =>
      format
        ? judgedScores(rows, { ...format, judge: models.judge! }, call)
        : expectedScores(rows, { judge: models.judge! }, call),
  });
}

interface Answers {
  /** Of the checkpoint. */
  readonly id: string;
  readonly responses: Stage<StoredRows<ResponseRow>>;
}
