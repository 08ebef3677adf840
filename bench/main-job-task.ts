/**
 * The main job: a recipe of both halves, whole, or a part of its prompts. We run the recipe; peers are given what it comes to, so that
 * prompts, principles and settings are written once.
 */
import { fileURLToPath } from "node:url";
import {
  type Constitution,
  type Demonstration,
  neutralTextsSchema,
  type OpenRecipe,
  openDataset,
  openRecipe,
  type Recipe,
  readDocument,
  rowsOf,
} from "@tenet/align";
import { type Message, openCheckpoint, resolveModel } from "@tenet/lm";

export interface MainJobTask {
  share: number;
  /** Path of the GGUF file, and how it writes a conversation. */
  model: string;
  chatTemplate: string;
  /** With defaults filled in. */
  recipe: Recipe;
  constitution: Constitution;
  demonstrations: readonly Demonstration[];
  prompts: { train: Message[][]; heldOut: Message[][]; helpful: Message[][] };
  neutral: string[];
}

/** Rows of an iteration of reinforcement learning are cut in so many updates, whose replies a peer may need in twos. */
const smallestIteration = 8;

export async function mainJobTask(share: number): Promise<MainJobTask> {
  const { recipe, constitution, demonstrations } = await openMainJob(share);
  const model = await resolveModel(recipe.model);
  const checkpoint = await openCheckpoint(model);
  const chatTemplate = checkpoint.chatTemplate!;
  await checkpoint.close();
  const prompts = {
    train: await promptsOf(recipe.prompts.train),
    heldOut: await promptsOf(recipe.prompts.heldOut!),
    helpful: await promptsOf(recipe.supervised.helpful!),
  };
  const { value: neutral } = await readDocument(recipe.evaluate.neutral!, neutralTextsSchema);
  return { share, model, chatTemplate, recipe, constitution, demonstrations, prompts, neutral };
}

/** The recipe with a share of the prompts of each of its files, and of those of an iteration. */
export async function openMainJob(share: number): Promise<OpenRecipe> {
  if (!(share > 0 && share <= 1)) throw new RangeError(`TENET_BENCH_SHARE is above 0 and at most 1, got ${share}`);
  const open = await openRecipe(fileURLToPath(new URL("main-job/recipe.yaml", import.meta.url)));
  if (share === 1) return open;
  const { prompts, supervised, policy } = open.recipe;
  const part = async (reference: FileReference) => {
    return { limit: Math.max(1, Math.round(share * (await promptsOf(reference)).length)) };
  };
  prompts.train = { ...whole(prompts.train), ...(await part(prompts.train)) };
  prompts.heldOut = { ...whole(prompts.heldOut!), ...(await part(prompts.heldOut!)) };
  Object.assign(supervised.helpful!, await part(supervised.helpful!));
  if (policy?.algorithm !== "ppo") throw new TypeError("the recipe of the main job is expected to use PPO");
  const rows = Math.round((share * policy.promptsPerIteration) / smallestIteration);
  policy.promptsPerIteration = smallestIteration * Math.max(1, rows);
  return open;
}

type FileReference = Recipe["prompts"]["train"];

function whole(reference: FileReference) {
  return typeof reference === "string" ? { path: reference } : reference;
}

async function promptsOf(reference: FileReference): Promise<Message[][]> {
  const { path, limit } = whole(reference);
  const found: Message[][] = [];
  for await (const { prompt } of rowsOf(await openDataset(path, { as: "prompts", ...(limit && { limit }) })))
    found.push(prompt);
  return found;
}
