import { findsNothing } from "../finds-nothing.ts";
import { ask, type CritiqueFormat, instructionOf } from "./format.ts";

/**
 * Shepherd (2308.04592): question and answer in, feedback in free words out, several faults joined by "Firstly", "Secondly". It gives no
 * number: it writes critiques for chains and labels nothing. Its weights were not published; others trained on its data are asked so.
 */
export const shepherd: CritiqueFormat = {
  mode: "critique",
  rubric: false,
  images: "none",
  sampling: { temperature: 0.7, topP: 0.95 },
  messages: ({ prompt, responses: [response] }) =>
    ask("### Question:", instructionOf(prompt), "", "### Answer:", response, "", "### Feedback:"),
  read(text) {
    const words = text.replace(/^[\s#]*feedback:?/i, "").trim();
    return /[\p{L}\p{N}]/u.test(words) ? { text: words, objects: !findsNothing(words) } : undefined;
  },
};
