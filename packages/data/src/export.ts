import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, rename, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import { type Column, columns, type ExampleForm, types } from "./columns.ts";
import { datasetCard, type ExportedSplit } from "./dataset-card.ts";
import { ExportError } from "./errors.ts";
import type { Kinds } from "./records.ts";

export interface ExportOptions<As extends keyof Kinds> {
  readonly as: As;
  /** Title of its README. */
  readonly name: string;
  /** Rows by split, e.g. `train` and `validation`. Read once, as they are written. */
  readonly splits: Readonly<Record<string, Iterable<Kinds[As]> | AsyncIterable<Kinds[As]>>>;
  /** What the data are and are for, in Markdown. */
  readonly description?: string;
  /** As the Hugging Face hub names it, e.g. "cc-by-sa-4.0". */
  readonly licence?: string;
  /** What the rows were made from and by: models, constitution, run, seed. */
  readonly provenance?: Readonly<Record<string, string | number>>;
  /** Form of examples: `prompt` and `completion` by default. */
  readonly form?: ExampleForm;
  /** Replaces an exported dataset that is there already. */
  readonly replace?: boolean;
}

/** A row group ends at so many rows or so many bytes, whichever comes first: what is held in memory at once. */
const GROUP = { rows: 1000, bytes: 2 ** 23 };

/**
 * Writes a Hugging Face dataset folder: `data/<split>-00000-of-00001.parquet` and a `README.md` with the features, the schema and the
 * provenance, ready for `datasets.load_dataset(folder)` and for the hub.
 *
 * The folder appears whole or not at all; a row group is in memory at a time. Preferences have TRL's form: message lists `prompt`,
 * `chosen` and `rejected`, beside the soft label `p` ≥ 0.5 of the chosen one.
 * @returns rows and bytes by split
 * @throws ExportError when the folder holds something else, or a split's name is none
 */
export async function exportDataset<As extends keyof Kinds>(
  folder: string,
  options: ExportOptions<As>,
): Promise<Record<string, ExportedSplit>> {
  const { as, splits, form = "completion", replace = false } = options;
  const names = Object.keys(splits);
  if (names.length === 0) throw new ExportError(`${folder}: there are no splits; expected at least one, e.g. train.`);
  for (const name of names)
    if (!/^\w{1,64}$/.test(name))
      throw new ExportError(
        `${folder}: ${JSON.stringify(name)} is no name of a split; expected letters, digits and _.`,
      );
  const place = resolve(folder);
  await requireRoom(place, replace);
  const partial = join(dirname(place), `.${basename(place)}.${randomBytes(6).toString("hex")}.partial`);
  await mkdir(join(partial, "data"), { recursive: true });
  try {
    const written: Record<string, ExportedSplit> = {};
    for (const name of names) {
      const path = join(partial, "data", fileName(name));
      written[name] = await writeParquet(path, columns[as](form), splits[name]!);
      if (written[name].rows > 0) continue;
      await rm(path);
      written[name] = { rows: 0, bytes: 0, memory: 0 };
    }
    if (Object.values(written).every(({ rows }) => rows === 0))
      throw new ExportError(
        `${folder}: no split has rows (${names.join(", ")}); expected at least one row. Nothing was written.`,
      );
    const card = datasetCard({ ...options, columns: columns[as](form), written, fileName });
    await writeFile(join(partial, "README.md"), card);
    await land(partial, place);
    return written;
  } catch (cause) {
    await rm(partial, { recursive: true, force: true });
    if ((cause as NodeJS.ErrnoException).syscall === undefined) throw cause;
    throw new ExportError(`${folder} cannot be written: ${(cause as Error).message}. Nothing was left behind.`, {
      cause,
    });
  }
}

function fileName(split: string): string {
  return `${split}-00000-of-00001.parquet`;
}

/** Only nothing, an empty folder, or, to replace, a dataset folder may stand at the place. */
async function requireRoom(place: string, replace: boolean): Promise<void> {
  const facts = await stat(place).catch(() => undefined);
  if (!facts) return;
  if (!facts.isDirectory()) throw new ExportError(`${place} is a file; expected a folder, or nothing yet.`);
  const entries = await readdir(place);
  if (entries.length === 0) return;
  const ours = entries.includes("README.md") && entries.every((entry) => entry === "README.md" || entry === "data");
  if (!replace) throw new ExportError(`${place} is not empty. Choose another folder, or replace it.`);
  if (!ours)
    throw new ExportError(
      `${place} holds more than a dataset (README.md and data): ${entries.slice(0, 5).join(", ")}. It is not replaced; choose another folder.`,
    );
}

/** Windows renames onto nothing, not even an empty folder; so what is there steps aside first. */
async function land(partial: string, place: string): Promise<void> {
  const old = `${partial}.old`;
  const there = await stat(place).catch(() => undefined);
  if (!there) return rename(partial, place);
  const empty = await rmdir(place).then(
    () => true,
    () => false,
  );
  if (empty) return rename(partial, place);
  await rename(place, old);
  try {
    await rename(partial, place);
  } catch (cause) {
    await rename(old, place);
    throw cause;
  }
  await rm(old, { recursive: true, force: true });
}

async function writeParquet<Row>(
  path: string,
  columns: readonly Column<Row>[],
  rows: Iterable<Row> | AsyncIterable<Row>,
): Promise<ExportedSplit> {
  const handle = await open(path, "wx");
  try {
    const writer = new FileWriter(handle);
    const schema = [
      { name: "root", num_children: columns.length },
      ...columns.flatMap(({ name, type }) => types[type].schema(name)),
    ];
    const parquet = new ParquetWriter({ writer, schema, statistics: false, createdBy: "tenet" });
    let group: unknown[][] = columns.map(() => []);
    let [count, memory, flushed] = [0, 0, 0];
    const flush = async () => {
      const columnData = columns.map(({ name }, i) => ({ name, data: group[i]!, offsetIndex: false }));
      if (group[0]!.length > 0) await parquet.write({ columnData, rowGroupSize: group[0]!.length });
      group = columns.map(() => []);
      flushed = memory;
    };
    for await (const row of rows) {
      for (const [i, { value, type }] of columns.entries()) {
        const cell = value(row) ?? null;
        group[i]!.push(cell);
        memory += types[type].bytes(cell as never);
      }
      count++;
      if (group[0]!.length >= GROUP.rows || memory - flushed >= GROUP.bytes) await flush();
    }
    await flush();
    await parquet.finish();
    await handle.sync();
    return { rows: count, bytes: writer.offset, memory: Math.ceil(memory) };
  } finally {
    await handle.close();
  }
}

/** Hands every finished row group on to a file. */
class FileWriter extends ByteWriter {
  readonly #handle: FileHandle;

  constructor(handle: FileHandle) {
    super(2 ** 16);
    this.#handle = handle;
  }

  async flush(): Promise<void> {
    await this.#handle.writeFile(this.getBytes());
    this.index = 0;
  }

  override finish(): Promise<void> {
    return this.flush();
  }
}
