import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { arithmetics, parseReference } from "@tenet/lm";
import type { TrainableModel } from "./forward.ts";

/** Bytes of a file that its fingerprint reads at the beginning, in the middle and at the end. */
const sampled = 1 << 20;

/**
 * Tells the contents of files and folders from others', wherever they lie: SHA-256 over the names and sizes of the files and
 * three stretches of each. Weights changed elsewhere in a file of the same size go unnoticed; reading gigabytes on every start
 * would not.
 */
export async function contentsFingerprint(paths: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const path of paths)
    for (const file of await filesOf(path)) {
      const { size } = await stat(file);
      hash.update(JSON.stringify([basename(file), size]));
      const handle = await open(file);
      try {
        for (const start of new Set([0, Math.floor(size / 2), Math.max(0, size - sampled)])) {
          const { bytesRead, buffer } = await handle.read(Buffer.alloc(Math.min(sampled, size - start)), {
            position: start,
          });
          hash.update(buffer.subarray(0, bytesRead));
        }
      } finally {
        await handle.close();
      }
    }
  return hash.digest("hex");
}

/** Tells a model's weights from others: of its safetensors files alone. Undefined where there are none, as of a folder without weights. */
export async function weightsFingerprint(folder: string): Promise<string | undefined> {
  const files = (await filesOf(folder)).filter((file) => file.endsWith(".safetensors"));
  return files.length > 0 ? contentsFingerprint(files) : undefined;
}

/**
 * What a training depends on of its base: the contents of a folder or file, which may be moved meanwhile, else its reference; and how its frozen matrices
 * are held.
 */
export async function baseIdentity({
  id,
  trainedOn = "float32",
}: Pick<TrainableModel, "id" | "trainedOn">): Promise<string> {
  const contents = parseReference(id).kind === "path" && existsSync(id) ? await contentsFingerprint([id]) : id;
  const arithmetic = arithmetics[trainedOn];
  return arithmetic === undefined ? contents : `${contents} in ${arithmetic}`;
}

async function filesOf(path: string): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const entries = await readdir(path, { withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory() && !entry.name.startsWith("."))
    .map(({ name }) => join(path, name))
    .sort();
}
