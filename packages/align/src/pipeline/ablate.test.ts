import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { ChatServer } from "../../test/pipeline/chat-server.ts";
import { writeRecipe } from "../../test/pipeline/fixture.ts";
import { runOptions, stagesThat } from "../../test/pipeline/run.ts";
import { ablations, compareAblations, type PartResult } from "./ablate.ts";
import type { RunEvent } from "./events.ts";
import type { OpenRecipe } from "./open.ts";
import { startRun } from "./run.ts";

// Whole runs, which take seconds, and much longer on a busy machine.
vi.setConfig({ testTimeout: 900_000, hookTimeout: 900_000 });

const folder = await mkdtemp(join(tmpdir(), "tenet-ablate-"));
const store = join(folder, "store");
const server = new ChatServer();

/** One principle that does something, and two that do not: what their revisions say is as wrong as what the model said. */
const constitution = `name: one-active
version: "1"
principles:
  - id: rest
    text: Say that rest is what helps.
    revisionRequest: Say ACTIVE.
    weight: 8
    checks:
      - must: "^Rest\\\\.$"
  - id: calm
    text: Be calm.
    revisionRequest: Be calm and say it again.
  - id: warm
    text: Be warm.
    revisionRequest: Be warm and say it again.
`;

beforeAll(async () => {
  await server.start();
  // The reviser says one word where the active principle asks, and as much as before where another does.
  server.reply = (messages) => (messages.at(-1)!.content.includes("ACTIVE") ? "Rest." : "Well, well.");
});
afterAll(async () => {
  server.stop();
  await rm(folder, { recursive: true });
});

// Slow and long enough that what is learnt does not hang on rounding: seeds 3 to 6 give shares of 1.00 to 1.04, and of −0.09 to 0.00 for the other.
const recipeText = () => `model: ./model
constitution: constitution.yaml
prompts: { train: prompts.jsonl, heldOut: held-out.jsonl }
seed: 3
roles: { reviser: { endpoint: "${server.url}", model: m, dialect: openai } }
supervised:
  response: { maxTokens: 16 }
  revisions: 1
  critique: { critiques: none, revision: { maxTokens: 16 }, whenCut: trim }
  lora: { rank: 16, alpha: 32 }
  batchSize: 4
  epochs: 24
  learningRate: 0.003
  maxLength: 512
  microBatchTokens: 512
evaluate: { sampling: { maxTokens: 16, temperature: 0 }, samples: 2, baselines: false, divergence: false }
`;

const ran: Record<string, { id: string; events: RunEvent[] }> = {};
async function finish(what: string, open: OpenRecipe): Promise<string> {
  const run = startRun(open, runOptions(open.file, store));
  const events: RunEvent[] = [];
  for await (const event of run.events) events.push(event);
  await run.finished;
  ran[what] = { id: run.id, events };
  return run.id;
}

let results: PartResult[];
let open: Awaited<ReturnType<typeof ablations>>;

test("a recipe without each of its principles shares what they did not draw, and each effect is told with its interval", async () => {
  const file = await writeRecipe(join(folder, "recipe"), { recipe: recipeText(), constitution, prompts: 48 });
  const held = Array.from(
    { length: 24 },
    (_, i) => `${JSON.stringify({ prompt: `Held-out question ${i}: say a word.` })}\n`,
  );
  await writeFile(join(folder, "recipe", "held-out.jsonl"), held.join(""));
  open = await ablations(file, { without: [], principles: ["rest", "calm"] });
  const whole = await finish("whole", open.whole);
  const parts: Parameters<typeof compareAblations>[2][number][] = [];
  for (const part of open.parts) parts.push({ ...part, run: await finish(part.without, part.open) });
  results = await fromStore((reader) =>
    compareAblations(reader, { run: whole, constitution: open.whole.constitution }, parts, { seed: 1 }),
  );
  expect(results.map(({ without }) => without)).toEqual(["principle rest", "principle calm"]);
  // Shared stages ran once.
  for (const { without } of results)
    expect(stagesThat("reused", ran[without]!.events)).toEqual(
      expect.arrayContaining(["prompts", "responses", "answers of base"]),
    );
});

test("nine tenths of the effect are the active principle's", () => {
  const [rest, calm] = results as [PartResult, PartResult];
  const violations = ({ effects }: PartResult) => effects.find(({ name }) => name === "violations")!;
  expect(rest.share).toBeGreaterThanOrEqual(0.9);
  expect(violations(rest).effect.interval[0]).toBeGreaterThan(0);
  expect(Math.abs(calm.share!)).toBeLessThan(0.3);
});

test("rows made again are those that drew the principle, and no others", () => {
  for (const { redone } of results) {
    const chains = redone.find(({ stage }) => stage === "chains")!;
    expect(chains.redone).toBe(chains.drew);
    expect(chains.drew).toBeGreaterThan(0);
    expect(chains.drew).toBeLessThan(chains.rows);
    expect(redone.find(({ stage }) => stage === "responses")).toMatchObject({ redone: 0 });
  }
});

test("settings are left out by their path, or given another value; what is not there is refused with the nearest", async () => {
  const { file } = open.whole;
  const { parts } = await ablations(file, { without: ["supervised.epochs", "supervised.epochs=2"], principles: [] });
  expect(parts.map(({ open: { recipe } }) => recipe.supervised.epochs)).toEqual([1, 2]);
  expect(new Set(parts.map(({ open: { name } }) => name)).size).toBe(2);
  const refused = (without: string[], principles: string[] = []) =>
    expect(ablations(file, { without, principles })).rejects;
  await refused(["supervised.epohcs"]).toThrow(/does not say "supervised\.epohcs"; did you mean supervised\.epochs/);
  await refused([], ["rset"]).toThrow(/no principle "rset"; did you mean rest/);
  await refused(["constitution"]).toThrow(/constitution/);
});

async function fromStore<Result>(
  read: (store: Parameters<typeof compareAblations>[0]) => Promise<Result>,
): Promise<Result> {
  const { openStore } = await import("@tenet/runs");
  const reader = openStore(store, { readOnly: true });
  try {
    return await read(reader);
  } finally {
    reader.close();
  }
}
