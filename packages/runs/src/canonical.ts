import { createHash } from "node:crypto";

/** A value is no JSON: it, or something in it, would be lost or changed by writing it down. */
export class NotJsonError extends TypeError {
  override name = "NotJsonError";
}

/**
 * The one way to write a value as JSON: keys sorted, no spaces, numbers as JavaScript prints them (RFC 8785). Equal values
 * give equal bytes on every machine. Fields that are `undefined` are left out.
 *
 * @throws NotJsonError for NaN, infinities, functions, dates and other objects with a class, and cycles.
 *
 * @example
 * canonicalJson({ b: [1, 2.5], a: "é" }); // "{\"a\":\"é\",\"b\":[1,2.5]}"
 */
export function canonicalJson(value: unknown): string {
  return write(value, "$", 0);
}

/**
 * SHA-256 of a value's canonical JSON, as 64 hexadecimal digits: the identity of stages, and the memo key of items.
 *
 * @throws NotJsonError as `canonicalJson`.
 *
 * @example
 * hashOf({ a: 1, b: 2 }) === hashOf({ b: 2, a: 1 }); // true
 */
export function hashOf(value: unknown): string {
  return createHash("sha256").update(canonicalJson(value)).digest("hex");
}

/** Deeper nesting than this is taken for a cycle. */
const DEEPEST = 500;

function write(value: unknown, place: string, depth: number): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "boolean" || value === null) return String(value);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new NotJsonError(`${place} is ${value}, which JSON cannot hold`);
    return JSON.stringify(value);
  }
  if (typeof value !== "object") throw new NotJsonError(`${place} is a ${typeof value}, expected JSON`);
  if (depth > DEEPEST) throw new NotJsonError(`${place} is nested more than ${DEEPEST} deep, or contains itself`);
  if (Array.isArray(value))
    return `[${value.map((element, index) => write(element, `${place}[${index}]`, depth + 1)).join(",")}]`;
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null)
    throw new NotJsonError(`${place} is a ${value.constructor?.name ?? "class instance"}, expected plain JSON`);
  let text = "";
  for (const key of Object.keys(value).sort()) {
    const field = (value as Record<string, unknown>)[key];
    if (field === undefined) continue;
    text += `${text && ","}${JSON.stringify(key)}:${write(field, `${place}.${key}`, depth + 1)}`;
  }
  return `{${text}}`;
}
