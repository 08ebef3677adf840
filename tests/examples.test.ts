import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import * as align from "@tenet/align";
import * as lm from "@tenet/lm";
import * as runs from "@tenet/runs";
import * as tensor from "@tenet/tensor";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Examples that need what a test run does not have. */
const needsMore: Record<string, string> = {
  "docs/grpo-rloo-dpo.md": "trains a model; packages/align/test/docs.test.ts runs it on a small one",
  "docs/ppo.md": "trains a model; packages/align/test/docs.test.ts runs it on a small one",
  "docs/preference-model.md": "trains a model; packages/align/test/docs.test.ts runs it on a small one",
  "docs/sft.md": "trains a model; packages/align/test/docs.test.ts runs it on a small one",
  "packages/cli/src/index.ts": "prints what this machine has; tested beside it",
  "packages/data/src/literal.ts": "shows an internal function; tested beside it",
  "packages/lm/src/adapter/folder.ts": "needs an adapter on the disk",
  "packages/lm/src/adapter/merge.ts": "needs an adapter on the disk",
  "packages/lm/src/catalogue/resolve.ts": "downloads a model",
  "packages/lm/src/checkpoint/index.ts": "needs a checkpoint on the disk",
  "packages/lm/src/checkpoint/gguf-names.ts": "shows an internal function; tested beside it",
  "packages/lm/src/gguf/export.ts": "needs a checkpoint on the disk",
  "packages/lm/src/local/model.ts": "downloads a model",
  "packages/lm/src/serve/server.ts": "needs a model; tested beside it",
  "packages/lm/src/onnx/export.ts": "needs a checkpoint on the disk",
  "packages/lm/src/language-model/sampling.ts": "stands for any sampling options; tested beside it",
};

function files(folder: string, ending: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending) && !entry.parentPath.includes("node_modules"))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll("\\", "/"));
}

/** Code of every `@example` of a source file. */
function docExamples(text: string): string[] {
  return [...text.matchAll(/@example\n((?: *\*(?!\/).*\n)+)/g)].map(([, lines]) => lines!.replaceAll(/^ *\* ?/gm, ""));
}

/** Every TypeScript block of a page. */
function pageExamples(text: string): string[] {
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, code]) => code!);
}

/** Runs code with the exports of the packages, and of the Node modules it imports, in scope; a line `expression; // value` must have that value. */
async function run(code: string): Promise<void> {
  const scope: Record<string, unknown> = { ...tensor, ...lm, ...runs, ...align, expect };
  for (const [, name] of code.matchAll(/^import .* from "(node:[\w/]+)";$/gm)) {
    const { default: _, ...named } = (await import(name!)) as Record<string, unknown>;
    Object.assign(scope, named);
  }
  const checked = code
    .replaceAll(/^import .*$/gm, "")
    .replaceAll(
      /^((?!const |let |await |for |\/\/)[^\n]*?); \/\/ ("[^"\n]*"|-?\d[\d.e-]*|true|false)$/gm,
      "expect($1).toEqual($2);",
    );
  const { outputText } = ts.transpileModule(checked, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  const AsyncFunction = (async () => {}).constructor as new (
    ...parts: string[]
  ) => (...values: unknown[]) => Promise<void>;
  await new AsyncFunction(...Object.keys(scope), outputText)(...Object.values(scope));
}

describe("examples", () => {
  const sources = files("packages", ".ts").filter((file) => !file.endsWith(".test.ts") && !file.includes("/dist/"));
  const found = [
    ...sources.flatMap((file) => docExamples(readFileSync(join(root, file), "utf8")).map((code) => ({ file, code }))),
    ...files("docs", ".md").flatMap((file) =>
      pageExamples(readFileSync(join(root, file), "utf8")).map((code) => ({ file, code })),
    ),
  ];

  it("are found", () => {
    expect(found.length).toBeGreaterThan(5);
    for (const file of Object.keys(needsMore)) expect(found.map((example) => example.file)).toContain(file);
  });

  for (const [i, { file, code }] of found.entries()) {
    const reason = needsMore[file];
    if (reason) it.skip(`${i}: ${file} (skipped: ${reason})`, () => {});
    else it(`${i}: ${file}`, () => run(code));
  }

  it("are held to the values they state", async () => {
    await expect(run("1 + 1; // 3")).rejects.toThrow();
    await run("1 + 1; // 2");
  });
});
