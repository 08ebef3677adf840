import { hostname } from "node:os";
import { runId, type Store } from "@tenet/runs";
import { stringify } from "yaml";
import { fewPairs, leastChange } from "../evaluate/index.ts";
import { arrange } from "./arrangement.ts";
import { openedOf } from "./checkpoints.ts";
import type { Expectation, Size } from "./expectation.ts";
import { type MemoryEstimate, memoryOf, type ShapeOf, shapesHere } from "./memory.ts";
import type { OpenRecipe } from "./open.ts";
import { mostSamples } from "./parts/pairs.ts";
import { replyTokens } from "./parts/policy.ts";
import { isServed, playerOf, type Recipe, type RoleReference } from "./recipe.ts";
import { planOf, scheduled } from "./rounds.ts";
import { runSpec } from "./run.ts";
import { charactersPerToken, mostCounted } from "./sizes.ts";
import { inOrder, type Stage } from "./stages/index.ts";
import { warningsOf } from "./warnings.ts";

/** What one role will be asked for in one stage. */
export interface RoleEstimate {
  readonly role: string;
  readonly model: string;
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Absent where no rate is known. */
  readonly seconds?: number;
  /** Absent where the model has no price. */
  readonly dollars?: number;
}

export interface StageEstimate {
  readonly stage: string;
  readonly title: string;
  /** `done`: this run has it already. `begun`: a part of it. */
  readonly state: "done" | "begun" | "open";
  readonly rows: number;
  readonly roles: readonly RoleEstimate[];
  readonly trainingTokens?: number;
  /** What the process holds at most; absent where nothing is computed here, of what is done, and where a model is not on this machine. */
  readonly memory?: MemoryEstimate;
  /** Of all that is asked and trained; absent where a rate is missing. */
  readonly seconds?: number;
}

/** Bounds from above: every reply as long as it may be, nothing set aside, no chain that ends early. */
export interface RunEstimate {
  /** The run's id, and whether the store has it. */
  readonly run: string;
  readonly begun: boolean;
  readonly stages: readonly StageEstimate[];
  /** Of what is not done. `seconds` of the stages whose rate is known. */
  readonly left: {
    readonly promptTokens: number;
    readonly completionTokens: number;
    readonly trainingTokens: number;
    readonly seconds: number;
    /** Stages with work whose time is not known. */
    readonly untimed: readonly string[];
    readonly dollars?: number;
    /** Bytes of the stage that takes most, and its name; absent where that of a stage is not known. */
    readonly memory?: { readonly bytes: number; readonly stage: string };
  };
  /** What the figures rest on, for people. */
  readonly notes: readonly string[];
}

/**
 * What running a recipe will take, before anything is run: tokens from the files and settings, seconds from what runs of the
 * store spent on this machine with the same model at the same kind of work, dollars from the endpoints' prices, memory from models' shapes.
 *
 * Reads the recipe's files and models' configurations; opens no weights and writes nothing. Errors: those of reading the files.
 */
export async function estimateRun(
  open: OpenRecipe,
  {
    store,
    shapeOf = shapesHere({}),
    memoryBudget,
  }: { readonly store?: Store; readonly shapeOf?: ShapeOf; readonly memoryBudget?: number | undefined } = {},
): Promise<RunEstimate> {
  const { targets } = arrange({ ...open, options: {} });
  const expected = await expectations(targets);
  const run = runId(runSpec(open));
  const info = store?.runs().find(({ id }) => id === run);
  const begun = info !== undefined;
  const rates = store ? await ratesOf(store) : new Map<string, Rate>();
  const there = new Map(begun ? store!.stages(run).map((stage) => [stage.name, stage]) : []);
  const planned = inOrder(targets).flatMap((stage) => {
    const todo = expected.get(stage);
    if (!todo) return [];
    const known = there.get(stage.name);
    // Stages that had nothing to do leave no trace in a run that is done.
    const done = info?.status === "done" || known?.status === "done";
    const state: StageEstimate["state"] = done ? "done" : known && known.items > 0 ? "begun" : "open";
    return [{ stage, todo, state }];
  });
  const { recipe } = open;
  const memory = await memoryOf(
    planned.filter(({ state }) => state !== "done"),
    { recipe, shapeOf, memoryBudget },
  );
  const stages = planned.map(({ stage, todo, state }): StageEstimate => {
    const { name, title } = stage;
    const held = memory.of.get(stage);
    return {
      ...{ stage: name, title, state, ...(held && { memory: held }) },
      ...estimated(stage, todo, { rates, here: recipe.engine === undefined }),
    };
  });
  const left = stages.filter(({ state }) => state !== "done");
  const roles = left.flatMap((stage) => stage.roles);
  const sum = (values: readonly (number | undefined)[]) => values.reduce<number>((all, value) => all + (value ?? 0), 0);
  const priced = roles.filter(({ dollars }) => dollars !== undefined);
  const [largest] = left
    .flatMap(({ stage, memory: held }) => (held ? [{ stage, bytes: held.bytes }] : []))
    .sort((a, b) => b.bytes - a.bytes);
  const untimed = left.filter((stage) => stage.seconds === undefined).map(({ stage }) => stage);
  return {
    run,
    begun,
    stages,
    left: {
      promptTokens: sum(roles.map(({ promptTokens }) => promptTokens)),
      completionTokens: sum(roles.map(({ completionTokens }) => completionTokens)),
      trainingTokens: sum(left.map(({ trainingTokens }) => trainingTokens)),
      seconds: sum(left.map(({ seconds }) => seconds)),
      untimed,
      ...(priced.length > 0 && { dollars: sum(priced.map(({ dollars }) => dollars)) }),
      ...(largest && memory.unknown.length === 0 && { memory: largest }),
    },
    notes: [
      ...notesOf(stages, untimed, recipe),
      ...gateNotes(expected.values(), recipe),
      ...memoryNotes(memory.unknown, largest),
      ...warningsOf(open),
    ],
  };
}

/** What stages will come to and take, at most; those that do nothing by themselves have nothing. Errors: those of reading the files. */
export async function expectations(targets: readonly Stage[]): Promise<ReadonlyMap<Stage, Expectation>> {
  const expected = new Map<Stage, Expectation>();
  const sized = (stage: Stage): Size => {
    const found = expected.get(stage);
    if (!found) throw new TypeError(`stage "${stage.name}" says nothing of its size`);
    // Who passes a size on has not done the work that it took.
    const { rows, tokens, prompt } = found;
    return { rows, tokens, prompt };
  };
  for (const stage of inOrder(targets)) if (stage.expect) expected.set(stage, await stage.expect(sized));
  return expected;
}

/** The recipe with every default, as YAML. */
export function resolvedRecipe({ written }: OpenRecipe): string {
  return stringify(written, { lineWidth: 120 });
}

function estimated(
  { kind, player }: Stage,
  { rows, asked = [], trainingTokens, trainedBy }: Expectation,
  { rates, here }: { readonly rates: ReadonlyMap<string, Rate>; readonly here: boolean },
): Omit<StageEstimate, "stage" | "title" | "state"> {
  const roles = asked.map((one): RoleEstimate => {
    const { role, model } = one;
    const [promptTokens, completionTokens] = [Math.round(one.promptTokens), Math.round(one.completionTokens)];
    const rate = rates.get(rateKey(modelName(model), kindOf(kind)));
    const tokens = promptTokens + completionTokens;
    const price = isServed(model) ? model.price : undefined;
    return {
      role,
      model: modelName(model),
      promptTokens,
      completionTokens,
      ...(rate && { seconds: (tokens * rate.seconds) / rate.tokens }),
      ...(price && { dollars: (promptTokens * price.prompt + completionTokens * price.completion) / 1e6 }),
    };
  });
  const learnt = trainingTokens === undefined ? undefined : Math.round(trainingTokens);
  const trained =
    learnt === undefined || player === undefined || !here
      ? undefined
      : rates.get(rateKey(modelName(player), kindOf(kind, trainedBy)));
  const timed = roles.every(({ seconds }) => seconds !== undefined) && (learnt === undefined || trained);
  const training = trained ? (learnt! * trained.seconds) / trained.tokens : 0;
  const asking = roles.reduce((all, { seconds = 0 }) => all + seconds, 0);
  return {
    rows: Math.round(rows),
    roles,
    ...(learnt !== undefined && { trainingTokens: learnt }),
    ...(timed && { seconds: asking + training }),
  };
}

/** Stages that do the same to the same sort of text take equally long: what their rate is known by. */
function kindOf(kind: string | undefined, trainedBy?: string): string {
  if (kind === "score-texts" || kind === "score-responses") return "scoring";
  return trainedBy === undefined ? (kind ?? "") : `${kind} by ${trainedBy}`;
}

/** What was spent, and on how many tokens. */
interface Rate {
  seconds: number;
  tokens: number;
}

const rateKey = (model: string, kind: string) => JSON.stringify([model, kind]);

/** Rates by model and kind of work, from the runs of the store that this machine wrote. */
async function ratesOf(store: Store): Promise<Map<string, Rate>> {
  const rates = new Map<string, Rate>();
  const add = (model: string, kind: string, seconds: number, tokens: number) => {
    if (!(seconds > 0 && tokens > 0)) return;
    const key = rateKey(model, kind);
    const rate = rates.get(key) ?? { seconds: 0, tokens: 0 };
    rates.set(key, { seconds: rate.seconds + seconds, tokens: rate.tokens + tokens });
  };
  for (const run of store.runs()) {
    if (run.writer?.host !== hostname()) continue;
    const recipe = run.recipe as Pick<Recipe, "model" | "roles" | "policy" | "arrangement" | "engine"> | null;
    const { model, checkpoints = [] } = (await openedOf(store, run.id)) ?? {};
    // How fast an engine's machines were says nothing of this one.
    if (model === undefined || recipe === null || recipe.engine !== undefined) continue;
    const { schedule } = planOf(recipe);
    const rounds = new Map(checkpoints.map(({ stage, round = 1 }) => [stage, round]));
    const usage = store.usage(run.id);
    const stages = store.stages(run.id);
    const kinds = new Map(stages.map(({ name, kind }) => [name, kind]));
    for (const { stage, role, promptTokens, completionTokens, seconds } of usage) {
      // A generator that the recipe names writes the first responses, and nobody else's.
      const ours = role === "generator" && !stage.startsWith("responses");
      const played = ours ? undefined : recipe.roles?.[role as keyof Recipe["roles"]];
      add(modelName(playerOf(played, { model })), kindOf(kinds.get(stage)), seconds, promptTokens + completionTokens);
    }
    for (const { name, kind, output, seconds, attempts, status } of stages) {
      // Of a stage that was interrupted, the seconds are not those of its tokens.
      if (status !== "done" || attempts !== 1) continue;
      const sampling = usage.reduce((sum, one) => (one.stage === name ? sum + one.seconds : sum), 0);
      const { algorithm } = ((output ?? {}) as { report?: { algorithm?: string } }).report ?? {};
      add(
        model,
        kindOf(kind, algorithm),
        seconds - sampling,
        trainedTokens(output, scheduled(recipe, schedule, rounds.get(name) ?? 1).policy),
      );
    }
  }
  return rates;
}

/** Tokens that a training stage went through, by what it reported and the settings of its round. */
function trainedTokens(output: unknown, policy: Recipe["policy"]): number {
  const { report } = (output ?? {}) as { report?: { tokens?: number; history?: { episode?: number }[] } };
  if (report?.tokens !== undefined) return report.tokens;
  const replies = report?.history?.at(-1)?.episode;
  return replies !== undefined && policy && "iterations" in policy ? replyTokens(policy, replies) : 0;
}

/** A model as people know it. */
function modelName(reference: RoleReference): string {
  if (typeof reference === "string") return reference;
  if (!("endpoint" in reference)) return reference.model;
  const { model = "model", endpoint } = reference;
  return typeof endpoint === "string" ? `${model} at ${endpoint}` : model;
}

function notesOf(
  stages: readonly StageEstimate[],
  untimed: readonly string[],
  { policy, engine, feedback, preferenceModel }: Recipe,
): string[] {
  const notes = [
    `tokens are counted at ${charactersPerToken} characters each, with every reply as long as it may be: less is likely`,
  ];
  if (untimed.length > 0)
    notes.push(
      `no rate known yet on this machine for ${untimed.join(", ")}: tokens only; a first run, with --limit for example, leaves one`,
    );
  if (engine !== undefined)
    notes.push(
      `an engine trains, ${engine.workers} × ${engine.gpus === 0 ? "processor" : `${engine.gpus} GPU`} at ${engine.ray}: how long that takes is not known here, and whether it is there is not looked at (tenet engine check)`,
    );
  if (policy !== undefined)
    notes.push("the policy's training tokens are those of its replies, gone through in every pass");
  if (
    preferenceModel.gate.pairs !== undefined &&
    !feedback.pairs.contrast &&
    stages.some(({ stage }) => /^validation pairs/.test(stage))
  )
    notes.push(
      `the pairs to test on are counted as if a label told every two replies apart: where it tells fewer, more replies are made to each validation prompt, ${mostSamples} at most (preferenceModel.gate.pairs)`,
    );
  const heldOut = stages.find(({ stage }) => stage === "held-out")?.rows ?? 0;
  if (heldOut > 0) notes.push(powerNote(heldOut));
  if (stages.some(({ rows }) => rows >= mostCounted))
    notes.push(`of files with more than ${mostCounted} rows, so many are counted`);
  return notes;
}

/** That a gate cannot be given the pairs that it is to judge by, or too few to tell a good preference model by. */
export function gateNotes(expected: Iterable<Expectation>, { preferenceModel, feedback }: Recipe): string[] {
  const wanted = preferenceModel.gate.pairs;
  const byPeople = feedback.label.method === "people";
  const notes = [...expected].flatMap(({ gate }): string[] => {
    if (!gate) return [];
    const { chance } = gate;
    const pairs = Math.round(gate.pairs);
    // What their labels have in common is not known yet: where those of one prompt all agree, they count once.
    const prompts = Math.min(pairs, Math.round(gate.prompts ?? pairs));
    const short =
      wanted !== undefined && pairs < wanted
        ? `the gate of the preference model is to judge by ${wanted} pairs (preferenceModel.gate.pairs), and ${byPeople ? "people are asked about too few, which give" : "the prompts give"} ${pairs} at most: give more${byPeople ? " (feedback.people.pairs)" : ""}`
        : undefined;
    const few = fewPairs(pairs, { chance });
    const alike = few ? undefined : fewPairs(pairs, { chance, counted: prompts });
    const setting = byPeople ? "feedback.people.pairs, preferenceModel.gate.pairs" : "preferenceModel.gate.pairs";
    const remedy = (one: NonNullable<typeof few>, what: string) => (one.least === undefined ? "" : `: ${what}`);
    return [
      ...(short ? [short] : []),
      ...(few ? [`${few.text}${remedy(few, `give its gate more (${setting})`)}`] : []),
      ...(alike
        ? [`where the labels of one prompt's pairs all agree, ${alike.text}${remedy(alike, "give more prompts")}`]
        : []),
    ];
  });
  // Rounds have the same to say.
  return [...new Set(notes)];
}

function memoryNotes(unknown: readonly string[], largest: object | undefined): string[] {
  if (unknown.length > 0)
    return [`memory is not known until ${unknown.join(", ")} can be read here: tenet models pull`];
  if (!largest) return [];
  return [
    "memory is the process's own share of what lies in memory (PSS), on a processor; tools that count the mapped weights once for each graph over them (VmHWM, top's RES) tell more",
  ];
}

/** What so many held-out prompts can show. */
function powerNote(prompts: number): string {
  const least = [0.8, 0.5, 0.2].flatMap((before) => {
    const change = leastChange(prompts, before);
    return change === undefined ? [] : [`${Math.ceil(100 * change)} points from ${100 * before} %`];
  });
  const shown =
    least.length > 0
      ? `show a fall of violations four times in five where it is at least ${least.join(", ")}`
      : "can show no fall of violations; give more";
  return `${prompts} held-out prompts ${shown}`;
}
