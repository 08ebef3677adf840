import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { basename } from "node:path";
import { type DatasetKinds, imagesOf, type Origin, openDataset } from "@tenet/data";
import type { DatasetReference, Recipe } from "../recipe.ts";
import { countRows } from "../sizes.ts";
import { rowsStage, type Stage, type StageContext } from "../stages/index.ts";
import type { StoredRows } from "../values.ts";

type Made<Row> = { readonly row: Row } | { readonly aside: { readonly input: string; readonly reason: string } };

/**
 * How a file is read: what its rows depend on, and the rows. A file in which nothing is other than its fields say is known by what it
 * was known by before anybody looked for that, so that what was stored of it stays; one whose rows show images by the images too.
 */
export function readingOf<As extends keyof DatasetKinds>(
  reference: DatasetReference,
  as: As,
  { images = false }: { readonly images?: boolean | undefined } = {},
) {
  const { path, format, limit } = typeof reference === "string" ? { path: reference } : reference;
  const open = () => openDataset(path, { as, images, ...(format && { format }), ...(limit && { limit }) });
  const foundIn = async (): Promise<string[]> => {
    const dataset = await open();
    // Posts have a format of their own, in which nothing stands for anything else.
    if (dataset.format === "stackexchange") return [];
    let plain = true;
    const seen = createHash("sha256");
    let shown = 0;
    for await (const read of dataset) {
      if ("row" in read ? read.notes !== undefined : "aside" in read && read.aside.doubtful) plain = false;
      if (!plain && !images) break;
      if (!("row" in read) || imagesOf(read.row.prompt).length === 0) continue;
      // A row's id is of its images too.
      seen.update(read.row.id);
      shown++;
    }
    return [...(plain ? [] : ["read as what it is"]), ...(shown > 0 ? [`shows ${seen.digest("hex")}`] : [])];
  };
  return {
    path,
    settings: async () => [await fileHash(path), (await open()).format, limit ?? null, ...(await foundIn())],
    async *make({ emit }: Pick<StageContext, "emit">, stage: string): AsyncGenerator<Made<DatasetKinds[As]>> {
      const notes = new Map<string, number>();
      for await (const read of await open()) {
        if ("row" in read) {
          for (const note of read.notes ?? []) notes.set(note, (notes.get(note) ?? 0) + 1);
          yield { row: read.row as DatasetKinds[As] };
        } else if ("aside" in read) {
          const { source, reason, excerpt } = read.aside;
          yield { aside: { input: source, reason: `${reason}: ${excerpt}` } };
        } else yield { aside: { input: read.duplicate.source, reason: `the same as row ${read.duplicate.id}` } };
      }
      for (const [note, count] of notes)
        emit({ type: "message", stage, level: "info", message: `${basename(path)}: ${note} (${count} ×)` });
    },
  };
}

/** Of a context, what a file's stage is made with. */
type Seeded = { readonly recipe: Pick<Recipe, "seed"> };

/** A file's rows: what the stage is called, where they lie, and what they are read as. */
export interface FilePart<As extends keyof DatasetKinds> {
  readonly name: string;
  readonly title: string;
  readonly reference: DatasetReference;
  readonly as: As;
  /** Who wrote the replies, where people did: the rows then say so. */
  readonly writtenBy?: Origin["writtenBy"];
  /** Whether its prompts may show images: where no local model reads them. */
  readonly images?: boolean;
}

/** Reads files, each of a name once, however often it is asked for. */
export type ReadFile = <As extends keyof DatasetKinds>(part: FilePart<As>) => Stage<StoredRows<DatasetKinds[As]>>;

export function fileReader(context: Seeded): ReadFile {
  const known = new Map<string, Stage>();
  return (part) => {
    const found = known.get(part.name) ?? fileStage(context, part);
    known.set(part.name, found);
    return found as ReturnType<typeof fileStage<typeof part.as>>;
  };
}

/** The rows of a file, by its content. */
export function fileStage<As extends keyof DatasetKinds>(
  { recipe: { seed } }: Seeded,
  { name, title, reference, as, writtenBy, images }: FilePart<As>,
): Stage<StoredRows<DatasetKinds[As]>> {
  const reading = readingOf(reference, as, { images });
  const signed = (row: DatasetKinds[As]) => (writtenBy ? { ...row, origin: { ...row.origin, writtenBy } } : row);
  return rowsStage<DatasetKinds[As]>({
    name,
    title: `${title} from ${basename(reading.path)}`,
    kind: writtenBy ? `read-${as}-of-${writtenBy}` : `read-${as}`,
    version: 1,
    seed,
    expect: () => countRows(reference, as, { images }),
    settings: reading.settings,
    async *make(context) {
      for await (const made of reading.make(context, name)) yield "row" in made ? { row: signed(made.row) } : made;
    },
  });
}

async function fileHash(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}
