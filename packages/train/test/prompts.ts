import type { PromptRow } from "@tenet/data";

/** So many prompts of the same words and a number. */
export function promptsOf(what: string, count: number): PromptRow[] {
  return Array.from({ length: count }, (_, i) => ({
    id: `${what}-${i}`,
    origin: { parents: [] },
    prompt: [{ role: "user", content: `${what} ${i}` }],
  }));
}
