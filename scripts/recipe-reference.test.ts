import { readFileSync } from "node:fs";
import { parseDocument, recipeSchema } from "@tenet/align";
import { describe, expect, it } from "vitest";
import { recipeReference } from "./recipe-reference.ts";

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");

describe("the reference of recipes", () => {
  const { "recipe.md": page, "recipe.schema.json": schema } = recipeReference();

  it("is what the schema says: npm run docs", () => {
    expect(read("docs/recipe.md")).toBe(page);
    expect(JSON.parse(read("docs/recipe.schema.json"))).toEqual(JSON.parse(schema));
  });

  it("describes every setting", () => {
    expect(page.split("\n").filter((line) => /^\| `.*\|\s*\|$/.test(line))).toEqual([]);
  });

  it("links to sections that are there", () => {
    const anchors = [...page.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
      heading!
        .toLowerCase()
        .replaceAll(/[^a-z\d\s_-]/g, "")
        .replaceAll(" ", "-"),
    );
    const links = [...page.matchAll(/\]\(#([^)]*)\)/g)].map(([, anchor]) => anchor!);
    expect(links.length).toBeGreaterThan(20);
    expect(links.filter((link) => !anchors.includes(link))).toEqual([]);
  });

  it("begins with a recipe that is one", () => {
    const [, example] = /```yaml\n([\s\S]*?)```/.exec(page)!;
    expect(parseDocument(example!, { file: "docs/recipe.md", schema: recipeSchema }).value.policy).toMatchObject({
      algorithm: "ppo",
      iterations: 20,
    });
  });
});
