import { createHash } from "node:crypto";
import { basename, extname } from "node:path";
import type { ConstitutionInput } from "./schema.ts";
import { parseSpecification, type Specification } from "./specification.ts";

/** What became of a specification's parts. */
export interface SpecCounts {
  readonly sections: number;
  /** Sections without a level, which are context and no principles. */
  readonly context: number;
  readonly examples: number;
  readonly markedReplies: number;
  /** Examples with a good reply and a bad one, which are known answers. */
  readonly known: number;
  /** Examples that cannot be used, by reason. */
  readonly asides: Readonly<Record<string, number>>;
}

/**
 * A specification as a constitution: each section with a level of authority is a principle, with its examples. The version is the
 * beginning of the text's SHA-256, so that every edition is another.
 *
 * Errors: DocumentError, as `parseSpecification`.
 */
export function specificationConstitution(
  text: string,
  file: string,
): { input: ConstitutionInput; lines: readonly number[]; counts: SpecCounts } {
  const specification = parseSpecification(text, file);
  const levelled = specification.sections.filter(({ authority }) => authority !== undefined);
  const version = createHash("sha256").update(text).digest("hex").slice(0, 12);
  const input: ConstitutionInput = {
    name: (specification.title ?? basename(file, extname(file))).slice(0, 80) || "specification",
    version,
    principles: levelled.map((section) => {
      const { id, title, path, authority, tags, text: prose, examples } = section;
      const usable = examples
        .filter(({ aside }) => aside === undefined)
        .map(({ title: about, prompt, replies }) => {
          const marked = (mark: string) => replies.filter((reply) => reply.mark === mark).map(({ content }) => content);
          return {
            ...(about === "" ? {} : { about }),
            prompt: prompt.map((message) => ({ ...message })),
            good: marked("good"),
            bad: marked("bad"),
          };
        })
        .filter(({ good, bad }) => good.length + bad.length > 0);
      return {
        id,
        text: prose === "" ? title : `${title}\n\n${prose}`,
        authority: authority!,
        ...(path.length > 0 ? { category: path[0]! } : {}),
        ...(tags.length > 0 ? { tags: [...tags] } : {}),
        ...(usable.length > 0 ? { examples: usable } : {}),
      };
    }),
  };
  return { input, lines: levelled.map(({ line }) => line), counts: countsOf(specification) };
}

function countsOf({ sections }: Specification): SpecCounts {
  const examples = sections.flatMap((section) => section.examples);
  const asides: Record<string, number> = {};
  for (const { aside } of examples) if (aside !== undefined) asides[aside] = (asides[aside] ?? 0) + 1;
  const has = (replies: (typeof examples)[number]["replies"], mark: string) => replies.some((one) => one.mark === mark);
  return {
    sections: sections.length,
    context: sections.filter(({ authority }) => authority === undefined).length,
    examples: examples.length,
    markedReplies: examples.reduce((sum, { replies }) => sum + replies.filter(({ mark }) => mark !== "ok").length, 0),
    known: examples.filter(({ aside, replies }) => aside === undefined && has(replies, "good") && has(replies, "bad"))
      .length,
    asides,
  };
}
