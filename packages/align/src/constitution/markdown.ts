import { DocumentError, makeProblem, nearest, type Path, type Problem, readYaml, type Source } from "@tenet/data";
import { endsFence, fenceIn } from "./fence.ts";

/** Text fields that a section may give under a heading of their own. */
const headings: Record<string, string> = {
  "critique request": "critiqueRequest",
  "revision request": "revisionRequest",
  "preference question": "preferenceQuestion",
};

interface Section {
  line: number;
  value: Record<string, unknown>;
  /** Lines at which texts begin, by field. */
  lines: Map<string, number>;
  settings?: Source;
}

/**
 * A constitution in Markdown as a plain value: YAML front matter for its name and version, and a section `## id` for each
 * principle. A section's prose is the principle's text; headings `### Critique request`, `### Revision request` and
 * `### Preference question` open these texts; a fenced `yaml` block holds other fields (weight, category, checks …).
 * What stands before the first section is the description.
 *
 * Errors: DocumentError for a missing front matter, unknown headings and faulty YAML.
 */
export function readMarkdown(text: string, file: string): Source {
  const lines = text.split(/\r?\n/);
  const problems: Problem[] = [];
  const complain = (line: number, expected: string, got: string, suggestion?: string) => {
    problems.push(makeProblem(file, { line, column: 1 }, [], { expected, got, suggestion }));
  };
  const yaml = (block: string[], firstLine: number): Source | undefined => {
    const source = readYaml(block.join("\n"), file, { firstLine });
    if (!Array.isArray(source)) return source;
    problems.push(...source);
    return undefined;
  };

  const end = lines[0]?.trim() === "---" ? lines.findIndex((line, i) => i > 0 && line.trim() === "---") : -1;
  if (end < 0) {
    complain(
      1,
      'front matter: a line "---", name and version, and a line "---"',
      lines[0]?.trim() ? "other text" : "none",
    );
    throw new DocumentError(problems);
  }
  const front = yaml(lines.slice(1, end), 2);

  const sections: Section[] = [];
  const description: string[] = [];
  let prose = description;
  let fence: { mark: string; settings: string[] | undefined; line: number } | undefined;
  const texts: { section: Section; field: string; prose: string[] }[] = [];
  const open = (section: Section, field: string, line: number) => {
    prose = [];
    section.lines.set(field, line);
    texts.push({ section, field, prose });
  };

  for (const [i, line] of lines.entries()) {
    const at = i + 1;
    if (i <= end) continue;
    const section = sections.at(-1);
    if (fence) {
      if (endsFence(line.trim(), fence.mark)) {
        if (fence.settings && section) {
          if (section.settings) complain(fence.line, "one yaml block in a section", "a second one");
          const settings = yaml(fence.settings, fence.line + 1);
          if (settings) section.settings = settings;
        } else prose.push(line);
        fence = undefined;
      } else (fence.settings ?? prose).push(line);
      continue;
    }
    const fenced = fenceIn(line.trim());
    if (fenced) {
      const settings = fenced.language === "yaml" && section ? [] : undefined;
      fence = { mark: fenced.mark, settings, line: at };
      if (!settings) prose.push(line);
      continue;
    }
    const heading = /^(#{1,6})\s+(.*?)\s*#*\s*$/.exec(line);
    const level = heading?.[1]?.length;
    const title = heading?.[2] ?? "";
    if (level === 2) {
      const opened: Section = { line: at, value: { id: title }, lines: new Map() };
      sections.push(opened);
      open(opened, "text", at);
    } else if (level === 3 && section) {
      const field = headings[title.toLowerCase()];
      const names = Object.keys(headings).map((name) => name[0]!.toUpperCase() + name.slice(1));
      if (!field) complain(at, `one of the headings ${names.join(", ")}`, JSON.stringify(title), nearest(title, names));
      else if (section.lines.has(field)) complain(at, "each heading once in a section", JSON.stringify(title));
      open(section, field ?? `unknown:${at}`, at);
    } else if (level !== 1 || section) prose.push(line);
  }
  if (fence) complain(fence.line, "a fenced block with an end", `none after ${JSON.stringify(fence.mark)}`);

  for (const { section, field, prose: own } of texts) {
    const words = own.join("\n").trim();
    if (words !== "" && !field.startsWith("unknown:")) section.value[field] = words;
  }
  for (const section of sections) {
    const { value } = section.settings ?? {};
    if (value === undefined || value === null) continue;
    if (typeof value !== "object" || Array.isArray(value)) {
      complain(section.line, "a yaml block with fields of a principle", "another value");
      continue;
    }
    for (const [key, own] of Object.entries(value)) {
      if (Object.hasOwn(section.value, key)) {
        const { line } = section.settings!.locate([key], "key");
        complain(line, `${key} once: as prose or in the yaml block`, "both");
      } else section.value[key] = own;
    }
  }
  const frontValue = front?.value ?? {};
  if (typeof frontValue !== "object" || Array.isArray(frontValue))
    complain(2, "front matter with name and version", "another value");
  else if (Object.hasOwn(frontValue, "principles"))
    complain(
      front!.locate(["principles"], "key").line,
      "principles as sections (## id)",
      "principles in the front matter",
    );
  if (problems.length > 0) throw new DocumentError(problems);

  const intro = description.join("\n").trim();
  return {
    value: {
      ...(intro === "" ? {} : { description: intro }),
      ...frontValue,
      principles: sections.map(({ value }) => value),
    },
    locate(path: Path, target) {
      const [root, index, field, ...rest] = path;
      const section = root === "principles" ? sections[Number(index)] : undefined;
      if (!section) return root === "principles" ? { line: lines.length, column: 1 } : front!.locate(path, target);
      const line = section.lines.get(String(field));
      if (line !== undefined) return { line, column: 1 };
      const inBlock = field !== undefined && Object.hasOwn(Object(section.settings?.value) as object, field);
      return inBlock ? section.settings!.locate([field, ...rest], target) : { line: section.line, column: 1 };
    },
  };
}
