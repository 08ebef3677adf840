import type { SchemaElement } from "hyparquet";
import { ExportError } from "./errors.ts";
import { imagesOf } from "./image.ts";
import type { Message } from "./message.ts";
import type { Kinds } from "./records.ts";
import type { Origin } from "./rows.ts";

type Cell = readonly Message[] | string | number | boolean | null | undefined;

/** One column of an exported dataset: what it holds, and its value for a row. */
export interface Column<Row> {
  readonly name: string;
  readonly type: ColumnType;
  /** For the README. */
  readonly about: string;
  readonly value: (row: Row) => Cell;
}

interface Type {
  /** The type in words. */
  readonly words: string;
  /** Its feature in the front matter that Python's `datasets` reads. */
  readonly feature: object;
  readonly schema: (name: string) => SchemaElement[];
  /** Bytes of a value in Arrow's memory layout, which is what `num_bytes` of a split counts. */
  readonly bytes: (value: never) => number;
}

/** Text and its offset. */
const textBytes = (value: string | null) => 4 + Buffer.byteLength(value ?? "");

const text = { type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" } as const;

export type ColumnType = "messages" | "text" | "json" | "number" | "boolean";

export const types: Readonly<Record<ColumnType, Type>> = {
  messages: {
    words: "list of {role, content}",
    feature: {
      list: [
        { name: "role", dtype: "string" },
        { name: "content", dtype: "string" },
      ],
    },
    schema: (name) => [
      { name, repetition_type: "OPTIONAL", num_children: 1, converted_type: "LIST" },
      { name: "list", repetition_type: "REPEATED", num_children: 1 },
      { name: "element", repetition_type: "OPTIONAL", num_children: 2 },
      { name: "role", ...text },
      { name: "content", ...text },
    ],
    bytes: (messages: readonly Message[]) =>
      4 + messages.reduce((all, { role, content }) => all + textBytes(role) + textBytes(content), 0),
  },
  text: { words: "text", feature: { dtype: "string" }, schema: (name) => [{ name, ...text }], bytes: textBytes },
  json: { words: "text, JSON", feature: { dtype: "string" }, schema: (name) => [{ name, ...text }], bytes: textBytes },
  number: {
    words: "number",
    feature: { dtype: "float64" },
    schema: (name) => [{ name, type: "DOUBLE", repetition_type: "OPTIONAL" }],
    bytes: () => 8,
  },
  boolean: {
    words: "true or false",
    feature: { dtype: "bool" },
    schema: (name) => [{ name, type: "BOOLEAN", repetition_type: "OPTIONAL" }],
    bytes: () => 1 / 8,
  },
};

const reply = (content: string): Message[] => [{ role: "assistant", content }];

const prompt: Column<{ prompt: Message[] }> = {
  name: "prompt",
  type: "messages",
  about: "The conversation up to the reply",
  value(row) {
    if (imagesOf(row.prompt).length > 0)
      throw new ExportError("a prompt shows an image, for which a dataset of texts has no place. Leave its row out.");
    return row.prompt;
  },
};

const weight: Column<{ weight: number }> = {
  name: "weight",
  type: "number",
  about: "Factor of the row's loss",
  value: (row) => row.weight,
};

const identity: readonly Column<{ id: string; origin: Origin }>[] = [
  { name: "id", type: "text", about: "Hash of the row's content", value: (row) => row.id },
  {
    name: "origin",
    type: "json",
    about:
      "Where the row came from: source, models or people that wrote it, constitution, principles, seed, parent rows",
    value: (row) => JSON.stringify(row.origin),
  },
];

/** Form of exported examples: as TRL's `prompt` and `completion`, or as one list of `messages`. */
export type ExampleForm = "completion" | "messages";

/** Columns of an export, in the forms that Hugging Face's trainers take. */
export const columns: {
  readonly [K in keyof Kinds]: (form: ExampleForm) => readonly Column<Kinds[K]>[];
} = {
  prompts: () => [
    prompt,
    { name: "category", type: "text", about: "Topic or kind", value: (row) => row.category },
    { name: "benign", type: "boolean", about: "Harmless: refusing it is a fault", value: (row) => row.benign },
    ...identity,
  ],
  examples: (form) => [
    ...(form === "messages"
      ? [
          {
            name: "messages",
            type: "messages" as const,
            about: "The conversation; its last message is the one to learn",
            value: (row: Kinds["examples"]) => [...row.prompt, ...reply(row.completion)],
          },
        ]
      : [
          prompt,
          {
            name: "completion",
            type: "messages" as const,
            about: "The reply to learn",
            value: (row: Kinds["examples"]) => reply(row.completion),
          },
        ]),
    weight,
    ...identity,
  ],
  preferences: () => [
    prompt,
    {
      name: "chosen",
      type: "messages",
      about: "The reply more likely to be the better one",
      value: (row) => reply(row.p >= 0.5 ? row.a : row.b),
    },
    {
      name: "rejected",
      type: "messages",
      about: "The other reply",
      value: (row) => reply(row.p >= 0.5 ? row.b : row.a),
    },
    {
      name: "p",
      type: "number",
      about: "Probability that the chosen reply is the better one, at least 0.5",
      value: (row) => Math.max(row.p, 1 - row.p),
    },
    weight,
    { name: "label", type: "text", about: "Who preferred: ai, human, ranking or check", value: (row) => row.label },
    { name: "category", type: "text", about: "The prompt's topic or kind", value: (row) => row.category },
    {
      name: "explanation",
      type: "json",
      about: "How the label came about, step by step",
      value: (row) => JSON.stringify(row.explanation),
    },
    ...identity,
  ],
  choices: () => [
    prompt,
    { name: "options", type: "json", about: "What may be answered", value: (row) => JSON.stringify(row.options) },
    { name: "answer", type: "number", about: "Place of the right option, from 0", value: (row) => row.answer },
    ...identity,
  ],
  opinions: () => [
    prompt,
    {
      name: "neutral",
      type: "messages",
      about: "The same question without the person's view, where there is one",
      value: (row) => row.neutral,
    },
    { name: "follows", type: "text", about: "The answer that follows the view", value: (row) => row.follows },
    { name: "others", type: "json", about: "The other answers", value: (row) => JSON.stringify(row.others) },
    ...identity,
  ],
  safety: () => [
    prompt,
    {
      name: "replies",
      type: "json",
      about: "What was said of each reply",
      value: (row) => JSON.stringify(row.replies),
    },
    { name: "safer", type: "number", about: "Place of the safer of two, from 0", value: (row) => row.safer },
    ...identity,
  ],
};
