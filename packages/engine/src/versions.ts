import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { programFolder } from "./launch.ts";

/** Versions that the engine's program was tested with, by package: what `requirements.txt` pins. */
export async function testedWith(): Promise<Record<string, string>> {
  const text = await readFile(join(programFolder, "requirements.txt"), "utf8");
  const pins = text.split("\n").flatMap((line) => {
    const [, name, version] = /^([a-z]+)(?:\[[^\]]*\])?==(\S+)$/.exec(line) ?? [];
    return name && version ? [[name, version]] : [];
  });
  return Object.fromEntries(pins);
}
