import { hashOf, type Item, type StoredRow } from "../src/index.ts";

export interface TextRow extends StoredRow {
  text: string;
}

/** The outcome of input `ordinal`: none, one or two rows, every fifth set aside. */
export function itemAt(ordinal: number, salt = ""): Item<TextRow> {
  const rows = Array.from({ length: ordinal % 3 }, (_, index) => ({
    id: `row-${salt}${ordinal}-${index}`,
    origin: { parents: [`prompt-${ordinal}`] },
    text: `${ordinal}: «${"word ".repeat(ordinal % 7)}»`,
  }));
  return {
    key: hashOf([salt, ordinal]),
    input: `prompt-${ordinal}`,
    ordinal,
    rows,
    aside: ordinal % 5 === 4 ? `reason ${ordinal % 2}` : undefined,
  };
}

export function itemsUpTo(count: number, salt = ""): Item<TextRow>[] {
  return Array.from({ length: count }, (_, ordinal) => itemAt(ordinal, salt));
}
