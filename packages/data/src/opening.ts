/** Words whose repetition makes two openings one kind. */
const openingWords = 4;

/** The first words of a reply, without case and marks: replies that share them begin in one way. */
export function openingOf(reply: string): string {
  const words = reply.toLowerCase().match(/[\p{L}\p{N}'’]+/gu) ?? [];
  return words.slice(0, openingWords).join(" ");
}
