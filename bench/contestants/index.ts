import { fileURLToPath } from "node:url";
import type { Contestant } from "../harness.ts";
import { python } from "../peers/setup.ts";

/** Ours: a file of this folder. */
export function tenet(file: string): Contestant {
  const path = fileURLToPath(new URL(file, import.meta.url));
  return { name: "tenet", command: process.execPath, args: ["--conditions=source", "--import", "tsx", path] };
}

/** A peer: a script of bench/peers, run by the peers' own Python. */
export function peer(name: string, file: string): Contestant {
  const path = fileURLToPath(new URL(`../peers/${file}`, import.meta.url));
  return { name, command: python, args: [path] };
}
