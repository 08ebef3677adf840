import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DocumentError, type PromptRow } from "@tenet/data";
import { writeTinyModel } from "@tenet/fixtures";
import { openStore } from "@tenet/runs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PartContext } from "./context.ts";
import { ModelPool } from "./models.ts";
import { openRecipe } from "./open.ts";
import { recipeSchema } from "./recipe.ts";
import { planOf, promptsOf, roundSeed, settingsOf } from "./rounds.ts";
import { execute, rowsStage } from "./stages/index.ts";
import { warningsOf } from "./warnings.ts";

const folder = await mkdtemp(join(tmpdir(), "tenet-rounds-"));
beforeAll(() => writeTinyModel(join(folder, "model")));
afterAll(() => rm(folder, { recursive: true }));

const constitution =
  'name: kind\nversion: "1"\nprinciples:\n  - { id: kind, text: Be kind., checks: [{ mustNot: stupid }] }\n';
const start = "model: ../model\nconstitution: kind.yaml\nprompts: { train: prompts.jsonl }\n";
const policy = "policy: { algorithm: ppo }\n";

let opened = 0;
async function open(text: string, principles = constitution) {
  const own = join(folder, `case-${opened++}`);
  await mkdir(own);
  await writeFile(join(own, "kind.yaml"), principles);
  await writeFile(join(own, "prompts.jsonl"), ["One", "Two"].map((prompt) => JSON.stringify({ prompt })).join("\n"));
  await writeFile(join(own, "recipe.yaml"), text);
  return openRecipe(join(own, "recipe.yaml"));
}

/** What is wrong with an arrangement, without the folder's name. */
async function messageOf(text: string, principles?: string): Promise<string> {
  const error = await open(text, principles).then(
    () => new Error("opens"),
    (thrown: Error) => thrown,
  );
  if (error.message !== "opens") expect(error).toBeInstanceOf(DocumentError);
  return error.message.replaceAll(/\S*[/\\](?=recipe\.yaml)/g, "");
}

const parsed = (more: object = {}) =>
  recipeSchema.parse({ constitution: "c.yaml", prompts: { train: "p.jsonl" }, policy: { algorithm: "ppo" }, ...more });

describe("arrangements", () => {
  it("have names, each short for a mapping", () => {
    const steps = (arrangement: unknown) => planOf(parsed({ arrangement })).steps;
    expect(planOf(parsed())).toEqual(planOf(parsed({ arrangement: "sequential" })));
    expect(planOf(parsed())).toEqual(planOf(parsed({ arrangement: { steps: ["supervised", "policy"], rounds: 1 } })));
    expect(planOf({ ...parsed(), policy: undefined }).steps).toEqual(["supervised"]);
    expect(steps("reverse")).toEqual(["policy", "supervised"]);
    expect(steps("joint")).toEqual(["policy"]);
    expect(planOf(parsed({ arrangement: "iterative" }))).toMatchObject({
      ...{ steps: ["supervised", "policy"], rounds: 3, share: { supervised: 0.5, policy: 0.5 } },
      ...{ prompts: "same", pairs: "all", preferenceModel: "again" },
    });
  });

  it("leave a recipe that names none as it was written", () => {
    expect(parsed()).not.toHaveProperty("arrangement");
  });

  it("give every round a seed of its own, the first the recipe's", () => {
    expect(roundSeed(7, 1)).toBe(7);
    const seeds = Array.from({ length: 20 }, (_, i) => roundSeed(7, i + 1));
    expect(new Set([...seeds, ...seeds.map((_, i) => roundSeed(8, i + 1))]).size).toBe(40);
    for (const seed of seeds) expect(Number.isSafeInteger(seed) && seed >= 0).toBe(true);
  });
});

describe("schedules", () => {
  const recipe = parsed();
  const at = (schedule: Record<string, unknown[]>, round: number) => settingsOf(recipe, { schedule }, round);

  it("put a value a round at a path, the last one for all further", () => {
    const schedule = { "supervised.epochs": [3, 2], "policy.reward.constitution": [0.5] };
    expect([1, 2, 3].map((round) => at(schedule, round).supervised.epochs)).toEqual([3, 2, 2]);
    expect(at(schedule, 3).policy).toMatchObject({ reward: { constitution: 0.5 } });
    expect(recipe.supervised.epochs).toBe(1);
  });

  it("of what is set anyway change nothing", () => {
    expect(at({ "supervised.epochs": [1], "policy.kl.coefficient": [0.05, 0.05] }, 2)).toEqual(recipe);
    expect(settingsOf(recipe, { schedule: {} }, 2)).toBe(recipe);
  });
});

describe("shares", () => {
  /** Which of some prompts each step of each round works on. */
  async function divided(arrangement: object, count: number): Promise<Record<string, string[]>> {
    const home = await mkdtemp(join(folder, "store-"));
    const store = openStore(home);
    const run = store.begin({ name: "shares", recipe: {}, versions: {} });
    const context = { recipe: parsed({ arrangement, seed: 3 }) } as PartContext;
    const plan = planOf(context.recipe);
    const prompts = rowsStage<PromptRow>({
      ...{ name: "prompts", title: "prompts", kind: "prompts", version: 1, seed: 1 },
      settings: () => count,
      *make() {
        for (let i = 0; i < count; i++)
          yield { row: { id: `prompt ${i}`, prompt: [{ role: "user", content: `${i}` }], origin: { parents: [] } } };
      },
    });
    const steps = Array.from({ length: plan.rounds }, (_, i) => i + 1).flatMap((round) =>
      plan.steps.map((step) => promptsOf(context, { name: `${step} ${round}`, prompts, plan, round, step })),
    );
    const values = await execute(steps, { store, run, models: new ModelPool(), emit: () => {} });
    const of = Object.fromEntries(
      steps.map((stage) => {
        const value = values.get(stage);
        return [stage.name, value?.kind === "rows" ? [...value.rows()].map((row) => (row as PromptRow).id) : []];
      }),
    );
    run.end("done");
    store.close();
    return of;
  }
  const halves = { rounds: 2, share: { supervised: 0.5, policy: 0.5 } };

  it("are disjoint, cover, and are others in every round", async () => {
    const found = await divided(halves, 200);
    const all = Array.from({ length: 200 }, (_, i) => `prompt ${i}`).sort();
    for (const round of [1, 2]) {
      const [one, other] = [found[`supervised ${round}`]!, found[`policy ${round}`]!];
      expect([...one, ...other].sort()).toEqual(all);
      // Within five deviations of a fair coin.
      expect(Math.abs(one.length - 100)).toBeLessThan(36);
    }
    expect(found["supervised 2"]).not.toEqual(found["supervised 1"]);
  });

  it("move no prompt where prompts are added, nor where rounds are", async () => {
    const [few, many] = [await divided(halves, 100), await divided({ ...halves, rounds: 3 }, 150)];
    for (const name of Object.keys(few)) expect(many[name]!.filter((id) => few[name]!.includes(id))).toEqual(few[name]);
    for (const name of Object.keys(few))
      expect(many[name]!.filter((id) => Number(id.split(" ")[1]) < 100)).toEqual(few[name]);
  });

  it("of rounds that divide the prompts among themselves are disjoint and cover", async () => {
    const found = await divided({ rounds: 3, prompts: "fresh", share: { supervised: 0.4, policy: 0.6 } }, 300);
    const ids = Object.values(found).flat();
    expect(new Set(ids).size).toBe(300);
    expect(ids).toHaveLength(300);
    const smaller = await divided({ rounds: 3, prompts: "fresh", share: { supervised: 0.4, policy: 0.6 } }, 200);
    for (const [name, some] of Object.entries(smaller)) expect(found[name]).toEqual(expect.arrayContaining(some));
  });

  it("that are not all of the prompts leave some out", async () => {
    const found = await divided({ share: { supervised: 0.3 } }, 100);
    expect(found["supervised 1"]!.length).toBeLessThan(50);
    expect(found.prompts).toHaveLength(100);
  });
});

function found(message: string, part: string | RegExp): boolean {
  return typeof part === "string" ? message.includes(part) : part.test(message);
}

describe("a recipe whose arrangement contradicts it is refused at its line:", () => {
  const rounds = (more: string) => `${start}${policy}arrangement: { rounds: 2, ${more} }\n`;
  const cases: readonly (readonly [string, string, string | RegExp, (string | RegExp)?])[] = [
    [
      "no steps",
      `${start}${policy}arrangement: { steps: [] }\n`,
      "recipe.yaml:5:23 arrangement.steps: expected at least 1",
    ],
    [
      "a step twice",
      `${start}${policy}arrangement: { steps: [supervised, policy, supervised] }\n`,
      "recipe.yaml:5:23 arrangement.steps: expected each step once",
    ],
    [
      "a name that is none",
      `${start}arrangement: revers\n`,
      "recipe.yaml:4:14 arrangement:",
      'Did you mean "reverse"?',
    ],
    [
      "a policy that nothing is said of",
      `${start}arrangement: iterative\n`,
      'recipe.yaml:4:14 arrangement: expected policy beside it, e.g. policy: { algorithm: ppo }: one of its steps is reinforcement learning, got "iterative" alone',
    ],
    [
      "a policy that is no step",
      `${start}${policy}arrangement: { steps: [supervised] }\n`,
      "recipe.yaml:4:9 policy: expected policy among arrangement.steps, or none here",
    ],
    [
      "joint without anything constitutional",
      `${start}${policy}arrangement: joint\n`,
      "recipe.yaml:5:14 arrangement: expected something constitutional beside it",
      "plain RLAIF, which is written arrangement: { steps: [policy] }",
    ],
    ...(["pairs: round", "preferenceModel: continue", "preferenceModel: once", "prompts: fresh"] as const).map(
      (key) =>
        [
          `${key} with one round`,
          `${start}${policy}arrangement: { ${key} }\n`,
          /recipe\.yaml:5:\d+ arrangement\.\w+: expected rounds of at least 2 beside it.*with one round/,
        ] as const,
    ),
    [
      "a reference to the first round where it is the only one",
      `${start}policy: { algorithm: ppo, kl: { reference: first } }\n`,
      'recipe.yaml:4:44 policy.kl.reference: expected "start", which it is with one round',
    ],
    [
      "a share of a step that is not there",
      `${start}arrangement: { share: { policy: 0.5 } }\n`,
      "recipe.yaml:4:33 arrangement.share.policy: expected policy among the steps",
    ],
    [
      "shares above the whole",
      rounds("share: { supervised: 0.6, policy: 0.6 }"),
      "recipe.yaml:5:34 arrangement.share: expected shares that are together at most 1",
    ],
    [
      "fewer prompts than rounds and steps that divide them",
      rounds("prompts: fresh"),
      'recipe.yaml:5:36 arrangement.prompts: expected "same", or at least 4 prompts in prompts.train: each of 2 rounds has some of its own, got "fresh" and 2 prompts',
    ],
    [
      "all weights in rounds",
      `${start}supervised: { weights: all }\narrangement: { rounds: 2 }\n`,
      'recipe.yaml:4:24 supervised.weights: expected "lora": what is trained further is an adapter',
    ],
    [
      "two shapes of one adapter",
      `${start}supervised: { lora: { rank: 4 } }\npolicy: { algorithm: ppo, lora: { rank: 8 } }\n`,
      "recipe.yaml:5:33 policy.lora: expected the shape of supervised.lora, or none",
    ],
    [
      "a schedule of more values than rounds",
      `${start}${policy}arrangement: { schedule: { supervised.epochs: [1, 2] } }\n`,
      'recipe.yaml:5:47 arrangement.schedule["supervised.epochs"]: expected at most one value, as there is one round, got 2 values',
    ],
    [
      "a schedule of what is no setting",
      rounds("schedule: { supervised.epoch: [1, 2] }"),
      'arrangement.schedule["supervised.epoch"]: expected the path of a setting',
      'Did you mean "supervised.epochs"?',
    ],
    ...(["model", "seed", "roles.labeller", "prompts.train"] as const).map(
      (path) =>
        [
          `a schedule of ${path}`,
          rounds(`schedule: { ${path}: [1, 2] }`),
          `recipe.yaml:5:`,
          "expected the path of a setting that may change with the rounds, under supervised, feedback, preferenceModel, costModel, policy",
        ] as const,
    ),
    [
      "a schedule of files",
      rounds("schedule: { supervised.demonstrations: [a.yaml] }"),
      "files are the same in every round",
    ],
    [
      "a schedule of a shape",
      rounds("schedule: { policy.lora.rank: [4, 8] }"),
      "an adapter that is gone on with keeps its shape",
    ],
    [
      "a schedule of what a refusal leads to",
      rounds("schedule: { preferenceModel.gate.refused: [stop, go-without] }"),
      "the scorecard tells of one way",
    ],
    [
      "a schedule of another step's setting",
      `${start}arrangement: { rounds: 2, schedule: { policy.iterations: [1] } }\n`,
      'recipe.yaml:4:58 arrangement.schedule["policy.iterations"]: expected a setting of a step that is there: supervised',
    ],
    [
      "a value that its own schema refuses",
      rounds("schedule: { policy.iterations: [4, none] }"),
      'recipe.yaml:5:62 arrangement.schedule["policy.iterations"][1]: expected a value of policy.iterations',
    ],
    [
      "settings that do not go together in a round",
      rounds("schedule: { policy.reward.preference: [1, 0] }"),
      "recipe.yaml:5:37 arrangement.schedule: expected settings that go together in round 2: of policy.reward, a weight above 0",
    ],
  ];
  for (const [name, text, ...says] of cases)
    it(name, async () => {
      const message = await messageOf(text);
      for (const part of says)
        if (part !== undefined) expect(found(message, part), `${message}\n  lacks ${part}`).toBe(true);
    });

  it("a round that rewards by checks of a constitution that has none", async () => {
    const plain = 'name: plain\nversion: "1"\nprinciples:\n  - { id: kind, text: Be kind. }\n';
    const message = await messageOf(rounds("schedule: { policy.reward.constitution: [0, 1] }"), plain);
    expect(message).toContain("recipe.yaml:5:37 arrangement.schedule: expected settings that go together in round 2");
    expect(message).toContain("checks in the constitution");
  });
});

it("a first reference where rounds begin with the policy is warned of: it is the model itself", async () => {
  const reversed = (reference: string) =>
    `${start}policy: { algorithm: ppo, kl: { reference: ${reference} } }\narrangement: { steps: [policy, supervised], rounds: 2 }\n`;
  const said = async (reference: string) => warningsOf(await open(reversed(reference))).join("\n");
  expect(await said("first")).toMatch(/policy\.kl\.reference: first is the model itself/);
  expect(await said("base")).not.toMatch(/policy\.kl\.reference/);
});
