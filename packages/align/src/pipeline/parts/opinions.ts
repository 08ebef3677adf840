import type { OpinionRow } from "@tenet/data";
import type { PartContext } from "../context.ts";
import type { Stage } from "../stages/index.ts";
import type { StoredRows } from "../values.ts";
import type { ReadFile } from "./files.ts";

/** Questions in which a person says what they think, where the recipe names a file of them. */
export function opinionsFile({ recipe }: PartContext, file: ReadFile): Stage<StoredRows<OpinionRow>> | undefined {
  const reference = recipe.evaluate.sycophancy;
  if (reference === undefined) return undefined;
  return file({ name: "opinions", title: "questions with a person's view", reference, as: "opinions" });
}
