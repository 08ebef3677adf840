/**
 * What the benches of language models are about: texts from word lists, the same in every run and for every contestant.
 *
 * Where others take part, prompts are raw text without digits or special tokens: no chat template and no tokenizer's
 * corner can give them different tokens. Each reports how many it was given, and the harness compares.
 */
import { statSync } from "node:fs";
import { type Message, openLocalModel, type Prompt, resolveModel } from "@tenet/lm";
import { addWeights } from "./random-model.ts";

const MODEL = "smollm2-135m-instruct";

/** Continue each prompt greedily by exactly so many tokens, ends of text ignored. */
export interface GenerationTask {
  /** Path of the GGUF file. */
  model: string;
  prompts: Prompt[];
  newTokens: number;
}

/** The log-probability of each continuation behind its prompt. */
export interface ScoringTask {
  model: string;
  items: { prompt: string; continuations: string[] }[];
}

/** Iterations of reinforcement learning: as many replies as prompts, each of exactly so many tokens. */
export interface PpoTask {
  model: string;
  /** Conversations, and the same as tokens, behind which the reply begins. */
  prompts: { messages: Message[]; tokens: number[] }[];
  newTokens: number;
  /** Passes over an iteration's replies, and updates of each. */
  epochs: number;
  minibatches: number;
}

/** 64 questions of 20 to 60 tokens. */
export async function decodeTask(): Promise<GenerationTask> {
  return { model: await modelFile(), prompts: questions(64, new Words(1)), newTokens: 64 };
}

export async function decodeOneTask(): Promise<GenerationTask> {
  return { model: await modelFile(), prompts: questions(1, new Words(2)), newTokens: 128 };
}

/**
 * Eight texts of about 130 tokens to be given back. A model of this size cannot revise, but it can repeat, most of the
 * time: to decoding that is the same, text in the prompt that recurs.
 */
export async function reviseTask(): Promise<GenerationTask> {
  const words = new Words(3);
  const prompts = Array.from({ length: 8 }, (): Prompt => {
    const content = `Copy the following text word for word.\n\n${words.sentences(7)}`;
    return [{ role: "user", content }];
  });
  return { model: await modelFile(), prompts, newTokens: 112 };
}

/** 64 choices between two replies: about 400 tokens each, the first 250 of them examples that all share. */
export async function scoreTask(): Promise<ScoringTask> {
  const words = new Words(4);
  const choice = (sentences: number) =>
    `Request: ${words.question()}\nReply A: ${words.sentences(sentences)}\nReply B: ${words.sentences(sentences)}\nThe better reply is:`;
  const examples = [" (A)", " (B)", " (B)", " (A)"].map((answer) => `${choice(1)}${answer}`).join("\n\n");
  const items = Array.from({ length: 64 }, (_, index) => ({
    prompt: `${examples}\n\n${choice(3)}`,
    // Three tokens each, and one token each.
    continuations: index % 2 === 0 ? [" (A)", " (B)"] : [" A", " B"],
  }));
  return { model: await modelFile(), items };
}

/** 32 questions as conversations: of the chat template and its tokens only we have a say, so peers are given the tokens. */
export async function ppoTask(): Promise<PpoTask> {
  const path = await modelFile();
  const model = await openLocalModel(path, { device: "cpu" });
  const prompts = questions(32, new Words(5)).map((content) => {
    const messages: Message[] = [{ role: "user", content }];
    return { messages, tokens: [...model.text.encodePrompt(messages)] };
  });
  await model.close();
  return { model: path, prompts, newTokens: 64, epochs: 4, minibatches: 4 };
}

/** The model of all benches: the one named with --model, else SmolLM2. */
export async function modelFile(): Promise<string> {
  const path = process.env.TENET_BENCH_MODEL;
  if (path === undefined) return resolveModel(MODEL);
  if (statSync(path).isDirectory()) addWeights(path);
  return path;
}

function questions(count: number, words: Words): string[] {
  // Up to two sentences before the question: lengths differ, as they do in life.
  return Array.from({ length: count }, (_, index) => `${words.sentences(index % 3)} ${words.question()}`.trim()).map(
    (question) => `Question: ${question}\nAnswer:`,
  );
}

const people = `my neighbour, the baker, a young doctor, our teacher, the old sailor, a friend of mine, the gardener,
  her brother, one of the tourists, the judge, an engineer, the librarian`.split(/,\s+/);
const deeds = `repaired, painted, forgot, described, carried, measured, sold, found, borrowed, hid, photographed,
  returned`.split(/,\s+/);
const things = `the wooden boat, a small garden, the broken clock, an honest letter, the kitchen table, some cheese,
  the town's oldest violin, a map of the coast, the winter coat, a recipe for soup, the music box, seven candles`.split(
  /,\s+/,
);
const companions =
  `a red lamp, two bicycles, some bread, the blue door, an empty bottle, a pair of shoes, the newspaper,
  a bag of apples, the spare key, an old umbrella, his favourite chair, a jar of honey`.split(/,\s+/);
const places = `near the river, behind the station, in the village, at the market, under the bridge, beside the church,
  on the roof, along the canal, outside the theatre, inside the barn, opposite the school, by the lake`.split(/,\s+/);
const times = `last winter, before the storm, on a quiet morning, after the meeting, in early spring, at midnight,
  during the holidays, without telling anyone, for the second time, while it rained, years ago, on Sunday`.split(
  /,\s+/,
);
const asks = `How would you explain, What should one know about, Why do people care for, How can a child learn about,
  Who first thought of, When does one need`.split(/,\s+/);

/** Sentences from the lists above, drawn by a small generator of its own; nothing returns before its list is used up. */
class Words {
  #state: number;
  #decks = new Map<readonly string[], string[]>();

  constructor(seed: number) {
    this.#state = Math.imul(seed, 0x9e3779b9) >>> 0;
  }

  sentences(count: number): string {
    return Array.from({ length: count }, () => this.#sentence()).join(" ");
  }

  question(): string {
    return `${this.#pick(asks)} ${this.#pick(things)} and ${this.#pick(companions)} ${this.#pick(places)}?`;
  }

  #sentence(): string {
    const sentence = `${this.#pick(people)} ${this.#pick(deeds)} ${this.#pick(things)} and ${this.#pick(companions)} ${this.#pick(places)} ${this.#pick(times)}.`;
    return sentence[0]!.toUpperCase() + sentence.slice(1);
  }

  #pick(list: readonly string[]): string {
    let deck = this.#decks.get(list);
    if (!deck?.length) {
      deck = [...list];
      this.#decks.set(list, deck);
    }
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return deck.splice(Math.floor((this.#state / 2 ** 32) * deck.length), 1)[0]!;
  }
}
