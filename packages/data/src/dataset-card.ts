import { stringify } from "yaml";
import { type Column, types } from "./columns.ts";

export interface ExportedSplit {
  readonly rows: number;
  /** Size of its Parquet file; 0 for a split without rows, which is left out because `datasets` could not load it. */
  readonly bytes: number;
  /** Size of the rows in memory, in Arrow's layout. */
  readonly memory: number;
}

interface Card {
  readonly name: string;
  readonly description?: string;
  readonly licence?: string;
  readonly provenance?: Readonly<Record<string, string | number>>;
  readonly columns: readonly Pick<Column<never>, "name" | "type" | "about">[];
  readonly written: Readonly<Record<string, ExportedSplit>>;
  readonly fileName: (split: string) => string;
}

/** The README of a dataset folder: front matter by which Hugging Face's `datasets` and hub know it, then what a person wants to know. */
export function datasetCard({ name, description, licence, provenance, columns, written, fileName }: Card): string {
  const splits = Object.entries(written).filter(([, { rows }]) => rows > 0);
  const front = {
    pretty_name: name,
    ...(licence === undefined ? {} : { license: licence }),
    configs: [
      {
        config_name: "default",
        data_files: splits.map(([split]) => ({ split, path: `data/${fileName(split)}` })),
      },
    ],
    dataset_info: {
      features: columns.map((column) => ({ name: column.name, ...types[column.type].feature })),
      splits: splits.map(([split, { rows, memory }]) => ({ name: split, num_bytes: memory, num_examples: rows })),
      download_size: splits.reduce((all, [, { bytes }]) => all + bytes, 0),
      dataset_size: splits.reduce((all, [, { memory }]) => all + memory, 0),
    },
  };
  const parts = [
    `---\n${stringify(front, { aliasDuplicateObjects: false })}---`,
    `# ${cell(name)}`,
    description,
    "## Splits",
    table(
      ["split", "rows", "bytes"],
      splits.map(([split, { rows, bytes }]) => [split, rows, bytes]),
    ),
    "## Columns",
    table(
      ["column", "type", "meaning"],
      columns.map((column) => [column.name, types[column.type].words, column.about]),
    ),
    ...(provenance === undefined ? [] : ["## Provenance", table(["made from", ""], Object.entries(provenance))]),
    ...(licence === undefined ? [] : ["## Licence", cell(licence)]),
  ];
  return `${parts.filter((part) => part !== undefined).join("\n\n")}\n`;
}

export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const line = (cells: readonly (string | number)[]) => `| ${cells.map(cell).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** Text that cannot end its cell or its line, nor begin a tag. */
export function cell(value: string | number): string {
  return String(value)
    .replace(/\s+/g, " ")
    .replace(/[\\|<>[\]]/g, (character) => `\\${character}`);
}
