import { DocumentError, type Message, makeProblem, nearest, type Problem } from "@tenet/data";
import { type Authority, authorities } from "./authority.ts";
import { endsFence, fenceIn } from "./fence.ts";

/*
 * A specification as a document in Markdown, of the form of OpenAI's Model Spec (CC0): sections "## Title {#id authority=root tags=a,b}" of
 * prose, commentary in blocks "!!! name", footnotes, and examples: a line "**Example**: …" and behind it a fenced conversation whose
 * last turns, in <comparison>, are replies marked GOOD, BAD or OK.
 */

export interface Specification {
  readonly title: string | undefined;
  readonly sections: readonly SpecSection[];
}

export interface SpecSection {
  readonly id: string;
  readonly title: string;
  /** Line of its heading, from 1. */
  readonly line: number;
  /** Titles of the sections around it, outermost first. */
  readonly path: readonly string[];
  /** Absent for sections that only lead to others. */
  readonly authority?: Authority;
  readonly tags: readonly string[];
  /** Its prose up to the next heading, without commentary, footnotes and examples; references to sections are their titles. */
  readonly text: string;
  readonly examples: readonly SpecExample[];
}

export interface SpecExample {
  readonly title: string;
  readonly line: number;
  /** Ends with the user's turn; a developer's turn is a system turn here. */
  readonly prompt: readonly Message[];
  readonly replies: readonly SpecReply[];
  /** Why it cannot be used as a conversation with known answers. */
  readonly aside?: string;
}

export interface SpecReply {
  readonly content: string;
  readonly mark: "good" | "bad" | "ok";
  /** Id of the section by which it is bad, where that is another. */
  readonly by?: string;
  readonly why?: string;
}

/** Whether a Markdown document is a specification: it has a heading with an id, and no front matter as a constitution has. */
export function isSpecification(text: string): boolean {
  return !/^\uFEFF?---\s*$/m.test(text.slice(0, text.indexOf("\n") + 1)) && /^#{1,6} .*\{#[^}\n]*\}\s*$/m.test(text);
}

/**
 * Reads a specification. What it cannot use of an example (tool turns, a conversation that does not end with the user) is said in
 * the example's `aside`.
 *
 * Errors: DocumentError with every fault of the document's form: an authority that is none, an id that stands twice, a fence or a turn
 * that does not end, each with its line.
 */
export function parseSpecification(text: string, file: string): Specification {
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  const problems: Problem[] = [];
  const complain = (line: number, expected: string, got: string, suggestion?: string) => {
    problems.push(makeProblem(file, { line, column: 1 }, [], { expected, got, suggestion }));
  };
  const sections: Building[] = [];
  let title: string | undefined;
  /** Headings that are open, by their depth. */
  let above: { depth: number; title: string }[] = [];
  /** The example whose conversation is to follow. */
  let announced: { title: string; line: number } | undefined;

  for (let i = 0; i < lines.length; i++) {
    const line = lines[i]!;
    const at = i + 1;
    const fence = fenceIn(line);
    if (fence) {
      const end = endOfFence(lines, i, fence.mark);
      if (end === undefined) {
        complain(at, "a fenced block with an end", `none after ${JSON.stringify(fence.mark)}`);
        break;
      }
      const section = sections.at(-1);
      if (announced) section?.examples.push(readExample(lines, { from: i + 1, to: end, ...announced }, complain));
      else section?.prose.push(...lines.slice(i, end + 1));
      announced = undefined;
      i = end;
      continue;
    }
    if (/^!!!\s/.test(line)) {
      i = endOfBlock(lines, i);
      continue;
    }
    if (/^\[\^[\w-]+\]:/.test(line)) {
      i = endOfBlock(lines, i);
      continue;
    }
    const heading = /^(#{1,6})\s+(.*?)\s*$/.exec(line);
    if (heading) {
      announced = undefined;
      const depth = heading[1]!.length;
      const { words, attributes } = withoutAttributes(heading[2]!);
      title ??= depth === 1 ? words : undefined;
      above = above.filter((one) => one.depth < depth);
      const section = sectionOf(words, attributes, { at, path: above.map((one) => one.title) }, complain);
      above.push({ depth, title: words });
      if (section) {
        if (sections.some(({ id }) => id === section.id))
          complain(at, "each section's id once", JSON.stringify(section.id));
        sections.push(section);
      } else sections.at(-1)?.prose.push(words);
      continue;
    }
    const example = /^\*\*Example\*\*:?\s*(.*)$/.exec(line);
    if (example) {
      announced = { title: example[1]!.trim(), line: at };
      continue;
    }
    if (announced && line.trim() !== "") announced = undefined;
    sections.at(-1)?.prose.push(line);
  }
  const titles = new Map(sections.map((section) => [section.id, section.title]));
  const finished = sections.map(({ prose, ...section }): SpecSection => {
    return { ...section, text: plain(prose.join("\n"), titles) };
  });
  if (sections.length === 0 && problems.length === 0)
    complain(1, "a section: a heading with an id, such as ## Be kind {#be_kind authority=user}", "none");
  if (problems.length > 0) throw new DocumentError(problems);
  return { title, sections: finished };
}

type Complain = (line: number, expected: string, got: string, suggestion?: string) => void;
type Building = Omit<SpecSection, "text" | "examples"> & { prose: string[]; examples: SpecExample[] };

/** A heading's words, and what stands in braces behind them. */
function withoutAttributes(heading: string): { words: string; attributes: string | undefined } {
  const open = heading.lastIndexOf("{");
  if (open < 0 || !heading.endsWith("}")) return { words: heading.replace(/\s#+$/, "").trim(), attributes: undefined };
  return { words: heading.slice(0, open).trim(), attributes: heading.slice(open + 1, -1) };
}

function sectionOf(
  title: string,
  attributes: string | undefined,
  { at, path }: { at: number; path: readonly string[] },
  complain: Complain,
): Building | undefined {
  if (attributes === undefined) return undefined;
  const words = attributes.trim().split(/\s+/);
  const id = words.find((word) => word.startsWith("#"))?.slice(1);
  const values = new Map(
    words
      .filter((word) => word.includes("="))
      .map((word) => [word.slice(0, word.indexOf("=")), word.slice(word.indexOf("=") + 1)]),
  );
  const authority = values.get("authority");
  if (id === undefined || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(id)) {
    complain(
      at,
      "an id of letters, digits, dots, hyphens and underscores, as in {#be_kind}",
      JSON.stringify(attributes),
    );
    return undefined;
  }
  if (authority !== undefined && !authorities.includes(authority as Authority))
    complain(
      at,
      `an authority: one of ${authorities.join(", ")}`,
      JSON.stringify(authority),
      nearest(authority, authorities),
    );
  return {
    id,
    title,
    line: at,
    path,
    ...(authority === undefined ? {} : { authority: authority as Authority }),
    tags:
      values
        .get("tags")
        ?.split(",")
        .filter((tag) => tag !== "") ?? [],
    prose: [],
    examples: [],
  };
}

/** Line that ends a fence which `from` opens. */
function endOfFence(lines: readonly string[], from: number, mark: string): number | undefined {
  for (let i = from + 1; i < lines.length; i++) if (endsFence(lines[i]!, mark)) return i;
  return undefined;
}

/** Last line of a block that is indented under its first. */
function endOfBlock(lines: readonly string[], from: number): number {
  let end = from;
  for (let i = from + 1; i < lines.length; i++) {
    const line = lines[i]!;
    if (line.trim() === "") continue;
    if (!/^(?: {2,}|\t)/.test(line)) break;
    end = i;
  }
  return end;
}

/** Prose without footnotes, with references as people would say them. */
function plain(prose: string, titles: ReadonlyMap<string, string>): string {
  return prose
    .replaceAll(/\[\^[\w-]{1,64}\]/g, "")
    .replaceAll(/\[([^\][\n]{0,400})\]\(#([\w.-]{1,64})\)/g, (whole, words: string, id: string) => {
      const title = titles.get(id);
      return words === "?" ? (title === undefined ? whole : `"${title}"`) : words;
    })
    .replaceAll(/\[([^\][\n]{1,400})\]\(https?:[^()\s]{1,400}\)/g, "$1")
    .replaceAll(/\n{3,}/g, "\n\n")
    .trim();
}

const opening = /^<(system|developer|user|assistant|tool|comparison)(\s[^>]*)?>\s*(?:<!--(.*)-->)?\s*$/;
const roles = { system: "system", developer: "system", user: "user", assistant: "assistant" } as const;

/** A conversation: turns in tags on lines of their own, whose content is taken as it stands. */
function readExample(
  lines: readonly string[],
  { from, to, title, line }: { from: number; to: number; title: string; line: number },
  complain: Complain,
): SpecExample {
  const prompt: Message[] = [];
  const replies: SpecReply[] = [];
  let aside: string | undefined;
  let comparing = false;
  for (let i = from; i < to; i++) {
    const text = lines[i]!.trim();
    if (text === "</comparison>") {
      comparing = false;
      continue;
    }
    const found = opening.exec(text);
    if (!found) continue;
    const [, tag, attributes = "", comment] = found as unknown as [string, string, string?, string?];
    if (tag === "comparison") {
      comparing = true;
      continue;
    }
    const end = lines.findIndex((one, j) => j > i && j < to && one.trim() === `</${tag}>`);
    if (end < 0) {
      complain(i + 1, `a turn that ends with </${tag}>`, "none before the fence ends");
      break;
    }
    const content = lines
      .slice(i + 1, end)
      .join("\n")
      .trim();
    const mark = comment === undefined ? undefined : markOf(comment);
    const tool = tag === "tool" || (tag === "assistant" && /\srecipient=/.test(attributes));
    if (tool) aside ??= "a turn to or from a tool";
    if (tool && !mark) {
      i = end;
      continue;
    }
    if (tag === "assistant" && (comparing || mark)) {
      if (mark) replies.push({ content, ...mark });
    } else prompt.push({ role: roles[tag as keyof typeof roles], content });
    i = end;
  }
  aside ??= unusable(prompt, replies);
  return { title, line, prompt, replies, ...(aside === undefined ? {} : { aside }) };
}

function unusable(prompt: readonly Message[], replies: readonly SpecReply[]): string | undefined {
  if (replies.length === 0) return "no marked reply";
  if (prompt.at(-1)?.role !== "user") return "it does not end with the user";
  if ([...prompt, ...replies].some(({ content }) => content === "")) return "an empty turn";
  return undefined;
}

/** "GOOD: why", "BAD[#other]: why", "OK". */
function markOf(comment: string): Pick<SpecReply, "mark" | "by" | "why"> | undefined {
  const found = /^\s*(GOOD|BAD|OK)\b(?:\[#([\w.-]{1,64})\])?[\s:,[\]^\w-]*?(?:[:,]\s*(.*?))?\s*$/.exec(comment);
  if (!found) return undefined;
  const [, mark, by, why] = found;
  return {
    mark: mark!.toLowerCase() as SpecReply["mark"],
    ...(by === undefined ? {} : { by }),
    ...(why === undefined || why === "" ? {} : { why }),
  };
}
