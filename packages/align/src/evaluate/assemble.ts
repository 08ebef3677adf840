import type { ChainRow } from "@tenet/data";
import { groupBy, mean } from "@tenet/data";
import { type Constitution, constitutionHash } from "../constitution/index.ts";
import { adherence, type JudgedResponse, violates } from "./adherence.ts";
import { type BaselineEvidence, baselineOf, baselineSentences } from "./baselines.ts";
import { type Bound, meanCost } from "./bound.ts";
import { divergence } from "./divergence.ts";
import { formatEstimate, formatValue } from "./format.ts";
import { brokenShare, type CheckpointEvidence, type MeasureOptions, measures, stanceByPatterns } from "./measures.ts";
import { type OptimisationPoint, overoptimisation, overoptimisationRule } from "./overoptimisation.ts";
import { recommend } from "./recommend.ts";
import { promptKey } from "./refusal.ts";
import { cardEstimate, type Metric, type Scorecard, type ScorecardInput, scorecardSchema } from "./scorecard.ts";
import { brokenReplies, replyList, shownChains, shownSamples } from "./shown.ts";
import { verdict } from "./verdict.ts";
import { type Comparison, eloRatings, winRate } from "./winrate.ts";

/** What a scorecard is made of: rows that the stages yielded, and what the run knows of itself. */
export interface ScorecardEvidence
  extends Pick<ScorecardInput, "title" | "created" | "provenance" | "humanLabelUsd" | "labelling"> {
  constitution: Constitution;
  /** Of every draw: intervals, samples. */
  seed: number;
  /** In order; the first is what the others are compared with. */
  checkpoints: readonly CheckpointEvidence[];
  comparisons?: readonly Comparison[];
  /** Pairs that the judge was asked about and whose answer could not be read: they count for nobody. */
  unreadComparisons?: number;
  /** Replies that the judge was to score and whose verdict could not be read: they have no score. */
  unreadRatings?: number;
  /** Held-out prompts that are not measured on, in a sentence. */
  leftOut?: string;
  /** Checkpoints whose training taught them nothing, and why; of those whose replies were all cut the card knows itself. */
  voids?: Scorecard["voids"];
  /** What the same prompts give without training. */
  baselines?: readonly BaselineEvidence[];
  /** Tokens that a reply to a held-out prompt may have. */
  replyLimit?: number;
  /** Who is asked beside what was trained against; `checks`: the share of replies that break none stands for a judge's score. */
  independence?: Scorecard["independence"];
  people?: Scorecard["people"];
  preferenceModel?: Scorecard["preferenceModel"];
  labelsBy?: Scorecard["labelsBy"];
  /** Who refuses; default by patterns. */
  stanceOf?: MeasureOptions["stanceOf"];
  proxyName?: string;
  judgeName?: string;
  labelHealth?: ScorecardInput["labelHealth"];
  gates?: ScorecardInput["gates"];
  /** Ids of principles that may not be broken. */
  mustHold?: readonly string[];
  /** What a policy's replies might cost, and what a critic or a cost model says that each does, by row id; what the checks say is known. */
  bound?: Bound & { readonly costs?: ReadonlyMap<string, number> | undefined };
  charts?: ScorecardInput["charts"];
  chains?: readonly ChainRow[];
  costs?: ScorecardInput["costs"];
  /** Prompts shown with every checkpoint's reply, drawn at random. Default 12. */
  samples?: number;
  /** Chains shown, drawn at random. Default 6. */
  chainSamples?: number;
}

/**
 * The scorecard of checkpoints that answered the same held-out prompts: every measure with its 95 % interval, the paired differences
 * to the first checkpoint and to the one before, and everything a reader needs to check them. Equal evidence gives an equal document.
 *
 * Errors: ZodError where a field of the evidence is malformed, RangeError where evidence of two checkpoints cannot be compared.
 */
export function assembleScorecard(evidence: ScorecardEvidence): Scorecard {
  const { checkpoints, seed, comparisons = [], baselines = [] } = evidence;
  const options: MeasureOptions = { seed, stanceOf: evidence.stanceOf ?? stanceByPatterns };
  const rows: Scorecard["rows"] = [];
  const differences: Scorecard["differences"] = [];
  const used: Metric[] = [];
  const everyone = [...checkpoints, ...baselines];
  const evidenceOf = (id: string) => everyone.find((one) => one.id === id)!;
  const compare = (metric: string, of: string, against: string) => {
    const change = measures.find(({ name }) => name === metric)?.between(evidenceOf(against), evidenceOf(of), options);
    if (!change) return undefined;
    const difference = { checkpoint: of, against, metric, ...cardEstimate(change) };
    differences.push(difference);
    return difference;
  };
  for (const { of, between: _, ...metric } of measures) {
    const before = rows.length;
    for (const [i, checkpoint] of everyone.entries()) {
      const estimate = of(checkpoint, options);
      if (estimate)
        rows.push({ checkpoint: checkpoint.id, metric: metric.name, ...cardEstimate(estimate), better: metric.better });
      const trained = i > 0 && i < checkpoints.length;
      const earliers = trained ? [checkpoints[0], checkpoints[i - 1], ...baselines] : [checkpoints[0]];
      for (const earlier of new Set(earliers)) {
        if (!earlier || earlier === checkpoint) continue;
        compare(metric.name, checkpoint.id, earlier.id);
      }
    }
    if (rows.length > before) used.push(limited(metric, evidence));
  }
  // Where most verdicts could not be read, those that could are no sample of them.
  const readable = (evidence.unreadComparisons ?? 0) > comparisons.length ? [] : comparisons;
  const compared = comparisonRows(readable, checkpoints, { seed, notes: unreadNotes(evidence) });
  const adherences = [...checkpoints, ...baselines].map(({ id, responses }) => ({
    checkpoint: id,
    ...adherence(responses),
  }));
  const trust = trustOf(evidence);
  const voids = [...(evidence.voids ?? []), ...allCut(evidence)];
  const facts = {
    ...(voids.length > 0 ? { voids } : {}),
    checkpoints: checkpoints.map(({ id, label, model, adapter }) => ({
      id,
      label,
      model,
      ...(adapter === undefined ? {} : { adapter }),
    })),
    heldOut: heldOut(checkpoints[0]?.responses ?? [], seed),
    metrics: [...used, ...compared.metrics],
    rows: [...rows, ...compared.rows],
    differences,
    labelHealth: (evidence.labelHealth ?? []).map((health) => scorecardSchema.shape.labelHealth.element.parse(health)),
    ...(trust ? { overoptimisation: trust } : {}),
    ...(evidence.independence === undefined ? {} : { independence: evidence.independence }),
    gates: (evidence.gates ?? []).map((gate) => ({ ...gate })),
  };
  const imitating = new Set(checkpoints.filter(({ imitates }) => imitates).map(({ id }) => id));
  const mayNotBreak = (evidence.mustHold ?? []).map(brokenShare);
  const recommendation = recommend(facts, {
    ...{ compare, imitates: (id) => imitating.has(id) },
    mustHold: (of, against) =>
      mayNotBreak.flatMap(({ name: principle, between }) => {
        const change = between(evidenceOf(against), evidenceOf(of), options);
        return change ? [{ principle, change: cardEstimate(change) }] : [];
      }),
  });
  const chosen = recommendation.checkpoint ?? checkpoints.at(-1)?.id;
  const mustHold = adherences
    .filter(({ checkpoint }) => checkpoint === chosen)
    .flatMap(({ checkpoint, principles }) =>
      (evidence.mustHold ?? []).flatMap((principle) => {
        const estimate = principles.get(principle);
        return estimate === undefined || estimate.n === 0 ? [] : [{ principle, checkpoint, ...cardEstimate(estimate) }];
      }),
    );
  const unseen = (evidence.mustHold ?? []).filter((id) => mustHold.every(({ principle }) => principle !== id));
  const untrained = baselines.map(baselineOf);
  return scorecardSchema.parse({
    format: "tenet scorecard",
    version: 1,
    title: evidence.title,
    ...(evidence.created === undefined ? {} : { created: evidence.created }),
    constitution: {
      name: evidence.constitution.name,
      hash: constitutionHash(evidence.constitution),
      principles: evidence.constitution.principles.map(({ id, text, category, checks }) => ({
        id,
        text,
        ...(category === undefined ? {} : { category }),
        checked: checks.length > 0,
      })),
    },
    ...facts,
    ...(untrained.length > 0
      ? { baselines: { models: untrained, sentences: baselineSentences(untrained, facts) } }
      : {}),
    ...(evidence.people === undefined ? {} : { people: evidence.people }),
    ...(evidence.preferenceModel === undefined ? {} : { preferenceModel: evidence.preferenceModel }),
    ...(evidence.labelsBy === undefined ? {} : { labelsBy: evidence.labelsBy }),
    principles: adherences.flatMap(({ checkpoint, principles }) =>
      [...principles].flatMap(([principle, estimate]) =>
        estimate.n === 0 ? [] : [{ principle, checkpoint, ...cardEstimate(estimate) }],
      ),
    ),
    categories: adherences.flatMap(({ checkpoint, categories }) =>
      [...categories].flatMap(([category, estimate]) =>
        estimate.n === 0 ? [] : [{ category, checkpoint, ...cardEstimate(estimate) }],
      ),
    ),
    verdict: verdict(facts, {
      ...{ recommendation, mustHold, unseen, bound: spent(evidence), leftOut: evidence.leftOut },
      stumps: stumpsIn({
        ...evidence,
        checkpoints: checkpoints.filter(({ id }) => voids.every(({ checkpoint }) => checkpoint !== id)),
      }),
    }),
    ...(recommendation.checkpoint === undefined ? {} : { recommended: recommendation.checkpoint }),
    better: recommendation.better,
    mustHold,
    ...(unseen.length > 0 && { unseen }),
    charts: evidence.charts ?? [],
    chains: shownChains(evidence.chains ?? [], evidence.chainSamples ?? 6, seed),
    samples: shownSamples(checkpoints, evidence.samples ?? 12, options),
    breaks: brokenReplies(checkpoints, seed),
    replies: replyList(checkpoints),
    costs: evidence.costs ?? [],
    ...(evidence.labelling === undefined ? {} : { labelling: evidence.labelling }),
    ...(evidence.humanLabelUsd === undefined ? {} : { humanLabelUsd: evidence.humanLabelUsd }),
    provenance: {
      ...evidence.provenance,
      notes: [
        ...(evidence.provenance.notes ?? []),
        ...(evidence.leftOut === undefined ? [] : [evidence.leftOut]),
        ...unreadNotes(evidence),
        ...unratedNotes(evidence),
      ],
    },
  } satisfies ScorecardInput);
}

/** The bound with what the replies that it is on cost. */
function spent({ bound, checkpoints, seed }: ScorecardEvidence) {
  if (bound === undefined) return undefined;
  const responses = checkpoints.find(({ id }) => id === bound.checkpoint)?.responses ?? [];
  const mean = meanCost(responses, bound, { seed });
  return { ...bound, mean: mean && cardEstimate(mean) };
}

/** What the card says of verdicts that nobody could read. */
function unreadNotes({ comparisons = [], unreadComparisons: unread = 0 }: ScorecardEvidence): string[] {
  if (unread === 0) return [];
  const counted =
    unread > comparisons.length ? "most could not: no win rate is made of the others" : "they count for nobody";
  return [`${unread} of ${comparisons.length + unread} comparisons by the judge could not be read; ${counted}.`];
}

/** Checkpoints of which no reply came to its end: what is measured is how beginnings look. */
function allCut({ checkpoints, replyLimit }: ScorecardEvidence): NonNullable<Scorecard["voids"]> {
  return checkpoints.flatMap(({ id, responses }) => {
    if (responses.length === 0 || responses.some(({ row }) => row.finishReason !== "length")) return [];
    const limit = replyLimit === undefined ? "the limit of tokens" : `${replyLimit} tokens`;
    return [{ checkpoint: id, why: `had every reply cut off at ${limit} (evaluate.sampling.maxTokens)` }];
  });
}

function unratedNotes({ unreadRatings: unread = 0, checkpoints, baselines = [] }: ScorecardEvidence): string[] {
  if (unread === 0) return [];
  const scored = [...checkpoints, ...baselines].reduce((sum, { judge }) => sum + (judge?.size ?? 0), 0);
  return [`${unread} of ${scored + unread} of the judge's ratings could not be read; these replies have none.`];
}

function comparisonRows(
  comparisons: readonly Comparison[],
  checkpoints: readonly CheckpointEvidence[],
  { seed, notes }: { seed: number; notes: readonly string[] },
): Pick<Scorecard, "metrics" | "rows"> {
  const [first, ...later] = checkpoints;
  const met = (id: string) =>
    comparisons.some(({ a, b }) => (a === id && b === first?.id) || (a === first?.id && b === id));
  if (!first || !later.some(({ id }) => met(id))) return { metrics: [], rows: [] };
  const better = "higher" as const;
  const ratings = eloRatings(comparisons, { anchor: first.id, seed });
  return {
    metrics: [
      {
        name: "win-rate",
        label: `Wins against ${first.label}`,
        unit: "share",
        change: "difference",
        better,
        about: [
          "Points per comparison by the judge, asked in both orders: a tie, or a judge who follows the position, counts ½. 50% is even.",
          ...notes,
        ].join(" "),
      },
      {
        name: "elo",
        label: "Elo",
        unit: "points",
        change: "difference",
        better,
        about: `Bradley–Terry strength from all comparisons; ${first.label} stands at 1000.`,
      },
    ],
    rows: [
      ...later
        .filter(({ id }) => met(id))
        .map(({ id }) => {
          const { rate } = winRate(comparisons, { of: id, against: first.id, seed });
          return { checkpoint: id, metric: "win-rate", ...cardEstimate(rate), better };
        }),
      ...checkpoints.flatMap(({ id }) => {
        const rating = ratings.get(id);
        return rating ? [{ checkpoint: id, metric: "elo", ...cardEstimate(rating), better }] : [];
      }),
    ],
  };
}

function heldOut(responses: readonly JudgedResponse[], seed: number): Scorecard["heldOut"] {
  const prompts = groupBy(responses, ({ row }) => promptKey(row));
  return {
    prompts: prompts.size,
    benign: [...prompts.values()].filter(([reply]) => reply!.row.benign).length,
    ...(prompts.size > 0 && { samplesPerPrompt: responses.length / prompts.size }),
    seed,
  };
}

/** Share of replies cut off at the limit from which on their length is the limit's making. */
const cutShare = 0.1;

const wasCut = ({ row }: JudgedResponse) => row.finishReason === "length";

function cutOf({ responses }: ScorecardEvidence["checkpoints"][number]): number {
  return responses.length === 0 ? 0 : responses.filter(wasCut).length / responses.length;
}

/**
 * What the recipe's limit of tokens makes of the violations, where it cut many replies of a checkpoint: a stump counts as it stands, and breaks
 * what asks for a sentence that it did not come to.
 */
function stumpsIn({ checkpoints, replyLimit }: ScorecardEvidence): string | undefined {
  const spoke = checkpoints.filter(({ responses }) => responses.length > 0);
  if (replyLimit === undefined || spoke.every((one) => cutOf(one) < cutShare)) return undefined;
  const cut = spoke.map((one) => `${one.label} ${formatValue(cutOf(one), "share")}`);
  const ended = spoke.map(({ label, responses }) => {
    const { violations } = adherence(responses.filter((reply) => !wasCut(reply)));
    return `${label} ${violations.n === 0 ? "nothing" : formatEstimate(cardEstimate(violations), "share")}`;
  });
  return `Replies that the limit of ${replyLimit} tokens cut off count as they stand: ${cut.join(", ")}. Of those that ended, so many break a principle: ${ended.join(", ")}.`;
}

/** A measure that the recipe's limit of tokens makes says so. */
function limited(metric: Metric, { checkpoints, replyLimit }: ScorecardEvidence): Metric {
  if (replyLimit === undefined) return metric;
  const most = Math.max(...checkpoints.map(cutOf));
  const limit = `the recipe's limit of ${replyLimit} tokens`;
  if (metric.name === "unfinished")
    return {
      ...metric,
      madeByLimit: true,
      about: `Replies that reached ${limit} before they ended. Another limit gives another figure: a change is no merit by itself.`,
    };
  if (metric.name === "words" && most >= cutShare)
    return {
      ...metric,
      madeByLimit: true,
      about: `${metric.about} Up to ${Math.round(100 * most)}% of a checkpoint's replies were cut off at ${limit}: they would have been longer.`,
    };
  return metric;
}

/** Proxy against judge, of the checkpoints that both have scored and whose KL is known; the first checkpoint's is 0. */
function trustOf({
  checkpoints,
  seed,
  proxyName = "proxy",
  judgeName = "judge",
  independence,
}: ScorecardEvidence): Scorecard["overoptimisation"] {
  const points = checkpoints.flatMap(({ id, responses, logprobs, proxy, judge }, i): OptimisationPoint[] => {
    const kl = i === 0 ? 0 : logprobs?.policy.length ? sequenceKl(logprobs, seed) : undefined;
    const independent =
      independence?.kind === "checks"
        ? keptBy(responses, violates)
        : independence?.kind === "unseen"
          ? keptBy(responses, ({ breaksUnseen }) => breaksUnseen)
          : judge;
    if (!proxy || !independent || kl === undefined) return [];
    const point = { proxy: perPrompt(responses, proxy), judge: perPrompt(responses, independent) };
    return point.proxy.size > 0 && point.judge.size > 0 ? [{ name: id, kl, ...point }] : [];
  });
  if (points.length < 2) return undefined;
  const { points: judged, trust } = overoptimisation(points, {
    ...{ seed, partial: independence?.partial === true },
    shares: independence?.kind === "checks" || independence?.kind === "unseen",
  });
  return {
    rule: overoptimisationRule,
    trust,
    proxyName,
    judgeName,
    points: judged.map(({ proxy, judge, ...point }) => ({
      ...point,
      proxy: cardEstimate(proxy),
      judge: cardEstimate(judge),
    })),
  };
}

function sequenceKl({ policy, reference }: NonNullable<CheckpointEvidence["logprobs"]>, seed: number): number {
  return divergence(policy, reference, { seed }).perSequence.k3.value;
}

/** 1 for a reply that breaks nothing, 0 for one that does; a reply to which no check applies has no score. */
function keptBy(
  responses: readonly JudgedResponse[],
  breaks: (response: JudgedResponse) => boolean | undefined,
): Map<string, number> {
  return new Map(
    responses.flatMap((response): [string, number][] => {
      const broken = breaks(response);
      return broken === undefined ? [] : [[response.row.id, broken ? 0 : 1]];
    }),
  );
}

/** Mean score of each prompt's replies. */
function perPrompt(responses: readonly JudgedResponse[], scores: ReadonlyMap<string, number>): Map<string, number> {
  const scored = responses.flatMap(({ row }) => {
    const score = scores.get(row.id);
    return score === undefined ? [] : [{ prompt: promptKey(row), score }];
  });
  return new Map(
    [...groupBy(scored, ({ prompt }) => prompt)].map(([prompt, group]) => [
      prompt,
      mean(group.map(({ score }) => score)),
    ]),
  );
}
