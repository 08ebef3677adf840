import type { ChainRow, ExampleRow, OpinionRow, PromptRow } from "@tenet/data";
import { addressesOf } from "@tenet/lm";
import { hashOf } from "@tenet/runs";
import { sharesPrompts } from "@tenet/train";
import { askedHash, constitutionHash } from "../../constitution/index.ts";
import { assembleScorecard, type CheckpointEvidence, judgedResponses, type Scorecard } from "../../evaluate/index.ts";
import { alarmsOf, taughtNothingText } from "../alarms.ts";
import { askedIn } from "../asked-anew.ts";
import { chartsOf } from "../charts.ts";
import type { PartContext } from "../context.ts";
import { independenceOf } from "../independence.ts";
import { labellingOf } from "../label-costs.ts";
import { labelsBy, preferenceModelOf } from "../learnt-from.ts";
import { deviceOf } from "../models.ts";
import { peopleCard, wordsAbout } from "../people-card.ts";
import { isAudited, learnsModelLabels } from "../recipe.ts";
import { reportStage, type Stage, type StageContext } from "../stages/index.ts";
import { localName, type ModelValue, type Report, type StoredRows } from "../values.ts";
import { learntFromText, wasLearntFrom } from "./apart.ts";
import type { AuditReport } from "./audit.ts";
import { baselineParts } from "./baselines.ts";
import { boundPart } from "./bound.ts";
import { type GateReport, goesWithout } from "./gates.ts";
import { shownBeside, shownSettings } from "./given.ts";
import { comparisonStage, ratingStage, scoresOf } from "./judged.ts";
import { unreadIn } from "./labels.ts";
import { type CheckpointPart, foundIn, looksAt, stagesOf } from "./looks.ts";
import { replyScores } from "./reply-scores.ts";

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
  /** Scores the replies too, unless its gate has the run go without it. */
  readonly preferenceModel?: Stage<ModelValue>;
  readonly preferenceGate?: Stage<Report<GateReport>>;
  /** Who says what the last policy's replies cost, where that is bounded: a cost model, or the critic. */
  readonly costedBy?: Stage<ModelValue>;
  /** Compares the checkpoints' replies, each with those of the first and of the one before it; rates them where training never heard it. */
  readonly judge?: Stage<ModelValue>;
}

/** The scorecard, and everything it is made of: the same prompts and seeds for every checkpoint. METHODS §7. */
export function scorecardStage(context: PartContext, parts: ScorecardParts): Stage<Report<Scorecard>> {
  const { recipe, constitution, unseen } = context;
  const { checkpoints, heldOut, opinions, chains, examples, audits = [], gates = [], judge } = parts;
  const { preferenceModel, preferenceGate } = parts;
  const [first] = checkpoints;
  const looked = looksAt(context, checkpoints, { heldOut, opinions });
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
  const bounded = boundPart(context, { checkpoints, looked, costedBy: parts.costedBy });
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
    ...bounded?.inputs,
    ...Object.assign({}, ...checkpoints.map((checkpoint, i) => stagesOf(checkpoint, looked[i]!))),
  };
  // As they were in training: its rewards are what the scores are held against.
  const shareBeginnings = preferenceModel !== undefined && recipe.policy !== undefined && sharesPrompts(recipe.policy);
  return reportStage({
    name: "scorecard",
    title: "scorecard on held-out prompts",
    kind: "scorecard",
    // Replies to one prompt compute it once since 3. A scorecard that is there keeps what it recommended when it was made: that its rule changed is no
    // reason to make it again.
    version: shareBeginnings ? 3 : 2,
    seed: recipe.seed,
    inputs,
    settings: {
      constitution: shown ? askedHash(constitution) : constitutionHash(constitution),
      checkpoints: checkpoints.map(({ id, label }) => [id, label]),
      ...(recipe.evaluate.mustHold && { mustHold: recipe.evaluate.mustHold }),
      ...(unseen && { unseen: constitutionHash(unseen) }),
      ...(bounded && { bound: bounded.settings }),
      ...(shown && { shown: shownSettings(recipe) }),
    },
    async make(_, stage) {
      const replies = spoken.map(({ responses }) => [...stage.value(responses).rows()]);
      const without = (gate: Stage<Report<GateReport>>) => goesWithout(recipe, stage.value(gate).value);
      const proxies =
        preferenceModel &&
        !(preferenceGate && without(preferenceGate)) &&
        (await replyScores(stage, stage.value(preferenceModel), replies, {
          ...{ ...deviceOf(context.options), shareBeginnings, shown },
        }));
      const seen = (i: number) => ({
        responses: judgedResponses(constitution, replies[i]!, unseen),
        ...(proxies ? { proxy: proxies[i]! } : {}),
        ...(rated ? { judge: scoresOf(stage.value(ratings[i]!).rows()) } : {}),
      });
      const evidence = checkpoints.map(({ id, label, model, step }, i): CheckpointEvidence => {
        const value = stage.value(model);
        return {
          id,
          label,
          model: nameOf(value),
          ...(value.source.type === "local" && value.source.adapter !== undefined ? { adapter: value.hash } : {}),
          ...(step === "supervised" && { imitates: true }),
          ...seen(i),
          ...foundIn(stage, looked[i]!),
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
        ...(independence?.kind === "unseen" ? { judgeName: "share of replies that break no unseen check" } : {}),
        ...(independence ? { independence: named(independence, rated && nameOf(stage.value(rated))) } : {}),
        ...(untrained.length > 0 ? { baselines: untrained } : {}),
        replyLimit: recipe.evaluate.sampling.maxTokens,
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
            const why = [...gate.reasons, ...(without(one) ? ["the policy learnt without it"] : [])].join("; ");
            return { name, passed: gate.passed, overridden: gate.overridden, why };
          }),
          ...unaudited(recipe),
        ],
        ...(recipe.evaluate.mustHold && { mustHold: recipe.evaluate.mustHold }),
        ...(bounded && { bound: { ...bounded.bound, costs: await bounded.costs(stage) } }),
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
            ...(unseen && { "unseen checks": constitutionHash(unseen) }),
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

type Independence = NonNullable<Scorecard["independence"]>;

function named(independence: Independence, name: string | undefined): Independence {
  return name === undefined ? independence : { ...independence, name };
}

/** A model as people know it: no path of this machine. */
function nameOf({ source, hash }: ModelValue): string {
  return source.type === "local"
    ? localName(source, hash)
    : (source.settings.model ?? addressesOf(source.settings).join(", "));
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
