import { InvalidArgumentError, Option } from "commander";
import { parseBytes } from "./format.ts";

/*
 * How arguments are read: each parser gives the value, or throws what commander shows as a usage error.
 */

export function number(text: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (!Number.isFinite(value)) throw new InvalidArgumentError("expected a number.");
  return value;
}

export function whole(text: string): number {
  const value = number(text);
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError("expected a whole number.");
  return value;
}

export function size(text: string): number {
  const bytes = parseBytes(text);
  if (bytes === undefined) throw new InvalidArgumentError("expected a size such as 500MB or 2GB.");
  return bytes;
}

/** Every command gets its own: commander's options keep state. */
export function deviceOption(): Option {
  const devices = ["auto", "cpu", "webgpu", "cuda", "coreml", "dml"];
  return new Option("--device <name>", "where a local model runs").choices(devices);
}
