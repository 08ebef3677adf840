import { type PairRow, type PreferenceRow, type PromptRow, rowId, wilson } from "@tenet/data";
import type { Label } from "@tenet/runs";
import { constitutionHash } from "../constitution/index.ts";
import type { LabelHealth } from "../evaluate/index.ts";
import { lookers } from "../feedback/constitution-first.ts";
import { checkedHashes } from "../feedback/examples.ts";
import {
  type Audit,
  type AuditSettings,
  applyHumanLabels,
  auditLabels,
  auditPairs,
  contrastDependsOn,
  contrastPairs,
  knownExamples,
  labelByChecks,
  labelByContrast,
  labelDependsOn,
  labelPairs,
  makePairs,
  pairsDependsOn,
} from "../feedback/index.ts";
import { unreadReason, unreadVerdict, verdictTokens } from "../judge/index.ts";
import type { PartContext } from "./context.ts";
import type { Asked, Size } from "./expectation.ts";
import { asking, lengthOf, mean, perMessage, size, sizes } from "./sizes.ts";
import { GateError, itemStage, reportStage, rowsStage, type Stage } from "./stages.ts";
import type { ModelValue, Report, StoredRows } from "./values.ts";

/** Pairs of replies to compare. METHODS §3. */
export function pairsStage(
  context: PartContext,
  part: {
    readonly name: string;
    readonly prompts: Stage<StoredRows<PromptRow>>;
    readonly model: Stage<ModelValue>;
    readonly second?: Stage<ModelValue> | undefined;
  },
): Stage<StoredRows<PairRow>> {
  const { name, prompts, model, second } = part;
  const { seed, feedback } = context.recipe;
  const options = { ...feedback.pairs, seed };
  if (feedback.pairs.contrast !== undefined)
    return contrastPairsStage(context, { name, prompts, model, sampling: feedback.pairs.sampling });
  return itemStage<PromptRow, PairRow>({
    name,
    title: "pairs of replies",
    kind: "pairs",
    version: 2,
    seed,
    expect(sized) {
      const { rows, tokens } = sized(prompts);
      const { samples, pairs: which, sampling } = options;
      return {
        rows: rows * (which === "all" ? (samples * (samples - 1)) / 2 : 1),
        tokens: tokens + 2 * sampling.maxTokens,
        prompt: tokens,
        asked: [asking("generator", model, rows * samples, tokens + size(options.system), sampling.maxTokens)],
      };
    },
    over: prompts,
    models: { generator: model, ...(second && { second }) },
    dependsOn: (row) => pairsDependsOn(row, options),
    run: (rows, { generator, second: other }, call) =>
      makePairs(rows, { ...options, generator: generator!, second: other }, call),
  });
}

/** Pairs whose answer is known by how they were made (RLCD). METHODS §3. */
export function contrastPairsStage(
  { recipe: { seed }, constitution }: PartContext,
  part: {
    readonly name: string;
    readonly prompts: Stage<StoredRows<PromptRow>>;
    readonly model: Stage<ModelValue>;
    readonly sampling: PartContext["recipe"]["feedback"]["pairs"]["sampling"];
  },
): Stage<StoredRows<PreferenceRow>> {
  const { name, prompts, model, sampling } = part;
  const options = { sampling, constitution, seed };
  return itemStage<PromptRow, PreferenceRow>({
    name,
    title: "replies under principles and under their opposites",
    kind: "contrast-pairs",
    version: 1,
    seed,
    expect(sized) {
      const { rows, tokens } = sized(prompts);
      const rule = mean(constitution.principles.map(({ text }) => size(text))) + perMessage;
      const asked = [asking("generator", model, rows * 2, tokens + rule, sampling.maxTokens)];
      return { rows, tokens: tokens + 2 * sampling.maxTokens, prompt: tokens, asked };
    },
    over: prompts,
    models: { generator: model },
    dependsOn: (row) => contrastDependsOn(row, options),
    run: (rows, { generator }, call) => contrastPairs(rows, { ...options, generator: generator! }, call),
  });
}

/** What is preferred, and how surely. METHODS §3. */
export function labelsStage(
  context: PartContext,
  part: {
    readonly name: string;
    readonly title: string;
    readonly pairs: Stage<StoredRows<PairRow>>;
    readonly labeller: Stage<ModelValue>;
    readonly critic: Stage<ModelValue>;
    /** Labels wait for it: nothing is spent behind a gate that refuses. */
    readonly behind?: Stage<Report<AuditReport>> | undefined;
  },
): Stage<StoredRows<PreferenceRow>> {
  const { recipe, constitution, labelDemonstrations: demonstrations } = context;
  const { seed, feedback } = recipe;
  const { name, title, pairs, labeller, critic, behind } = part;
  const options = { ...feedback.label, constitution, demonstrations, seed };
  if (feedback.label.method === "checks")
    return itemStage<PairRow, PreferenceRow>({
      name,
      title: `${title} by the checks`,
      kind: "label-by-checks",
      version: 1,
      seed,
      over: pairs,
      dependsOn: () => checkedHashes(constitution),
      run: (rows) => labelByChecks(rows, { constitution }),
    });
  if (feedback.label.method === "contrast")
    return itemStage<PairRow, PreferenceRow>({
      name,
      title: `${title} by how the pairs were made`,
      kind: "label-by-contrast",
      version: 1,
      seed,
      over: pairs,
      dependsOn: () => null,
      run: (rows) => labelByContrast(rows),
    });
  return itemStage<PairRow, PreferenceRow>({
    name,
    title,
    kind: "label",
    version: 1,
    seed,
    expect: (sized) => ({ ...sized(pairs), asked: labelRequests(context, sized(pairs), { labeller, critic }) }),
    over: pairs,
    models: { labeller, ...(lookers(options.constitutionFirst).critic && { critic }) },
    ...(behind && { behind: [behind] }),
    dependsOn: (row) => labelDependsOn(row, options),
    run: (rows, models, call) =>
      labelPairs(rows, { ...options, labeller: models.labeller!, critic: models.critic }, call),
  });
}

/** Tokens of a labeller's question about a pair. */
export function questionTokens({ recipe, constitution, labelDemonstrations }: PartContext, pairs: Size): number {
  const question = mean(constitution.principles.map(({ preferenceQuestion }) => size(preferenceQuestion)));
  const shown = labelDemonstrations.reduce((sum, texts) => sum + sizes(texts), 0);
  return pairs.tokens + question + size(recipe.feedback.label.system) + shown + perMessage;
}

/** What a labeller and a critic are asked to read and write about pairs. */
function labelRequests(
  context: PartContext,
  pairs: Size,
  { labeller, critic }: { readonly labeller: Stage; readonly critic: Stage },
): Asked[] {
  const { recipe, constitution } = context;
  const { method, swap, principles, cot, constitutionFirst } = recipe.feedback.label;
  const prompt = questionTokens(context, pairs);
  const questions = pairs.rows * principles * (swap ? 2 : 1);
  const requests: Asked[] = [];
  if (method === "cot") {
    const { samples, sampling } = cot;
    // The letters are read behind the reasoning.
    const reasoned = asking("labeller", labeller, questions * samples, 2 * prompt, sampling.maxTokens);
    requests.push({ ...reasoned, promptTokens: reasoned.promptTokens + questions * samples * sampling.maxTokens });
  } else requests.push(asking("labeller", labeller, questions, prompt, verdictTokens(recipe.feedback.label.judge)));
  const question = mean(constitution.principles.map(({ preferenceQuestion }) => size(preferenceQuestion)));
  if (lookers(constitutionFirst).critic)
    // Both replies, in both orders of the answers.
    requests.push(asking("critic", critic, pairs.rows * principles * 4, pairs.tokens / 2 + question, 0));
  return requests;
}

/**
 * What people said of the pairs, over the machine's labels. METHODS §3. Where nobody said anything it is the machine's dataset
 * itself. What it comes to depends on the words about its own pairs, and on nothing else that the store holds.
 */
export function humanLabelsStage(
  { recipe: { seed } }: PartContext,
  part: {
    readonly name: string;
    readonly pairs: Stage<StoredRows<PairRow>>;
    readonly machine: Stage<StoredRows<PreferenceRow>>;
  },
): Stage<StoredRows<PreferenceRow>> {
  const { name, pairs, machine } = part;
  const title = "what people prefer, over the machine's labels";
  const kind = "human-labels";
  const inputs = [pairs, machine];
  return {
    name,
    title,
    kind,
    inputs,
    expect: (sized) => sized(machine),
    async execute(context) {
      const byId = new Map([...context.value(pairs).rows()].map((pair) => [pair.id, pair]));
      const words = wordsOn([...byId.values()], context.store.labels());
      if (words.length === 0) return context.value(machine);
      const said = words.map(({ pair, who, p }): PreferenceRow => {
        const { prompt, a, b, cut } = byId.get(pair)!;
        const id = rowId("preference", prompt, a, b, p, "human", who);
        const origin = { source: `label of ${who}`, parents: [pair] };
        return {
          id,
          prompt,
          a,
          b,
          ...(cut && { cut }),
          p,
          weight: 1,
          label: "human",
          explanation: [{ step: "human", p, who }],
          origin,
        };
      });
      const stage = rowsStage<PreferenceRow>({
        name,
        title,
        kind,
        version: 1,
        seed,
        inputs,
        settings: () => words.map(({ pair, who, p }) => [pair, who, p]),
        *make() {
          const { rows, unmatched } = applyHumanLabels([...context.value(machine).rows()], said);
          for (const row of [...rows, ...unmatched]) yield { row };
        },
      });
      return stage.execute(context);
    },
  };
}

/**
 * The latest word of each person on each of the pairs, whichever of its replies stood first when they said it: p is that of
 * the pair's own `a`. The words come in the order in which they were said; they go in one that does not depend on it.
 */
function wordsOn(pairs: readonly PairRow[], words: readonly Label[]): Label[] {
  const turned = new Map(pairs.map(({ id, prompt, a, b }) => [rowId("pair", prompt, b, a), id]));
  const own = new Set(pairs.map(({ id }) => id));
  const latest = new Map<string, Label>();
  for (const { pair, who, p } of words) {
    const meant = own.has(pair) ? pair : turned.get(pair);
    if (meant !== undefined)
      latest.set(JSON.stringify([meant, who]), { pair: meant, who, p: meant === pair ? p : 1 - p });
  }
  return [...latest].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, word]) => word);
}

/** The constitution's own examples as pairs with a known answer. */
export function examplePairsStage(
  { recipe: { seed }, constitution }: PartContext,
  name: string,
): Stage<StoredRows<PreferenceRow>> {
  const known = knownExamples(constitution);
  return rowsStage<PreferenceRow>({
    name,
    title: "good and bad replies of the constitution's examples",
    kind: "example-pairs",
    version: 1,
    seed,
    expect: () => ({
      rows: known.length,
      tokens: mean(known.map(({ prompt, a, b }) => lengthOf(prompt) + size(a) + size(b))),
      prompt: mean(known.map(({ prompt }) => lengthOf(prompt))),
    }),
    settings: () => constitutionHash(constitution),
    *make() {
      for (const row of known) yield { row };
    },
  });
}

/** Inputs that were set aside because somebody's answer could not be read. */
export function unreadIn(rows: StoredRows<unknown>): number {
  const unread = rows.reasons().filter(({ reason }) => reason.includes(unreadReason) || reason.includes(unreadVerdict));
  return unread.reduce((sum, { count }) => sum + count, 0);
}

/** The audit's figures as the store and the scorecard keep them. */
export interface AuditReport {
  readonly health: LabelHealth;
  readonly gate: Audit["gate"];
}

/**
 * Labels pairs whose answer is known in the way the recipe labels, and refuses to go on when that is no better than chance.
 * METHODS §3.
 */
export function auditStage(
  context: PartContext,
  part: {
    readonly name: string;
    readonly known: Stage<StoredRows<PreferenceRow>>;
    readonly labeller: Stage<ModelValue>;
    readonly critic: Stage<ModelValue>;
    readonly settings: AuditSettings;
    /** What to do where the gate refuses. */
    readonly refused: string;
  },
): Stage<Report<AuditReport>> {
  const { name, known, labeller, critic, settings, refused } = part;
  const { seed } = context.recipe;
  const pairs = rowsStage<PairRow>({
    name: `${name} pairs`,
    title: "pairs with a known answer, in a drawn order",
    kind: "audit-pairs",
    version: 1,
    seed,
    inputs: [known],
    settings: () => null,
    *make(stage) {
      for (const row of auditPairs([...stage.value(known).rows()], { seed })) yield { row };
    },
  });
  const labels = labelsStage(context, {
    name: `${name} labels`,
    title: "labels for the audit",
    pairs,
    labeller,
    critic,
  });
  return reportStage({
    name,
    title: "what the labels are worth",
    kind: "audit",
    version: 2,
    seed,
    inputs: { known, labels },
    settings,
    async make(inputs) {
      const audit = auditLabels([...inputs.known.rows()], [...inputs.labels.rows()], { ...settings, seed });
      const labellerName = [...inputs.labels.rows()][0]?.origin.models?.labeller ?? "labeller";
      const unread = unreadIn(inputs.labels);
      const asked = audit.labelled + audit.unlabelled;
      return { health: labelHealth(audit, labellerName, { unread, asked }), gate: audit.gate };
    },
    gate({ gate }, { emit }) {
      if (gate.passed) return;
      const message = gate.reasons.join("; ");
      if (!gate.open) throw new GateError(`the audit refuses the labeller: ${message}. ${refused}`);
      emit({
        type: "message",
        stage: name,
        level: "warning",
        message: `the audit refuses the labeller, and the recipe overrides it: ${message}`,
      });
    },
  });
}

function labelHealth(
  audit: Audit,
  labeller: string,
  { unread, asked }: { unread: number; asked: number },
): LabelHealth {
  const card = ({ value, interval: [low, high], n }: Audit["accuracy"]): LabelHealth["accuracy"] => ({
    value: Number.isFinite(value) ? value : 0,
    interval: [Number.isFinite(low) ? low : null, Number.isFinite(high) ? high : null],
    n,
  });
  const { gate, lengthBias, positionBias, flips, calibration } = audit;
  const figures: [string, Audit["accuracy"], string?][] = [
    ["Same answer in both orders", audit.swapConsistency, "1"],
    ["Follows the position", positionBias.share, "0"],
    ["Prefers the longer", lengthBias.longerPreferred, "as often as it is right"],
    ["The longer is right", lengthBias.longerRight],
    ["Planted flips found", flips.found, "1"],
    ["False alarms among the others", flips.falseAlarms, "0"],
    // Only where there is something to say of them.
    ...(audit.sampledLetters.value > 0
      ? [
          ["Read from sampled letters, not log-probabilities", audit.sampledLetters, "0"] as [
            string,
            Audit["accuracy"],
            string,
          ],
        ]
      : []),
    ...(unread > 0
      ? [
          ["Pairs with an answer that could not be read", wilson(unread, asked), "0"] as [
            string,
            Audit["accuracy"],
            string,
          ],
        ]
      : []),
  ];
  return {
    labeller,
    accuracy: card(audit.accuracy),
    gate: { passed: gate.passed, overridden: gate.overridden, why: gate.reasons.join("; ") },
    figures: figures
      .filter(([, { n }]) => n > 0)
      .map(([label, estimate, ideal]) => ({
        label,
        estimate: card(estimate),
        ...(ideal === undefined ? {} : { ideal }),
      })),
    ...(audit.labelled > 0 && { calibration: { ece: calibration.ece, brier: card(calibration.brier) } }),
    reliability: calibration.bins.map(({ predicted, observed, n }) => ({ predicted, observed, n })),
    principles: [...audit.principles].map(([principle, agreement]) => ({ principle, agreement: card(agreement) })),
  };
}
