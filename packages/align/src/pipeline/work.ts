import type { Message } from "@tenet/data";
import { openDataset, type PromptRow, readDocument } from "@tenet/data";
import { z } from "zod";
import { judgeQuestion, ratingQuestion } from "../evaluate/index.ts";
import { lookers } from "../feedback/constitution-first.ts";
import { baselineIds, baselineNames, constitutionPrompt, demonstrationTurns } from "./baselines.ts";
import { independenceOf } from "./independence.ts";
import type { OpenRecipe } from "./open.ts";
import {
  type DatasetReference,
  isTrained,
  type JudgeTraining,
  playerOf,
  type Recipe,
  type RoleReference,
} from "./recipe.ts";

/*
 * How much each stage of the sequential arrangement is asked to do, at most: every reply as long as it may be, no chain that
 * ends early, nothing set aside. Tokens are told from characters, so that no model has to be there.
 */

/** Characters that a token stands for: a rule of thumb for English. */
export const charactersPerToken = 4;
/** Tokens that a chat template puts around a message. */
const perMessage = 8;
/** Rows of a file that are counted, at most; of a longer one the rest is not looked at. */
export const mostCounted = 100_000;

/** What a model is asked for. */
export interface Asked {
  readonly role: string;
  readonly model: RoleReference;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

export interface Work {
  readonly rows: number;
  readonly asked?: readonly Asked[];
  /** Tokens that training goes through, once for each pass over them. */
  readonly trainingTokens?: number;
}

/** Rows of a file, and their mean length in tokens; of pairs and examples, prompt and reply together. */
interface Counted {
  readonly rows: number;
  readonly tokens: number;
}

/** The work of every stage that does any, by the stage's name. Errors: those of reading the files. */
export async function workOf(open: OpenRecipe): Promise<Map<string, Work>> {
  const { recipe } = open;
  const { supervised, prompts: given, policy } = recipe;
  const there = await countPrompts(given.train);
  const work = new Map<string, Work>([["prompts", { rows: there.rows }]]);
  const { prompts, validation } = await divided(open, there, work);
  const role = (name: keyof Recipe["roles"]) => playerOf(recipe.roles[name], recipe);

  const reply = supervised.response.maxTokens;
  work.set("responses", {
    rows: prompts.rows,
    asked: [asked("generator", role("generator"), prompts.rows, prompts.tokens + size(supervised.system), reply)],
  });
  work.set("chains", { rows: prompts.rows, asked: chainRequests(open, prompts, role) });
  const { learnt, length } = examplesOf(recipe, prompts);
  work.set("examples", { rows: learnt });
  let examples: Counted = { rows: learnt, tokens: length };
  const { helpful } = supervised;
  if (helpful !== undefined) {
    const own = helpful.replies === "model";
    const { maxTokens } = helpful.sampling;
    const there = await countRows(helpful, own ? "prompts" : "examples");
    if (own) {
      work.set("helpful prompts", { rows: there.rows });
      work.set("helpful replies", {
        rows: there.rows,
        asked: [asked("generator", recipe.model, there.rows, there.tokens, maxTokens)],
      });
    }
    const taken = Math.min(there.rows, Math.round(learnt * helpful.ratio));
    work.set("helpful", { rows: there.rows });
    work.set("mixture", { rows: learnt + taken });
    examples = {
      rows: learnt + taken,
      tokens: (learnt * length + taken * (there.tokens + (own ? maxTokens : 0))) / Math.max(1, learnt + taken),
    };
  }
  work.set("supervised", {
    rows: examples.rows,
    asked: supervised.weights === "lora" ? watchRequests(open, validation, supervised.epochs + 1) : [],
    trainingTokens: supervised.epochs * examples.rows * Math.min(examples.tokens, supervised.maxLength),
  });
  if (policy !== undefined) await addReinforced(work, open, prompts, validation, role);
  const { heldOut } = given;
  if (heldOut !== undefined) await addEvaluation(work, open, { prompts, heldOut: await countPrompts(heldOut) });
  return rounded(work);
}

/** Prompts to train on, and those apart to validate on, where the recipe has some. */
async function divided(
  { recipe: { prompts } }: OpenRecipe,
  all: Counted,
  work: Map<string, Work>,
): Promise<{ prompts: Counted; validation: Counted | undefined }> {
  const { validation: apart } = prompts;
  if (apart === undefined) return { prompts: all, validation: undefined };
  const shared = typeof apart === "object" && "share" in apart;
  const rows = shared ? Math.round(all.rows * apart.share) : 0;
  const validation = shared ? { rows, tokens: all.tokens } : await countPrompts(apart);
  const left = { rows: all.rows - rows, tokens: all.tokens };
  if (shared) work.set("training prompts", { rows: left.rows });
  work.set("validation", { rows: validation.rows });
  return { prompts: left, validation };
}

type RoleOf = (name: keyof Recipe["roles"]) => RoleReference;

function chainRequests({ recipe, constitution, demonstrations }: OpenRecipe, prompts: Counted, role: RoleOf): Asked[] {
  const { response, revisions: rounds, critique: settings } = recipe.supervised;
  const shown = demonstrations.reduce(
    (sum, { prompt, principles: _, ...texts }) => sum + lengthOf(prompt) + sizes(texts),
    0,
  );
  const principles = constitution.principles;
  const critiqueRequest = mean(principles.map((principle) => size(principle.critiqueRequest)));
  const revisionRequest = mean(principles.map((principle) => size(principle.revisionRequest)));
  const before = Math.max(response.maxTokens, settings.revision.maxTokens);
  const context = prompts.tokens + before + shown + size(settings.system) + perMessage * 2;
  const requests: Asked[] = [];
  const critiques = settings.critiques === "model";
  if (critiques && rounds > 0)
    requests.push(
      asked("critic", role("critic"), prompts.rows * rounds, context + critiqueRequest, settings.critique.maxTokens),
    );
  const critique = critiques ? critiqueRequest + settings.critique.maxTokens : 0;
  if (rounds > 0)
    requests.push(
      asked(
        "reviser",
        role("reviser"),
        prompts.rows * rounds * settings.candidates,
        context + critique + revisionRequest,
        settings.revision.maxTokens,
      ),
    );
  return requests;
}

/** How many examples chains give, and how long one is. */
function examplesOf({ supervised }: Recipe, prompts: Counted): { learnt: number; length: number } {
  const { from } = supervised.examples;
  const { critique, revision } = supervised.critique;
  const each = from === "every-revision" ? Math.max(1, supervised.revisions) : 1;
  const critiqued = from === "critique-and-revision" ? critique.maxTokens : 0;
  return { learnt: prompts.rows * each, length: prompts.tokens + critiqued + revision.maxTokens };
}

async function addReinforced(
  work: Map<string, Work>,
  open: OpenRecipe,
  prompts: Counted,
  validation: Counted | undefined,
  role: RoleOf,
): Promise<void> {
  const { recipe } = open;
  const { feedback, preferenceModel, policy } = recipe;
  const { labeller } = recipe.roles;
  if (isTrained(labeller)) await addTrainedJudge(work, open, prompts, { name: "labeller", train: labeller.train });
  if (feedback.audit !== undefined) {
    const known = await countRows(feedback.audit, "preferences");
    work.set("known", { rows: known.rows });
    work.set("audit pairs", { rows: known.rows });
    work.set("audit labels", { rows: known.rows, asked: labelRequests(open, known, role) });
    work.set("audit", { rows: 0 });
  }
  const pairs = addPairs(work, open, prompts, role, { pairs: "pairs", labels: "labels" });
  if (validation) addPairs(work, open, validation, role, { pairs: "validation pairs", labels: "validation labels" });
  work.set("preference gate", { rows: 0 });
  work.set("human labels", { rows: pairs.rows });

  // Of a pair, training reads the prompt behind both replies.
  let trained = { rows: pairs.rows, tokens: pairs.tokens + prompts.tokens };
  const { human, pretrain } = preferenceModel;
  if (human !== undefined) {
    const there = await countRows(human, "preferences");
    const taken = human.ratio === undefined ? there.rows : Math.min(there.rows, Math.round(pairs.rows * human.ratio));
    work.set("human pairs", { rows: there.rows });
    work.set("preferences", { rows: pairs.rows + taken });
    const tokens = (trained.rows * trained.tokens + taken * there.tokens) / Math.max(1, trained.rows + taken);
    trained = { rows: trained.rows + taken, tokens };
  }
  let rankings = 0;
  if (pretrain !== undefined) {
    const { rows, tokens } = await countRows(pretrain, "preferences");
    work.set("rankings", { rows });
    rankings = preferenceModel.pretraining.epochs * rows * Math.min(tokens, 2 * preferenceModel.maxLength);
  }
  const longest = Math.min(trained.tokens, 2 * preferenceModel.maxLength);
  work.set("preference model", {
    rows: trained.rows,
    trainingTokens: rankings + preferenceModel.epochs * trained.rows * longest,
  });
  const { asked: rollouts = [], ...learnt } = policyWork(recipe.model, policy!, prompts, trained);
  work.set("policy", { rows: 0, asked: [...rollouts, ...watchRequests(open, validation, looks(recipe))], ...learnt });
}

/** Pairs of replies to some prompts, and their labels. */
function addPairs(
  work: Map<string, Work>,
  open: OpenRecipe,
  prompts: Counted,
  role: RoleOf,
  names: { pairs: string; labels: string },
): Counted {
  const { feedback, model } = open.recipe;
  const { samples, pairs: which, sampling, system } = feedback.pairs;
  const pairs: Counted = {
    rows: prompts.rows * (which === "all" ? (samples * (samples - 1)) / 2 : 1),
    tokens: prompts.tokens + 2 * sampling.maxTokens,
  };
  const read = prompts.tokens + size(system);
  const generated = asked("generator", model, prompts.rows * samples, read, sampling.maxTokens);
  work.set(names.pairs, { rows: pairs.rows, asked: [generated] });
  work.set(names.labels, { rows: pairs.rows, asked: labelRequests(open, pairs, role) });
  return pairs;
}

/** A judge's training and its audit, both in both orders of each pair. */
async function addTrainedJudge(
  work: Map<string, Work>,
  open: OpenRecipe,
  prompts: Counted,
  {
    name,
    train: { pairs, audit, epochs, maxLength, warmup },
  }: { readonly name: "labeller" | "judge"; readonly train: JudgeTraining },
): Promise<void> {
  const { recipe, constitution, labelDemonstrations } = open;
  let there: Counted;
  if (typeof pairs === "string" || "path" in pairs) {
    there = await countRows(pairs, "preferences");
    work.set(`${name} pairs`, { rows: there.rows });
  } else {
    const { maxTokens } = pairs.sampling;
    const checks = pairs.from === "checks";
    const replies = prompts.rows * (checks ? pairs.samples : 2);
    const rule = checks ? 0 : mean(constitution.principles.map(({ text }) => size(text))) + perMessage;
    there = {
      rows: prompts.rows * (checks ? (pairs.samples * (pairs.samples - 1)) / 2 : 1),
      tokens: prompts.tokens + 2 * maxTokens,
    };
    const generated = [asked("generator", recipe.model, replies, prompts.tokens + rule, maxTokens)];
    work.set(checks ? `${name} pairs untold` : `${name} pairs`, { rows: there.rows, asked: generated });
    if (checks) work.set(`${name} pairs`, { rows: there.rows });
  }
  const { path } = audit;
  const apart = path === undefined ? undefined : await countRows({ ...audit, path }, "preferences");
  if (apart) work.set(`${name} audit file`, { rows: apart.rows });
  const known = apart ?? { rows: there.rows * audit.share, tokens: there.tokens };
  const learnt = apart ? there.rows : there.rows - known.rows;
  if (!apart) work.set(`${name} pairs to audit`, { rows: known.rows });
  work.set(`${name} pairs to learn`, { rows: learnt });
  const { label } = recipe.feedback;
  const plain = {
    ...label,
    method: "choice" as const,
    constitutionFirst: { ...label.constitutionFirst, by: "off" as const },
  };
  const question = questionTokens({ recipe, constitution, labelDemonstrations }, there);
  work.set(`${name} training`, {
    rows: learnt,
    trainingTokens: (epochs * learnt + Math.min(warmup, learnt)) * plain.principles * 2 * Math.min(question, maxLength),
  });
  const asking = { ...open, recipe: { ...recipe, feedback: { ...recipe.feedback, label: plain } } };
  work.set(`${name} audit pairs`, { rows: known.rows });
  work.set(`${name} audit labels`, { rows: known.rows, asked: labelRequests(asking, known, () => recipe.model) });
  work.set(`${name} audit`, { rows: 0 });
}

/** Tokens of a labeller's question about a pair. */
function questionTokens(
  { recipe, constitution, labelDemonstrations }: Pick<OpenRecipe, "recipe" | "constitution" | "labelDemonstrations">,
  pairs: Counted,
): number {
  const question = mean(constitution.principles.map(({ preferenceQuestion }) => size(preferenceQuestion)));
  const shown = labelDemonstrations.reduce((sum, texts) => sum + sizes(texts), 0);
  return pairs.tokens + question + size(recipe.feedback.label.system) + shown + perMessage;
}

/** What a labeller and a critic are asked to read and write about pairs. */
function labelRequests(
  { recipe, constitution, labelDemonstrations }: OpenRecipe,
  pairs: Counted,
  role: RoleOf,
): Asked[] {
  const { method, swap, principles, cot, constitutionFirst } = recipe.feedback.label;
  if (method === "checks") return [];
  const question = mean(constitution.principles.map(({ preferenceQuestion }) => size(preferenceQuestion)));
  const prompt = questionTokens({ recipe, constitution, labelDemonstrations }, pairs);
  const questions = pairs.rows * principles * (swap ? 2 : 1);
  const requests: Asked[] = [];
  if (method === "cot") {
    const { samples, sampling } = cot;
    // The letters are read behind the reasoning.
    const reasoned = asked("labeller", role("labeller"), questions * samples, 2 * prompt, sampling.maxTokens);
    requests.push({ ...reasoned, promptTokens: reasoned.promptTokens + questions * samples * sampling.maxTokens });
  } else requests.push(asked("labeller", role("labeller"), questions, prompt, 0));
  if (lookers(constitutionFirst).critic)
    // Both replies, in both orders of the answers.
    requests.push(asked("critic", role("critic"), pairs.rows * principles * 4, pairs.tokens / 2 + question, 0));
  return requests;
}

/** How often a policy in training is looked at, its start included. */
function looks({ policy, prompts: { validation } }: Recipe): number {
  const every = typeof validation === "object" ? validation.every : 1;
  if (!policy || policy.algorithm === "best-of-n") return (policy?.supervised.epochs ?? 0) + 1;
  return 1 + (policy.algorithm === "dpo" ? policy.epochs : Math.ceil(policy.iterations / every));
}

/** What a model in training is asked on the validation prompts, where a program can tell which of its checkpoints is better. */
function watchRequests({ recipe, constitution }: OpenRecipe, validation: Counted | undefined, times: number): Asked[] {
  if (!validation || constitution.principles.every(({ checks }) => checks.length === 0)) return [];
  const { maxTokens } = recipe.evaluate.sampling;
  return [asked("policy", recipe.model, validation.rows * times, validation.tokens, maxTokens)];
}

/** Tokens of replies, gone through in every pass. */
export function replyTokens({ maxTokens, epochs }: { maxTokens: number; epochs: number }, replies: number): number {
  return replies * maxTokens * epochs;
}

/** What an algorithm samples and learns from. */
function policyWork(
  model: string,
  policy: NonNullable<Recipe["policy"]>,
  prompts: Counted,
  pairs: Counted,
): Omit<Work, "rows"> {
  const sampled = (replies: number, maxTokens: number) => [asked("policy", model, replies, prompts.tokens, maxTokens)];
  switch (policy.algorithm) {
    case "dpo":
      return { trainingTokens: policy.epochs * pairs.rows * Math.min(pairs.tokens, 2 * policy.maxLength) };
    case "best-of-n": {
      const { n, maxTokens, supervised } = policy;
      const trainingTokens = prompts.rows * (prompts.tokens + maxTokens) * supervised.epochs;
      return { asked: sampled(prompts.rows * n, maxTokens), trainingTokens };
    }
    default: {
      const { iterations, promptsPerIteration, samplesPerPrompt, maxTokens } = policy;
      const replies = iterations * promptsPerIteration * samplesPerPrompt;
      return { asked: sampled(replies, maxTokens), trainingTokens: replyTokens(policy, replies) };
    }
  }
}

async function addEvaluation(
  work: Map<string, Work>,
  open: OpenRecipe,
  { prompts, heldOut }: { readonly prompts: Counted; readonly heldOut: Counted },
): Promise<void> {
  const { recipe } = open;
  const { sampling, samples, divergence, neutral, choices } = recipe.evaluate;
  const { model } = recipe;
  work.set("held-out", { rows: heldOut.rows });
  const texts = neutral === undefined ? undefined : await readTexts(neutral);
  if (texts) work.set("neutral texts", { rows: texts.rows });
  const questions = choices === undefined ? undefined : await countRows(choices, "choices");
  if (questions) work.set("questions", { rows: questions.rows });
  const replies = heldOut.rows * samples;
  const ids = ["base", "sl", ...(recipe.policy === undefined ? [] : ["rl"])];
  for (const id of ids) {
    work.set(`answers of ${id}`, {
      rows: replies,
      asked: [asked("generator", model, replies, heldOut.tokens, sampling.maxTokens)],
    });
    if (texts)
      work.set(`texts under ${id}`, { rows: texts.rows, asked: [asked("scored", model, texts.rows, texts.tokens, 0)] });
    if (questions)
      work.set(`choices of ${id}`, {
        rows: questions.rows,
        asked: [asked("scored", model, questions.rows, questions.tokens, 0)],
      });
    if (divergence && id !== "base")
      for (const under of [id, "base"])
        work.set(`answers of ${id} under ${under}`, {
          rows: replies,
          asked: [asked("scored", model, replies, heldOut.tokens + sampling.maxTokens, 0)],
        });
  }
  const baselines = baselineNames(open, { examples: true });
  // Beside the prompt the untrained model reads the demonstrations, or the constitution.
  const extra = {
    demonstrations: lengthOf(demonstrationTurns(open)),
    constitution: size(constitutionPrompt(open)) + perMessage,
  };
  for (const name of baselines)
    if (name === "constant") work.set("answers of a constant", { rows: replies });
    else
      work.set(`answers of base with ${name}`, {
        rows: replies,
        asked: [asked("generator", model, replies, heldOut.tokens + extra[name], sampling.maxTokens)],
      });
  const { judge } = recipe.roles;
  if (isTrained(judge)) await addTrainedJudge(work, open, prompts, { name: "judge", train: judge.train });
  if (judge !== undefined && independenceOf(open)?.kind === "judge")
    for (const id of [...ids, ...baselines.map((name) => baselineIds[name])])
      work.set(`rating of ${id}`, {
        rows: replies,
        asked: [
          asked(
            "judge",
            playerOf(judge, recipe),
            replies,
            heldOut.tokens + sampling.maxTokens + size(ratingQuestion),
            0,
          ),
        ],
      });
  if (judge !== undefined)
    for (const [i, later] of ids.entries())
      for (const earlier of ids.slice(0, i)) {
        const pair = heldOut.tokens + 2 * sampling.maxTokens;
        work.set(`answers of ${later} and ${earlier}`, { rows: replies });
        work.set(`${later} against ${earlier}`, {
          rows: replies,
          asked: [asked("judge", playerOf(judge, recipe), 2 * replies, pair + size(judgeQuestion), 0)],
        });
      }
  work.set("scorecard", { rows: 0 });
}

/** So many requests of so many tokens each. */
function asked(role: string, model: RoleReference, requests: number, prompt: number, completion: number): Asked {
  return {
    role,
    model,
    promptTokens: requests * (prompt + perMessage),
    completionTokens: requests * completion,
  };
}

async function countPrompts(reference: DatasetReference): Promise<Counted> {
  return countRows(reference, "prompts");
}

async function countRows(
  reference: DatasetReference,
  as: "prompts" | "examples" | "preferences" | "choices",
): Promise<Counted> {
  const { path, format, limit } = typeof reference === "string" ? { path: reference } : reference;
  let [rows, tokens] = [0, 0];
  const most = Math.min(limit ?? mostCounted, mostCounted);
  for await (const read of await openDataset(path, { as, limit: most, ...(format && { format }) })) {
    if (!("row" in read)) continue;
    rows++;
    const row = read.row as PromptRow & { completion?: string; a?: string; b?: string; options?: string[] };
    const prompt = lengthOf(row.prompt);
    // Of a pair, both replies and the prompt before each.
    const pair = row.a === undefined ? 0 : prompt + size(row.a) + size(row.b);
    // Of a question, each option and the question before it.
    const options = row.options?.reduce((sum, option) => sum + prompt + size(option), -prompt) ?? 0;
    tokens += prompt + size(row.completion) + pair + options;
  }
  return { rows, tokens: tokens / Math.max(1, rows) };
}

async function readTexts(path: string): Promise<Counted> {
  const { value } = await readDocument(path, z.array(z.string()));
  return { rows: value.length, tokens: mean(value.map(size)) };
}

function size(text: string | undefined): number {
  return text === undefined ? 0 : text.length / charactersPerToken;
}

function sizes(texts: Readonly<Record<string, string | undefined>>): number {
  return Object.values(texts).reduce<number>((sum, text) => sum + size(text) + perMessage, 0);
}

function lengthOf(messages: readonly Message[]): number {
  return messages.reduce((sum, { content }) => sum + size(content) + perMessage, 0);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

function rounded(work: Map<string, Work>): Map<string, Work> {
  const round = ({ rows, asked: requests, trainingTokens }: Work): Work => ({
    rows: Math.round(rows),
    ...(requests && {
      asked: requests.map((one) => ({
        ...one,
        promptTokens: Math.round(one.promptTokens),
        completionTokens: Math.round(one.completionTokens),
      })),
    }),
    ...(trainingTokens !== undefined && { trainingTokens: Math.round(trainingTokens) }),
  });
  return new Map([...work].map(([name, one]) => [name, round(one)]));
}
