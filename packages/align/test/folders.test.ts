import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, it } from "vitest";

const source = fileURLToPath(new URL("../src", import.meta.url));

/** The folders that the files of each folder import from; files at the top belong to none. */
function folderImports(): Map<string, Set<string>> {
  const imports = new Map<string, Set<string>>();
  const files = readdirSync(source, { recursive: true, encoding: "utf8" });
  for (const file of files.filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))) {
    const [folder, ...rest] = file.split(sep);
    if (rest.length === 0) continue;
    const found = imports.get(folder!) ?? new Set();
    imports.set(folder!, found);
    for (const { fileName } of ts.preProcessFile(readFileSync(join(source, file), "utf8")).importedFiles) {
      if (!fileName.startsWith(".")) continue;
      const [other, ...inside] = relative(source, resolve(source, dirname(file), fileName)).split(sep);
      if (inside.length > 0 && other !== folder) found.add(other!);
    }
  }
  return imports;
}

it("folders import each other in one direction", () => {
  const imports = folderImports();
  expect(imports.get("pipeline")).toContain("feedback");
  const circles: string[] = [];
  const walk = (folder: string, way: readonly string[]): void => {
    if (way.includes(folder)) circles.push([...way.slice(way.indexOf(folder)), folder].join(" → "));
    else for (const next of imports.get(folder) ?? []) walk(next, [...way, folder]);
  };
  for (const folder of imports.keys()) walk(folder, []);
  expect(circles).toEqual([]);
});
