import type { Message } from "@tenet/lm";
import { type AbsoluteFormat, ask, endOf, instructionOf, type RelativeFormat, within } from "./format.ts";

/*
 * Prometheus (2310.08491) and Prometheus 2 (2405.01535): feedback by a rubric, then "[RESULT]" and the verdict. Both are asked in one
 * turn: their templates put a system message in front of the user's.
 */

const range = [1, 5] as const;
const sampling = { temperature: 1, topP: 0.9, repetitionPenalty: 1.03 };

const section = (title: string, text: string | undefined) => (text === undefined ? [] : [`###${title}:`, text, ""]);

/** Direct assessment; `given` is what is shown beside the instruction, the response and the rubric. */
export const direct =
  (opening: readonly string[], given = ""): AbsoluteFormat["messages"] =>
  ({ prompt, responses: [response], rubric: { criterion, scores }, reference }): Message[] =>
    ask(
      ...opening,
      "###Task Description:",
      `You are given an instruction (it may hold an input), a response to it,${reference === undefined ? "" : " a reference answer that deserves a score of 5,"}${given} and a rubric that says what is judged.`,
      "1. Write feedback in detail on how good the response is by the rubric, and by nothing else.",
      "2. Behind the feedback give a score, a whole number from 1 to 5, as the rubric describes them.",
      '3. Write it in this form: "Feedback: (the feedback) [RESULT] (a whole number from 1 to 5)"',
      "4. Write nothing before it and nothing after it.",
      "",
      ...section("The instruction to evaluate", instructionOf(prompt)),
      ...section("Response to evaluate", response),
      ...section("Reference Answer (Score 5)", reference),
      ...section(
        "Score Rubrics",
        [`[${criterion}]`, ...scores.map((meaning, i) => `Score ${i + 1}: ${meaning}`)].join("\n"),
      ),
      "###Feedback:",
    );

/** A word that a score follows. */
const word = String.raw`(?:\[(?:result|score)\]:?|\b(?:result|score)\b\s*(?::|of|is)?)`;
/** A whole number behind "[RESULT]", "Score:", "score of" and the like, at the very end: "4", "(4)", "4/5", "4 out of 5". */
const scored = new RegExp(String.raw`${word}[\s:([]*(\d+)\s*(?:/\s*5|out\s+of\s+5)?[)\]]*\.?$`, "i");

/** The score that ends a text. A decimal, a number outside 1 to 5 and one in the middle of a sentence are none. */
function readScore(text: string): number | undefined {
  return within(scored.exec(endOf(text))?.[1], range);
}

/** Prometheus 1: by a rubric, made for a reference answer; without one the section is left out, which it was not trained for. */
export const prometheus1: AbsoluteFormat = {
  mode: "absolute",
  range,
  rubric: true,
  images: "none",
  sampling,
  messages: direct([]),
  read: readScore,
};

/** Prometheus 2, direct assessment. */
export const prometheus2Direct: AbsoluteFormat = {
  ...prometheus1,
  messages: direct([
    "You are a fair judge, who gives clear and objective feedback by stated criteria, so that every assessment is by the same absolute standard.",
  ]),
};

/** "[RESULT] A", "[Result: B]", "[Response B]", "Result: A" on a line of its own; at the very end. */
const chosen =
  /(?:\[(?:result|response)(?:\s*:)?\s*\]?(?:\s*:)?(?:\s*response)?|(?:^|\n)(?:result)\s*:(?:\s*response)?)\s*[("']*([AB])[)"'\]]*\.?$/i;

/** Prometheus 2, relative grading: A or B, and no tie. */
export const prometheus2Relative: RelativeFormat = {
  mode: "relative",
  rubric: true,
  images: "none",
  sampling,
  messages: ({ prompt, responses: [a, b], rubric: { criterion }, reference }) =>
    ask(
      "You are a fair judge, who gives feedback that compares performances and says how each stands beside the other.",
      "###Task Description:",
      `You are given an instruction (it may hold an input), two responses to it, Response A and Response B,${reference === undefined ? "" : " a reference answer,"} and a criterion.`,
      "1. Write feedback in detail on how good the two responses are by the criterion, and by nothing else.",
      "2. Compare them: say at once what they have in common and in what they differ, rather than look at one after the other.",
      '3. Behind the feedback name the better response, "A" or "B".',
      '4. Write it in this form: "Feedback: (the feedback) [RESULT] (A or B)"',
      "5. Write nothing before it and nothing after it.",
      "",
      ...section("Instruction", instructionOf(prompt)),
      ...section("Response A", a),
      ...section("Response B", b),
      ...section("Reference Answer", reference),
      ...section("Score Rubric", criterion),
      "###Feedback:",
    ),
  read: (text) => chosen.exec(endOf(text))?.[1]?.toUpperCase() as "A" | "B" | undefined,
};
