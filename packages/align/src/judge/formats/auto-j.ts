import { type AbsoluteFormat, ask, instructionOf, type RelativeFormat, within } from "./format.ts";

/*
 * Auto-J (2310.05470): data between two marks, criticism in free words, a rating in double brackets or a "final decision". It has no
 * place for a rubric: it finds its own criteria. Greedy, as published. Where its publishers' code counts an unreadable rating as 0,
 * it is none here.
 */

const sampling = { temperature: 0 };
const data = (...parts: readonly (readonly [string, string])[]) => [
  "[BEGIN DATA]",
  "***",
  ...parts.flatMap(([name, text]) => [`[${name}]: ${text}`, "***"]),
  "[END DATA]",
];

/** Not in quotation marks: the task's own example is no rating. */
const rated = /\[\[\s*(\d{1,3}(?:\.\d{1,6})?)\s*\]\](?!["”])/g;

/** A rating from 1 to 10, decimals allowed. */
export const autoJSingle: AbsoluteFormat = {
  mode: "absolute",
  range: [1, 10],
  rubric: false,
  images: "none",
  sampling,
  messages: ({ prompt, responses: [response] }) =>
    ask(
      "Criticise a response that was submitted to a user's query, and grade it:",
      "",
      ...data(["Query", instructionOf(prompt)], ["Response", response]),
      "",
      'Write your criticism of this response. Then give it a final rating from 1 to 10, in exactly this form: "[[rating]]", for example: "Rating: [[5]]".',
    ),
  // The last one counts, and where that is out of range, none.
  read: (text) => within([...text.normalize("NFKC").matchAll(rated)].at(-1)?.[1], [1, 10]),
};

/** Behind the words, and not the list of what may be said. */
const decided = /final decision is[\s:*"'“]*(response\s*[12]|tie)(?![\w/])(?!\s*\/)/gi;

/** Response 1, Response 2 or a tie. */
export const autoJPairwise: RelativeFormat = {
  mode: "relative",
  rubric: false,
  images: "none",
  sampling,
  messages: ({ prompt, responses: [a, b] }) =>
    ask(
      "You assess two responses that were submitted to a user's query, and judge which is better, or whether they are tied. Here is the data:",
      "",
      ...data(["Query", instructionOf(prompt)], ["Response 1", a], ["Response 2", b]),
      "",
      "Do this to assess and compare the two responses:",
      "",
      "1. Find the key factors that tell these two responses apart.",
      '2. End with a final decision on which response is better, or that they are tied. Begin it with "So, the final decision is Response 1 / Response 2 / Tie". See that it agrees with the comparison that you have made.',
    ),
  read(text) {
    const said = [...text.matchAll(decided)].at(-1)?.[1]?.toLowerCase();
    if (said === undefined) return undefined;
    return said === "tie" ? "tie" : said.endsWith("1") ? "A" : "B";
  },
};
