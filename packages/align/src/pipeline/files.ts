import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { basename } from "node:path";
import { type ChoiceRow, type ExampleRow, openDataset, type PreferenceRow, type PromptRow } from "@tenet/data";
import type { DatasetReference } from "./recipe.ts";
import { rowsStage, type Stage } from "./stages.ts";
import type { StoredRows } from "./values.ts";

/** Kinds of rows that files are read as. */
interface RowKinds {
  prompts: PromptRow;
  examples: ExampleRow;
  preferences: PreferenceRow;
  choices: ChoiceRow;
}

/** The rows of a file, by its content. */
export function fileStage<As extends keyof RowKinds>(
  name: string,
  title: string,
  reference: DatasetReference,
  as: As,
): Stage<StoredRows<RowKinds[As]>> {
  const { path, format, limit } = typeof reference === "string" ? { path: reference } : reference;
  const open = () => openDataset(path, { as, ...(format && { format }), ...(limit && { limit }) });
  return rowsStage<RowKinds[As]>({
    name,
    title: `${title} from ${basename(path)}`,
    kind: `read-${as}`,
    version: 1,
    settings: async () => [await fileHash(path), (await open()).format, limit ?? null],
    async *make() {
      for await (const read of await open()) {
        if ("row" in read) yield { row: read.row as RowKinds[As] };
        else if ("aside" in read) {
          const { source, reason, excerpt } = read.aside;
          yield { aside: { input: source, reason: `${reason}: ${excerpt}` } };
        } else yield { aside: { input: read.duplicate.source, reason: `the same as row ${read.duplicate.id}` } };
      }
    },
  });
}

async function fileHash(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}
