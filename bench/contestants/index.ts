import { fileURLToPath } from "node:url";
import type { Contestant } from "../harness.ts";
import { python } from "../peers/setup.ts";

/** Ours: a file of this folder. With a name and arguments of its own, it can be the peer of ours without them. */
export function tenet(file: string, name = "tenet", args: readonly string[] = []): Contestant {
  const path = fileURLToPath(new URL(file, import.meta.url));
  return { name, command: process.execPath, args: ["--conditions=source", "--import", "tsx", path, ...args] };
}

/** A peer: a script of bench/peers, run by the peers' own Python. */
export function peer(
  name: string,
  file: string,
  { args = [], ...more }: { args?: readonly string[] } & Pick<Contestant, "sameLoss" | "only"> = {},
): Contestant {
  const path = fileURLToPath(new URL(`../peers/${file}`, import.meta.url));
  return { name, command: python, args: [path, ...args], ...more };
}
