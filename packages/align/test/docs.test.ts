import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeTalkingModel } from "@tenet/fixtures";
import * as lm from "@tenet/lm";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as align from "../src/index.ts";

/*
 * The examples of pages that train: run as they stand, but for the model, which is a small random one whatever its name.
 * The other pages' are run by tests/examples.test.ts, which explains the comments that state values.
 */

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-docs-"));
  await writeTalkingModel(folder);
});

afterAll(() => rm(folder, { recursive: true }));

async function run(code: string): Promise<void> {
  const openLocalModel = () => lm.openLocalModel(folder, { device: "cpu", threads: 1, cacheDir: folder });
  const scope: Record<string, unknown> = { ...lm, ...align, openLocalModel, expect };
  for (const [, name] of code.matchAll(/^import .* from "(node:[\w/]+)";$/gm)) {
    const { default: _, ...named } = (await import(name!)) as Record<string, unknown>;
    Object.assign(scope, named);
  }
  const checked = code
    .replaceAll(/^import .*$/gm, "")
    .replaceAll(/^([^\n]*?); \/\/ ("[^"\n]*"|-?\d[\d.e-]*|true|false)$/gm, "expect($1).toEqual($2);");
  const { outputText } = ts.transpileModule(checked, { compilerOptions: { target: ts.ScriptTarget.ES2022 } });
  const AsyncFunction = (async () => {}).constructor as new (
    ...parts: string[]
  ) => (...values: unknown[]) => Promise<void>;
  await new AsyncFunction(...Object.keys(scope), outputText)(...Object.values(scope));
}

describe.each(["sft", "preference-model", "ppo", "grpo-rloo-dpo"])("examples of docs/%s.md", (page) => {
  const text = readFileSync(new URL(`../../../docs/${page}.md`, import.meta.url), "utf8");
  const examples = [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, code]) => code!);
  it("are there", () => expect(examples.length).toBeGreaterThan(0));
  it.each(examples.map((code, i) => [i, code] as const))("%i", (_, code) => run(code));
});
