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

/** A whole number of `least` or more, and of `most` or fewer. */
export function within(least: number, most = Number.POSITIVE_INFINITY): (text: string) => number {
  const range = most === Number.POSITIVE_INFINITY ? `${least} or more` : `${least} to ${most}`;
  return (text) => {
    const value = whole(text);
    if (value < least || value > most) throw new InvalidArgumentError(`expected ${range}.`);
    return value;
  };
}

/** Where a server listens; 0: any that is free. */
export const port = within(0, 65_535);

export function size(text: string): number {
  const bytes = parseBytes(text);
  if (!bytes) throw new InvalidArgumentError("expected a size above 0 such as 500MB or 2GB.");
  return bytes;
}

/** Every command gets its own: commander's options keep state. */
export function deviceOption(): Option {
  const devices = ["auto", "cpu", "webgpu", "cuda", "coreml", "dml"];
  return new Option("--device <name>", "where a local model runs").choices(devices);
}
