import { DocumentError, nearest, type ProblemFacts, parseDocument } from "@tenet/data";
import { z } from "zod";
import { ConstitutionError } from "./errors.ts";
import { type Constitution, constitutionSchema, withRequests } from "./schema.ts";

const critiquesSchema = z.record(
  z.string().min(1),
  z.strictObject({
    prompt: z.array(z.string().min(1)).min(1),
    edit_request: z.string().min(1),
  }),
);
const preferencesSchema = z.array(z.string().min(1)).min(1);

export interface CaiPaperTexts {
  /** Text of `CritiqueRevisionInstructions.json`: id → { prompt: [critique requests], edit_request }. */
  critiques?: string | undefined;
  /** Text of `RLMadisonInstructions.json`: a list of preference questions. */
  preferences?: string | undefined;
  /** Names of the files, for messages. */
  files?: { critiques?: string | undefined; preferences?: string | undefined } | undefined;
  name?: string | undefined;
  version?: string | undefined;
}

/**
 * A constitution from the supplementary JSON of the CAI paper (arXiv 2212.08073): principles for revision from the one file,
 * for preference from the other, or both. The frame words of its prompts ("CritiqueRequest:", "Options:" …) are left
 * to the templates that ask. An entry with several critique requests becomes one principle each, sharing its weight.
 *
 * Errors: DocumentError for a file that is not of the form.
 *
 * @example
 * const constitution = importCaiPaper({ preferences: '["\\nWhich response is kinder? Options:"]' });
 * constitution.principles[0].preferenceQuestion; // "Which response is kinder?"
 */
export function importCaiPaper({ critiques, preferences, files = {}, name, version }: CaiPaperTexts): Constitution {
  if (critiques === undefined && preferences === undefined)
    throw new ConstitutionError("expected the text of at least one of the CAI paper's files");
  const source = "arXiv 2212.08073, supplementary material";
  const revision = critiques === undefined ? [] : revisionPrinciples(critiques, files.critiques ?? "critiques");
  const preference =
    preferences === undefined ? [] : preferencePrinciples(preferences, files.preferences ?? "preferences");
  const constitution = constitutionSchema.parse({
    name: name ?? "cai-paper",
    version: version ?? "2212.08073",
    principles: [...revision, ...preference].map((principle) => ({ ...principle, source })),
  });
  return withRequests(constitution);
}

function revisionPrinciples(text: string, file: string) {
  const document = parseDocument(text, { file, schema: critiquesSchema });
  return Object.entries(document.value).flatMap(([id, { prompt, edit_request }]) => {
    const revisionRequest = unframe(edit_request, "RevisionRequest:", "Revision:");
    return prompt.map((request, i) => ({
      id: prompt.length > 1 ? `${id}.${i + 1}` : id,
      text: revisionRequest,
      critiqueRequest: unframe(request, "CritiqueRequest:", "Critique:"),
      revisionRequest,
      use: "revision" as const,
      weight: 1 / prompt.length,
    }));
  });
}

function preferencePrinciples(text: string, file: string) {
  const document = parseDocument(text, { file, schema: preferencesSchema });
  return document.value.map((framed, i) => {
    const question = unframe(framed, "", "Options:");
    return { id: `preference${i}`, text: question, preferenceQuestion: question, use: "preference" as const };
  });
}

/** A request without the words that frame it in the paper's transcripts. */
function unframe(text: string, before: string, after: string): string {
  const inner = text.trim();
  const start = inner.startsWith(before) ? before.length : 0;
  const end = inner.endsWith(after) ? inner.length - after.length : inner.length;
  return inner.slice(start, end).trim();
}

const conversation = z.array(
  z.strictObject({ role: z.enum(["user", "assistant"]), content: z.string().trim().min(1) }),
);

/** A critique and a revision for a model to imitate. METHODS §2. */
export const demonstrationSchema = z.strictObject({
  prompt: z
    .union([
      z
        .string()
        .trim()
        .min(1)
        .transform((content) => [{ role: "user" as const, content }]),
      conversation,
    ])
    .describe("What the user says, or a conversation that ends with the user's turn."),
  response: z.string().trim().min(1).describe("The response that is criticised."),
  critiqueRequest: z.string().trim().min(1),
  critique: z.string().trim().min(1),
  revisionRequest: z.string().trim().min(1),
  revision: z.string().trim().min(1),
  principles: z
    .array(z.string().min(1))
    .min(1)
    .optional()
    .describe("Ids of the principles under which it is shown; under all where none is named."),
});
export type Demonstration = z.output<typeof demonstrationSchema>;

const demonstrationsSchema = z.array(z.union([z.string().min(1), demonstrationSchema])).min(1);

/**
 * Few-shot demonstrations of critique and revision: a list (YAML or JSON) of `demonstrationSchema`, or of transcripts as in the
 * CAI paper's `CritiqueRevisionFewShotPrompts.json` ("\n\nHuman: … \n\nAssistant: … \n\nCritiqueRequest: …" and so on).
 *
 * `known` are the ids of the constitution's principles. Errors: DocumentError, also for a transcript whose turns are not in that order,
 * and for a demonstration of a principle that is not known.
 */
export function importDemonstrations(
  text: string,
  { file, known }: { readonly file: string; readonly known?: readonly string[] },
): Demonstration[] {
  const document = parseDocument(text, { file, schema: demonstrationsSchema });
  const problems: ReturnType<typeof document.problem>[] = [];
  const demonstrations = document.value.flatMap((entry, i) => {
    const read = typeof entry === "string" ? readTranscript(entry) : entry;
    for (const [k, id] of ("principles" in read ? (read.principles ?? []) : []).entries())
      if (known && !known.includes(id))
        problems.push(
          document.problem([i, "principles", k], {
            expected: `the id of a principle: ${known.join(", ")}`,
            got: id,
            suggestion: nearest(id, known),
          }),
        );
    const last = "prompt" in read ? read.prompt.at(-1) : undefined;
    if ("prompt" in read && last?.role === "user") return [read];
    const expected = "prompt" in read ? "a prompt that ends with the user's turn" : read.expected;
    problems.push(document.problem([i], { expected, ...("got" in read ? { got: read.got } : {}) }));
    return [];
  });
  if (problems.length > 0) throw new DocumentError(problems);
  return demonstrations;
}

const steps = ["Assistant", "CritiqueRequest", "Critique", "RevisionRequest", "Revision"] as const;

/** Turns of a transcript: conversation, response, critique request, critique, revision request, revision. */
function readTranscript(text: string): Demonstration | ProblemFacts {
  const marks = [...text.matchAll(/(?:^|\n\n)(Human|Assistant|CritiqueRequest|Critique|RevisionRequest|Revision):/g)];
  const turns = marks.map((mark, i) => ({
    name: mark[1]!,
    content: text.slice(mark.index + mark[0].length, marks[i + 1]?.index ?? text.length).trim(),
  }));
  // The paper's transcripts end with the opening of the next one.
  if (turns.at(-1)?.name === "Human" && turns.at(-1)?.content === "") turns.pop();
  const ending = turns.splice(-steps.length);
  const order = ending.map(({ name }) => name).join(", ");
  if (order !== steps.join(", ") || ending.some(({ content }) => content === ""))
    return {
      expected: `a transcript that ends with ${steps.join(", ")}`,
      got: `one that ends with ${order || "nothing"}`,
    };
  const other = turns.find(({ name }, i) => name !== (i % 2 === 0 ? "Human" : "Assistant"));
  if (other || turns.length % 2 === 0)
    return {
      expected: "turns of Human and Assistant in alternation",
      got: `${turns.map(({ name }) => name).join(", ") || "none"}`,
    };
  const [response, critiqueRequest, critique, revisionRequest, revision] = ending.map(({ content }) => content);
  return {
    prompt: turns.map(({ name, content }) => ({
      role: name === "Human" ? ("user" as const) : ("assistant" as const),
      content,
    })),
    response: response!,
    critiqueRequest: critiqueRequest!,
    critique: critique!,
    revisionRequest: revisionRequest!,
    revision: revision!,
  };
}
