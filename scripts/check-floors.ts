// Checks that imports only go downwards (README.md, "Floors"). `npm run floors` runs it on this repository.
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

/** What each package may import, by folder name; every folder of apps/ counts as "app". */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  tensor: [],
  runs: [],
  data: [],
  lm: ["tensor", "data"],
  engine: [],
  train: ["tensor", "data", "lm", "engine"],
  align: ["tensor", "runs", "data", "lm", "engine", "train"],
  view: ["runs", "data", "align"],
  cli: ["tensor", "runs", "data", "lm", "engine", "train", "align", "view"],
  app: ["tensor", "runs", "data", "lm", "engine", "train", "align"],
  fixtures: ["lm"],
};

/** Packages that serve tests: only those import them, on any floor. */
const forTests: ReadonlySet<string> = new Set(["fixtures"]);

/** Packages whose files may import each other in circles: an operation is a method of the tensors that it is applied to. */
const mayCircle: ReadonlySet<string> = new Set(["tensor"]);

/** Folders outside the floors: they may import every package, through its face like everyone else, and its helpers for tests. */
const outside = ["bench", "tests", "scripts"];

/** One broken rule. `file` is relative to the root and uses forward slashes; `line` counts from 1. */
export interface Violation {
  file: string;
  line: number;
  imported: string;
  why: string;
}

interface Package {
  folder: string; // "packages/lm"; "" for the workspace's root
  kind: string; // "lm", "app"; "" for the workspace's root
  name: string;
  manifest: Manifest;
  manifestText: string;
}

type DependencyField = "dependencies" | "peerDependencies" | "optionalDependencies" | "devDependencies";
type Manifest = { name?: string } & Partial<Record<DependencyField, Record<string, string>>>;

/** Every import of the tree at `root` that breaks a rule, in the order of files and lines. Reads files, changes nothing. */
export function checkFloors(root: string): Violation[] {
  const rootPackage = readPackage(root, "", "");
  const packages = [
    ...foldersOf(root, "packages").map((name) => readPackage(root, `packages/${name}`, name)),
    ...foldersOf(root, "apps").map((name) => readPackage(root, `apps/${name}`, "app")),
  ];
  const byName = new Map(packages.map((one) => [one.name, one]));
  const violations: Violation[] = [];

  for (const one of packages) {
    violations.push(...checkManifest(one, byName));
    const files = sourcesIn(root, one.folder);
    for (const file of files) violations.push(...checkFile(root, file, one, rootPackage, packages, byName));
    if (!mayCircle.has(one.kind)) violations.push(...circles(root, files));
  }
  const loose = readdirSync(root).filter(isSource);
  for (const file of [...outside.flatMap((folder) => sourcesIn(root, folder)), ...loose]) {
    violations.push(...checkFile(root, file, rootPackage, rootPackage, packages, byName));
  }
  return violations;
}

function checkManifest(one: Package, byName: Map<string, Package>): Violation[] {
  const file = `${one.folder}/package.json`;
  if (one.kind !== "app" && !(one.kind in mayImport)) {
    const why = `this package has no floor: add "${one.kind}" to the table in scripts/check-floors.ts`;
    return [{ file, line: 1, imported: one.name, why }];
  }
  const fields = ["dependencies", "peerDependencies", "optionalDependencies", "devDependencies"] as const;
  return fields.flatMap((field) =>
    Object.keys(one.manifest[field] ?? {}).flatMap((imported) => {
      const target = byName.get(imported);
      const served = target && field === "devDependencies" && forTests.has(target.kind);
      const why = target && !served ? upwards(one, target) : undefined;
      return why ? [{ file, line: lineOfDependency(one.manifestText, field, imported), imported, why }] : [];
    }),
  );
}

function checkFile(
  root: string,
  file: string,
  from: Package,
  rootPackage: Package,
  packages: readonly Package[],
  byName: Map<string, Package>,
): Violation[] {
  const test = isTest(file);
  // A page is bundled: what it imports is needed to build it only, and of its server it knows the types.
  const page = from.folder !== "" && file.startsWith(`${from.folder}/web/`);
  return importsOf(file, readFileSync(join(root, file), "utf8")).flatMap(({ imported, line }) => {
    const why = imported.startsWith(".") || imported.startsWith("/") ? whyNotPath(imported) : whyNotPackage(imported);
    return why ? [{ file, line, imported, why }] : [];
  });

  function whyNotPath(imported: string): string | undefined {
    const target = slashes(relative(root, resolve(root, dirname(file), imported)));
    const owner = packages.find((one) => target === one.folder || target.startsWith(`${one.folder}/`));
    if (owner && !from.folder && isTest(target)) return undefined;
    if (owner && owner !== from) return `a path into another package: import "${owner.name}" instead`;
    const inPage = target.startsWith(`${from.folder}/web/`);
    if (page && !inPage && target !== `${from.folder}/src/api.ts`)
      return `a page knows ${from.folder}/src/api.ts of its server, and nothing else`;
    if (from.folder && owner && !page && !test && inPage)
      return "only a page's own files may import it: it runs in browsers";
    if (from.folder && !owner) return `a path out of ${from.folder}: a package is complete in itself`;
    if (from.folder && !test && isTest(target)) return "only tests may import test files";
    return undefined;
  }

  function whyNotPackage(imported: string): string | undefined {
    if (isBuiltin(imported) || imported.startsWith("#")) return undefined;
    const name = imported
      .split("/")
      .slice(0, imported.startsWith("@") ? 2 : 1)
      .join("/");
    const target = byName.get(name);
    if (target && page) return "a page imports no package of this workspace: it would be sent to browsers";
    if (target) {
      const served = test && forTests.has(target.kind);
      const wrongWay = from.folder && !served ? upwards(from, target) : undefined;
      if (wrongWay) return wrongWay;
      if (name !== imported) return `reaches inside a package: import "${name}", its only face`;
      if (!from.folder || target === from) return undefined;
    }
    if (test || page || !from.folder) {
      const declared = { ...from.manifest.devDependencies, ...rootPackage.manifest.devDependencies };
      if (name in declared) return undefined;
    }
    const { dependencies, peerDependencies, optionalDependencies } = from.manifest;
    if (name in { ...dependencies, ...peerDependencies, ...optionalDependencies }) return undefined;
    const manifest = from.folder ? `${from.folder}/package.json` : "package.json";
    if (from.folder && name in { ...from.manifest.devDependencies, ...rootPackage.manifest.devDependencies }) {
      return `a devDependency, which only tests may import: declare "${name}" under dependencies in ${manifest}`;
    }
    return `not declared: add "${name}" to ${manifest}`;
  }
}

/** Files that import each other, directly or through others: an import that leads back to its own file, once a circle. */
function circles(root: string, files: readonly string[]): Violation[] {
  const imports = new Map(
    files.map((file) => {
      const found = importsOf(file, readFileSync(join(root, file), "utf8")).filter(({ imported }) =>
        imported.startsWith("."),
      );
      const inside = found.map(({ imported, line }) => {
        return { imported, line, to: slashes(relative(root, resolve(root, dirname(file), imported))) };
      });
      return [file, inside.filter(({ to }) => to !== file && files.includes(to))] as const;
    }),
  );
  const violations: Violation[] = [];
  const done = new Set<string>();
  const walk = (file: string, way: readonly string[]): void => {
    for (const { to, imported, line } of imports.get(file) ?? []) {
      const start = [...way, file].indexOf(to);
      if (start >= 0) {
        const circle = [...[...way, file].slice(start), to].map((name) => name.split("/").at(-1)).join(" → ");
        violations.push({ file, line, imported, why: `a circle of files: ${circle}` });
      } else if (!done.has(to)) walk(to, [...way, file]);
    }
    done.add(file);
  };
  for (const file of files) if (!done.has(file)) walk(file, []);
  return violations;
}

/** Why `from` may not import `target`, or undefined if it may. */
function upwards(from: Package, target: Package): string | undefined {
  const allowed = mayImport[from.kind] ?? [];
  if (target === from || (target.kind !== "app" && allowed.includes(target.kind))) return undefined;
  const below = allowed.length ? `only the packages ${allowed.join(", ")}` : "no other package of this workspace";
  return `imports only go downwards: ${from.folder} may import ${below}`;
}

/** The module names in a source text, with their lines: static, type-only, dynamic and re-exported ones and require. */
export function importsOf(file: string, text: string): { imported: string; line: number }[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found: { imported: string; line: number }[] = [];
  const add = (name: ts.Node | undefined) => {
    // A name computed at run time cannot be checked here.
    if (!name || !ts.isStringLiteralLike(name)) return;
    found.push({ imported: name.text, line: source.getLineAndCharacterOfPosition(name.getStart()).line + 1 });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) add(node.moduleSpecifier);
    else if (ts.isExternalModuleReference(node)) add(node.expression);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal);
    else if (ts.isCallExpression(node) && isImportCall(node.expression)) add(node.arguments[0]);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** import("x"), require("x"), require.resolve("x"), import.meta.resolve("x") */
function isImportCall(called: ts.Expression): boolean {
  if (called.kind === ts.SyntaxKind.ImportKeyword) return true;
  if (ts.isIdentifier(called)) return called.text === "require";
  if (!ts.isPropertyAccessExpression(called) || called.name.text !== "resolve") return false;
  return ts.isMetaProperty(called.expression) || called.expression.getText() === "require";
}

function readPackage(root: string, folder: string, kind: string): Package {
  const manifestText = readFileSync(join(root, folder, "package.json"), "utf8");
  const manifest = JSON.parse(manifestText) as Manifest;
  return { folder, kind, name: manifest.name ?? folder, manifest, manifestText };
}

function foldersOf(root: string, parent: string): string[] {
  const path = join(root, parent);
  if (!existsSync(path)) return [];
  return readdirSync(path)
    .filter((name) => existsSync(join(path, name, "package.json")))
    .sort();
}

function sourcesIn(root: string, folder: string): string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) return skipped.has(entry.name) ? [] : sourcesIn(root, path);
      return isSource(entry.name) ? [path] : [];
    });
}

const skipped = new Set(["node_modules", "dist", ".venv"]);
const isSource = (name: string) => /\.[cm]?[jt]sx?$/.test(name);

/** Whether the file, relative to the root, is a test or a helper of tests; an import may lack the extension. */
const isTest = (file: string) => /\.test(\.[cm]?[jt]sx?)?$/.test(file) || /^(packages|apps)\/[^/]+\/test\//.test(file);

function lineOfDependency(manifest: string, field: string, name: string): number {
  const start = manifest.indexOf(`"${field}"`);
  return manifest.slice(0, manifest.indexOf(`"${name}"`, start)).split("\n").length;
}

const slashes = (path: string) => path.split(sep).join("/");

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const violations = checkFloors(fileURLToPath(new URL("..", import.meta.url)));
  for (const { file, line, imported, why } of violations)
    console.error(`${file}:${line} imports "${imported}": ${why}`);
  if (violations.length) process.exitCode = 1;
  else console.log("floors: every import goes downwards");
}
