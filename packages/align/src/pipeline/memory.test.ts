import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ModelConfig } from "@tenet/lm";
import { afterAll, expect, it } from "vitest";
import { reinforcedRecipe, writeRecipe } from "../../test/pipeline/fixture.ts";
import { estimateRun } from "./estimate.ts";
import { type ShapeOf, shapesHere } from "./memory.ts";
import { openRecipe } from "./open.ts";

const home = mkdtempSync(join(tmpdir(), "tenet-memory-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));
let folders = 0;

/** SmolLM2-135M with fewer layers. */
const shape: ModelConfig = {
  ...{ model_type: "llama", vocab_size: 49152, hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 4 },
  ...{ num_attention_heads: 9, num_key_value_heads: 3, head_dim: 64, max_position_embeddings: 8192 },
  ...{ rms_norm_eps: 1e-5, rope_theta: 100000, rope_scaling: null, tie_word_embeddings: true, attention_bias: false },
  ...{ mlp_bias: false, sliding_window: null, max_window_layers: null },
  ...{ bos_token_id: 1, eos_token_ids: [2], pad_token_id: 2 },
};
const here: ShapeOf = async () => shape;

async function estimated(recipe: string, options: Parameters<typeof estimateRun>[1] = { shapeOf: here }) {
  const file = await writeRecipe(join(home, String(folders++)), { recipe });
  writeFileSync(join(file, "..", "labelled.jsonl"), '{"prompt":"Known?","chosen":"Yes.","rejected":"No."}\n');
  return estimateRun(await openRecipe(file), options);
}
const parts = ({ stages }: Awaited<ReturnType<typeof estimated>>, name: string) =>
  stages.find(({ stage }) => stage === name)!.memory!.parts;

const plain = reinforcedRecipe.replace("  audit: { path: known.jsonl }\n", "");

it("tells by stage what is in memory, and the largest of all", async () => {
  const estimate = await estimated(plain);
  const weights = 4 * (49152 * 576 + 4 * (2 * 576 + 576 * (2 * 576 + 2 * 192 + 3 * 1536)) + 576);
  // Nothing trains while first responses are sampled; everything that spoke is still there when the policy learns.
  expect(parts(estimate, "responses")).toMatchObject({ weights, tables: 0, activations: 0, parameters: 0 });
  expect(parts(estimate, "responses").matrices).toBeCloseTo(weights, -7);
  const table = 4 * 49152 * 576;
  expect(parts(estimate, "supervised").tables).toBe(2 * table);
  expect(parts(estimate, "preference model").tables).toBe(0);
  expect(parts(estimate, "policy")).toMatchObject({ weights, matrices: parts(estimate, "responses").matrices });
  expect(parts(estimate, "policy").tables).toBe(3 * table);
  const all = estimate.stages.flatMap(({ memory }) => memory?.bytes ?? []);
  expect(estimate.left.memory!.bytes).toBe(Math.max(...all));
  // Every training says what it holds.
  const trained = estimate.stages.filter(({ trainingTokens }) => trainingTokens !== undefined);
  expect(trained.length).toBeGreaterThan(2);
  for (const { stage } of trained) expect(parts(estimate, stage).activations, stage).toBeGreaterThan(0);
  // What only reads files computes nothing.
  expect(estimate.stages.find(({ stage }) => stage === "prompts")!.memory).toBeUndefined();
});

it("knows what makes it smaller: a shared trunk, fewer places, checkpoints of activations, 8 bits, a budget", async () => {
  const policyOf = async (recipe: string, options?: Parameters<typeof estimateRun>[1]) =>
    parts(await estimated(recipe, options), "policy");
  const now = await policyOf(plain);
  const shared = await policyOf(plain.replace("algorithm: ppo", "algorithm: ppo\n  value: { trunk: shared }"));
  expect(shared.parameters).toBe(now.parameters / 2);
  const wide = plain
    .replace("promptsPerIteration: 4", "promptsPerIteration: 40")
    .replaceAll("Tokens: 512", "Tokens: 2048");
  const many = await policyOf(wide);
  const memoryBudget = 0.9 * many.activations;
  const [checkpointed, bounded] = [
    await policyOf(wide.replace("algorithm: ppo", "algorithm: ppo\n  activationCheckpointing: true")),
    await policyOf(wide, { shapeOf: here, memoryBudget }),
  ];
  expect(many.activations).toBeGreaterThan(now.activations);
  expect(checkpointed.activations).toBeLessThan(0.7 * many.activations);
  expect(bounded.activations).toBeLessThan(memoryBudget);
  const eight = await policyOf(`${plain}inference: { weights: int8 }\n`);
  expect(eight.matrices).toBe(now.matrices / 2);
  expect(eight.frozen).toBe(0);
  const taught = await policyOf(`${plain}training: { weights: int8 }\n`);
  // Both ways round as they lie, and as the programs of two networks and of what only looks arrange them.
  expect(taught.matrices).toBe(now.matrices);
  expect(taught.frozen).toBeGreaterThan(0);
  expect(taught.activations).not.toBe(now.activations);
});

it("leaves out what servers compute, and says nothing of a model that is not here", async () => {
  const asked = await estimated(
    plain.replace("evaluate:", "roles: { generator: { endpoint: http://localhost:1/v1, model: m } }\nevaluate:"),
  );
  expect(asked.stages.find(({ stage }) => stage === "responses")!.memory).toBeUndefined();
  const elsewhere = await estimated(plain, { shapeOf: async () => undefined });
  expect(elsewhere.left.memory).toBeUndefined();
  expect(elsewhere.stages.every(({ memory }) => memory === undefined)).toBe(true);
  expect(elsewhere.notes).toContainEqual(
    expect.stringMatching(/memory is not known until .* can be read here: tenet models pull/),
  );
});

it("reads shapes of what is on this machine, and takes what it cannot read for what is not there", async () => {
  const here = shapesHere({});
  const { hidden_size } = (await here(join(home, "0", "model")))!;
  expect(hidden_size).toBeGreaterThan(0);
  for (const reference of [join(home, "nowhere"), home, "no-such-name", "hf:nobody/nothing-of-this-name"])
    expect(await here(reference), reference).toBeUndefined();
});
