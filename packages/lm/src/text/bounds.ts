import { createContext, Script } from "node:vm";
import { TokenizerError } from "./errors.ts";

/*
 * A tokenizer.json may come from anywhere, as a chat template may. What it can cost is bounded here: its steps by what they can
 * make of a text, its regular expressions, whose cost nobody can tell beforehand, by the time they take.
 */

/** Far above published tokenizers: those have at most about a dozen steps, and patterns of some 1,500 characters. */
const most = { steps: 256, depth: 16, pattern: 10_000, text: 256, tokens: 100_000 };

/** A text may become this many times as long; NFKC alone can make 18 characters of one. */
const mostGrowth = 64;

type Part = Record<string, unknown> & { type?: string };

/** Looks at all steps of a `tokenizer.json` before any is used. Errors: TokenizerError that names the step. */
export function checkSteps(file: Record<string, unknown>): void {
  let steps = 0;
  const visit = (value: unknown, where: string, depth: number): void => {
    if (typeof value !== "object" || value === null) return;
    if (depth > most.depth) throw refused(`${where} is nested more than ${most.depth} deep`);
    if (typeof (value as Part).type === "string" && ++steps > most.steps)
      throw refused(`it has more than ${most.steps} steps`);
    for (const [key, child] of Object.entries(value)) {
      const name = `${where}.${key}`;
      // A character map is a table, not a text that is written.
      if (typeof child === "string" && key !== "precompiled_charsmap") {
        const limit = key === "Regex" || key === "String" ? most.pattern : most.text;
        if (child.length > limit) throw refused(`${name} has ${child.length} characters; at most ${limit} are read`);
      }
      visit(child, name, depth + 1);
    }
  };
  for (const key of ["normalizer", "pre_tokenizer", "post_processor", "decoder"]) visit(file[key], key, 0);
  const grows = growth(file.normalizer) * growth(file.pre_tokenizer);
  if (grows > mostGrowth)
    throw refused(
      `its normalizer could make a text ${grows < 1e6 ? Math.ceil(grows) : grows.toExponential(0)} times as long; at most ${mostGrowth} times is taken`,
    );
  const added = Array.isArray(file.added_tokens) ? (file.added_tokens as { content?: unknown }[]) : [];
  if (added.length > most.tokens) throw refused(`it has ${added.length} added tokens; at most ${most.tokens} are read`);
  for (const { content } of added)
    if (typeof content !== "string" || content.length > most.text)
      throw refused(
        `an added token is ${typeof content === "string" ? `${content.length} characters long; at most ${most.text} are read` : "no text"}`,
      );
}

/** How many times as long a step can make a text, from above. */
function growth(step: unknown): number {
  const part = (step ?? {}) as Part;
  const parts = (part.normalizers ?? part.pretokenizers) as unknown;
  if (Array.isArray(parts)) return parts.reduce((product: number, each) => product * growth(each), 1);
  if (part.type === "NFKC" || part.type === "NFKD" || part.type === "Precompiled") return 18;
  if (part.type === "NFC" || part.type === "NFD") return 4;
  if (part.type === "Lowercase" || part.type === "BertNormalizer") return 3;
  if (part.type === "Metaspace") return Math.max(1, String(part.replacement ?? "▁").length);
  if (part.type !== "Replace") return 1;
  const pattern = (part.pattern ?? {}) as { String?: string };
  const content = String(part.content ?? "").length;
  // A regular expression may match between any two characters.
  if (pattern.String === undefined || pattern.String === "") return 1 + content;
  return Math.max(1, content / pattern.String.length);
}

/** Milliseconds for a text: far above what a slow and busy machine needs, so that only what never ends runs into it. */
const timeFor = (characters: number) => 5_000 + Math.ceil(characters / 20);

const context = createContext({ work: undefined as (() => unknown) | undefined });
const script = new Script("work()");

/**
 * Runs what may hold a regular expression that never ends. Costs a tenth of a millisecond.
 * Errors: TokenizerError when time is up, those of `work`.
 */
export function withinTime<T>(characters: number, work: () => T): T {
  const outer = context.work;
  context.work = work;
  try {
    return script.runInContext(context, { timeout: timeFor(characters) }) as T;
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw error;
    throw refused(
      `its regular expressions are not done with a text of ${characters} characters after ${timeFor(characters) / 1000} seconds`,
    );
  } finally {
    context.work = outer;
  }
}

function refused(reason: string): TokenizerError {
  return new TokenizerError(`tokenizer.json: ${reason}. Use the tokenizer that the model's publisher gives.`);
}
