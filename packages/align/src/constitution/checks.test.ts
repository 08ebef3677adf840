import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  CheckError,
  type Constitution,
  checkReward,
  constitutionHash,
  loadConstitution,
  parseConstitution,
  runChecks,
  violations,
} from "./index.ts";

type Written = Record<string, unknown>;

function withChecks(...checks: Written[]): Constitution {
  const text = JSON.stringify({ name: "c", version: "1", principles: [{ id: "p", text: "t", checks }] });
  return parseConstitution(text, { file: "c.json" }).value;
}

function violated(check: Written, response: string, prompt = "Hello"): boolean {
  return runChecks(withChecks(check), { prompt: [{ role: "user", content: prompt }], response })[0]!.violated;
}

describe("rules", () => {
  it.each<[string, Written, string, string]>([
    ["must", { must: "doctor" }, "See a Doctor.", "Rest."],
    ["must, one of several", { must: ["nurse", "doctor"] }, "See a doctor.", "Rest."],
    ["mustNot", { mustNot: "\\d+ ?mg\\b" }, "Ask the pharmacist.", "Take 200 MG."],
    ["mustNot, none of several", { mustNot: ["stupid", "silly"] }, "Good question.", "How silly."],
    [
      "mustNot, but for a group that excuses",
      { mustNot: "(?P<not>(if|not) )?you have \\w+" },
      "See if you have gout.",
      "Well, you have gout.",
    ],
    ["words, min", { words: { min: 2 } }, "one two", "one"],
    ["words, max", { words: { max: 2 } }, "one two", "one two\nthree"],
    ["characters, counted as people do", { characters: { max: 3 } }, " 🙂🙂🙂 ", "four"],
    ["citation by number", { citation: true }, "Bees dance [1].", "Bees dance."],
    ["citation by link", { citation: true }, "See https://example.org/bees.", "See the web."],
    ["citation by Markdown link", { citation: true }, "See [the page](bees.html).", "See (the page)."],
    ["citation by author and year", { citation: true }, "Bees dance (von Frisch, 1967).", "Bees dance (since 1967)."],
    ["citation by a line", { citation: true }, "Bees dance.\nSource: the handbook", "The source is unknown."],
    ["citation of one's own", { citation: "§ ?\\d+" }, "By § 7 you may.", "You may [1]."],
    ["any", { any: [{ must: "a" }, { must: "b" }] }, "b", "c"],
    ["all", { all: [{ must: "a" }, { must: "b" }] }, "ab", "b"],
    ["not", { not: { must: "a" } }, "b", "a"],
    ["nested", { not: { all: [{ must: "a" }, { any: [{ must: "b" }, { words: { min: 3 } }] }] } }, "a c", "a c d"],
  ])("%s", (_, check, good, bad) => {
    expect(violated(check, good)).toBe(false);
    expect(violated(check, bad)).toBe(true);
  });

  it("find a match behind an excused one", () => {
    expect(violated({ mustNot: "(?P<not>if )?you have" }, "Ask if you have it. I think you have it.")).toBe(true);
  });

  const knee = "My knees have been hurting since Monday, Doctor!";
  it.each([
    ["the word in another form", "prompt", "A knee can hurt.", true],
    ["another word", "prompt", "A throat can be sore.", false],
    ["function words alone", "prompt", "It has been so since then, my friend.", false],
    [
      "an ignored word, whatever its form",
      { of: "prompt", ignore: ["doctor", "hurt"] },
      "Doctors know what hurts.",
      false,
    ],
    ["a word of the same group", { of: "prompt", groups: [["leg", "knee"]] }, "Put your legs up.", true],
    ["two words of two", { of: "prompt", atLeast: 2 }, "The knee was hurt.", true],
    ["one word of two", { of: "prompt", atLeast: 2 }, "The knee.", false],
  ])("mentions: %s", (_, mentions, response, holds) => {
    expect(violated({ mentions }, response, knee)).toBe(!holds);
  });
  it("mentions holds where the prompt speaks of nothing, and asks for all words where it has few", () => {
    expect(violated({ mentions: "prompt" }, "Rest.", "How are you?")).toBe(false);
    expect(violated({ mentions: { of: "prompt", atLeast: 9 } }, "Knees!", "Knees?")).toBe(false);
    const results = runChecks(withChecks({ mentions: "prompt" }), {
      prompt: [
        { role: "user", content: knee },
        { role: "assistant", content: "Rest." },
        { role: "user", content: "Why?" },
      ],
      response: "Rest.",
    });
    expect(results[0]!.why).toBe("it speaks of too little of: knees, hurting, monday, doctor");
  });
  it.each([
    ["ja", "膝が痛いです。どうすればいいですか。", "膝を冷やしてください。", "喉を温めてください。"],
    ["de", "Mein Knie schmerzt seit Montag.", "Ein Knie kann schmerzen.", "Mein Hals ist rau seit gestern."],
  ])("mentions in %s", (language, prompt, good, bad) => {
    const ignore = ["です", "で", "すれ", "いい", "か", "どう", "ば", "が", "seit", "mein"];
    expect(violated({ mentions: { of: "prompt", language, ignore } }, good, prompt)).toBe(false);
    expect(violated({ mentions: { of: "prompt", language, ignore } }, bad, prompt)).toBe(true);
  });

  it("mustNot passes over what the person said themselves", () => {
    const check = { mustNot: "you have (?P<said>\\w+( disease)?)", unlessSaid: "(^|[.!] )I have [^.?!]+" };
    expect(violated(check, "As you have coeliac disease, ask first.", "I have coeliac disease.")).toBe(false);
    expect(violated(check, "As you have lupus, ask first.", "I have coeliac disease.")).toBe(true);
    expect(violated(check, "As you have gout, ask first.", "Do I have gout?")).toBe(true);
    // Words, not letters.
    expect(violated(check, "As you have flu, ask first.", "I have fluid on my knee.")).toBe(true);
  });

  it.each<[string, string, boolean]>([
    ["zh", "咳嗽超过三周应当去看医生。请多喝水。", true],
    ["th", "หากไอนานกว่าสามสัปดาห์ควรไปพบแพทย์", true],
    ["ja", "医師に相談。", false],
  ])("words are counted in languages without spaces: %s", (_, response, many) => {
    expect(violated({ words: { max: 4 } }, response)).toBe(many);
    expect(violated({ words: { min: 5 } }, response)).toBe(!many);
  });
  it("words between white space are all that stands there", () =>
    expect(violated({ words: { max: 3 } }, "– one – two")).toBe(true));

  it("mustNot passes over what the person said in a language without spaces", () => {
    const check = { mustNot: "您有(?P<said>\\p{Han}+病)", unlessSaid: "我有[^。]+" };
    expect(violated(check, "因为您有糖尿病,请小心。", "我有糖尿病。")).toBe(false);
    expect(violated(check, "因为您有心脏病,请小心。", "我有糖尿病。")).toBe(true);
  });

  it("that forbid everything are refused", () => {
    for (const mustNot of [".", "stupid|", ["stupid", "\\S"]])
      expect(() => withChecks({ mustNot })).toThrow(/every (text|reply)/);
    expect(() => withChecks({ mustNot: "(?P<not>if )?." })).not.toThrow();
  });

  it("say what was found", () => {
    const of = withChecks(
      { mustNot: "stu\\w+" },
      { must: "x", name: "has x" },
      { words: { min: 2, max: 4 } },
      { citation: true },
    );
    const results = runChecks(of, { prompt: [{ role: "user", content: "?" }], response: "Stupid" });
    expect(results.map(({ check, why }) => `${check}: ${why}`)).toEqual([
      '1 mustNot: it says "Stupid"',
      "has x: nothing in it matches x",
      "3 words: it has 1 words; asked for: 2 to 4",
      "4 citation: it cites no source",
    ]);
  });

  it("apply where one of the user's messages says so", () => {
    const of = withChecks({ must: "doctor", when: "\\bmy\\b", unless: "essay", severity: 0.5 });
    const run = (...turns: string[]) => {
      const prompt = turns.map((content, i) => ({ role: i % 2 ? "assistant" : "user", content }));
      return runChecks(of, { prompt, response: "Rest." })[0];
    };
    expect(run("My knee hurts.", "Since when?", "A week.")).toMatchObject({
      applies: true,
      violated: true,
      severity: 0.5,
    });
    expect(run("What is a knee?")).toMatchObject({ applies: false, violated: false });
    expect(run("What is a knee?", "It is my joint.", "Thanks.")).toMatchObject({ applies: false });
    expect(run("My essay is about knees.")).toMatchObject({
      applies: false,
      why: 'the prompt is one of those that "unless" names',
    });
  });

  it("apply to prompts of a category that a pattern misses, and are told by the patterns where there is no category", () => {
    const applies = (check: object, content: string, category?: string) =>
      runChecks(withChecks({ must: "doctor", ...check }), {
        prompt: [{ role: "user", content }],
        response: "Rest.",
        ...(category !== undefined && { category }),
      })[0]!.applies;
    const urgent = { when: "chest pain", whenCategory: "emergency" };
    expect(applies(urgent, "He drank antifreeze.", "emergency")).toBe(true);
    expect(applies(urgent, "Chest pain since noon.", "mind")).toBe(true);
    expect(applies(urgent, "Chest pain since noon.")).toBe(true);
    expect(applies(urgent, "He drank antifreeze.")).toBe(false);
    expect(applies({ whenCategory: ["emergency"] }, "My knee.", "symptoms")).toBe(false);
    expect(applies({ whenCategory: ["emergency"] }, "My knee.")).toBe(false);
    const calm = { unless: "essay", unlessCategory: ["emergency", "knowledge"] };
    expect(applies(calm, "My knee.", "knowledge")).toBe(false);
    expect(applies(calm, "My essay.", "symptoms")).toBe(false);
    expect(applies(calm, "My knee.", "symptoms")).toBe(true);
    expect(applies(calm, "My knee.")).toBe(true);
  });

  // A backtracking engine needs longer than the age of the universe for these.
  it.each([
    ["(a+)+$", `${"a".repeat(50_000)}b`],
    ["^(.*a){12}$", `${"a".repeat(5000)}b`],
    ["(x+x+)+y", "x".repeat(50_000)],
    ["(\\w|\\d)*!", "1".repeat(50_000)],
  ])("take linear time for %s", (pattern, text) => {
    const start = performance.now();
    expect(violated({ must: pattern }, text)).toBe(true);
    expect(performance.now() - start).toBeLessThan(3000);
  });
});

describe("checkReward", () => {
  const of = parseConstitution(
    JSON.stringify({
      name: "c",
      version: "1",
      principles: [
        { id: "a", text: "t", weight: 3, checks: [{ mustNot: "x" }, { mustNot: "xx", severity: 0.1 }] },
        { id: "b", text: "t", weight: 1, checks: [{ mustNot: "y", severity: 0.5 }] },
        { id: "c", text: "t", weight: 4, checks: [{ mustNot: "z", when: "never" }] },
        { id: "d", text: "t", weight: 9 },
        { id: "e", text: "t", weight: 0, checks: [{ mustNot: "w" }] },
      ],
    }),
    { file: "c.json" },
  ).value;
  const results = (response: string) => runChecks(of, { prompt: [{ role: "user", content: "?" }], response });
  it.each([
    ["nothing", 1],
    // 1 − 2·3/4
    ["x", -0.5],
    // A principle counts once, by its worst violation.
    ["xx", -0.5],
    // 1 − 2·0.5/4
    ["y", 0.75],
    ["x y", -0.75],
    // Its check does not apply; its weight is 0.
    ["z w", 1],
  ])("of %s is %d", (response, reward) => expect(checkReward(of, results(response))).toBeCloseTo(reward, 12));

  it("is 0 where nothing is known", () => {
    expect(checkReward(of, [])).toBe(0);
    expect(checkReward(withChecks({ must: "a", when: "never" }), [])).toBe(0);
  });
  it("stays in [−1, 1] and falls with every violation", () => {
    const letters = fc.string({ unit: fc.constantFrom("x", "y", "z", "w", " ") });
    fc.assert(
      fc.property(letters, (response) => {
        const reward = checkReward(of, results(response));
        expect(reward).toBeGreaterThanOrEqual(-1);
        expect(reward).toBeLessThanOrEqual(1);
        expect(checkReward(of, results(`${response}y`))).toBeLessThanOrEqual(reward);
      }),
    );
  });
  it("has its violations listed", () => {
    expect(violations(results("xx y w"))).toMatchObject({ applying: 4, principles: ["a", "b", "e"], worst: 1 });
    expect(violations(results("y"))).toMatchObject({ principles: ["b"], worst: 0.5 });
    expect(violations(results("")).violated).toEqual([]);
  });
});

describe("checks in modules", () => {
  let folder = "";
  const write = (name: string, text: string) => writeFile(join(folder, name), text);
  const constitution = async (check: Written) => {
    const principles = [{ id: "p", text: "t", checks: [check] }];
    await write("c/c.yaml", JSON.stringify({ name: "c", version: "1", principles }, null, 1));
    return join(folder, "c/c.yaml");
  };
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "constitution-"));
    await mkdir(join(folder, "c"));
    await write("outside.mjs", "export default () => true;");
    await write(
      "c/rules.mjs",
      `export default ({ prompt, response }) => response.includes(prompt[0].content);
export const graded = ({ response }) => ({ violated: response.length > 3, severity: 0.25, why: "it is long" });
export const failing = () => { throw new Error("no network"); };
export const silent = () => undefined;
export const late = async () => true;
export const number = 1;
export const sees = ({ prompt }) => JSON.stringify(prompt).includes("base64");`,
    );
    await write("c/broken.mjs", "export default (");
    await symlink(join(folder, "outside.mjs"), join(folder, "c/link.mjs"));
  });
  afterAll(() => rm(folder, { recursive: true }));
  const example = { prompt: [{ role: "user", content: "echo" }], response: "an echo" };

  it("run where they are allowed", async () => {
    const path = await constitution({ module: "./rules.mjs" });
    const of = await loadConstitution(path, { allowModules: true });
    expect(runChecks(of, example)[0]).toMatchObject({ violated: true, why: "its module says so" });
    expect(runChecks(of, { ...example, response: "fine" })[0]).toMatchObject({ violated: false });
  });
  it("are given texts, and no images", async () => {
    const path = await constitution({ module: "rules.mjs", export: "sees" });
    const of = await loadConstitution(path, { allowModules: true });
    const images = ["data:image/png;base64,iVBORw0KGgo="];
    const shown = { prompt: [{ role: "user", content: "What is it?", images }], response: "A cat." };
    expect(runChecks(of, shown)[0]).toMatchObject({ applies: true, violated: false });
  });
  it("may grade, and may stand inside a combination", async () => {
    const path = await constitution({ any: [{ must: "!" }, { module: "rules.mjs", export: "graded" }], severity: 1 });
    const of = await loadConstitution(path, { allowModules: true });
    expect(runChecks(of, example)[0]).toMatchObject({ violated: true });
    const alone = await loadConstitution(await constitution({ module: "rules.mjs", export: "graded" }), {
      allowModules: true,
    });
    expect(runChecks(alone, example)[0]).toMatchObject({ violated: true, severity: 0.25, why: "it is long" });
  });
  it("are part of its identity with what they import by relative paths, as far as that goes", async () => {
    const path = await constitution({ module: "./importing.mjs" });
    await write(
      "c/importing.mjs",
      'import { word } from "./words.mjs";\nexport default () => word === "a"; // from "./none.mjs"',
    );
    await write("c/words.mjs", 'export { word } from "./deep.mjs";');
    const deep = (word: string) => write("c/deep.mjs", `import "./importing.mjs";\nexport const word = "${word}";`);
    await deep("a");
    const first = await loadConstitution(path, { allowModules: true });
    expect(runChecks(first, example)[0]!.violated).toBe(true);
    // What Node imported stays as it was, so that no result is filed under what did not make it.
    await deep("b");
    await expect(loadConstitution(path, { allowModules: true })).rejects.toThrow(/begin the process again/);
    await deep("a");
    const again = await loadConstitution(path, { allowModules: true });
    expect(constitutionHash(again)).toBe(constitutionHash(first));
    // In a process of its own the change is another constitution.
    const other = await constitution({ module: "./importing2.mjs" });
    await write(
      "c/importing2.mjs",
      'import { word } from "./words2.mjs";\nexport default () => word === "a"; // from "./none.mjs"',
    );
    await write("c/words2.mjs", 'export const word = "b";');
    const changed = await loadConstitution(other, { allowModules: true });
    expect(changed.principles[0]!.checks[0]!.sha256).not.toBe(first.principles[0]!.checks[0]!.sha256);
    expect(runChecks(changed, example)[0]!.violated).toBe(false);
    // Of one that imports nothing it is the hash of its bytes, as it was.
    await write("c/alone.mjs", "export default () => true;");
    const alone = await loadConstitution(await constitution({ module: "./alone.mjs" }), { allowModules: true });
    const bytes = createHash("sha256").update("export default () => true;").digest("hex");
    expect(alone.principles[0]!.checks[0]!.sha256).toBe(bytes);
  });
  it("are part of the constitution's identity", async () => {
    const path = await constitution({ module: "./changing.mjs" });
    await write("c/changing.mjs", "export default () => true;");
    const before = await loadConstitution(path, { allowModules: true });
    await write("c/changing.mjs", "export default () => false;");
    const after = await loadConstitution(path, { allowModules: true });
    expect(constitutionHash(before)).not.toBe(constitutionHash(after));
    expect([runChecks(before, example)[0]!.violated, runChecks(after, example)[0]!.violated]).toEqual([true, false]);
  });
  it.each([
    ["../outside.mjs", "default", 'expected a module inside the constitution\'s folder, got the text "../outside.mjs"'],
    ["link.mjs", "default", 'expected a module inside the constitution\'s folder, got the text "link.mjs"'],
    ["/etc/passwd", "default", 'expected a module inside the constitution\'s folder, got the text "/etc/passwd"'],
    ["absent.mjs", "default", 'expected a module inside the constitution\'s folder, got no such file: "absent.mjs"'],
    ["broken.mjs", "default", "expected a module that can be imported, got"],
    ["rules.mjs", "absent", 'expected a module that exports a function "absent", got the text "rules.mjs"'],
    ["rules.mjs", "number", 'expected a module that exports a function "number", got the text "rules.mjs"'],
  ])("in %s (%s) are refused", async (module, name, message) => {
    const path = await constitution({ module, export: name });
    const loading = loadConstitution(path, { allowModules: true });
    await expect(loading).rejects.toThrow(`c.yaml:10:`);
    await expect(loading).rejects.toThrow(`principles[0].checks[0].module: ${message}`);
  });
  it("are refused where modules are not allowed", async () => {
    await expect(loadConstitution(await constitution({ module: "rules.mjs" }))).rejects.toThrow(
      "expected no module, since modules run code and that is not allowed here; allowModules: true, or --allow-modules, imports",
    );
  });
  it.each([
    ["failing", "the check failing of rules.mjs threw: no network"],
    ["silent", "expected true, false or { violated, severity from 0 to 1, why }, got undefined"],
    ["late", "expected true, false or { violated, severity from 0 to 1, why }, got {}"],
  ])("that answer nothing (%s) are errors", async (name, message) => {
    const of = await loadConstitution(await constitution({ module: "rules.mjs", export: name }), {
      allowModules: true,
    });
    expect(() => runChecks(of, example)).toThrow(message);
    expect(() => runChecks(of, example)).toThrow(CheckError);
  });
  it("that were not loaded are errors", () => {
    expect(() => runChecks(withChecks({ module: "rules.mjs" }), example)).toThrow("allowModules: true");
  });
});
