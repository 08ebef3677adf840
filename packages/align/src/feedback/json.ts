import type { JsonValue } from "../pipeline/json.ts";

/** A value as JSON has it: without what is undefined. */
export function plainJson(value: unknown): JsonValue {
  return JSON.parse(JSON.stringify(value)) as JsonValue;
}
