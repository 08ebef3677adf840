import { appendFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { supervisedRecipe, writeRecipe } from "../../test/pipeline/fixture.ts";
import { dataWarnings } from "./look.ts";
import { openRecipe } from "./open.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-look-"));
});
afterAll(() => rm(folder, { recursive: true }));

const jsonl = (...rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
const asked = Array.from({ length: 12 }, (_, i) => ({
  prompt: `${"abcdefghijkl"[i]!.repeat(9)} means what, in ${i + 3} words?`,
}));

let count = 0;
/** What is said of a recipe with these files beside it. */
async function warnings(
  files: Readonly<Record<string, string>>,
  { recipe = supervisedRecipe, constitution }: { recipe?: string; constitution?: string } = {},
) {
  const path = await writeRecipe(join(folder, String(count++)), { recipe, ...(constitution && { constitution }) });
  for (const [name, text] of Object.entries(files)) await writeFile(join(dirname(path), name), text);
  return dataWarnings(await openRecipe(path));
}
const checks = (...written: string[]) =>
  `name: c\nversion: "1"\nprinciples:\n  - id: p\n    text: t\n    checks:\n${written.map((one) => `      - ${one}\n`).join("")}`;

describe("what stands in the files of a recipe", () => {
  it.each<[string, object, RegExp]>([
    [
      "word for word",
      asked[0]!,
      /1 of 3 held-out prompts are also trained on.*The first is held-out\.jsonl:1: it is also trained on: prompts\.jsonl:1/,
    ],
    ["in other case", { prompt: asked[0]!.prompt.toUpperCase() }, /but for case/],
    ["with a space more", { prompt: ` ${asked[0]!.prompt} ` }, /also trained on/],
    ["with a word more", { prompt: `Please, ${asked[0]!.prompt}` }, /nearly the same/],
    ["in messages", { messages: [{ role: "user", content: asked[0]!.prompt }] }, /also trained on/],
  ])("is warned of where held-out prompts are trained on: %s", async (_, leak, message) => {
    const held = jsonl(leak, { prompt: "Held-out question 1" }, { prompt: "Held-out question 2" });
    expect((await warnings({ "prompts.jsonl": jsonl(...asked), "held-out.jsonl": held })).join("\n")).toMatch(message);
  });

  it("is warned of where the helpful examples hold them", async () => {
    const helpful = jsonl({ prompt: "Held-out question 0: say a word.", completion: "A word." });
    expect((await warnings({ "helpful.jsonl": helpful })).join("\n")).toMatch(
      /1 of 3 held-out prompts .*helpful\.jsonl:1/,
    );
  });

  it("is warned of where lines cannot be used, are the same, or were read otherwise", async () => {
    const path = await writeRecipe(join(folder, "lines"), {});
    await appendFile(join(dirname(path), "held-out.jsonl"), "");
    await writeFile(join(dirname(path), "held-out.jsonl"), `${jsonl(asked[0]!, asked[0]!)}{"prompt": \n`);
    await writeFile(join(dirname(path), "helpful.jsonl"), jsonl({ prompt: "Why?", completion: "So.</s>" }));
    expect(await dataWarnings(await openRecipe(path))).toEqual(
      expect.arrayContaining([
        expect.stringMatching(
          /^held-out\.jsonl: 1 of 3 records cannot be used; the first is held-out\.jsonl:3: not JSON/,
        ),
        expect.stringMatching(/^held-out\.jsonl: 1 records are the same as others/),
        expect.stringMatching(/^helpful\.jsonl: end marks were taken off completion \(1 ×\)/),
      ]),
    );
  });

  it("is warned of where a held-out set is too small to show anything", async () => {
    expect((await warnings({})).join("\n")).toMatch(/3 held-out prompts show no fall of violations at all: give more/);
  });

  it.each([
    ["", /on 1 pair a preference model that is right on 0.7 .* it takes 48 .*preferenceModel\.gate\.pairs/],
    [
      "preferenceModel: { gate: { pairs: 50 } }\n",
      /is to judge by 50 pairs \(preferenceModel\.gate\.pairs\), and the prompts give 6 at most/,
    ],
  ])("is warned of where the preference model is tested on too few pairs: %j", async (gate, message) => {
    const recipe = `${supervisedRecipe}feedback: { label: { method: checks } }\npolicy: { algorithm: ppo }\n${gate}`;
    expect((await warnings({}, { recipe })).join("\n")).toMatch(message);
  });

  it.each<[string, string, RegExp]>([
    [
      "whose when no prompt matches",
      `{ mustNot: "q", when: "zebra" }`,
      /check "1 mustNot" of principle p never applies: .* all 9 prompts|no check applies/,
    ],
    ["whose unless all prompts match", `{ mustNot: "q", unless: "what" }`, /never applies/],
    [
      "that all good replies break",
      `{ must: "zebra" }`,
      /check "1 must" of principle p is broken by all 6 good replies/,
    ],
    [
      "in words that no limit allows",
      "{ words: { min: 400 } }",
      /principle p asks for 400 words, and no reply has more than the 16 tokens/,
    ],
    ["that no reply is short enough for", "{ characters: { max: 2 } }", /is broken by all 6 good replies/],
  ])("is warned of for checks %s", async (_, check, message) => {
    const files = { "held-out.jsonl": jsonl(...asked.slice(0, 3)), "prompts.jsonl": jsonl(...asked.slice(3)) };
    expect((await warnings(files, { constitution: checks(check) })).join("\n")).toMatch(message);
  });

  it("is not warned of where all is well", async () => {
    const held = Array.from({ length: 60 }, (_, i) => ({
      prompt: `${String.fromCodePoint(0x4e00 + 7 * i).repeat(12)} ${i}`,
    }));
    const recipe = supervisedRecipe.replace("limit: 3", "limit: 60");
    const found = await warnings(
      { "held-out.jsonl": jsonl(...held), "prompts.jsonl": jsonl(...asked) },
      { recipe, constitution: checks(`{ mustNot: "q7" }`, "{ characters: { max: 80 } }") },
    );
    expect(found).toEqual([]);
  });
});
