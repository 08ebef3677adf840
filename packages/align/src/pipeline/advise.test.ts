import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeTinyModel } from "@tenet/fixtures";
import { hashOf, openStore } from "@tenet/runs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Advice,
  adviceRules,
  advise,
  type Criteria,
  type Criterion,
  criteria,
  labelNames,
  unanswered,
} from "./advise.ts";
import { adviseRecipe, switchSettings } from "./advise-recipe.ts";
import { openRecipe } from "./open.ts";
import { isConstitutional } from "./rules/arrangement.ts";
import { runSpec } from "./run.ts";
import { arrangementNames } from "./schema/arrangement.ts";

const all: Criteria[] = criteria.goal.flatMap((goal) =>
  criteria.complexity.flatMap((complexity) =>
    criteria.compute.flatMap((compute) =>
      criteria.constitution.flatMap((constitution) =>
        criteria.labeller.flatMap((labeller) =>
          criteria.people.map((people) => ({ goal, complexity, compute, constitution, labeller, people })),
        ),
      ),
    ),
  ),
);
type Guides = Omit<Criteria, keyof typeof unanswered>;
const first = (given: Guides & Partial<Criteria>) => advise({ ...unanswered, ...given }).arrangements[0]!.name;
const labels = (given: Criteria) => advise(given).labels[0]!.name;

describe("the rules", () => {
  it("put each arrangement and each of those who label first for some answers, and let every answer and every rule matter", () => {
    expect(new Set(all.map(first))).toEqual(new Set(arrangementNames));
    expect(new Set(all.map(labels))).toEqual(new Set(labelNames));
    for (const name of Object.keys(criteria) as Criterion[])
      expect(
        all.some((given) => advise(given).decisive.some(({ criterion }) => criterion === name)),
        name,
      ).toBe(true);
    const fired = new Set(
      all.flatMap((given) => {
        const { arrangements, switches, without, labels: judged } = advise(given);
        return [...arrangements, ...switches, ...without, ...judged].flatMap(({ rules }) => rules);
      }),
    );
    for (const rule of adviceRules) {
      expect(fired.has(rule), rule.because).toBe(true);
      expect(rule.source).toMatch(/^(guides? [AB]|docs\/labels\.md)/);
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
    const count = (goal: Criteria["goal"]) => advise({ goal, ...simple, ...unanswered }).switches.length;
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

  it("never let labels be made by whom nobody has, by checks that are not there or by a labeller at chance", () => {
    for (const given of all) {
      const { labels: judged, audit } = advise(given);
      const name = judged[0]!.name;
      if (given.people === "none") expect(name).not.toBe("people");
      if (given.constitution === "interpreted") expect(name).not.toBe("checks");
      if (given.labeller === "chance") expect(name).not.toBe("model");
      expect(audit).toBe(name === "model" && given.labeller === "unknown");
    }
  });

  it("name what would have changed the answer, truly and wholly", () => {
    const flip = ({ criterion, answer }: Advice["decisive"][number], given: Criteria) => ({
      ...given,
      [criterion]: answer,
    });
    const names = Object.keys(criteria) as Criterion[];
    const key = (given: Criteria) => names.map((name) => given[name]).join(" ");
    const answers = new Map(all.map((given) => [key(given), { arrangement: first(given), labels: labels(given) }]));
    for (const given of all) {
      const { decisive } = advise(given);
      for (const one of decisive)
        expect(answers.get(key(flip(one, given)))).toEqual({ arrangement: one.arrangement, labels: one.labels });
      const neighbours = names.flatMap((name) =>
        criteria[name].filter((answer) => answer !== given[name]).map((answer) => ({ ...given, [name]: answer })),
      );
      const own = JSON.stringify(answers.get(key(given)));
      expect(decisive.length).toBe(neighbours.filter((one) => JSON.stringify(answers.get(key(one))) !== own).length);
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
              const { arrangements, switches, labels: judged, audit } = advise(given);
              const settings = switchSettings(given);
              const asked = audit ? given.people : "";
              const key = [arrangements[0]!.name, switches.map(({ name }) => settings[name]), judged[0]!.name, asked];
              return [JSON.stringify(key), given];
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
    300_000,
  );

  it("is labelled by whom that fits, unless it says already that no model labels", async () => {
    const low = { goal: "balanced", complexity: "low", compute: "low" } as const;
    const labelled = async (constitution: string, rest: string, given: Partial<Criteria>) => {
      const file = await recipe(constitution, `policy: { algorithm: ppo }\n${rest}`);
      const { best } = await adviseRecipe(file, { ...low, ...given });
      const { feedback } = (await openRecipe(file, { text: best.text })).recipe;
      return { ...best, feedback };
    };
    const audited =
      "feedback: { audit: { path: known.jsonl }, pairs: { samples: 4, pairs: all, system: Be brief. } }\n";
    await writeFile(join(folder, "known.jsonl"), '{"prompt":"Q","a":"1","b":"2","p":1}\n');
    const contrast = await labelled("interpreted", audited, { labeller: "chance" });
    expect(contrast.feedback).toMatchObject({
      ...{ label: { method: "contrast" }, pairs: { contrast: "principle", samples: 2, pairs: "one" } },
    });
    expect(contrast.feedback.audit).toBeUndefined();
    expect(contrast.changes).toContainEqual({ path: ["feedback", "audit"] });
    const people = await labelled("interpreted", "", { people: "many" });
    expect(people.feedback.label.method).toBe("people");
    expect(people.cautions).toEqual([expect.stringMatching(/waits until people have judged/)]);
    expect((await labelled("verifiable", "", {})).feedback.label.method).toBe("checks");
    const some = await labelled("interpreted", "", { people: "some" });
    expect(some.feedback).toMatchObject({
      label: { method: "choice" },
      audit: { people: true },
      people: { pairs: 100 },
    });
    const nobody = await labelled("interpreted", "", {});
    expect(nobody.feedback).toMatchObject({ label: { method: "choice" } });
    expect(nobody.cautions).toEqual([expect.stringMatching(/nobody knows what the labeller's labels are worth/)]);
    const own = await labelled("verifiable", "feedback: { label: { method: people } }\n", { labeller: "above" });
    expect(own.feedback.label.method).toBe("people");
  });

  it("is not advised what acts on labels where nobody learns them", async () => {
    const given = { goal: "balanced", complexity: "medium", compute: "medium" } as const;
    const rewarded = "policy: { algorithm: rloo, reward: { preference: 0, constitution: 1 } }\n";
    const { advice, best } = await adviseRecipe(await recipe("verifiable", rewarded), given);
    expect(advice.switches.map(({ name }) => name)).toContain("weigh");
    expect(best.changes).toEqual([]);
    // DPO learns them itself.
    const { best: taught } = await adviseRecipe(await recipe("verifiable", policies.dpo), given);
    const changed = taught.changes.map(({ path }) => path.join("."));
    expect(changed).toEqual(expect.arrayContaining(["feedback.label", "feedback.weigh"]));
  });

  it("takes what its run's audit said of the labeller, where nothing else is said", async () => {
    const file = await recipe("mixed", "policy: { algorithm: ppo }\nfeedback: { audit: { path: known.jsonl } }\n");
    const open = await openRecipe(file);
    const place = join(folder, "store");
    const store = openStore(place);
    const low = { goal: "balanced", complexity: "low", compute: "low" } as const;
    const asked = async (passed: boolean) => {
      const run = store.begin(runSpec(open));
      run.stage({ name: "audit", kind: "audit", identity: hashOf(`audit ${passed}`) }).finish({
        output: { gate: { passed } },
      });
      run.end("done");
      return (await adviseRecipe(file, low, { store })).advice.criteria.labeller;
    };
    try {
      expect((await adviseRecipe(file, low, { store })).advice.criteria.labeller).toBe("unknown");
      expect(await asked(false)).toBe("chance");
      expect(await asked(true)).toBe("above");
      const said = { ...low, labeller: "chance" } as const;
      expect((await adviseRecipe(file, said, { store })).advice.criteria.labeller).toBe("chance");
    } finally {
      store.close();
    }
  });

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
