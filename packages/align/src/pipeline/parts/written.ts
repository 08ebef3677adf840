import type { ExampleRow } from "@tenet/data";
import type { Recipe } from "../recipe.ts";
import type { Stage } from "../stages/index.ts";
import type { StoredRows } from "../values.ts";
import type { ReadFile } from "./files.ts";

/** Examples that people wrote, where the recipe names a file of them. METHODS §6. */
export function writtenFile(
  { recipe: { supervised } }: { readonly recipe: Recipe },
  file: ReadFile,
): Stage<StoredRows<ExampleRow>> | undefined {
  const { written } = supervised;
  if (written === undefined) return undefined;
  const { ratio: _, ...reference } = typeof written === "string" ? { path: written } : written;
  return file({ name: "written", title: "examples written by people", reference, as: "examples", writtenBy: "people" });
}
