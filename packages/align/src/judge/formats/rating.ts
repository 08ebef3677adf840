import { shownWith } from "@tenet/data";
import { type AbsoluteFormat, ask, endOf, instructionOf, within } from "./format.ts";

const range = [1, 10] as const;
/** "Rating: 7", "Rating: 7/10", "Rating: (7)", at the very end. */
const rated = /\brating\s*(?::|is|of|=)?[\s([]*(\d{1,3})\s*(?:\/\s*10|out\s+of\s+10)?[)\]]*\.?$/i;

/** Ours, for a model that was trained for no format: a reason by the rubric, then a whole number from 1 to 10. */
export const rating: AbsoluteFormat = {
  mode: "absolute",
  range,
  rubric: true,
  images: "any",
  sampling: { temperature: 1 },
  messages: ({ prompt, responses: [response], rubric: { criterion, scores }, reference }) =>
    ask(
      "The conversation:",
      instructionOf(prompt),
      "",
      "The response:",
      response,
      ...(reference === undefined ? [] : ["", "A response that deserves a 10:", reference]),
      "",
      `The question: ${criterion}`,
      `A rating of 1 means: ${scores[0]}`,
      `A rating of 10 means: ${scores[4]}`,
      "",
      'Say in two or three sentences what speaks for and against the response. Then end with a line "Rating: " and a whole number from 1 to 10.',
    ).map((message) => ({ ...message, ...shownWith(prompt) })),
  read: (text) => within(rated.exec(endOf(text))?.[1], range),
};
