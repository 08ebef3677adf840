import { createHash } from "node:crypto";
import { readFile, realpath, stat } from "node:fs/promises";
import { dirname, extname, isAbsolute, relative, resolve, sep } from "node:path";
import { pathToFileURL } from "node:url";
import {
  checkDocument,
  DocumentError,
  makeProblem,
  type ParsedDocument,
  type Path,
  type Problem,
  parseDocument,
  readDocument,
  readText,
  type Source,
} from "@tenet/data";
import { z } from "zod";
import { runChecks } from "./checks.ts";
import { readMarkdown } from "./markdown.ts";
import {
  type CheckFunction,
  type Constitution,
  type ConstitutionDocument,
  constitutionSchema,
  type Rule,
  withRequests,
} from "./schema.ts";
import { type SpecCounts, specificationConstitution } from "./spec-constitution.ts";
import { isSpecification } from "./specification.ts";

/**
 * A constitution from its text: Markdown where the file's name ends in `.md` (principles as sections, or a specification with levels of
 * authority), else YAML (or JSON). Functions of modules are not
 * loaded.
 *
 * Errors: DocumentError with everything that is wrong, file and line.
 *
 * @example
 * const text = 'name: kind\nversion: "1"\nprinciples:\n  - { id: kind, text: Be kind. }';
 * parseConstitution(text, { file: "kind.yaml" }).value.principles[0].weight; // 1
 */
export function parseConstitution(text: string, { file }: { file: string }): ParsedDocument<Constitution> {
  const document = [".md", ".markdown"].includes(extname(file).toLowerCase())
    ? checkDocument(isSpecification(text) ? readSpecification(text, file) : readMarkdown(text, file), {
        file,
        schema: constitutionSchema,
      })
    : parseDocument(text, { file, schema: constitutionSchema });
  return { ...document, value: withRequests(document.value) };
}

/** A specification's principles, each at its heading's line. */
function readSpecification(text: string, file: string): Source {
  const { input, lines } = specificationConstitution(text, file);
  if (input.principles.length === 0)
    throw new DocumentError([
      makeProblem(file, { line: 1, column: 1 }, [], {
        expected: "a section with a level of authority, such as ## Be kind {#be_kind authority=user}",
        got: "none",
      }),
    ]);
  return {
    value: input,
    locate: ([root, index]) => ({ line: (root === "principles" ? lines[Number(index)] : undefined) ?? 1, column: 1 }),
  };
}

/**
 * Reads a specification's file as the document of a constitution, and says what became of its parts.
 *
 * Errors: DocumentError, as `parseConstitution`; also for a document that has no section with a level.
 */
export async function readSpecificationConstitution(
  path: string,
): Promise<{ document: ConstitutionDocument; counts: SpecCounts }> {
  const text = await readText(path);
  const { counts } = specificationConstitution(text, path);
  const { value } = checkDocument(readSpecification(text, path), { file: path, schema: constitutionSchema });
  return { document: value, counts };
}

export interface LoadOptions {
  /**
   * Import the modules that checks name. They are programs and can do what this process can, so only for a constitution
   * whose author you trust. Default: a constitution with such checks is refused.
   */
  allowModules?: boolean | undefined;
}

/** For programs and for the command line: one message stands before both. */
const howToAllow = "allowModules: true, or --allow-modules, imports those of an author whom you trust";

/**
 * Reads a constitution file: YAML, JSON or Markdown.
 *
 * Errors: DocumentError, as `parseConstitution`; also for a module that is not allowed, lies outside the constitution's folder,
 * cannot be imported, or lacks the function.
 */
export async function loadConstitution(
  path: string,
  { allowModules = false }: LoadOptions = {},
): Promise<Constitution> {
  const document = parseConstitution(await readText(path), { file: path });
  const named = document.value.principles.flatMap(({ checks }, i) =>
    checks.flatMap((check, j) => moduleRules(check, ["principles", i, "checks", j])),
  );
  const problems = [];
  for (const { rule, at } of named) {
    const fault = allowModules
      ? await bindModule(rule, path)
      : { expected: `no module, since modules run code and that is not allowed here; ${howToAllow}` };
    if (fault) problems.push(document.problem([...at, "module"], fault));
  }
  if (problems.length === 0) problems.push(...wrongExamples(document));
  if (problems.length > 0) throw new DocumentError(problems);
  return document.value;
}

/** Whether a file is a constitution and no recipe, as far as its name and keys say. Of what is no document it is not known: false. */
export async function isConstitution(path: string): Promise<boolean> {
  if (/\.(md|markdown)$/i.test(path)) return true;
  try {
    const { value } = await readDocument(path, z.looseObject({}));
    return "principles" in value && !("constitution" in value) && !("prompts" in value);
  } catch (error) {
    if (error instanceof DocumentError) return false;
    throw error;
  }
}

/** Examples of which their check says otherwise. */
function* wrongExamples(document: ParsedDocument<Constitution>): Generator<Problem> {
  for (const [i, principle] of document.value.principles.entries())
    for (const [j, check] of principle.checks.entries())
      for (const side of ["keeps", "breaks"] as const)
        for (const [k, example] of (check.examples?.[side] ?? []).entries()) {
          const { prompt, reply } = typeof example === "string" ? { prompt: undefined, reply: example } : example;
          const asked = prompt === undefined ? [] : [{ role: "user", content: prompt }];
          // Without a prompt it is the rule that is shown, whatever it is asked behind.
          const { when: _, unless: __, whenCategory: ___, unlessCategory: ____, ...rule } = check;
          const shown = { ...principle, checks: [prompt === undefined ? rule : check] };
          const { applies, violated, why } = runChecks(shown, { prompt: asked, response: reply })[0]!;
          if (violated === (side === "breaks")) continue;
          const said = applies ? why : `the check does not apply: ${why}`;
          yield document.problem(["principles", i, "checks", j, "examples", side, k], {
            expected: side === "breaks" ? "a reply that the check finds" : "a reply that the check lets pass",
            got: `one of which it says: ${said}`,
          });
        }
}

function moduleRules(rule: Rule, at: Path): { rule: Rule; at: Path }[] {
  return [
    ...(rule.module === undefined ? [] : [{ rule, at }]),
    ...(rule.any ?? []).flatMap((part, i) => moduleRules(part, [...at, "any", i])),
    ...(rule.all ?? []).flatMap((part, i) => moduleRules(part, [...at, "all", i])),
    ...(rule.not ? moduleRules(rule.not, [...at, "not"]) : []),
  ];
}

/** What a module's text names by a relative path: imports, exports from elsewhere, and what is imported or required while it runs. */
const relativeImport = /\b(?:from|import|require)\s*\(?\s*(["'`])(\.{1,2}\/[^"'`\n]+)\1/g;

/**
 * SHA-256 of a module with every file that it imports by a relative path, and that these do, and whether there are any: what any of them says may
 * change what the rule finds. Of one that imports none it is that of its bytes. Files of packages, and paths that are put together while it runs, are not seen.
 */
async function moduleHash(file: string): Promise<{ readonly sha256: string; readonly imports: boolean }> {
  const hashes = new Map<string, string>();
  const read = async (path: string): Promise<void> => {
    const bytes = await readFile(path);
    hashes.set(path, createHash("sha256").update(bytes).digest("hex"));
    for (const [, , specifier] of bytes.toString("utf8").matchAll(relativeImport)) {
      // What is no file stands in a comment or a text, or fails when it is imported.
      const other = await realpath(resolve(dirname(path), specifier!)).catch(() => undefined);
      if (other !== undefined && !hashes.has(other) && (await stat(other)).isFile()) await read(other);
    }
  };
  await read(file);
  const [own, ...others] = [...hashes].map(([path, hash]) => ({ hash, name: relative(dirname(file), path) }));
  if (others.length === 0) return { sha256: own!.hash, imports: false };
  const named = others.map(({ name, hash }) => `${name.replaceAll(sep, "/")} ${hash}`).sort();
  const sha256 = createHash("sha256")
    .update([own!.hash, ...named].join("\n"))
    .digest("hex");
  return { sha256, imports: true };
}

/** Hashes of the modules that this process imported and that import others. Node keeps those as they were then. */
const importing = new Map<string, string>();

/** Imports a rule's function and notes the module's hash; says what is wrong where that fails. */
async function bindModule(rule: Rule, file: string): Promise<{ expected: string; got?: string } | undefined> {
  const { module = "", export: name = "default" } = rule;
  const inside = "a module inside the constitution's folder";
  const folder = await realpath(dirname(file));
  const target = resolve(folder, module);
  // Links are followed before the comparison, so that none leads out.
  const real = await realpath(target).catch(() => undefined);
  const way = relative(folder, real ?? target);
  if (isAbsolute(module) || isAbsolute(way) || way === ".." || way.startsWith(`..${sep}`)) return { expected: inside };
  if (real === undefined) return { expected: inside, got: `no such file: ${JSON.stringify(module)}` };
  const { sha256, imports } = await moduleHash(real);
  const before = importing.get(real);
  if (before !== undefined && before !== sha256)
    return {
      expected: "a module that imports what it did when this process first read it",
      got: "a change in it or in what it imports; begin the process again",
    };
  if (imports) importing.set(real, sha256);
  let exports: Record<string, unknown>;
  try {
    exports = (await import(`${pathToFileURL(real).href}?sha256=${sha256}`)) as Record<string, unknown>;
  } catch (error) {
    return { expected: "a module that can be imported", got: (error as Error)?.message ?? String(error) };
  }
  if (typeof exports[name] !== "function") return { expected: `a module that exports a function "${name}"` };
  rule.sha256 = sha256;
  rule.call = exports[name] as CheckFunction;
  return undefined;
}
