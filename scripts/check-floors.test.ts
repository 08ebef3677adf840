import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { checkFloors, importsOf } from "./check-floors.ts";

const trees: string[] = [];
afterEach(() => {
  for (const tree of trees.splice(0)) rmSync(tree, { recursive: true });
});

const manifest = (name: string, dependencies: object = {}, more: object = {}) =>
  JSON.stringify({ name, dependencies, ...more }, undefined, 2);

const good: Record<string, string> = {
  "package.json": manifest("workspace", {}, { devDependencies: { vitest: "1.0.0", typescript: "1.0.0" } }),
  "packages/tensor/package.json": manifest(
    "@tenet/tensor",
    { protobufjs: "1.0.0" },
    { devDependencies: { seedy: "1" } },
  ),
  "packages/tensor/src/index.ts": 'export * from "./graph.ts";',
  "packages/tensor/src/graph.ts": 'import { readFileSync } from "node:fs";\nimport protobuf from "protobufjs/minimal";',
  "packages/tensor/src/graph.test.ts":
    'import "vitest";\nimport "seedy";\nimport "../test/tiny.ts";\nimport "@tenet/tensor";',
  "packages/tensor/test/tiny.ts": 'import "seedy";',
  "packages/lm/package.json": manifest("@tenet/lm", { "@tenet/tensor": "0.0.0" }),
  "packages/lm/src/index.ts":
    'import type { Tensor } from "@tenet/tensor";\nconst late = () => import("@tenet/tensor");',
  "packages/runs/package.json": manifest("@tenet/runs"),
  "packages/runs/src/index.ts": 'import { join } from "path";',
  "packages/align/package.json": manifest("@tenet/align", { "@tenet/lm": "0.0.0", "@tenet/runs": "0.0.0" }),
  "packages/align/src/index.ts": 'export * from "@tenet/lm";\nexport * from "@tenet/runs";',
  "packages/cli/package.json": manifest("tenet", { "@tenet/align": "0.0.0", "@tenet/runs": "0.0.0" }),
  "packages/cli/src/index.ts": 'import "@tenet/align";\nimport "@tenet/runs";',
  "apps/board/package.json": manifest("@tenet/board", { "@tenet/align": "0.0.0" }),
  "apps/board/src/main.tsx": 'import "@tenet/align";',
  "packages/view/package.json": manifest(
    "@tenet/view",
    { "@tenet/align": "0.0.0" },
    { devDependencies: { react: "1" } },
  ),
  "packages/view/src/index.ts": 'import "@tenet/align";',
  "packages/view/src/api.ts": "export type Figure = number;",
  "packages/view/web/main.tsx":
    'import "react";\nimport type { Figure } from "../src/api.ts";\nimport "./parts/bar.tsx";',
  "packages/view/web/parts/bar.tsx": 'import "react";\nimport type { Figure } from "../../src/api.ts";',
  "bench/run.ts": 'import "@tenet/tensor";\nimport "../scripts/tool.ts";',
  "tests/whole.test.ts": 'import "@tenet/align";\nimport "vitest";',
  "scripts/tool.ts": 'import ts from "typescript";',
};

/** The violations of the good tree with some files added or replaced, one line of text each. */
function check(changed: Record<string, string>): string[] {
  const root = mkdtempSync(join(tmpdir(), "floors-"));
  trees.push(root);
  for (const [path, text] of Object.entries({ ...good, ...changed })) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return checkFloors(root).map(({ file, line, imported, why }) => `${file}:${line} ${imported}: ${why}`);
}

test("a tree that follows the rules passes", () => {
  expect(check({})).toEqual([]);
});

test.each([
  ["tensor", "lm"],
  ["tensor", "runs"],
  ["lm", "align"],
  ["lm", "runs"],
  ["runs", "tensor"],
  ["runs", "align"],
])("%s may not import %s, in source or in package.json", (from, target) => {
  const found = check({
    [`packages/${from}/src/up.ts`]: `\nimport "@tenet/${target}";`,
    [`packages/${from}/package.json`]: manifest(`@tenet/${from}`, {
      protobufjs: "1",
      "@tenet/tensor": "0",
      [`@tenet/${target}`]: "0",
    }),
  }).filter((line) => line.includes(`@tenet/${target}: `));
  expect(found).toHaveLength(2);
  expect(found[0]).toMatch(
    new RegExp(`^packages/${from}/package.json:\\d+ @tenet/${target}: imports only go downwards`),
  );
  expect(found[1]).toMatch(new RegExp(`^packages/${from}/src/up.ts:2 @tenet/${target}: imports only go downwards`));
});

test("package.json names the line of the dependency, also under devDependencies", () => {
  const text = manifest("@tenet/tensor", { protobufjs: "1" }, { devDependencies: { seedy: "1", "@tenet/lm": "0" } });
  expect(check({ "packages/tensor/package.json": text })).toEqual([
    "packages/tensor/package.json:8 @tenet/lm: imports only go downwards: packages/tensor may import no other package of this workspace",
  ]);
});

test("nobody imports the command or an app", () => {
  const found = check({
    "packages/align/src/up.ts": 'import "tenet";',
    "apps/board/src/side.ts": 'import "tenet";',
    "packages/cli/src/side.ts": 'import "@tenet/board";',
  });
  expect(found.map((line) => line.split(":")[0])).toEqual([
    "packages/align/src/up.ts",
    "packages/cli/src/side.ts",
    "apps/board/src/side.ts",
  ]);
  for (const line of found) expect(line).toContain("imports only go downwards");
});

test("tests of a package stay on its floor too", () => {
  expect(check({ "packages/tensor/src/up.test.ts": 'import "@tenet/lm";' })).toEqual([
    expect.stringContaining("imports only go downwards"),
  ]);
});

test.each([
  'import "@tenet/tensor/src/graph.ts";',
  'import type { T } from "@tenet/tensor/src/graph.ts";',
  'export * from "@tenet/tensor/src/graph.ts";',
  'const late = await import("@tenet/tensor/src/graph.ts");',
  'const late = require("@tenet/tensor/src/graph.ts");',
  'type T = import("@tenet/tensor/src/graph.ts").T;',
])("nothing behind a package's face: %s", (line) => {
  const why = 'reaches inside a package: import "@tenet/tensor", its only face';
  const imported = "@tenet/tensor/src/graph.ts";
  expect(check({ "packages/lm/src/inside.ts": line })).toEqual([`packages/lm/src/inside.ts:1 ${imported}: ${why}`]);
  expect(check({ "bench/inside.ts": line })).toEqual([`bench/inside.ts:1 ${imported}: ${why}`]);
});

test("no relative path into another package or out of one's own", () => {
  expect(
    check({
      "packages/lm/src/a.ts": 'import "../../tensor/src/graph.ts";',
      "packages/lm/src/b.ts": 'import "../../../scripts/tool.ts";',
      "tests/c.test.ts": 'import "../packages/lm/src/index.ts";',
    }),
  ).toEqual([
    'packages/lm/src/a.ts:1 ../../tensor/src/graph.ts: a path into another package: import "@tenet/tensor" instead',
    "packages/lm/src/b.ts:1 ../../../scripts/tool.ts: a path out of packages/lm: a package is complete in itself",
    'tests/c.test.ts:1 ../packages/lm/src/index.ts: a path into another package: import "@tenet/lm" instead',
  ]);
});

test("outside the packages, their helpers for tests may be used; inside another package not", () => {
  const helper = { "packages/lm/test/helper.ts": "export const helper = 1;" };
  expect(check({ ...helper, "bench/a.ts": 'import "../packages/lm/test/helper.ts";' })).toEqual([]);
  expect(check({ ...helper, "packages/cli/src/a.test.ts": 'import "../../lm/test/helper.ts";' })).toEqual([
    'packages/cli/src/a.test.ts:1 ../../lm/test/helper.ts: a path into another package: import "@tenet/lm" instead',
  ]);
});

test("what is imported is declared", () => {
  expect(
    check({
      "packages/lm/src/a.ts": 'import "protobufjs";',
      "packages/lm/src/b.test.ts": 'import "seedy";',
      "packages/tensor/src/c.ts": 'import "seedy";\nimport "vitest";',
      "packages/cli/src/d.ts": 'import "@tenet/lm";',
      "bench/e.ts": 'import "protobufjs";',
    }),
  ).toEqual([
    'packages/cli/src/d.ts:1 @tenet/lm: not declared: add "@tenet/lm" to packages/cli/package.json',
    'packages/lm/src/a.ts:1 protobufjs: not declared: add "protobufjs" to packages/lm/package.json',
    'packages/lm/src/b.test.ts:1 seedy: not declared: add "seedy" to packages/lm/package.json',
    'packages/tensor/src/c.ts:1 seedy: a devDependency, which only tests may import: declare "seedy" under dependencies in packages/tensor/package.json',
    'packages/tensor/src/c.ts:2 vitest: a devDependency, which only tests may import: declare "vitest" under dependencies in packages/tensor/package.json',
    'bench/e.ts:1 protobufjs: not declared: add "protobufjs" to package.json',
  ]);
});

test("sources do not import tests", () => {
  expect(
    check({
      "packages/tensor/src/a.ts": 'import "./graph.test.ts";\nimport "./graph.test";\nimport "../test/tiny.ts";',
    }),
  ).toEqual(
    ["1 ./graph.test.ts", "2 ./graph.test", "3 ../test/tiny.ts"].map(
      (where) => `packages/tensor/src/a.ts:${where}: only tests may import test files`,
    ),
  );
});

test("a package without a floor is asked to take one", () => {
  expect(check({ "packages/extra/package.json": manifest("@tenet/extra") })).toEqual([
    'packages/extra/package.json:1 @tenet/extra: this package has no floor: add "extra" to the table in scripts/check-floors.ts',
  ]);
});

test("imports are read from the syntax, not from text that looks like them", () => {
  const text = [
    '// import "comment";',
    'const text = `import "text"`;',
    'import assigned = require("assigned");',
    "import(`template`);",
    "import(text);",
    'require.resolve("resolved");',
    'import.meta.resolve("meta");',
    'export const local = "local";',
    'resolve("other");',
  ].join("\n");
  expect(importsOf("a.ts", text)).toEqual([
    { imported: "assigned", line: 3 },
    { imported: "template", line: 4 },
    { imported: "resolved", line: 6 },
    { imported: "meta", line: 7 },
  ]);
});

test("what serves tests is imported by tests alone", () => {
  const fixtures = {
    "packages/fixtures/package.json": manifest("@tenet/fixtures"),
    "packages/fixtures/src/index.ts": "",
    "packages/lm/package.json": manifest(
      "@tenet/lm",
      { "@tenet/tensor": "0.0.0" },
      { devDependencies: { "@tenet/fixtures": "0.0.0" } },
    ),
    "packages/lm/src/index.test.ts": 'import "@tenet/fixtures";',
  };
  expect(check(fixtures)).toEqual([]);
  expect(check({ ...fixtures, "packages/lm/src/more.ts": 'import "@tenet/fixtures";' })).toEqual([
    expect.stringMatching(/^packages\/lm\/src\/more\.ts:1 @tenet\/fixtures: imports only go downwards/),
  ]);
});

test("files that import each other in a circle are named once", () => {
  const circle = {
    "packages/lm/src/one.ts": 'import "./two.ts";',
    "packages/lm/src/two.ts": 'import type { Three } from "./three.ts";',
    "packages/lm/src/three.ts": 'import "./one.ts";',
  };
  expect(check(circle)).toHaveLength(1);
  expect(check(circle)[0]).toContain("a circle of files");
});

test("a page knows the types of its server, and sends no package of the workspace to browsers", () => {
  expect(
    check({
      "packages/view/web/main.tsx": 'import "@tenet/align";\nimport "../src/index.ts";\nimport "left-pad";',
      "packages/view/src/index.ts": 'import "../web/parts/bar.tsx";\nimport "react";',
    }),
  ).toEqual([
    "packages/view/src/index.ts:1 ../web/parts/bar.tsx: only a page's own files may import it: it runs in browsers",
    'packages/view/src/index.ts:2 react: a devDependency, which only tests may import: declare "react" under dependencies in packages/view/package.json',
    "packages/view/web/main.tsx:1 @tenet/align: a page imports no package of this workspace: it would be sent to browsers",
    "packages/view/web/main.tsx:2 ../src/index.ts: a page knows packages/view/src/api.ts of its server, and nothing else",
    'packages/view/web/main.tsx:3 left-pad: not declared: add "left-pad" to packages/view/package.json',
  ]);
});
