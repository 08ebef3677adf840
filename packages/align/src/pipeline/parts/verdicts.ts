import { type ExampleRow, type PairRow, type PreferenceRow, type ResponseRow, rowId } from "@tenet/data";
import { constitutionTerm, type JudgeTerm, type PolicyTrainingSettings } from "@tenet/train";
import { drawnFrom } from "../../constitution/index.ts";
import { ratingQuestion } from "../../evaluate/index.ts";
import { judgePairs, type PairVerdict, type WeighSettings, weigh } from "../../feedback/index.ts";
import { generalRubric, rubricOf, verdictTokens } from "../../judge/index.ts";
import { criticOf, judgeReplies, type PanelOptions, panelDependsOn, violationProbability } from "../../reward/index.ts";
import type { PartContext } from "../context.ts";
import type { Asked, Size } from "../expectation.ts";
import { asking, mean, principleSize, size } from "../sizes.ts";
import { itemStage, rowsStage, type Stage } from "../stages/index.ts";
import type { ModelValue, StoredRows } from "../values.ts";
import type { Score } from "./judged.ts";
import { constraintOf, judgesAsked, ratingOf } from "./policy-judges.ts";

/*
 * What the constitution says of both replies of pairs, and what is made of that: labels weighed, replies to avoid.
 */

type Verdicts = Stage<StoredRows<PairVerdict>>;

/** Verdicts on both replies of pairs, by checks, critic or both. */
export function verdictsStage(
  { recipe: { seed }, constitution }: PartContext,
  part: {
    readonly name: string;
    readonly pairs: Stage<StoredRows<PairRow>>;
    readonly critic: Stage<ModelValue>;
    readonly panel: Pick<PanelOptions, "by" | "principles">;
  },
): Verdicts {
  const { name, pairs, critic, panel } = part;
  const options: PanelOptions = { constitution, by: panel.by, principles: panel.principles, seed };
  return itemStage<PairRow, PairVerdict>({
    name,
    title: "what the constitution says of both replies",
    kind: "pair-verdicts",
    version: 1,
    seed,
    expect(sized) {
      const { rows, tokens, prompt } = sized(pairs);
      const replies = { rows: 2 * rows, tokens: (tokens + prompt) / 2 };
      return { ...sized(pairs), asked: verdictRequests(options, replies, critic) };
    },
    over: pairs,
    models: panel.by === "checks" ? {} : { critic },
    dependsOn: () => panelDependsOn(options),
    run: (rows, { critic: model }, call) => {
      const asked = model && criticOf({ critic: model, identity: model.id, seed, local: true });
      return judgePairs(rows, options, asked, call);
    },
  });
}

/** How likely the critic holds it that replies violate: what each costs, where a constraint goes by its word. */
export function criticCostsStage(
  { recipe: { seed }, constitution }: PartContext,
  part: {
    readonly name: string;
    readonly responses: Stage<StoredRows<ResponseRow>>;
    readonly critic: Stage<ModelValue>;
  },
): Stage<StoredRows<Score>> {
  const { name, responses, critic } = part;
  // As in training.
  const options: PanelOptions = { constitution, by: "critic", principles: "all", seed };
  return itemStage<ResponseRow, Score>({
    name,
    title: "what replies to held-out prompts cost by the critic",
    kind: "critic-costs",
    version: 1,
    seed,
    expect: (sized) => ({ ...sized(responses), asked: verdictRequests(options, sized(responses), critic) }),
    over: responses,
    models: { critic },
    dependsOn: () => panelDependsOn(options),
    async *run(rows, { critic: model }, call) {
      const asked = criticOf({ critic: model!, identity: model!.id, seed, local: true });
      const verdicts = await judgeReplies(rows, options, asked, { round: 0, asker: 0 }, call);
      for (const [i, verdict] of verdicts.entries()) {
        const { id: response } = rows[i]!;
        if ("unanswered" in verdict) {
          yield { input: response, rows: [], aside: verdict.unanswered };
          continue;
        }
        const score = violationProbability(verdict.breaches);
        const origin = { parents: [response], models: { critic: model!.id } };
        yield { input: response, rows: [{ id: rowId("cost", response, score), origin, response, score }] };
      }
    },
  });
}

/** Verdicts by the pair that they are of. */
export function byPair(rows: Iterable<PairVerdict>): ReadonlyMap<string, PairVerdict> {
  return new Map([...rows].map((verdict) => [verdict.pair, verdict]));
}

/** What a critic is asked of replies, in both orders; nothing where the checks alone look. */
function verdictRequests(
  { constitution, by, principles: count }: Pick<PanelOptions, "constitution" | "by" | "principles">,
  replies: Pick<Size, "rows" | "tokens">,
  critic: Stage,
): Asked[] {
  if (by === "checks") return [];
  const principles = constitution.principles.filter(({ weight }) => weight > 0);
  const each = count === "all" ? principles.length : Math.min(count, principles.length);
  const length = replies.tokens + principleSize(principles);
  return [asking("critic", critic, replies.rows * each * 2, length, 0)];
}

/** What a reply is rated by: how many criteria, and how many tokens one of them is. */
function criteriaOf(
  { principles, asking: way }: JudgeTerm,
  constitution: PanelOptions["constitution"],
): { readonly each: number; readonly length: number } {
  if (principles === undefined && way === undefined) return { each: 1, length: size(ratingQuestion) };
  const drawn = typeof principles === "number";
  const all = drawn
    ? drawnFrom(constitution, "preference")
    : constitution.principles.filter(({ id }) => principles?.includes(id));
  const rubrics = principles === undefined ? [generalRubric] : all.map(rubricOf);
  const words = rubrics.map(({ criterion, scores }) =>
    // An expected rating is asked for by the criterion alone.
    way === undefined || way.format === "d-rlaif" ? [criterion] : [criterion, ...scores],
  );
  return {
    each: drawn ? Math.min(principles, all.length) : rubrics.length,
    length: mean(words.map((some) => size(some.join("\n")))),
  };
}

/** What critic and labeller are asked of a policy's replies while it learns, and where it is looked at. */
export function judgeRequests(
  { constitution }: PartContext,
  {
    settings,
    judges,
    prompts,
    looked,
  }: {
    readonly settings: PolicyTrainingSettings;
    readonly judges: Readonly<Record<"critic" | "labeller", Stage>>;
    readonly prompts: () => Size;
    /** Replies that it gives where it is looked at. */
    readonly looked: number;
  },
): Asked[] {
  if (judgesAsked(settings).length === 0 || !("reward" in settings)) return [];
  const { rows, tokens } = prompts();
  const sampled =
    settings.algorithm === "best-of-n"
      ? rows * settings.n
      : settings.iterations * settings.promptsPerIteration * settings.samplesPerPrompt;
  const replies = (count: number) => ({ rows: count, tokens: tokens + settings.maxTokens });
  const { weight, by, principles } = constitutionTerm(settings.reward);
  const panel = (own: Pick<PanelOptions, "by" | "principles">, count: number) =>
    verdictRequests({ constitution, ...own }, replies(count), judges.critic);
  const rating = ratingOf(settings);
  const asksRater = (term: JudgeTerm, count: number) => {
    const { each, length } = criteriaOf(term, constitution);
    const prompt = tokens + settings.maxTokens + length;
    return [asking("labeller", judges.labeller, count * each, prompt, verdictTokens(term.asking))];
  };
  return [
    ...(weight > 0 ? panel({ by, principles }, sampled + looked) : []),
    ...(constraintOf(settings)?.cost === "critic" ? panel({ by: "critic", principles: "all" }, sampled) : []),
    ...(rating ? asksRater(rating, sampled + looked) : []),
  ];
}

/** Labels held against verdicts: filtered, corrected, re-weighted. METHODS §6. */
export function weighedStage(
  { recipe: { seed } }: PartContext,
  part: {
    readonly name: string;
    readonly labels: Stage<StoredRows<PreferenceRow>>;
    readonly verdicts: Verdicts;
    readonly settings: WeighSettings;
  },
): Stage<StoredRows<PreferenceRow>> {
  const { name, labels, verdicts, settings } = part;
  return rowsStage<PreferenceRow>({
    name,
    title: "labels held against the constitution",
    kind: "weigh",
    version: 1,
    seed,
    expect: (sized) => sized(labels),
    inputs: [labels, verdicts],
    settings: () => settings,
    *make(context) {
      const said = byPair(context.value(verdicts).rows());
      const { weighed, counts } = weigh([...context.value(labels).rows()], said, settings);
      const { agreeing, contradicted, bothViolate, unanswered } = counts;
      context.emit({
        ...{ type: "message", stage: name, level: "info" },
        message: `${agreeing} labels agree with the constitution, ${contradicted} are contradicted by it, ${bothViolate} pairs violate on both sides, ${unanswered} have no verdict and stay as they are`,
      });
      yield* weighed;
    },
  });
}

/** Replies of pairs that violate, likelier than not, as examples of what not to say; each once. */
export function flaggedStage(
  { recipe: { seed } }: PartContext,
  part: {
    readonly name: string;
    readonly pairs: Stage<StoredRows<PairRow>>;
    readonly verdicts: Verdicts;
  },
): Stage<StoredRows<ExampleRow>> {
  const { name, pairs, verdicts } = part;
  return rowsStage<ExampleRow>({
    name,
    title: "replies that violate",
    kind: "flagged",
    version: 1,
    seed,
    expect(sized) {
      const { rows, tokens, prompt } = sized(pairs);
      return { rows: 2 * rows, tokens: (tokens + prompt) / 2, prompt };
    },
    inputs: [pairs, verdicts],
    settings: () => null,
    *make(context) {
      const said = byPair(context.value(verdicts).rows());
      const seen = new Set<string>();
      for (const { id: pair, prompt, origin, ...replies } of context.value(pairs).rows())
        for (const side of ["a", "b"] as const) {
          const [verdict, completion] = [said.get(pair), replies[side]];
          if (verdict === undefined || completion === "" || violationProbability(verdict[side]) <= 0.5) continue;
          const id = rowId("flagged", prompt, completion);
          if (seen.has(id)) continue;
          seen.add(id);
          yield { row: { id, prompt, completion, weight: 1, origin: { ...origin, parents: [pair] } } };
        }
    },
  });
}
