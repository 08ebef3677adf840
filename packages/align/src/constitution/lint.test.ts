import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { collect, openDataset, type PromptRow } from "@tenet/data";
import { beforeAll, describe, expect, it } from "vitest";
import { type LintFinding, type LintKind, lintConstitution } from "./lint.ts";
import { parseConstitution } from "./load.ts";
import { compilePattern } from "./pattern.ts";
import { patternSamples } from "./pattern-samples.ts";
import type { Check, Constitution, Principle } from "./schema.ts";

const root = (path: string) => fileURLToPath(new URL(`../../../../${path}`, import.meta.url));
const presets = [
  ["clinical-desk.yaml", "clinical"],
  ["company-policy.yaml", "company"],
  ["content-rules.md", "content"],
  ["harmless.yaml", "harmless"],
  ["support-levels.yaml", "company"],
  ["collective.yaml", "harmless"],
] as const;
const load = (file: string) => parseConstitution(readFileSync(root(`constitutions/${file}`), "utf8"), { file }).value;

const prompts = new Map<string, PromptRow[]>();
beforeAll(async () => {
  for (const [, folder] of presets) {
    const dataset = await openDataset(root(`prompts/${folder}/train.jsonl`), { as: "prompts" });
    prompts.set(folder, (await collect(dataset)).rows);
  }
});

it.each(presets)("has nothing to say of %s", (file, folder) => {
  expect(lintConstitution(load(file), { prompts: prompts.get(folder)! })).toEqual([]);
});

function added(constitution: Constitution, id: string, text: string, ...checks: Partial<Check>[]): Constitution {
  const principle = { ...constitution.principles[0]!, id, text, weight: 1 };
  const whole = checks.map((check) => ({ severity: 1, ...check }) as Check);
  return { ...constitution, principles: [...constitution.principles, { ...principle, checks: whole } as Principle] };
}

/** Ten planted faults of each kind, each in a preset; what makes them is a function of their number. */
const faults: Record<
  Exclude<LintKind, "uncovered" | "pull apart">,
  (preset: Constitution, i: number) => Constitution
> = {
  "never drawn": (preset, i) => {
    const made = added(preset, `planted-${i}`, `Planted rule number ${i} about nothing else.`);
    made.principles.at(-1)!.weight = 0;
    return made;
  },
  "never applies": (preset, i) =>
    added(preset, `planted-${i}`, `Planted rule number ${i} of a far place.`, {
      mustNot: ["\\bship\\b"],
      when: [`\\b(zzyzx|qaanaaq) ?${i}\\b`],
    }),
  duplicate: (preset, i) => {
    const { text } = preset.principles[i % preset.principles.length]!;
    const changed = [text.toUpperCase(), text.replace(/\.$/, "!"), `${text} `, text.replaceAll(", ", " ,  ")][i % 4]!;
    return added(preset, `planted-${i}`, changed);
  },
  "cannot fire": (preset, i) => {
    const never: Partial<Check>[] = [
      { must: ["."], any: undefined },
      { mustNot: [`^${"x".repeat(i + 1)}$^y`] },
      { words: { min: 0 } },
      { characters: { min: 0 } },
      { must: ["x*"] },
      { mustNot: ["[^\\x00-\\x{10FFFF}]"] },
      { any: [{ words: { min: 0 } }, { must: ["doctor"] }] },
      { not: { mustNot: ["a*"] } },
      { all: [{ words: { min: 0 } }, { characters: { min: 0 } }] },
      { must: [`(${i})?`] },
    ];
    const check = i === 0 ? { must: ["^"] } : never[i]!;
    return added(preset, `planted-${i}`, `Planted rule number ${i} that nothing breaks.`, check);
  },
  "always fires": (preset, i) => {
    const ever: Partial<Check>[] = [
      { mustNot: ["x*"] },
      { must: ["[^\\x00-\\x{10FFFF}]"] },
      { all: [{ words: { max: 3 } }, { words: { min: 9 } }] },
      { not: { words: { min: 0 } } },
      { must: ["$a^b"] },
      { mustNot: ["^"] },
      { not: { must: ["a*"] } },
      { all: [{ must: ["zebra"] }, { mustNot: ["zebra"] }] },
      { mustNot: ["$"] },
      { any: [{ mustNot: ["b?"] }, { not: { characters: { min: 0 } } }] },
    ];
    return added(preset, `planted-${i}`, `Planted rule number ${i} that all replies break.`, ever[i]!);
  },
  conflict: (preset, i) => {
    const two: [Partial<Check>, Partial<Check>][] = [
      [{ must: ["zebra"] }, { mustNot: ["zebras?"] }],
      [{ words: { max: 20 } }, { words: { min: 50 } }],
      [{ characters: { max: 10 } }, { must: ["a long walk home"] }],
      [{ words: { min: 5 } }, { characters: { max: 4 } }],
      [{ must: ["^yes"] }, { mustNot: ["^y"] }],
      [{ must: ["\\d{4}"] }, { mustNot: ["\\d"] }],
      [{ must: ["zebra|quagga"] }, { mustNot: ["(zebra|quagga)"] }],
      [{ words: { max: 2 } }, { must: ["one two three"] }],
      [{ must: ["https?://"] }, { mustNot: ["//"] }],
      [{ not: { mustNot: ["zebra"] } }, { mustNot: ["zeb"] }],
    ];
    return added(preset, `planted-${i}`, `Planted rule number ${i} at odds with itself.`, ...two[i]!);
  },
};

it("takes no two checks for a conflict of which one spares the prompts of the other", () => {
  const of = (spared: object, when: object = { when: "bomb" }) => {
    const principles = [
      { id: "refuse", text: "Refuse bombs.", checks: [{ must: "cannot help", ...when }] },
      { id: "help", text: "Help elsewhere.", checks: [{ mustNot: "cannot help", ...spared }] },
    ];
    return parseConstitution(JSON.stringify({ name: "spared", version: "1", principles }), { file: "c.json" }).value;
  };
  const conflicts = (spared: object, when?: object) =>
    lintConstitution(of(spared, when)).filter(({ kind }) => kind === "conflict").length;
  expect(conflicts({ unless: "bomb" })).toBe(0);
  expect(conflicts({})).toBe(1);
  expect(conflicts({ unless: "knife" })).toBe(1);
  // Every prompt of the other has to be spared.
  expect(conflicts({ unless: "bomb" }, { when: ["bomb", "gun"] })).toBe(1);
  expect(conflicts({ unless: ["gun", "bomb"] }, { when: ["bomb", "gun"] })).toBe(0);
  expect(conflicts({ unless: "bomb" }, { when: "bomb", whenCategory: "arms" })).toBe(1);
  expect(conflicts({ unless: "bomb", unlessCategory: "arms" }, { when: "bomb", whenCategory: "arms" })).toBe(0);
});

describe("ten planted faults of each kind", () => {
  it("uncovered: what no check applies to is counted, and nothing where all is covered", () => {
    // Ten prompts of a preset, and a constitution whose one check is about the words of some of them.
    for (let i = 0; i < 10; i++) {
      const [, folder] = presets[i % presets.length]!;
      const some = prompts.get(folder)!.slice(i, i + 10);
      const about = some.slice(0, i).map(({ prompt }) => prompt.at(-1)!.content.replaceAll(/[^\p{L}\p{N} ]/gu, "."));
      const check = { mustNot: ["\\bzebra\\b"], when: [...about.map((text) => `^${text}$`), "^nobody says this$"] };
      const preset = { ...load("harmless.yaml"), principles: [] };
      // A principle without checks may be about anything: nothing is uncovered beside it.
      const open = { ...preset, principles: load("harmless.yaml").principles.slice(0, 1) };
      expect(
        lintConstitution(added(open, "planted", "Planted.", check), { prompts: some }).map(({ kind }) => kind),
      ).toEqual(i === 0 ? ["never applies"] : []);
      const alone = added(preset, "planted", "Planted.", check);
      const uncovered = lintConstitution(alone, { prompts: some }).filter(({ kind }) => kind === "uncovered");
      expect(uncovered, `${i}`).toMatchObject([{ why: expect.stringContaining(`${10 - i} of 10 prompts`) }]);
      const all = {
        ...check,
        when: some.map(({ prompt }) => `^${prompt.at(-1)!.content.replaceAll(/[^\p{L}\p{N} ]/gu, ".")}$`),
      };
      expect(lintConstitution(added(preset, "planted", "Planted.", all), { prompts: some })).toEqual([]);
    }
  });

  it.each(Object.keys(faults) as (keyof typeof faults)[])(
    "%s: all are found, and nothing else",
    (kind) => {
      const found: LintFinding[][] = [];
      for (let i = 0; i < 10; i++) {
        const [file, folder] = presets[i % presets.length]!;
        found.push(lintConstitution(faults[kind](load(file), i), { prompts: prompts.get(folder)! }));
      }
      // The planted principle, as the kind that was planted.
      const right = (finding: LintFinding, i: number) =>
        finding.kind === kind && finding.principles.includes(`planted-${i}`);
      const missed = found.flatMap((findings, i) => (findings.some((one) => right(one, i)) ? [] : [i]));
      const wrong = found.flatMap((findings, i) => findings.filter((one) => !right(one, i)));
      expect({ missed, wrong }).toEqual({ missed: [], wrong: [] });
    },
    300_000,
  );
});

it("says of prompts that nothing applies to", () => {
  const constitution = parseConstitution(
    "name: c\nversion: v1\nprinciples:\n  - id: ship\n    text: Of ships.\n    checks: [{ mustNot: boat, when: ship }]\n",
    { file: "c.yaml" },
  ).value;
  const asked = ["Is it a ship?", "Is it a plane?"].map((content) => ({ prompt: [{ role: "user", content }] }));
  expect(lintConstitution(constitution, { prompts: asked })).toMatchObject([
    { kind: "uncovered", why: expect.stringMatching(/1 of 2 prompts, such as "Is it a plane\?"/) },
  ]);
});

it("samples of a pattern match it", () => {
  const patterns = presets.flatMap(([file]) =>
    load(file).principles.flatMap(({ checks }) =>
      checks.flatMap(({ must = [], mustNot = [] }) => [...must, ...mustNot]),
    ),
  );
  expect(patterns.length).toBeGreaterThan(20);
  const without = patterns.filter((pattern) => {
    const samples = patternSamples(pattern, { seed: 1, count: 3 });
    for (const sample of samples) expect(compilePattern(pattern).test(sample)).toBe(true);
    return samples.length === 0;
  });
  expect(without).toEqual([]);
});
