import fc from "fast-check";
import { expect, it } from "vitest";
import { readAnswer } from "./letters.ts";

it.each([
  ["A", "A"],
  [" A", "A"],
  ["(A)", "A"],
  ["(A", "A"],
  ["A)", "A"],
  ["**A**", "A"],
  ["A.", "A"],
  ["Ａ", "A"],
  ["（Ｂ）", "B"],
  ["b", "B"],
  ["(b).", "B"],
  ["`B`", "B"],
  ["[[B]]", "B"],
  ["Answer: B", "B"],
  ["**Answer:** (B)", "B"],
  ["The answer is: (A)", "A"],
  ["Final answer: A", "A"],
  ["Option B", "B"],
  ["Option B: it is the kinder one.", "B"],
  ["Response A.", "A"],
  ["B. It is kinder than A.", "B"],
  ["(B) because the other one is rude.", "B"],
  ["A because it helps.", "A"],
  ["B — it is the kinder one", "B"],
  ["A\n\nIt is kinder.", "A"],
  ["I would choose option A, since it is kinder.", "A"],
  ["I prefer (B).", "B"],
  ["Option A is rude, so I prefer B.", "B"],
  ["Response B is clearly better.", "B"],
  ["(A) is much better than (B).", "A"],
  ["The better answer is **(B)**.", "B"],
  ["A: kind. B: rude.\n\nVerdict: A", "A"],
  ["The answer is A. No, wait: the answer is B.", "B"],
  ["<think>Is it A? The answer is A.</think>\n\nB<|im_end|>", "B"],
  ["$\\boxed{A}$", "A"],
  ["My verdict is [[A]]", "A"],
  ["The answer is: Option B", "B"],
  ["**Answer: Assistant B**", "B"],
  ["My final verdict: Option B.", "B"],
  ["I prefer Response A.", "A"],
  ["A is better in tone.\n\nAnswer: Response B", "B"],
  ["Answer: Response A. It was not that Response B is better", "A"],
  ["I am not sure of all of it, but A is better.", "A"],
  ["I don't like B; A is better.", "A"],
  ["Option A is better and B is rude.", "A"],
  ["B does not answer the question so A is better.", "A"],
  ["Since B does not mention a doctor my answer is A", "A"],
  ["Response B doesn't address it while Response A is better in every respect.", "A"],
  ["If forced to choose I prefer A.", "A"],
  ['Answer: B, since it asks "How long have you had it?" first', "B"],
  ["The answer is A because it asks: do you have chest pain?", "A"],
  ["I would not hesitate to choose A.", "A"],
  // Said to be a tie.
  ["tie", "tie"],
  ["Tie.", "tie"],
  ["[[C]]", "tie"],
  ["It's a tie.", "tie"],
  ["Verdict: tie", "tie"],
  ["Both are equally good.", "tie"],
  ["There is no clear preference.", "tie"],
  // No answer.
  ["", undefined],
  ["I cannot judge this.", undefined],
  ["A better reply would be kinder.", undefined],
  ["As an assistant, I have no opinion.", undefined],
  ["C", undefined],
  ["Option A is rude.", undefined],
  ["(A) is kind. (B) is rude.", undefined],
  ["A: kind.\nB: rude.", undefined],
  ["I would not choose A.", undefined],
  ["The answer is not A.", undefined],
  ["I don't think A is better.", undefined],
  ["I don't think the answer is A.", undefined],
  ["It is hard to say whether A is better than B.", undefined],
  ["I cannot say that (A) is better than (B).", undefined],
  ["I cannot recommend A.", undefined],
  ["I can't choose A or B.", undefined],
  ["I am unable to choose B over A", undefined],
  ["The answer is A or B depending on context.", undefined],
  ["I prefer A and B alike.", undefined],
  ["Do you prefer A?", undefined],
  ["A is better in tone. B is better in substance.", undefined],
  ["<think>The answer is A", undefined],
])("%j is read as %s", (text, answer) => {
  expect(readAnswer(text)).toBe(answer);
});

it.each([
  ["Yes.", "A"],
  ["No, it does not.", "B"],
  ["yes", "A"],
  ["Nothing of the kind.", undefined],
  ["(B) No.", "B"],
])("%j, where the options are yes and no, is read as %s", (text, answer) => {
  expect(readAnswer(text, ["Yes.", "No."])).toBe(answer);
});

it("the words of an option are the option", () => {
  expect(readAnswer("Rest, and see a doctor.", ["Go away!", "Rest, and see a doctor"])).toBe("B");
  expect(readAnswer("Rest, and see a doctor.", ["Rest", "Rest"])).toBeUndefined();
});

it("a hundred thousand readings of any text name no letter that is not there, and neither letter before the other", () => {
  /** What answers are made of; ① and ② stand for the letters. */
  const piece = fc.constantFrom(
    ...["①", "②", "(①)", "(②)", "**①**", "[[②]]", "[[C]]", "\\boxed{①}", "Option ①", "response ②", "①.", "②:"],
    ...[
      "Answer: ",
      "Verdict: ",
      "the answer is ",
      "the answer is not ",
      "I prefer ",
      "I would not choose ",
      "rather than ",
    ],
    ...[" is better", " is clearly the best", " because ", " is rude", "It is a tie.", "Verdict: tie", "equally good"],
    ...["Yes", "No", "yes, ", "<think>", "</think>", "<|im_end|>", ". ", "\n", " ", ", ", "(", ")", "#", "…"],
  );
  // Without letters that would be words of their own.
  const other = fc.string({ maxLength: 6 }).map((text) => text.replaceAll(/[ab]/gi, ""));
  const said = fc.array(fc.oneof({ weight: 6, arbitrary: piece }, other), { maxLength: 10 });
  const options = fc.constantFrom(["", ""] as const, ["Yes.", "No."] as const);
  const turned = { A: "B", B: "A", tie: "tie" } as const;
  const seen = new Set<unknown>();
  fc.assert(
    fc.property(said, options, (pieces, [one, two]) => {
      const text = pieces.join("");
      const written = (x: string, y: string) => text.replaceAll("①", x).replaceAll("②", y);
      const answer = readAnswer(written("A", "B"), [one, two]);
      seen.add(answer);
      expect(readAnswer(written("B", "A"), [two, one])).toBe(answer && turned[answer]);
      const word = { A: /①|Yes/i, B: /②|No/i, tie: /tie|equally|\[\[C\]\]/ };
      if (answer !== undefined) expect(text).toMatch(word[answer]);
    }),
    { numRuns: 50_000, seed: 1 },
  );
  expect(seen).toEqual(new Set(["A", "B", "tie", undefined]));
}, 120_000);
