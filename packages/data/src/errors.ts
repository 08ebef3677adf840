/** A file that cannot be read as the dataset it was taken for: missing, empty, damaged, or of another kind. */
export class DatasetError extends Error {
  override name = "DatasetError";
}

/** A mixture that its sources or settings do not allow. */
export class MixtureError extends Error {
  override name = "MixtureError";
}

/** A dataset folder that cannot be written. */
export class ExportError extends Error {
  override name = "ExportError";
}

/** Why one record cannot become a row. Never leaves this folder: readers turn it into an `Aside`. */
export class Unusable extends Error {}

/** A record that is plainly something else than its fields say, and cannot be read for certain as what it is. */
export class Doubtful extends Unusable {}

/**
 * A foreign value as text: of an object its JSON, and not what `toString` says, which in foreign data may be anything, or nothing that can be
 * called; of a list its elements, as `String` has them.
 */
export function foreignText(value: unknown): string {
  if (Array.isArray(value)) return value.map((one) => foreignText(one ?? "")).join(",");
  return typeof value === "object" && value !== null ? foreignJson(value) : String(value);
}

/** A foreign value as JSON, numbers of any size in it as text. */
export function foreignJson(value: unknown): string {
  return JSON.stringify(value, (_, field) => (typeof field === "bigint" ? String(field) : field)) ?? "";
}

/** A piece of foreign text that is safe to print: short, on one line, without control or direction characters. */
export function excerptOf(text: string, length = 120): string {
  const piece = text.length > length ? `${text.slice(0, length)}…` : text;
  return piece.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (character) =>
    character === "\n" ? "\\n" : `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}
