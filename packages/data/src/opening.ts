import { firstWords } from "./words.ts";

/** Words whose repetition makes two openings one kind. */
const openingWords = 4;

/** The first words of a reply, without case and marks: replies that share them begin in one way. */
export function openingOf(reply: string): string {
  return firstWords(reply, openingWords).join(" ");
}
