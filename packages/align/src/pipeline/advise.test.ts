import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeTinyModel } from "@tenet/fixtures";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Advice, adviceRules, advise, type Criteria, type Criterion, criteria } from "./advise.ts";
import { adviseRecipe, switchSettings } from "./advise-recipe.ts";
import { openRecipe } from "./open.ts";
import { isConstitutional } from "./rules/arrangement.ts";
import { arrangementNames } from "./schema/arrangement.ts";

const all: Criteria[] = criteria.goal.flatMap((goal) =>
  criteria.complexity.flatMap((complexity) =>
    criteria.compute.flatMap((compute) =>
      criteria.constitution.map((constitution) => ({ goal, complexity, compute, constitution })),
    ),
  ),
);
const first = (given: Criteria) => advise(given).arrangements[0]!.name;

describe("the rules", () => {
  it("put each arrangement first for some answers, and let every answer and every rule matter", () => {
    expect(new Set(all.map(first))).toEqual(new Set(arrangementNames));
    for (const name of Object.keys(criteria) as Criterion[])
      expect(
        all.some((given) => advise(given).decisive.some(({ criterion }) => criterion === name)),
        name,
      ).toBe(true);
    const fired = new Set(
      all.flatMap((given) => {
        const { arrangements, switches, without } = advise(given);
        return [...arrangements, ...switches, ...without].flatMap(({ rules }) => rules);
      }),
    );
    for (const rule of adviceRules) {
      expect(fired.has(rule), rule.because).toBe(true);
      expect(rule.source).toMatch(/^METHODS §\d/);
    }
  });

  it("never take a switch away as the goal gets stricter", () => {
    for (const given of all.filter(({ goal }) => goal === "preferences")) {
      const [least, more, most] = criteria.goal.map((goal) =>
        advise({ ...given, goal }).switches.map(({ name }) => name),
      );
      expect(more).toEqual(expect.arrayContaining(least!));
      expect(most).toEqual(expect.arrayContaining(more!));
    }
    const simple = { complexity: "high", compute: "high", constitution: "verifiable" } as const;
    const count = (goal: Criteria["goal"]) => advise({ goal, ...simple }).switches.length;
    expect([count("preferences"), count("balanced"), count("strict")]).toEqual([1, 2, 5]);
  });

  it("follow the guides where these are plain", () => {
    expect(first({ goal: "balanced", complexity: "medium", compute: "medium", constitution: "mixed" })).toBe(
      "sequential",
    );
    expect(first({ goal: "preferences", complexity: "medium", compute: "medium", constitution: "mixed" })).toBe(
      "reverse",
    );
    expect(first({ goal: "balanced", complexity: "high", compute: "high", constitution: "mixed" })).toBe("iterative");
    expect(first({ goal: "strict", complexity: "high", compute: "high", constitution: "verifiable" })).toBe("joint");
    const inRollouts = ["reward", "constraint"];
    for (const given of all.filter((one) => one.compute === "low" && one.constitution === "interpreted"))
      expect(advise(given).switches.filter(({ name }) => inRollouts.includes(name))).toEqual([]);
  });

  it("name what would have changed the answer, truly and wholly", () => {
    const flip = ({ criterion, answer }: Advice["decisive"][number], given: Criteria) =>
      first({ ...given, [criterion]: answer });
    for (const given of all) {
      const { decisive } = advise(given);
      for (const one of decisive) expect(flip(one, given)).toBe(one.arrangement);
      const neighbours = all.filter(
        (other) => (Object.keys(criteria) as Criterion[]).filter((name) => other[name] !== given[name]).length === 1,
      );
      expect(decisive.length).toBe(neighbours.filter((other) => first(other) !== first(given)).length);
    }
  });

  it("give the same advice each time", () => {
    for (const given of all) expect(advise(structuredClone(given))).toEqual(advise(given));
  });
});

describe("a recipe", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tenet-advise-"));
    await writeTinyModel(join(folder, "model"));
    const row = (prompt: string) => `${JSON.stringify({ prompt })}\n`;
    await writeFile(join(folder, "prompts.jsonl"), [1, 2, 3, 4, 5, 6].map((i) => row(`Question ${i}`)).join(""));
    const checked = "  - { id: kind, text: Be kind., checks: [{ mustNot: stupid }] }\n";
    const plain = "  - { id: brief, text: Be brief. }\n";
    const principles = { verifiable: checked, mixed: checked + plain, interpreted: plain };
    for (const [name, text] of Object.entries(principles))
      await writeFile(join(folder, `${name}.yaml`), `name: letters\nversion: "1"\nprinciples:\n${text}`);
  });
  afterAll(() => rm(folder, { recursive: true }));

  const policies = {
    none: "",
    ppo: "policy: { algorithm: ppo, iterations: 2 } # kept\n",
    dpo: "policy: { algorithm: dpo }\n",
    "best-of-n": "policy: { algorithm: best-of-n }\n",
  };
  async function recipe(constitution: string, rest: string): Promise<string> {
    const file = join(folder, "recipe.yaml");
    const text = `# mine\nmodel: ./model\nconstitution: ${constitution}.yaml\nprompts: { train: prompts.jsonl }\n${rest}`;
    await writeFile(file, text);
    return file;
  }

  it.each(Object.entries(policies))(
    "with the policy %s is valid and priced under all answers",
    async (_, policy) => {
      for (const constitution of criteria.constitution) {
        const file = await recipe(constitution, policy);
        // Answers that come to the same switches and the same order come to the same recipes.
        const different = new Map(
          all
            .filter((one) => one.constitution === constitution)
            .map((given) => {
              const { arrangements, switches } = advise(given);
              const settings = switchSettings(given);
              return [JSON.stringify([arrangements[0]!.name, switches.map(({ name }) => settings[name])]), given];
            }),
        );
        for (const given of different.values()) {
          const { advice, recipes, best } = await adviseRecipe(file, given);
          expect(advice).toEqual(advise(given));
          expect(recipes.map(({ problems }) => problems)).toEqual(recipes.map(() => undefined));
          for (const { price } of recipes) expect(price!.trainingTokens).toBeGreaterThan(0);
          expect(best.arrangement).toBe(first(given));
          expect(best.text).toMatch(/^# mine\n/);
          const arranged = (await openRecipe(file, { text: best.text })).recipe;
          expect(isConstitutional(arranged)).toBe(true);
        }
      }
    },
    120_000,
  );

  it("keeps the switches and comments that it has, and says what it replaces", async () => {
    const strict = { goal: "strict", complexity: "high", compute: "high" } as const;
    const policy = "policy: { algorithm: ppo, reward: { constitution: 0.7 } } # kept\n";
    const file = await recipe("verifiable", `${policy}arrangement: { rounds: 2 }\n`);
    const { best } = await adviseRecipe(file, strict);
    const { recipe: arranged } = await openRecipe(file, { text: best.text });
    expect(arranged.policy).toMatchObject({ algorithm: "ppo", reward: { constitution: 0.7 } });
    expect(best.text).toContain("# kept");
    expect(best.cautions).toEqual([expect.stringMatching(/mapping under arrangement is replaced/)]);
    expect(await readFile(file, "utf8")).toContain("rounds: 2");
    await writeFile(file, best.text);
    expect((await adviseRecipe(file, strict)).best.changes).toEqual([]);
    const replaced = await adviseRecipe(await recipe("verifiable", policies.dpo), strict);
    expect(replaced.best.cautions).toEqual([expect.stringMatching(/dpo.* is replaced by RLOO/)]);
  });

  it("is given the next arrangement where the first does not go with it", async () => {
    const shapes =
      "supervised: { lora: { rank: 2 } }\npolicy: { algorithm: ppo, lora: { rank: 4 } }\narrangement: joint\n";
    const file = await recipe("verifiable", `${shapes}feedback: { weigh: { by: checks } }\n`);
    const { advice, recipes, best } = await adviseRecipe(file, { goal: "balanced", complexity: "low", compute: "low" });
    expect(advice.arrangements[0]!.name).toBe("sequential");
    expect(recipes[0]!.problems).toEqual([expect.stringMatching(/policy\.lora/)]);
    expect(best.arrangement).toBe("joint");
  });
});
