import { tinyImage } from "@tenet/fixtures";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { generalRubric } from "../rubric.ts";
import { critiqueFormats, judgeFormats } from "./index.ts";

const {
  "prometheus-1": one,
  "prometheus-2": two,
  "prometheus-vision": vision,
  "auto-j": auto,
  "critique-llm": llm,
  rating,
} = judgeFormats;

describe("prometheus, a score", () => {
  it.each([
    // What its publishers' own table asks of a parser, in other words.
    ["Beside the reference (Score 5) it falls short twice. [RESULT] 3", 3],
    ["The reference (Score 5) is of no use here", undefined],
    ["Flawless. [RESULT] 5 out of 5", 5],
    ["It misses the point. [RESULT] score of 1", 1],
    ["Solid work. [Result] 3", 3],
    ["Much is missing. [Result] Score: 2", 2],
    ["A good answer. [Result] Result: 4", 4],
    ["Neither good nor bad. [Result] 4/5", 4],
    ["Flawless. [Result] 5 out of 5", 5],
    ["It misses the point. [Result] score of 1", 1],
    ["Nicely put. (Score 5)", 5],
    ["Nicely put. [Score 4]", 4],
    ["Nicely put. score: 3", 3],
    ["Nicely put. Score: 3", 3],
    ["Nicely put. score of 1", 1],
    ["Nicely put. [RESULT] (5)", 5],
    ["It is hard to see how its score could be not 3.", undefined],
    ["An easy 10 from me!", undefined],
    ["Score: 3.5", undefined],
    ["Result: B", undefined],
    // Beyond them.
    ["[RESULT] 4.", 4],
    ["**[RESULT]** 4", 4],
    ["[RESULT]\n4\n", 4],
    ["[RESULT] ５", 5],
    ["[RESULT] 0", undefined],
    ["[RESULT] 6", undefined],
    ["[RESULT] 45", undefined],
    ["[RESULT] -3", undefined],
    ["[RESULT] 4/10", undefined],
    ["[RESULT] 3 or 4", undefined],
    ["(a whole number from 1 to 5)", undefined],
    ["[RESULT]", undefined],
    ["", undefined],
  ])("%j is read as %s", (text, score) => {
    expect(one.absolute.read(text)).toBe(score);
    expect(two.absolute.read(text)).toBe(score);
    expect(vision.absolute.read(text)).toBe(score);
  });
});

describe("prometheus-vision, a score", () => {
  it.each([
    // As its training texts end, and as it is told to.
    ["The response names the animal, and little else. So the overall score is 3.\n\n", 3],
    ["It sees what the table holds. So the overall score is 5.", 5],
    ["Feedback: It misreads the axis. So the overall score is 2. [RESULT] 2", 2],
    ["Feedback: It misreads the axis. [RESULT] 2", 2],
    ["So the overall score is **4**.", 4],
    ["So the overall score is ４。", undefined],
    ["So the overall score is 6.", undefined],
    ["So the overall score is 0.", undefined],
    ["So the overall score is 3.5.", undefined],
    ["So the overall score is 3 or 4.", undefined],
    ["So the overall score is high.", undefined],
    ["So the overall score is", undefined],
    ["The image shows 4 cats, and the response counts 3.", undefined],
    ["I cannot see the image.", undefined],
  ])("%j is read as %s", (text, score) => {
    expect(vision.absolute.read(text)).toBe(score);
  });

  it("is shown the image before the words, and the reference where there is one", () => {
    const prompt = [{ role: "user" as const, content: "What is it?", images: [tinyImage()] }];
    const shown = { prompt, responses: ["A cat."] as const, rubric: generalRubric, reference: "A tabby cat." };
    const [message, ...more] = vision.absolute.messages(shown);
    expect(more).toEqual([]);
    expect(message!.images).toEqual([tinyImage()]);
    const headings = [...message!.content.matchAll(/^###.*$/gm)].map(([heading]) => heading);
    expect(headings).toEqual([
      "###Task Description:",
      "###The instruction to evaluate:",
      "###Response to evaluate:",
      "###Reference Answer (Score 5):",
      "###Score Rubrics:",
      "###Feedback:",
    ]);
    expect(message!.content).toContain("a reference answer that deserves a score of 5, an image and a rubric");
    expect(message!.content).not.toContain("base64");
    expect(vision.absolute.sampling).toEqual({ temperature: 1, topP: 0.9 });
  });
});

describe("prometheus 2, the better response", () => {
  it.each([
    ["[Response B falls behind. [RESULT] A", "A"],
    ["The result could be A or B, there are no results", undefined],
    ["A is the more careful one. [RESULT] A", "A"],
    ["I lean to Response B. [RESULT] B", "B"],
    ["Feedback: Response A is kinder than [Response B].\nSo the first wins. [RESULT] A", "A"],
    ["B is safer than [Response A].\n\n[RESULT] B", "B"],
    ["[RESULT] A\nOn reflection: [RESULT] B", "B"],
    ["Result: A\nCorrecting myself,\nResult: B", "B"],
    ["Feedback: There is little between them... [Response B]", "B"],
    ["Feedback: Both can be followed... [Result] Response B", "B"],
    ["Feedback: Both can be followed... Response B Response A", undefined],
    ["Feedback: Both can be followed... [RESULT: B]", "B"],
    ["Feedback: Both can be followed... [Result: B]", "B"],
    ["Feedback: Both can be followed... so Response A. [RESULT] B", "B"],
    ["Having weighed it all, I take Response B.", undefined],
    ["Each has something for it.", undefined],
    ["Response C wins by far.", undefined],
    ["It must be B... or should it be A? I can't tell.", undefined],
    ["Result: A", "A"],
    ["Feedback: short.\nResult: (B)", "B"],
    ["[RESULT] C", undefined],
    ["[RESULT] A or B", undefined],
    ["[RESULT] (A or B)", undefined],
    ["", undefined],
  ])("%j is read as %s", (text, better) => {
    expect(two.relative.read(text)).toBe(better);
  });
});

describe("auto-j", () => {
  it.each([
    ["It lacks depth.\n\nRating: [[5]]", 5],
    ["Rating: [[7.5]]", 7.5],
    ["For example: Rating: [[5]]. Mine, however: Rating: [[8]]", 8],
    ["Rating: [[10]]", 10],
    ["Rating: [[0]]", undefined],
    ["Rating: [[11]]", undefined],
    ["Rating: [[5]] then Rating: [[99]]", undefined],
    ["Rating: [[rating]]", undefined],
    ["Rating: 5", undefined],
    ["Rating: [[5", undefined],
  ])("a rating: %j is read as %s", (text, score) => {
    expect(auto.absolute.read(text)).toBe(score);
  });
  it.each([
    ["Both answer. So, the final decision is Response 1.", "A"],
    ["So, the final decision is Response 2", "B"],
    ["So, the final decision is Tie.", "tie"],
    ["So, the final decision is response 2, on balance", "B"],
    ["the final decision is Response 1. No: the final decision is Response 2.", "B"],
    ["the final decision is Response 1 / Response 2 / Tie", undefined],
    ["the final decision is Response 12", undefined],
    ["the final decision is hard", undefined],
    ["Response 1 is better", undefined],
  ])("a comparison: %j is read as %s", (text, better) => {
    expect(auto.relative.read(text)).toBe(better);
  });
});

describe("critique-llm", () => {
  it.each([
    ["{'事实正确性': 9, '综合得分': 8}", 8],
    ["综合得分: 7.5", 7.5],
    ["综合得分：10", 10],
    ["综合得分: 0", 0],
    ["综合得分: 8.", 8],
    ["综合得分: 3\n更正，综合得分: 4", 4],
    ["综合得分: 11", undefined],
    ["综合得分: 100", undefined],
    ["综合得分: 1.2.3", undefined],
    ["得分: 8", undefined],
    ["综合得分", undefined],
  ])("a score: %j is read as %s", (text, score) => {
    expect(llm.absolute.read(text)).toBe(score);
  });
  it.each([
    ["{'综合比较结果': '助手1'}", "A"],
    ["{'综合比较结果': '助手2'}", "B"],
    ["{'综合比较结果': '质量相当'}", "tie"],
    ["综合比较结果：助手2", "B"],
    ["{'综合比较结果': '助手1/助手2/质量相当'}", undefined],
    ["综合比较结果: 助手12", undefined],
    ["助手1更好", undefined],
  ])("a comparison: %j is read as %s", (text, better) => {
    expect(llm.relative.read(text)).toBe(better);
  });
});

describe("rating", () => {
  it.each([
    ["It helps.\nRating: 7", 7],
    ["Rating: 7/10", 7],
    ["Rating: **10**", 10],
    ["I would give it a rating of 3.", 3],
    ["Rating: 0", undefined],
    ["Rating: 11", undefined],
    ["Rating: 7.5", undefined],
    ["Rating: 1 to 10", undefined],
    ["Rating: a whole number from 1 to 10", undefined],
    ["7", undefined],
  ])("%j is read as %s", (text, score) => {
    expect(rating.absolute.read(text)).toBe(score);
  });
});

it.each([
  ["shepherd", "Firstly, it names no source. Secondly, it is long.", true],
  ["shepherd", "### Feedback: There is nothing wrong with this answer.", false],
  ["shepherd", " \n", undefined],
  ["critique-llm", "助手的回答不完整。综合得分: 6", true],
  ["critique-llm", "很好。综合得分: 10", false],
] as const)("a critique by %s: %j objects: %s", (name, text, objects) => {
  expect(critiqueFormats[name].read(text)?.objects).toBe(objects);
});

describe("whatever a judge says", () => {
  const formats = Object.entries(judgeFormats).flatMap(([name, modes]) =>
    Object.values(modes).map((format) => ({ name: `${name} ${format.mode}`, format })),
  );
  /** Pieces that verdicts are made of, beside any text. */
  const piece = fc.constantFrom(
    ...[
      "[RESULT]",
      "[Result:",
      "]",
      "Score",
      ":",
      " of ",
      "/5",
      " out of 5",
      "final decision is ",
      "Response 1",
      "Tie",
    ],
    ...[
      "[[",
      "]]",
      "Rating: ",
      "综合得分",
      "：",
      "综合比较结果: ",
      "'助手1'",
      "质量相当",
      "Feedback:",
      "A",
      "B",
      "1",
      "5",
      "10",
      ".",
    ],
    ...["Rating: [[5]]", "[[7.5", "10]]", "[[8]]", "Rating: 3", "综合得分: 4", "综合比较结果: '助手2'", "[RESULT] B"],
    ...["99", "-", " ", "\n", "Result: ", "Response ", "(", ")", "**", "２", "½", "∞", "NaN", "1e1"],
  );
  const saidIn = (pieces: fc.Arbitrary<string>) =>
    fc.array(fc.oneof({ weight: 4, arbitrary: pieces }, fc.string({ maxLength: 6 })), { maxLength: 14 });
  /** That judges are read from in all, and critics. */
  const texts = 100_000;

  it.each(formats)(
    "$name never throws, and never says what the text does not",
    ({ format }) => {
      const seen = new Set<unknown>();
      fc.assert(
        fc.property(saidIn(piece), (pieces) => {
          const text = pieces.join("");
          const value = format.read(text);
          seen.add(value);
          if (value === undefined) return;
          if (format.mode === "absolute") {
            const [low, high] = format.range;
            expect(value).toBeGreaterThanOrEqual(low);
            expect(value).toBeLessThanOrEqual(high);
            // The number stands in the text, digit by digit.
            const numbers = text.normalize("NFKC").match(/\d+(?:\.\d+)?/g) ?? [];
            expect(numbers.map(Number)).toContain(value);
          } else {
            const letters = { A: /A|a|1/, B: /B|b|2/, tie: /tie|质量相当/i }[value as "A" | "B" | "tie"];
            expect(text.normalize("NFKC")).toMatch(letters);
          }
        }),
        { numRuns: Math.ceil(texts / formats.length), seed: 1 },
      );
      expect(seen.size).toBeGreaterThan(2);
    },
    120_000,
  );

  const critics = Object.entries(critiqueFormats);
  const criticism = fc.constantFrom(
    ...[
      "### ",
      "Feedback:",
      "feedback",
      "No critique needed",
      "There is nothing wrong",
      "The response is fine",
      "None",
    ],
    ...[
      "however",
      "but",
      "Firstly, ",
      "it is long",
      ".",
      "\n",
      " ",
      "#",
      "…",
      "！",
      "综合得分: 10",
      "综合得分：",
      "9",
      "10",
      "很好",
    ],
  );
  it.each(critics)(
    "a critique by %s never throws, is a part of the text, and is none only where there are no words",
    (_, format) => {
      const seen = new Set<unknown>();
      fc.assert(
        fc.property(saidIn(criticism), (pieces) => {
          const text = pieces.join("");
          const critique = format.read(text);
          seen.add(critique?.objects);
          const words = /[\p{L}\p{N}]/u;
          if (critique === undefined) expect(text.replace(/feedback/i, "")).not.toMatch(words);
          else {
            expect(text).toContain(critique.text);
            expect(critique.text).toMatch(words);
          }
        }),
        { numRuns: Math.ceil(texts / critics.length), seed: 1 },
      );
      expect(seen).toEqual(new Set([true, false, undefined]));
    },
    120_000,
  );

  it.each(formats)("$name asks in one turn of the user, with all that it is shown", ({ format }) => {
    const responses =
      format.mode === "absolute" ? (["the first reply"] as const) : (["the first reply", "the other"] as const);
    const prompt = [{ role: "user" as const, content: "What is a cold?" }];
    const messages = format.messages({
      prompt,
      responses,
      rubric: generalRubric,
      reference: "the best reply",
    } as never);
    expect(messages.map(({ role }) => role)).toEqual(["user"]);
    for (const text of ["What is a cold?", ...responses]) expect(messages[0]!.content).toContain(text);
    expect(messages[0]!.content.includes(generalRubric.criterion)).toBe(format.rubric);
    // What is asked is no verdict: a judge that repeats its task has said nothing.
    expect(format.read(messages[0]!.content)).toBeUndefined();
  });
});
